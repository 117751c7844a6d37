# mypy: allow-untyped-defs, allow-untyped-calls
"""Compiled: stamps to windows. Validity, background and noise, and the small sums that all kernels are made of.

A window is kept flat, 21 rows of 24 with three columns of zeros. The compiler may reorder sums, so that they use
vector instructions: between kinds of processors the last bits of a float64 may differ, far below the float32 that
comes out; on one processor the result never depends on the other alerts of the batch. NaN and infinity keep their
meaning. The plain twins in `view` define what is computed here; numba infers all types.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from realbogus.alerts import CENTRE, STAMP_SIDE
from realbogus.features import geometry as geo
from realbogus.features.view import ENOUGH, FEWEST_PIXELS, FWHM_TO_SIGMA, MAD_TO_SIGMA, SENTINEL

STRIDE = 24
SIZE = geo.SIDE * STRIDE
PIXELS = STAMP_SIDE * STAMP_SIDE
START = CENTRE - geo.HALF
FAR = 1e9  # radius of the padding: outside every region
_SENTINEL = np.float32(SENTINEL)
_MAD_TO_SIGMA = float(MAD_TO_SIGMA)
_TWO_PI = 2 * np.pi

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
# Called from other kernels only, so that wrappers for Python would be wasted time to compile.
_INNER: dict[str, Any] = OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inlined = njit(**_INNER)


def padded(table: np.ndarray, fill: float = 0.0) -> np.ndarray:
    """A table over the window in the layout of the kernels."""
    wide = np.full((geo.SIDE, STRIDE), fill)
    wide[:, : geo.SIDE] = np.reshape(table, (geo.SIDE, geo.SIDE))
    return wide.ravel()


@inlined
def dot(a, b):
    """Sum of products of two flat windows."""
    value = 0.0
    for i in range(SIZE):
        value += a[i] * b[i]
    return value


@inlined
def dot3(a, b, c):
    """Sum of products of three flat windows."""
    value = 0.0
    for i in range(SIZE):
        value += a[i] * b[i] * c[i]
    return value


@inlined
def total(a):
    """Sum of a flat window."""
    value = 0.0
    for i in range(SIZE):
        value += a[i]
    return value


@inlined
def slog(x):
    """Signed logarithm."""
    return np.sign(x) * np.log1p(abs(x))


@inlined
def gaussian_taps(out, sigma, centre):
    """exp(-(x - centre)^2 / 2 sigma^2) at x = -10 ... 10, from the centre outwards by ratios; 0 below 1e-100."""
    bend = np.exp(-1.0 / (sigma * sigma))
    start = min(max(int(np.rint(centre)), -10), 10)
    u = start - centre
    peak = np.exp(-0.5 * u * u / (sigma * sigma))
    for side in range(2):
        step = 1 - 2 * side
        value, ratio = peak, np.exp(-(step * u + 0.5) / (sigma * sigma))
        k = start + 10
        while 0 <= k <= 20:
            out[k] = value
            value = value * ratio if value > 1e-100 else 0.0
            ratio *= bend
            k += step


@inlined
def outer(out, column, row, scale):
    """Flat window of scale column[y] row[x]; the padding stays as it is."""
    for y in range(21):
        c = scale * column[y]
        for x in range(21):
            out[y * STRIDE + x] = c * row[x]


@inlined
def contract(turned, row, out):
    """Sum over x of row[x] turned[x, y], for all y (24); turned is a window with x and y exchanged.

    In this order of the loops all sums stay in vector registers: five times as fast as adding row after row.
    """
    for y in range(STRIDE):
        value = 0.0
        for x in range(21):
            value += row[x] * turned[x * STRIDE + y]
        out[y] = value


@inlined
def turn(a, out):
    """Exchange x and y of a flat window."""
    for y in range(21):
        for x in range(21):
            out[x * STRIDE + y] = a[y * STRIDE + x]


@inlined
def clean(raw, out):
    """Copy a flat stamp with NaN for what is no measurement; the number of valid pixels.

    Not a measurement: what is not finite or a sentinel, and rows and columns of zeros only.
    """
    bad = 0
    for i in range(PIXELS):
        value = raw[i]
        good = abs(value) < _SENTINEL
        bad += not good
        out[i] = value if good else np.float32(np.nan)
    for line in range(STAMP_SIDE):
        if _all_zero(raw, line * STAMP_SIDE, 1):
            bad += _blank(out, line * STAMP_SIDE, 1)
        if _all_zero(raw, line, STAMP_SIDE):
            bad += _blank(out, line, STAMP_SIDE)
    return PIXELS - bad


@inlined
def _all_zero(raw, start, step):
    i = 0
    while i < STAMP_SIDE and raw[start + i * step] == 0:
        i += 1
    return i == STAMP_SIDE


@inlined
def _blank(out, start, step):
    newly = 0
    for i in range(STAMP_SIDE):
        newly += not np.isnan(out[start + i * step])
        out[start + i * step] = np.float32(np.nan)
    return newly


@inlined
def levels(ordered, count):
    """Background and noise: median and 1.4826 MAD of the first count of a sorted float32 row; NaN if meaningless."""
    if count < FEWEST_PIXELS:
        return np.nan, np.nan
    middle, noise = spread(ordered, count)
    return middle, noise if noise > 0 else np.nan


@inlined
def spread(ordered, count):
    """Median and 1.4826 MAD of the first count (at least 1) of a sorted float32 row.

    The deviations from the median are two sorted runs, so that their median needs a search and no second sort.
    """
    middle = (np.float64(ordered[(count - 1) // 2]) + np.float64(ordered[count // 2])) / 2
    split = count // 2
    low = _deviation(ordered, count, split, np.float32(middle), (count - 1) // 2)
    high = low
    if count % 2 == 0:
        high = _deviation(ordered, count, split, np.float32(middle), count // 2)
    return middle, (np.float64(low) + np.float64(high)) / 2 * _MAD_TO_SIGMA


@inlined
def _deviation(ordered, count, split, middle, k):
    """The k-th smallest |x - middle|: merge of the run below split, going down, and of that from split, going up."""
    below, above = split, count - split
    lo, hi = max(0, k + 1 - above), min(k + 1, below)
    while lo < hi:  # how many of the k + 1 smallest come from below
        taken = (lo + hi) // 2
        here = abs(ordered[split - 1 - taken] - middle)
        there = abs(ordered[split + k - taken] - middle)
        if here < there:
            lo = taken + 1
        else:
            hi = taken
    largest = np.float32(0.0)
    if lo > 0:
        largest = abs(ordered[split - lo] - middle)
    if k + 1 - lo > 0:
        largest = max(largest, abs(ordered[split + k - lo] - middle))
    return largest


@inlined
def window(stamp, background, pixels, ok):
    """Fill the flat window of a clean stamp less its background, 0 where invalid, and its mask; valid pixels."""
    count = 0
    for y in range(21):
        for x in range(21):
            value = np.float64(stamp[(START + y) * STAMP_SIDE + START + x]) - background
            good = not np.isnan(value)
            pixels[y * STRIDE + x] = value if good else 0.0
            ok[y * STRIDE + x] = 1.0 if good else 0.0
            count += good
    return count


@inlined
def enough(seen, wanted):
    """Rule N1."""
    return seen >= ENOUGH * wanted


@inlined
def sigma_of(fwhm):
    """Standard deviation of a Gaussian of this FWHM."""
    return fwhm * FWHM_TO_SIGMA


@inlined
def norm_of(sigma):
    """Peak of a circular Gaussian of unit sum."""
    return 1.0 / (_TWO_PI * sigma * sigma)


@inlined
def select(values, count, k):
    """The k-th smallest (from 0) of the first count values, which it reorders."""
    low, high = 0, count - 1
    while low < high:
        pivot = values[k]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j < k:
            low = i
        if k < i:
            high = j
    return values[k]
