# mypy: allow-untyped-defs, allow-untyped-calls
"""Compiled twins of `photometry` and `relations`: the stamps together."""

from __future__ import annotations

import numpy as np

from realbogus.alerts import STAMP_SIDE
from realbogus.features import geometry as geo
from realbogus.features.kernels_fits import pearson, vertex
from realbogus.features.kernels_window import (
    PIXELS,
    SIZE,
    START,
    STRIDE,
    enough,
    inlined,
    padded,
    slog,
    total,
)
from realbogus.features.relations import LAG

PHOTOMETRY = ("l1", "r_aper_psf", "flux_ratio")
RELATIONS = ("ncc_ds", "ncc_dt", "ncc_st", "psf_ncc_s", "psf_ncc_t", "closure_resid", "t_core_z", "s_core_z")
REGISTRATION = ("st_shift", "st_peak")
GRADIENT = ("grad_r2",)

_APERTURE = padded(geo.APERTURE)
_APERTURE_SUM = float(geo.APERTURE.sum())
_IN_APERTURE = (_APERTURE > 0).astype(np.float64)
_N_APERTURE = float(_IN_APERTURE.sum())
_N_LAGS = 2 * LAG + 1
_SIDE_TAP = float(np.exp(-2.0))


@inlined
def whole_stamp(s, t, d, b_s, b_t, b_d, peak, full, sign, out):
    """Flux scale and offset of template to difference over all pixels; l1 of the difference into out.

    peak is the largest |d|; full: no pixel of the three stamps is invalid.
    """
    n = sx = sy = sxx = sxy = net = gross = 0.0
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
