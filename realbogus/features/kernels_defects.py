# mypy: allow-untyped-defs, allow-untyped-calls
"""Compiled twins of `defects` and `surroundings`: hits, plateaus, lines and other sources."""

from __future__ import annotations

import numpy as np

from realbogus.alerts import CENTRE, STAMP_SIDE
from realbogus.features import geometry as geo
from realbogus.features.defects import FEWEST_IN_LINE, NEIGHBOURS, PLATEAU, PLATEAU_PIXELS
from realbogus.features.kernels_window import (
    PIXELS,
    SIZE,
    STRIDE,
    dot,
    enough,
    inlined,
    select,
    sigma_of,
    spread,
)
from realbogus.features.surroundings import PEAK_SIGNIFICANCE, TAPS

PEAKS = ("peak_ring8", "peak_ring8_sci", "sat_frac_s", "sat_frac_t")
LINES = ("line_med_max", "radon_peak")
SURROUNDINGS = ("noise_ratio", "noise_acf1")
FINE = ("lacosmic",)
OTHERS = ("n_peaks",)

_BEYOND = np.arange(STAMP_SIDE) >= geo.LINE_LENGTHS[:, None]
# Pixel by pixel, so that neighbouring lines are read side by side.
_LINES = np.ascontiguousarray(np.where(_BEYOND, PIXELS, geo.LINES).T.astype(np.int32))
_LINE_LENGTHS = geo.LINE_LENGTHS.astype(np.float64)
_NEIGHBOURS = np.array([y * STRIDE + x for y, x in NEIGHBOURS])
_PADDED = STAMP_SIDE + 2 * TAPS


@inlined
def peaks(d, ok_d, s, ok_s, t, ok_t, radii, disk, n_disk, w, out):
    """Isolation of the brightest pixel in difference and science stamp; plateaus of saturation."""
    out[:] = np.nan
    box = 0.0
    for y in range(8, 13):
        for x in range(8, 13):
            box += ok_d[y * STRIDE + x]
    top, at, limit = -np.inf, 0, min(w, 9.0)
    for i in range(SIZE):
        if radii[i] <= limit and ok_d[i] > 0 and d[i] > top:
            top, at = d[i], i
    if enough(box, 25.0) and top > -np.inf:
        out[0] = min(_isolation(d, ok_d, at), 12.0)
        out[1] = min(_isolation(s, ok_s, at), 12.0)
    out[2] = _plateau(s, ok_s, disk, n_disk)
    out[3] = _plateau(t, ok_t, disk, n_disk)


@inlined
def _isolation(pixels, ok, at):
    n, sum_ = 0.0, 0.0
    for k in range(8):
        i = at + _NEIGHBOURS[k]
        if ok[i] > 0:
            n += 1
            sum_ += pixels[i]
    peak = pixels[at]
    if ok[at] == 0 or n < 4 or not peak > 0:
        return np.nan
    return max((peak - sum_ / n) / peak, -1.0)


@inlined
def _plateau(pixels, ok, disk, n_disk):
    top, n = -np.inf, 0.0
    for i in range(SIZE):
        if disk[i] * ok[i] > 0:
            n += 1
            top = max(top, pixels[i])
    if not enough(n, n_disk):
        return np.nan
    if not top > 0:
        return 0.0
    high, count = np.zeros(SIZE, np.bool_), 0
    for i in range(SIZE):
        high[i] = disk[i] * ok[i] > 0 and pixels[i] >= PLATEAU * top
        count += high[i]
    return _connected(high) / n if count >= PLATEAU_PIXELS else 0.0


@inlined
def _connected(high):
    """Pixels in pieces of at least four that share edges; clears high."""
    stack, held = np.empty(4 * SIZE, np.int64), 0
    for i in range(SIZE):
        if not high[i]:
            continue
        stack[0], depth, size = i, 1, 0
        high[i] = False
        while depth > 0:
            depth -= 1
            here = stack[depth]
            size += 1
            for step in (-STRIDE, STRIDE, -1, 1):
                there = here + step
                if 0 <= there < SIZE and high[there]:
                    high[there] = False
                    stack[depth] = there
                    depth += 1
        if size >= PLATEAU_PIXELS:
            held += size
    return held


@inlined
def lines(stamp, n, central, background, noise, usable, out):
    """Strongest central row or column, and strongest line through the candidate.

    n pixels of the stamp are valid; central holds the central rows and columns, each sorted with NaN at the end.
    """
    out[:] = np.nan
    if not usable:
        return
    z, scale = np.zeros(PIXELS + 1, np.float32), 1.0 / noise
    for i in range(PIXELS):
        value = (np.float64(stamp[i]) - background) * scale
        z[i] = min(max(value, -5.0), 5.0) if not np.isnan(value) else 0.0
    out[0] = (_line_median(central) - background) * scale
    sums, counts = np.zeros(len(_LINE_LENGTHS)), np.zeros(len(_LINE_LENGTHS))
    _along_lines(z, sums)
    if n == PIXELS:
        counts[:] = _LINE_LENGTHS
    else:
        for i in range(PIXELS):
            z[i] = 0.0 if np.isnan(stamp[i]) else 1.0
        _along_lines(z, counts)
    best = 0.0
    for line in range(len(sums)):
        if counts[line] >= FEWEST_IN_LINE:
            best = max(best, sums[line] / np.sqrt(counts[line]))
    out[1] = np.log1p(best)


@inlined
def _along_lines(values, sums):
    """Sum of the values along each line; the last value stands for what lies beyond a line's end."""
    for k in range(STAMP_SIDE):
        for line in range(len(sums)):
            sums[line] += values[_LINES[k, line]]


@inlined
def _line_median(central):
    """Largest median of the central lines that hold enough pixels."""
    best = -np.inf
    for line in range(len(central)):
        n = STAMP_SIDE
        while n > 0 and np.isnan(central[line, n - 1]):
            n -= 1
        if n >= FEWEST_IN_LINE:
            best = max(best, (np.float64(central[line, (n - 1) // 2]) + np.float64(central[line, n // 2])) / 2)
    return best


@inlined
def surroundings(d, ok_d, disk, n_disk, around, noise, out):
    """Noise in the window outside K, and the correlation of neighbouring pixels there.

    around holds the valid pixels outside K, sorted, with others at the end.
    """
    out[:] = np.nan
    n, scale = 0.0, 1.0 / noise
    z, inside = np.zeros(SIZE), np.zeros(SIZE)
    for i in range(SIZE):
        inside[i] = (1.0 - disk[i]) * ok_d[i]
        n += inside[i]
        z[i] = inside[i] * min(max(d[i] * scale, -5.0), 5.0)
    if not enough(n, 441 - n_disk):
        return
    out[0] = spread(around, int(n))[1] * scale
    pairs = product = 0.0
    for i in range(SIZE - STRIDE):
        product += z[i] * z[i + 1] + z[i] * z[i + STRIDE]
        pairs += inside[i] * inside[i + 1] + inside[i] * inside[i + STRIDE]
    for i in range(SIZE - STRIDE, SIZE - 1):
        product += z[i] * z[i + 1]
        pairs += inside[i] * inside[i + 1]
    power = dot(z, z) / max(n, 1)
    if power > 0 and pairs > 0:
        out[1] = min(max(product / pairs / power, -1.0), 1.0)


@inlined
def fine_structure(d, ok, noise, out):
    """log10 of the brightest pixel of the central 5 x 5 over its fine structure M3 - M7(M3)."""
    out[0] = np.nan
    seen = 0.0
    for y in range(8, 13):
        for x in range(8, 13):
            seen += ok[y * STRIDE + x]
    if not enough(seen, 25.0) or np.isnan(noise):
        return
    small, near, wide = np.empty((11, 11)), np.empty(9), np.empty(49)
    for y in range(11):
        for x in range(11):
            for k in range(9):
                near[k] = d[(y + 4 + k // 3) * STRIDE + x + 4 + k % 3]
            small[y, x] = _median9(near)
    top, fine = -np.inf, -np.inf
    for y in range(5):
        for x in range(5):
            for k in range(49):
                wide[k] = small[y + k // 7, x + k % 7]
            fine = max(fine, small[y + 3, x + 3] - select(wide, 49, 24))
            top = max(top, d[(y + 8) * STRIDE + x + 8])
    floor = 0.1 * noise
    out[0] = min(max(np.log10(max(top, floor) / max(fine, floor)), -1.5), 3.0)


@inlined
def _order(v, i, j):
    low, high = min(v[i], v[j]), max(v[i], v[j])
    v[i], v[j] = low, high


@inlined
def _median9(v):
    """Median of nine values by a network of exchanges: it has no branches to guess wrong."""
    _order(v, 1, 2)
    _order(v, 4, 5)
    _order(v, 7, 8)
    _order(v, 0, 1)
    _order(v, 3, 4)
    _order(v, 6, 7)
    _order(v, 1, 2)
    _order(v, 4, 5)
    _order(v, 7, 8)
    _order(v, 0, 3)
    _order(v, 5, 8)
    _order(v, 4, 7)
    _order(v, 3, 6)
    _order(v, 1, 4)
    _order(v, 2, 5)
    _order(v, 4, 7)
    _order(v, 4, 2)
    _order(v, 6, 4)
    _order(v, 4, 2)
    return v[4]


@inlined
def others(stamp, background, noise, w, radius, usable, out):
    """Other sources: local maxima of the matched filter over the whole stamp outside K, ln(1 + number)."""
    out[0] = np.nan
    if not usable or np.isnan(noise):
        return
    reach, sigma = min(int(2 * w), TAPS), sigma_of(w)
    taps, power = np.empty(TAPS + 1), 0.0
    for k in range(reach + 1):
        taps[k] = np.exp(-0.5 * k * k / (sigma * sigma))
        power += taps[k] * taps[k] * (2.0 if k else 1.0)
    rows, smooth = np.zeros((_PADDED, STAMP_SIDE)), np.zeros((STAMP_SIDE + 2, STAMP_SIDE + 2))
    line, sums = np.zeros(_PADDED), np.empty(STAMP_SIDE)
    for y in range(STAMP_SIDE):
        for x in range(STAMP_SIDE):
            value = np.float64(stamp[y * STAMP_SIDE + x]) - background
            line[TAPS + x] = 0.0 if np.isnan(value) else value
        into = rows[TAPS + y]
        for k in range(-reach, reach + 1):
            weight = taps[abs(k)]
            for x in range(STAMP_SIDE):
                into[x] += weight * line[TAPS + x + k]
    scale = 1.0 / (power * noise)
    for y in range(STAMP_SIDE):
        sums[:] = 0.0
        for k in range(-reach, reach + 1):
            weight, source = taps[abs(k)], rows[TAPS + y + k]
            for x in range(STAMP_SIDE):
                sums[x] += weight * source[x]
        for x in range(STAMP_SIDE):
            smooth[y + 1, x + 1] = abs(sums[x]) * scale
    out[0] = np.log1p(_maxima(smooth, radius))


@inlined
def _maxima(smooth, radius):
    """Local maxima above the threshold outside a radius; smooth has a border of one pixel of zeros."""
    found = 0
    for y in range(1, STAMP_SIDE + 1):
        for x in range(1, STAMP_SIDE + 1):
            value = smooth[y, x]
            if value > PEAK_SIGNIFICANCE and (y - 1 - CENTRE) ** 2 + (x - 1 - CENTRE) ** 2 > radius * radius:
                highest = True
                for j in range(-1, 2):
                    for i in range(-1, 2):
                        highest = highest and value >= smooth[y + j, x + i]
                found += highest
    return found
