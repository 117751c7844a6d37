# mypy: allow-untyped-defs, allow-untyped-calls
"""Compiled twins of `stars`: other stars of the stamp, spots, trails."""

from __future__ import annotations

import numpy as np

from realbogus.alerts import CENTRE, STAMP_SIDE
from realbogus.features import geometry as geo
from realbogus.features.defects import FEWEST_IN_LINE
from realbogus.features.kernels_window import PIXELS, SIZE, enough, inlined, slog
from realbogus.features.stars import (
    BRIGHTEST,
    CLIP,
    CONTRAST_FLOOR,
    CONTRAST_LIMIT,
    CORE_LIMIT,
    DARKEST,
    FEWEST_STAR_PIXELS,
    RATIO_LIMIT,
    RESIDUAL,
    SPOT,
    STAR,
)

STARS = (
    "star_share", "star_ratio", "star_slope", "star_corr", "star_signif", "star_rms", "star_bright", "star_dark",
    "core_ratio", "core_slope", "ratio_excess", "slope_excess", "ratio_contrast",
)  # fmt: skip
SPOTS = ("spots_bright", "spots_dark", "spots_sign", "outer_skew", "outer_rms")
TRAILS = ("trail", "trail_both")
LEVELS = ("flux_scale", "science_noise", "template_noise")

_RADII = geo.STAMP_R
_N_LINES = len(geo.LINES)
_STRIPS = geo.STRIPS.astype(np.int32)


def _by_step() -> np.ndarray:
    """(63, L) pixels of the lines by their step from the candidate; PIXELS where a line has left the stamp."""
    table = np.full((STAMP_SIDE, _N_LINES), PIXELS, np.int32)
    for line, (index, length, middle) in enumerate(zip(geo.LINES, geo.LINE_LENGTHS, geo.LINE_MIDDLES, strict=True)):
        table[CENTRE - middle : CENTRE - middle + length, line] = index[:length]
    return table


_BY_STEP = _by_step()
_LINE_R2 = np.append(np.rint(_RADII**2), -1.0)[_BY_STEP].astype(np.float32)  # of their pixels; -1 beyond a line's end


@inlined
def stars(d, t, b_d, b_t, noise_d, noise_t, radius, out):
    """Sums over the pixels of stars outside K; what they say of the residuals of stars, without the flux scale.

    Gives the ratio and the slope of d against T, both to be divided by the flux scale.
    """
    n = both = bright = dark = sd = st = dd = tt = dt = 0.0
    star, residual = STAR * noise_t, RESIDUAL * noise_d
    for i in range(PIXELS):
        x, y = np.float64(d[i]) - b_d, np.float64(t[i]) - b_t
        good = (_RADII[i] > radius) and not np.isnan(x + y)
        chosen = good and y > star
        both += 1.0 if good else 0.0
        n += 1.0 if chosen else 0.0
        x, y = x if chosen else 0.0, y if chosen else 0.0
        bright += 1.0 if x > residual else 0.0
        dark += 1.0 if x < -residual else 0.0
        sd += x
        st += y
        dd += x * x
        tt += y * y
        dt += x * y
    out[:8] = 0.0
    if np.isnan(noise_d + noise_t):
        out[:8] = np.nan
        return np.nan, np.nan
    if n < FEWEST_STAR_PIXELS:
        return 0.0, 0.0
    out[0] = n / both
    out[3] = dt / np.sqrt(dd * tt)
    out[4] = slog(dt / np.sqrt(tt) / noise_d)
    out[5] = np.log1p(np.sqrt(dd / n) / noise_d)
    out[6] = bright / n
    out[7] = dark / n
    return sd / st, dt / tt


@inlined
def _clip(x, limit):
    """NaN stays."""
    return min(max(x, -limit), limit) if not np.isnan(x) else np.nan


@inlined
def excess(d, ok_d, t, ok_t, core, n_core, scale, ratio, slope, out):
    """Residuals of stars and of the candidate on the flux scale of the difference, and how they compare."""
    if ratio != 0 or slope != 0:  # else there are no stars, and the scale does not matter
        out[1] = _clip(ratio / scale, RATIO_LIMIT)
        out[2] = _clip(slope / scale, RATIO_LIMIT)
    out[8:] = np.nan
    n = sd = st = tt = dt = 0.0
    for i in range(SIZE):
        m = core[i] * ok_d[i] * ok_t[i]
        n += m
        sd += m * d[i]
        st += m * t[i]
        tt += m * t[i] * t[i]
        dt += m * d[i] * t[i]
    if not enough(n, n_core):
        return
    out[8] = _clip(sd / abs(scale * st), CORE_LIMIT)
    out[9] = _clip(dt / (scale * tt), CORE_LIMIT)
    out[10] = out[8] - out[1]
    out[11] = out[9] - out[2]
    out[12] = _clip(out[8] / (abs(out[1]) + CONTRAST_FLOOR), CONTRAST_LIMIT)


@inlined
def spots(d, b_d, noise, radius, out):
    """Pixels far from zero outside K, and the moments of z there."""
    n = bright = dark = square = cube = 0.0
    scale = 1.0 / noise
    for i in range(PIXELS):
        z = (np.float64(d[i]) - b_d) * scale
        good = 1.0 if _RADII[i] > radius and not np.isnan(z) else 0.0
        n += good
        bright += good if z > SPOT else 0.0
        dark += good if z < -SPOT else 0.0
        c = min(max(z, -CLIP), CLIP) if good > 0 else 0.0
        square += c * c
        cube += c * c * c
    out[:] = np.nan
    if n > 0:
        out[0], out[1] = bright / n, dark / n
        out[2] = (out[0] - out[1]) / (out[0] + out[1] + 1e-3)
        out[3] = cube / n / (square / n) ** 1.5
        out[4] = np.log(square / n) / 2


@inlined
def _by_halves(values, sums):
    """Sum of the values along each line, on either side of the candidate."""
    for step in range(STAMP_SIDE):
        half = 0 if step < CENTRE else 1
        for line in range(_N_LINES):
            sums[half, line] += values[_BY_STEP[step, line]]


@inlined
def trails(d, n, b_d, noise, radius, usable, out):
    """Strongest strip through the candidate outside K, and the strongest weaker half of a strip; n pixels are valid."""
    out[:] = np.nan
    if not usable or np.isnan(noise):
        return
    z, scale = np.zeros(PIXELS + 1, np.float32), 1.0 / noise
    for i in range(PIXELS):
        value = (np.float64(d[i]) - b_d) * scale
        seen = _RADII[i] > radius and not np.isnan(value)
        z[i] = min(max(value, DARKEST), BRIGHTEST) if seen else 0.0
    sums, counts = np.zeros((2, _N_LINES)), np.zeros((2, _N_LINES))
    _by_halves(z, sums)
    if n == PIXELS:
        for step in range(STAMP_SIDE):
            half = 0 if step < CENTRE else 1
            for line in range(_N_LINES):
                counts[half, line] += 1.0 if _LINE_R2[step, line] > radius * radius else 0.0
    else:
        for i in range(PIXELS):
            z[i] = 1.0 if _RADII[i] > radius and not np.isnan(d[i]) else 0.0
        _by_halves(z, counts)
    whole = weaker = 0.0
    for strip in range(len(_STRIPS)):
        a, b, c = _STRIPS[strip]
        s0, s1 = sums[0, a] + sums[0, b] + sums[0, c], sums[1, a] + sums[1, b] + sums[1, c]
        n0, n1 = counts[0, a] + counts[0, b] + counts[0, c], counts[1, a] + counts[1, b] + counts[1, c]
        if n0 + n1 >= FEWEST_IN_LINE:
            whole = max(whole, (s0 + s1) / np.sqrt(n0 + n1))
        if n0 >= FEWEST_IN_LINE // 2 and n1 >= FEWEST_IN_LINE // 2:
            weaker = max(weaker, min(s0 / np.sqrt(n0), s1 / np.sqrt(n1)))
    out[0], out[1] = np.log1p(whole), np.log1p(weaker)


@inlined
def _log_ratio(above, below):
    ratio = above / below
    return np.log(ratio) if ratio > 0 else np.nan


@inlined
def image_levels(noises, scale, out):
    """Flux scale and noises of science stamp and template against the difference."""
    out[0] = _log_ratio(scale, 1.0)
    out[1] = _log_ratio(noises[0], noises[2])
    out[2] = _log_ratio(scale * noises[1], noises[2])
