# mypy: allow-untyped-defs, allow-untyped-calls
"""Compiled twin of `fits`: point source, Gaussian, dipole and unblurred hit over the window."""

from __future__ import annotations

import numpy as np

from realbogus.features import geometry as geo
from realbogus.features.fits import WIDTH_STEP, WIDTHS
from realbogus.features.kernels_window import (
    SIZE,
    STRIDE,
    contract,
    dot,
    dot3,
    enough,
    gaussian_taps,
    inlined,
    norm_of,
    outer,
    sigma_of,
    slog,
    total,
    turn,
)
from realbogus.features.view import FWHM_TO_SIGMA

POINT = ("psf_ncc", "mf_snr", "mf_offset", "chi2_psf", "spread")
GAUSS = ("gauss_amp", "gauss_scale", "gauss_resid", "gauss_corr")
TESTS = ("dipole_gain", "llr_dipole", "dipole_ratio", "cr_gain", "llr_cr", "llr_flat")

N_WIDTHS = len(WIDTHS)
_WIDENING = float(np.sqrt(1 + 3 / 256 / FWHM_TO_SIGMA**2))
_SEPARATIONS = geo.SEPARATIONS
_SHIFTS = np.array([0.0, np.sin(np.pi / 8), np.cos(np.pi / 4), np.cos(np.pi / 8), 1.0])
_STEPS = np.array([np.abs(_SHIFTS - abs(x)).argmin() * np.sign(x) for x in geo.DIRECTIONS.ravel()]).astype(np.int64)
_SHIFT_X, _SHIFT_Y = 4 + _STEPS[0::2], 4 + _STEPS[1::2]  # rows of the nine shifts, from -1 to 1 separation


@inlined
def point_source(d, ok_core, n_core, n_core_seen, seen, n_seen, usable, p, taps, turned, radii, w, noise, out):
    """Correlation, significance, offset, chi square and spread of a point source; its flux F."""
    pd, pp, dd = 0.0, 0.0, 0.0
    cd, cp = 0.0, 0.0
    for i in range(SIZE):
        ps, c = p[i] * seen[i], p[i] * ok_core[i]
        pd += ps * d[i]
        pp += ps * p[i]
        dd += d[i] * d[i] * seen[i]
        cd += c * d[i]
        cp += c * p[i]
    flux = cd / cp
    out[0] = pd / np.sqrt(pp * dd) if usable and pp * dd > 0 else np.nan
    out[1] = slog(cd / noise / np.sqrt(cp)) if enough(n_core_seen, n_core) else np.nan
    out[2] = _offset(turned, taps, radii, w) / w if usable else np.nan
    chi2 = (dd - 2 * flux * pd + flux * flux * pp) / (noise * noise)
    out[3] = np.log1p(max(chi2, 0.0) / (n_seen - 1)) if usable else np.nan
    out[4] = _spread(d, seen, p, pd, pp, w) if usable and pd > 0 else np.nan
    return flux


@inlined
def _spread(d, seen, p, pd, pp, w):
    wide, g = np.empty(21), np.zeros(SIZE)
    sigma = sigma_of(w * _WIDENING)
    gaussian_taps(wide, sigma, 0.0)
    outer(g, wide, wide, norm_of(sigma))
    gd, gp = 0.0, 0.0
    for i in range(SIZE):
        gs = g[i] * seen[i]
        gd += gs * d[i]
        gp += gs * p[i]
    return min(max(gd / pd - gp / pp, -0.1), 0.1)


@inlined
def _offset(turned, taps, radii, w):
    """Pixels from the candidate to the maximum of P * d with r <= W (9 at most); turned is d, x and y exchanged."""
    limit = min(w, 9.0)
    reach = int(limit) + 1
    smooth = np.zeros((21, 21))  # [x, y]
    row, along = np.empty(21), np.empty(STRIDE)
    for x in range(10 - reach, 11 + reach):
        for i in range(21):
            row[i] = taps[10 + x - i] if abs(x - i) <= 10 else 0.0
        contract(turned, row, along)
        for y in range(10 - reach, 11 + reach):
            value = 0.0
            for i in range(max(0, y - 10), min(21, y + 11)):
                value += taps[10 + y - i] * along[i]
            smooth[x, y] = value
    best, bx, by = -np.inf, 10, 10
    for y in range(10 - reach, 11 + reach):
        for x in range(10 - reach, 11 + reach):
            if radii[y * STRIDE + x] <= limit and smooth[x, y] > best:
                best, bx, by = smooth[x, y], x, y
    dx = vertex(best, smooth[bx - 1, by], smooth[bx + 1, by])
    dy = vertex(best, smooth[bx, by - 1], smooth[bx, by + 1])
    return np.hypot(by - 10 + dy, bx - 10 + dx)


@inlined
def vertex(at, below, above):
    """Offset in steps of the vertex of the parabola through three values, within half a step."""
    bend = below - 2 * at + above
    if bend < 0:
        return min(max((below - above) / (2 * bend), -0.5), 0.5)
    return 0.0


@inlined
def gaussian_fit(d, ok, turned, turned_ok, full, seen, usable, usable_window, n_ok, w, out):
    """Amplitude, width, residual and correlation of the best circular Gaussian."""
    power = np.empty((N_WIDTHS, 3, 3))
    best, bw, by, bx = -np.inf, 0, 0, 0
    taps, squares = np.empty((3, 21)), np.empty((3, 21))
    along, along2 = np.empty((3, STRIDE)), np.empty((3, STRIDE))
    for i in range(N_WIDTHS):
        sigma = sigma_of(WIDTHS[i] * w)
        gaussian_taps(taps[1], sigma, 0.0)
        gaussian_taps(taps[0], sigma, -0.5)
        for k in range(21):
            taps[2, k] = taps[0, 20 - k]
        for s in range(3):
            for k in range(21):
                squares[s, k] = taps[s, k] * taps[s, k]
            contract(turned, taps[s], along[s])
            if not full:
                contract(turned_ok, squares[s], along2[s])
        for y in range(3):
            for x in range(3):
                product, norm = 0.0, 0.0
                if full:
                    sx, sy = 0.0, 0.0
                    for k in range(21):
                        product += taps[y, k] * along[x, k]
                        sx += squares[x, k]
                        sy += squares[y, k]
                    norm = sx * sy
                else:
                    for k in range(21):
                        product += taps[y, k] * along[x, k]
                        norm += squares[y, k] * along2[x, k]
                value = product * abs(product) / norm
                power[i, y, x] = value
                if value > best:
                    best, bw, by, bx = value, i, y, x
    sw = vertex(best, power[bw - 1, by, bx], power[bw + 1, by, bx]) if 0 < bw < N_WIDTHS - 1 else 0.0
    sx = vertex(best, power[bw, by, 0], power[bw, by, 2]) if bx == 1 else 0.0
    sy = vertex(best, power[bw, 0, bx], power[bw, 2, bx]) if by == 1 else 0.0
    fwhm = WIDTHS[bw] * np.exp(WIDTH_STEP * sw) * w
    _judge_gaussian(d, ok, seen, fwhm, 0.5 * (bx - 1 + sx), 0.5 * (by - 1 + sy), usable, usable_window, n_ok, w, out)


@inlined
def _judge_gaussian(d, ok, seen, fwhm, x0, y0, usable, usable_window, n_ok, w, out):
    row, column, g = np.empty(21), np.empty(21), np.zeros(SIZE)
    sigma = sigma_of(fwhm)
    gaussian_taps(row, sigma, x0)
    gaussian_taps(column, sigma, y0)
    outer(g, column, row, 1.0)
    gd, gg, peak = 0.0, 0.0, 0.0
    for i in range(SIZE):
        gd += g[i] * d[i]
        gg += g[i] * g[i] * ok[i]
        peak = max(peak, abs(d[i]))
    amplitude = gd / gg
    out[:] = np.nan
    if not amplitude > 0:
        return
    if usable_window:
        residual = 0.0
        for i in range(SIZE):
            residual += (amplitude * g[i] - d[i]) ** 2 * ok[i]
        out[0] = amplitude / peak
        out[1] = fwhm / w
        out[2] = residual / n_ok / (peak * peak)
    if usable:
        out[3] = pearson(g, d, seen)


@inlined
def pearson(a, b, mask):
    """Correlation coefficient of two flat windows over a mask of zeros and ones."""
    n = total(mask)
    mean_a, mean_b = dot(a, mask) / n, dot(b, mask) / n
    aa, bb, ab = 0.0, 0.0, 0.0
    for i in range(SIZE):
        da, db = (a[i] - mean_a) * mask[i], (b[i] - mean_b) * mask[i]
        aa += da * da
        bb += db * db
        ab += da * db
    return ab / np.sqrt(aa * bb) if aa * bb > 0 else np.nan


@inlined
def hypotheses(d, seen, full_disk, p, w, noise, usable, out):
    """Gains and likelihood ratios of point source, dipole and unblurred hit over K."""
    z, turned = np.empty(SIZE), np.zeros(SIZE)
    for i in range(SIZE):
        z[i] = d[i] * seen[i] / noise
    turn(z, turned)
    power = dot(z, z)
    point = _point(turned, seen, full_disk, w)
    dipole, second = _dipole(turned, seen, full_disk, w)
    segment = _segment(z, seen)
    out[:] = np.nan
    if not usable:
        return
    if power > 0:
        out[0] = (dipole - point) / power
        out[2] = min(max(-second, -1.0), 2.0)
        out[3] = (segment - point) / power
    out[1] = slog((dipole - point) / 2)
    out[4] = slog((segment - point) / 2)
    out[5] = slog(point / 2)


@inlined
def _along(along, taps):
    value = 0.0
    for k in range(21):
        value += along[k] * taps[k]
    return value


@inlined
def _point(turned, seen, full_disk, w):
    taps, along, g = np.empty((3, 21)), np.empty(STRIDE), np.zeros(SIZE)
    sigma = sigma_of(w)
    gaussian_taps(taps[0], sigma, -0.5)
    gaussian_taps(taps[1], sigma, 0.0)
    for k in range(21):
        taps[2, k] = taps[0, 20 - k]
    norms, best = np.zeros((3, 3)), -np.inf
    for x in range(3):
        contract(turned, taps[x], along)
        for y in range(3):
            if full_disk and (x == 2 or y == 2 or x > y):  # the disk has the symmetries of the square
                a, b = x % 2, y % 2
                norms[y, x] = norms[max(a, b), min(a, b)]
            else:
                outer(g, taps[y], taps[x], 1.0)
                norms[y, x] = dot3(g, g, seen)
            product = _along(along, taps[y])
            power = product * product / norms[y, x]
            if power > best:
                best = power
    return best


@inlined
def _dipole(turned, seen, full_disk, w):
    """Power of the best dipole, and the amplitude of its second source over that of the first.

    turned is z over K with x and y exchanged. All sums over a Gaussian are done along x first, then along y, since
    sixteen directions share nine shifts along x.
    """
    sigma = sigma_of(w)
    taps, squares, p = np.empty((9, 21)), np.empty((9, 21)), np.zeros(SIZE)
    along, along_p, along_1 = np.empty((9, STRIDE)), np.empty((9, STRIDE)), np.empty((9, STRIDE))
    turned_p, turned_1 = np.zeros(SIZE), np.zeros(SIZE)
    turn(seen, turned_1)
    gaussian_taps(taps[4], sigma, 0.0)
    outer(p, taps[4], taps[4], 1.0)
    for i in range(SIZE):
        turned_p[i] = p[i] * turned_1[i]
    a, aa = dot(p, turned), dot(p, turned_p)
    best, second, ab, bb = -np.inf, np.nan, np.zeros(4), np.zeros(4)
    for s in range(len(_SEPARATIONS)):
        _shifted_taps(taps, sigma, _SEPARATIONS[s] * w)
        for k in range(9):
            contract(turned, taps[k], along[k])
            if not full_disk or k == 6 or k == 7 or k == 8:
                for i in range(21):
                    squares[k, i] = taps[k, i] * taps[k, i]
                contract(turned_p, taps[k], along_p[k])
                contract(turned_1, squares[k], along_1[k])
        for k in range(16):
            x, y, kind = _SHIFT_X[k], _SHIFT_Y[k], k // 4
            if not full_disk or k == 0 or k == 4 or k == 8:
                ab[kind], bb[kind] = _along(along_p[x], taps[y]), 0.0
                for i in range(21):
                    bb[kind] += along_1[x, i] * taps[y, i] * taps[y, i]
            elif k == 12:  # a full disk has the symmetries of the square: the fourth quarter is the second, flipped
                ab[3], bb[3] = ab[1], bb[1]
            b = _along(along[x], taps[y])
            power = (a * a * bb[kind] - 2 * a * b * ab[kind] + b * b * aa) / (aa * bb[kind] - ab[kind] * ab[kind])
            if power > best:
                best = power
                second = (b * aa - a * ab[kind]) / (a * bb[kind] - b * ab[kind])
    return best, second


@inlined
def _shifted_taps(taps, sigma, length):
    for k in range(5):
        gaussian_taps(taps[4 + k], sigma, length * _SHIFTS[k])
        for i in range(21):
            taps[4 - k, i] = taps[4 + k, 20 - i]


@inlined
def _segment(z, seen):
    """Power of the best segment of 1, 3 or 5 px in four directions about the 3 x 3 central pixels."""
    best = 0.0
    for y in range(9, 12):
        for x in range(9, 12):
            i = y * STRIDE + x
            best = max(best, z[i] * z[i])
            for step in (1, STRIDE, STRIDE + 1, STRIDE - 1):
                flux, n = z[i - step] + z[i] + z[i + step], seen[i - step] + seen[i] + seen[i + step]
                best = max(best, flux * flux / max(n, 1.0))
                flux += z[i - 2 * step] + z[i + 2 * step]
                n += seen[i - 2 * step] + seen[i + 2 * step]
                best = max(best, flux * flux / max(n, 1.0))
    return best
