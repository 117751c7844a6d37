# mypy: allow-untyped-defs, allow-untyped-calls
"""Compiled twins of `photometry`, `relations`, `defects` and `surroundings`: the stamps together, and lines in them."""

from __future__ import annotations

import numpy as np

from realbogus.alerts import STAMP_SIDE
from realbogus.features import geometry as geo
from realbogus.features.defects import FEWEST_IN_LINE, NEIGHBOURS, PLATEAU, PLATEAU_PIXELS
from realbogus.features.kernels_fits import pearson, vertex
from realbogus.features.kernels_window import (
    _MAD_TO_SIGMA,
    PIXELS,
    SIZE,
    START,
    STRIDE,
    dot,
    enough,
    inlined,
    median,
    padded,
    slog,
    total,
)
from realbogus.features.relations import LAG

PHOTOMETRY = ("l1", "r_aper_psf", "flux_ratio")
RELATIONS = ("ncc_ds", "ncc_dt", "ncc_st", "psf_ncc_s", "psf_ncc_t", "closure_resid", "t_core_z", "s_core_z")
REGISTRATION = ("st_shift", "st_peak")
GRADIENT = ("grad_r2",)
PEAKS = ("peak_ring8", "peak_ring8_sci", "sat_frac_s", "sat_frac_t")
LINES = ("line_med_max", "radon_peak")
SURROUNDINGS = ("noise_ratio", "noise_acf1")

_APERTURE = padded(geo.APERTURE)
_APERTURE_SUM = float(geo.APERTURE.sum())
_IN_APERTURE = (_APERTURE > 0).astype(np.float64)
_N_APERTURE = float(_IN_APERTURE.sum())
_BEYOND = np.arange(STAMP_SIDE) >= geo.LINE_LENGTHS[:, None]
# Pixel by pixel, so that neighbouring lines are read side by side.
_LINES = np.ascontiguousarray(np.where(_BEYOND, PIXELS, geo.LINES).T.astype(np.int32))
_LINE_LENGTHS = geo.LINE_LENGTHS.astype(np.float64)
_NEIGHBOURS = np.array([y * STRIDE + x for y, x in NEIGHBOURS])
_N_LAGS = 2 * LAG + 1
_SIDE_TAP = float(np.exp(-2.0))


@inlined
def whole_stamp(s, t, d, b_s, b_t, b_d, full, sign, out):
    """Flux scale and offset of template to difference over all pixels; l1 of the difference into out.

    full: no pixel of the three stamps is invalid.
    """
    n = sx = sy = sxx = sxy = net = gross = peak = 0.0
    if full:
        n = PIXELS
        for i in range(PIXELS):
            v, x = np.float64(d[i]) - b_d, np.float64(t[i]) - b_t
            y = np.float64(s[i]) - b_s - sign * v
            sx += x
            sy += y
            sxx += x * x
            sxy += x * y
            net += v
            gross += abs(v)
    else:
        for i in range(PIXELS):
            v, x = np.float64(d[i]) - b_d, np.float64(t[i]) - b_t
            y = np.float64(s[i]) - b_s - sign * v
            if not np.isnan(x + y):
                n += 1
                sx += x
                sy += y
                sxx += x * x
                sxy += x * y
            if not np.isnan(v):
                net += v
                gross += abs(v)
    for i in range(PIXELS):
        v = abs(np.float64(d[i]) - b_d)
        peak = v if v > peak else peak
    spread = sxx - sx * sx / n
    scale = (sxy - sx * sy / n) / spread if spread > 0 else np.nan
    out[0] = slog(np.sign(net) * gross / np.sqrt(abs(net) * peak)) if abs(net) >= 1e-6 * gross else np.nan
    return scale, (sy - scale * sx) / n


@inlined
def _aperture(pixels, ok):
    weight, seen, flux = 0.0, 0.0, 0.0
    for i in range(SIZE):
        weight += _APERTURE[i] * ok[i]
        seen += _IN_APERTURE[i] * ok[i]
        flux += _APERTURE[i] * ok[i] * pixels[i]
    return flux * (_APERTURE_SUM / weight) if enough(seen, _N_APERTURE) else np.nan


@inlined
def photometry(d, ok_d, t, ok_t, scale, flux, usable, out):
    """Host contrast in an aperture of 5 px; flux is that of the point source."""
    host = scale * _aperture(t, ok_t)
    out[1] = slog((host + flux) / flux) if usable and flux != 0 else np.nan
    out[2] = slog((_aperture(d, ok_d) - host) / abs(host)) if host != 0 else np.nan


@inlined
def _seen_of(disk, a, b, n_disk, out):
    """Mask of the pixels of K valid in both, and whether they are enough."""
    for i in range(SIZE):
        out[i] = disk[i] * a[i] * b[i]
    return enough(total(out), n_disk)


@inlined
def relations(s, t, d, ok_s, ok_t, ok_d, disk, n_disk, core, n_core, p, noises, sign, scale, offset, out):
    """Correlations of the stamps with each other and with P, closure, brightest core pixels."""
    both = np.empty(SIZE)
    out[:] = np.nan
    if _seen_of(disk, ok_d, ok_s, n_disk, both):
        out[0] = pearson(d, s, both)
    if _seen_of(disk, ok_d, ok_t, n_disk, both):
        out[1] = pearson(d, t, both)
    if _seen_of(disk, ok_s, ok_t, n_disk, both):
        out[2] = pearson(s, t, both)
    if _seen_of(disk, ok_s, ok_s, n_disk, both):
        out[3] = pearson(p, s, both)
    if _seen_of(disk, ok_t, ok_t, n_disk, both):
        out[4] = pearson(p, t, both)
    for i in range(SIZE):
        both[i] = disk[i] * ok_s[i] * ok_t[i] * ok_d[i]
    n = total(both)
    if enough(n, n_disk):
        squares = 0.0
        for i in range(SIZE):
            squares += both[i] * (s[i] - sign * d[i] - scale * t[i] - offset) ** 2
        out[5] = np.log1p(np.sqrt(squares / max(n, 1.0)) / noises[2])
    out[6] = _core_peak(t, ok_t, core, n_core, noises[1])
    out[7] = _core_peak(s, ok_s, core, n_core, noises[0])


@inlined
def _core_peak(pixels, ok, core, n_core, noise):
    top, seen = -np.inf, 0.0
    for i in range(SIZE):
        if core[i] * ok[i] > 0:
            seen += 1
            top = max(top, pixels[i])
    return slog(top / noise) if enough(seen, n_core) else np.nan


@inlined
def registration(s, ok_s, template, b_t, n_st, w, out):
    """Shift between science and template at which they correlate best, and that correlation."""
    out[:] = np.nan
    if not enough(n_st, 441.0):
        return
    side = 21 + 2 * LAG
    t, ok_t = np.zeros((side, 32)), np.zeros((side, 32))
    for y in range(side):
        for x in range(side):
            value = np.float64(template[(START - LAG + y) * STAMP_SIDE + START - LAG + x]) - b_t
            good = not np.isnan(value)
            t[y, x], ok_t[y, x] = value if good else 0.0, 1.0 if good else 0.0
    ncc = np.empty((_N_LAGS, _N_LAGS))
    best, by, bx = -np.inf, 0, 0
    for y in range(_N_LAGS):
        for x in range(_N_LAGS):
            value = _at_lag(s, ok_s, t, ok_t, y, x)
            ncc[y, x] = value
            if value > best:
                best, by, bx = value, y, x
    if best == -np.inf:
        return
    dy = vertex(best, ncc[by - 1, bx], ncc[by + 1, bx]) if 0 < by < _N_LAGS - 1 else 0.0
    dx = vertex(best, ncc[by, bx - 1], ncc[by, bx + 1]) if 0 < bx < _N_LAGS - 1 else 0.0
    out[0] = np.hypot(by - LAG + dy, bx - LAG + dx) / w
    out[1] = best


@inlined
def _at_lag(s, ok_s, t, ok_t, y, x):
    """Correlation of the science window with the template window shifted by (y, x) - LAG."""
    n = sum_s = sum_t = ss = tt = st = 0.0
    for row in range(21):
        for k in range(21):
            os, ot = ok_s[row * STRIDE + k], ok_t[row + y, k + x]
            a, b = s[row * STRIDE + k] * ot, t[row + y, k + x] * os
            n += os * ot
            sum_s += a
            sum_t += b
            ss += a * a
            tt += b * b
            st += a * b
    power = (ss - sum_s * sum_s / n) * (tt - sum_t * sum_t / n)
    return (st - sum_s * sum_t / n) / np.sqrt(power) if power > 0 else np.nan


@inlined
def gradient(d, ok_d, t, ok_t, disk, n_disk, out):
    """Share of the power of d over K that the gradient of the smoothed template explains."""
    out[0] = np.nan
    seen = np.empty(SIZE)
    if not _seen_of(disk, ok_d, ok_t, n_disk, seen):
        return
    wide, rows, smooth = np.empty((25, 25)), np.empty((23, 25)), np.empty((23, 23))
    for y in range(25):
        for x in range(25):
            wide[y, x] = t[min(max(y - 2, 0), 20) * STRIDE + min(max(x - 2, 0), 20)]
    for y in range(23):
        for x in range(25):
            rows[y, x] = wide[y + 1, x] + _SIDE_TAP * (wide[y, x] + wide[y + 2, x])
    for y in range(23):
        for x in range(23):
            smooth[y, x] = (rows[y, x + 1] + _SIDE_TAP * (rows[y, x] + rows[y, x + 2])) / (1 + 2 * _SIDE_TAP) ** 2
    xx = yy = xy = dx = dy = dd = 0.0
    for y in range(21):
        for x in range(21):
            m = seen[y * STRIDE + x]
            gx = m * (smooth[y + 1, x + 2] - smooth[y + 1, x]) / 2
            gy = m * (smooth[y + 2, x + 1] - smooth[y, x + 1]) / 2
            v = m * d[y * STRIDE + x]
            xx += gx * gx
            yy += gy * gy
            xy += gx * gy
            dx += gx * v
            dy += gy * v
            dd += v * v
    determinant = xx * yy - xy * xy
    if dd > 0 and determinant > 1e-9 * xx * yy:
        out[0] = (dx * dx * yy - 2 * dx * dy * xy + dy * dy * xx) / determinant / dd


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
def lines(stamp, background, noise, usable, out):
    """Strongest central row or column, and strongest line through the candidate."""
    out[:] = np.nan
    if not usable:
        return
    z, good, n = np.zeros(PIXELS + 1), np.zeros(PIXELS + 1), 0
    for i in range(PIXELS):
        value = (np.float64(stamp[i]) - background) / noise
        seen = not np.isnan(value)
        z[i] = min(max(value, -5.0), 5.0) if seen else 0.0
        good[i] = 1.0 if seen else 0.0
        n += seen
    out[0] = _line_median(stamp, background) / noise
    sums, counts = np.zeros(len(_LINE_LENGTHS)), np.zeros(len(_LINE_LENGTHS))
    _along_lines(z, sums)
    if n == PIXELS:
        counts[:] = _LINE_LENGTHS
    else:
        _along_lines(good, counts)
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
def _line_median(stamp, background):
    values, best = np.empty(STAMP_SIDE), -np.inf
    for offset in range(-geo.LINE_OFFSET_PX, geo.LINE_OFFSET_PX + 1):
        for across in range(2):
            n = 0
            for k in range(STAMP_SIDE):
                line = START + 10 + offset
                value = stamp[line * STAMP_SIDE + k] if across else stamp[k * STAMP_SIDE + line]
                if not np.isnan(value):
                    values[n] = np.float64(value) - background
                    n += 1
            if n >= FEWEST_IN_LINE:
                best = max(best, median(values, n))
    return best


@inlined
def surroundings(d, ok_d, disk, noise, out):
    """Noise in the window outside K, and the correlation of neighbouring pixels there."""
    out[:] = np.nan
    values, n, wanted = np.empty(SIZE), 0, 0.0
    z, inside = np.zeros(SIZE), np.zeros(SIZE)
    for y in range(21):
        for x in range(21):
            i = y * STRIDE + x
            wanted += disk[i] == 0
            if disk[i] == 0 and ok_d[i] > 0:
                values[n] = d[i]
                n += 1
                z[i], inside[i] = min(max(d[i] / noise, -5.0), 5.0), 1.0
    if not enough(n, wanted):
        return
    middle = median(values, n)
    for k in range(n):
        values[k] = abs(values[k] - middle)
    out[0] = median(values, n) * _MAD_TO_SIGMA / noise
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
