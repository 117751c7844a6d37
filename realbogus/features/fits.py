"""Family B: how well a point source, a dipole or an unblurred hit explains the candidate.

The hypotheses are compared over K with unit weights on z = d / noise. A "gain" is the share of the candidate's power
that the alternative explains better than a point source, which unlike a likelihood ratio does not grow with S/N.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column
from realbogus.features import geometry as geo
from realbogus.features.feature import Family
from realbogus.features.view import FWHM_TO_SIGMA, View, Window, WindowMask, gaussian, slog, total

B = Family("B")
RB2 = "Brink+2013, Goldstein+2015"
SHIFTS_PX = (-0.5, 0.0, 0.5)
WIDTHS = np.exp(np.linspace(np.log(0.35), np.log(4.0), 12))  # FWHM of the fitted Gaussian, in W
WIDTH_STEP = float(np.log(WIDTHS[1] / WIDTHS[0]))


class GaussianFit(NamedTuple):
    """Best circular Gaussian on d over the valid window; fluxes in units of d."""

    amplitude: Column  # at its peak
    fwhm: Column  # pixels
    model: Window


def _top(power: Column, below: Column, above: Column) -> Column:
    """Offset in steps, within half a step, of the vertex of the parabola through three equally spaced values."""
    bend = below - 2 * power + above
    return np.where(bend < 0, np.clip((below - above) / (2 * np.where(bend < 0, bend, 1.0)), -0.5, 0.5), 0.0)


def _explained(view: View, fwhm: Column, x: Column | float, y: Column | float) -> tuple[Column, Column]:
    """Power of d that a Gaussian explains, signed as its amplitude, and that amplitude."""
    ok = view.difference.ok
    shape = np.where(ok, gaussian(fwhm, x, y), 0.0)
    dot, norm = total(shape * view.difference.window), total(shape * shape)
    return dot * np.abs(dot) / norm, dot / norm


def gaussian_fit(view: View) -> GaussianFit:
    """The Gaussian of positive amplitude that explains most power: best of a grid in width and centre, refined.

    The grid has 12 widths (0.35 to 4 W) and 3 x 3 centres (half a pixel apart), all amplitudes in closed form, so
    the global optimum is found; a parabola through the neighbours then refines each parameter. An iteration
    stopped after a few steps would not be converged everywhere.
    """
    power = np.array(
        [[[_explained(view, w * view.psf, x, y)[0] for x in SHIFTS_PX] for y in SHIFTS_PX] for w in WIDTHS]
    )
    best = power.reshape(-1, len(view.psf)).argmax(axis=0)
    iw, iy, ix = np.unravel_index(best, power.shape[:3])
    rows = np.arange(len(best))

    def refined(i: NDArray[np.intp], n: int, at: object) -> Column:
        def of(j: NDArray[np.intp]) -> Column:
            return power[at(np.clip(j, 0, n - 1))]  # type: ignore[operator]

        return np.where((i > 0) & (i < n - 1), _top(of(i), of(i - 1), of(i + 1)), 0.0)

    step_w = refined(iw, len(WIDTHS), lambda j: (j, iy, ix, rows))
    step_x = refined(ix, 3, lambda j: (iw, iy, j, rows))
    step_y = refined(iy, 3, lambda j: (iw, j, ix, rows))
    fwhm = WIDTHS[iw] * np.exp(WIDTH_STEP * step_w) * view.psf
    x, y = 0.5 * (ix - 1 + step_x), 0.5 * (iy - 1 + step_y)
    flux = _explained(view, fwhm, x, y)[1]
    amplitude = flux / (2 * np.pi * (fwhm * FWHM_TO_SIGMA) ** 2)
    return GaussianFit(amplitude, fwhm, flux[:, None] * gaussian(fwhm, x, y))


def _fit(view: View) -> GaussianFit:
    return view.kept("gaussian_fit", gaussian_fit)


def _window_enough(view: View) -> NDArray[np.bool_]:
    return view.enough(np.ones(geo.PIXELS, bool), view.difference.ok)


def _peak(view: View) -> Column:
    """Largest |d| of the window."""
    peak: Column = np.abs(view.difference.window).max(axis=1)
    return peak


@B.feature(0, 20, "N1 N3", RB2, stamps="D")
def gauss_amp(view: View) -> Column:
    """Amplitude of the best circular Gaussian over the largest |d| of the window."""
    fit, peak = _fit(view), _peak(view)
    return np.where(_window_enough(view) & (fit.amplitude > 0), fit.amplitude / peak, np.nan)


@B.feature(0.2, 5, "N1 N3", RB2 + ", scaling ours", stamps="D", unit="W")
def gauss_scale(view: View) -> Column:
    """FWHM of the best circular Gaussian in units of the PSF's."""
    fit = _fit(view)
    return np.where(_window_enough(view) & (fit.amplitude > 0), fit.fwhm / view.psf, np.nan)


@B.feature(0, 1, "N1 N3", RB2 + ", mean for sum ours", stamps="D")
def gauss_resid(view: View) -> Column:
    """Mean square residual of the best circular Gaussian over the square of the largest |d|, in the window."""
    fit, ok = _fit(view), view.difference.ok
    residual = total((fit.model - view.difference.window) ** 2, ok) / np.maximum(ok.sum(axis=1), 1)
    return np.where(_window_enough(view) & (fit.amplitude > 0), residual / _peak(view) ** 2, np.nan)


def pearson(a: Window, b: Window, mask: WindowMask) -> Column:
    """Correlation coefficient of two windows over a mask; NaN where one of them is constant."""
    count = mask.sum(axis=1)
    a0 = np.where(mask, a - (total(a, mask) / count)[:, None], 0.0)
    b0 = np.where(mask, b - (total(b, mask) / count)[:, None], 0.0)
    power = total(a0 * a0) * total(b0 * b0)
    return np.where(power > 0, total(a0 * b0) / np.sqrt(power), np.nan)


@B.feature(-1, 1, "N1 N3", "ours, in the spirit of Brink+2013 corr", stamps="D")
def gauss_corr(view: View) -> Column:
    """Pearson correlation of the best circular Gaussian with d over K."""
    fit = _fit(view)
    usable = view.seen_enough & (fit.amplitude > 0)
    return np.where(usable, pearson(fit.model, view.difference.window, view.seen), np.nan)


def psf_flux(view: View) -> Column:
    """F (N,): flux of P at the candidate's pixel, fitted over C, in units of d."""
    model = np.where(view.core & view.difference.ok, view.model, 0.0)
    return total(model * view.difference.window) / total(model * model)


@B.feature(-1, 1, "N1 N3", "ours", stamps="D")
def psf_ncc(view: View) -> Column:
    """Normalised correlation of P and d over K; its square is the share of power of a centred point source."""
    model = np.where(view.seen, view.model, 0.0)
    power = total(model * model) * total(view.difference.window**2, view.seen)
    return np.where(view.seen_enough & (power > 0), total(model * view.difference.window) / np.sqrt(power), np.nan)


@B.feature(-12, 12, "N1", "ours, in the spirit of ZTF scorr", stamps="D")
def mf_snr(view: View) -> Column:
    """slog of the matched-filter S/N at the candidate's pixel, over C."""
    model = np.where(view.core & view.difference.ok, view.model, 0.0)
    snr = total(model * view.difference.z) / np.sqrt(total(model * model))
    return np.where(view.enough(view.core, view.difference.ok), slog(snr), np.nan)


def matched(view: View) -> NDArray[np.float64]:
    """P * d over the window (N, 21, 21), separable; pixels beyond the window count as zero."""
    sigma = view.psf * FWHM_TO_SIGMA
    taps = np.arange(-geo.HALF, geo.HALF + 1)
    smooth = view.difference.window.reshape(-1, geo.SIDE, geo.SIDE)
    for axis in (1, 2):
        padded = np.pad(smooth, [(0, 0)] + [(geo.HALF, geo.HALF) if a == axis else (0, 0) for a in (1, 2)])
        parts = [
            np.exp(-(tap**2) / (2 * sigma**2))[:, None, None]
            * np.take(padded, np.arange(geo.SIDE) + geo.HALF + tap, axis=axis)
            for tap in taps
        ]
        smooth = np.sum(parts, axis=0)
    return smooth


@B.feature(0, 1.5, "N1", "ours", stamps="D", unit="W")
def mf_offset(view: View) -> Column:
    """Distance of the maximum of P * d from the candidate, searched within r <= W, parabola-refined."""
    smooth = matched(view)
    flat = np.where(view.near, smooth.reshape(-1, geo.PIXELS), -np.inf)
    best, rows = flat.argmax(axis=1), np.arange(len(flat))
    y, x = best // geo.SIDE, best % geo.SIDE
    top = smooth[rows, y, x]
    dy = _top(top, smooth[rows, y - 1, x], smooth[rows, y + 1, x])
    dx = _top(top, smooth[rows, y, x - 1], smooth[rows, y, x + 1])
    distance = np.hypot(y - geo.HALF + dy, x - geo.HALF + dx) / view.psf
    return np.where(view.enough(view.disk, view.difference.ok), distance, np.nan)


@B.feature(0, 20, "N1", "ours", stamps="D")
def chi2_psf(view: View) -> Column:
    """ln(1 + reduced chi square) of the point source F P over K."""
    z, noise = view.difference.window, view.difference.noise
    residual = total((z - psf_flux(view)[:, None] * view.model) ** 2, view.seen) / noise**2
    return np.where(view.seen_enough, np.log1p(residual / (view.seen.sum(axis=1) - 1)), np.nan)


@B.feature(-0.1, 0.1, "N1 N3", "ours, in the spirit of SExtractor SPREAD_MODEL", stamps="D")
def spread(view: View) -> Column:
    """(G.d)/(P.d) - (G.P)/(P.P) over K, G = P widened by a disk of scale length W/16; below 0 sharper than the PSF.

    G is the Gaussian with the variance of P plus that of the exponential disk (3 (W/16)^2 an axis). Clipped to 0.1.
    """
    widened = view.psf * np.sqrt(1 + 3 / 256 / FWHM_TO_SIGMA**2)
    p = np.where(view.seen, view.model, 0.0)
    g = np.where(view.seen, gaussian(widened), 0.0)
    d = view.difference.window
    flux = total(p * d)
    value = total(g * d) / flux - total(g * p) / total(p * p)
    return np.where(view.seen_enough & (flux > 0), np.clip(value, -0.1, 0.1), np.nan)


class Hypotheses(NamedTuple):
    """Power that each hypothesis explains, in units of the noise squared, and the total power over K."""

    total: Column
    point: Column
    dipole: Column
    second: Column  # amplitude of the best dipole's second source over that of its first
    segment: Column


def hypotheses(view: View) -> Hypotheses:
    """Fit a point source, a dipole and an unblurred segment to z over K, the best of a grid of each."""
    z = np.where(view.seen, view.difference.z, 0.0)
    dipole, second = _dipole_power(view, z)
    return Hypotheses(total(z * z), _point_power(view, z), dipole, second, _segment_power(view, z))


def _point_power(view: View, z: Window) -> Column:
    power = np.full(len(z), -np.inf)
    for y in SHIFTS_PX:
        for x in SHIFTS_PX:
            shape = np.where(view.seen, gaussian(view.psf, x, y), 0.0)
            power = np.fmax(power, total(shape * z) ** 2 / total(shape * shape))
    return power


def _dipole_power(view: View, z: Window) -> tuple[Column, Column]:
    p = np.where(view.seen, view.model, 0.0)
    a, aa = total(p * z), total(p * p)
    power, ratio = [], []
    for separation in geo.SEPARATIONS:
        for cosine, sine in geo.DIRECTIONS:
            shifted = gaussian(view.psf, separation * cosine * view.psf, separation * sine * view.psf)
            q = np.where(view.seen, shifted, 0.0)
            b, bb, ab = total(q * z), total(q * q), total(p * q)
            determinant = aa * bb - ab * ab
            power.append((a * a * bb - 2 * a * b * ab + b * b * aa) / determinant)
            ratio.append((b * aa - a * ab) / (a * bb - b * ab))
    best = np.argmax(np.where(np.isfinite(power), power, -np.inf), axis=0)
    rows = np.arange(len(best))
    return np.array(power)[best, rows], np.array(ratio)[best, rows]


def _segment_power(view: View, z: Window) -> Column:
    power = np.full(len(z), -np.inf)
    for flat, length in zip(geo.SEGMENTS, geo.SEGMENT_LENGTHS, strict=True):
        index = flat[:length]
        seen = view.seen[:, index].sum(axis=1)
        power = np.maximum(power, np.where(seen > 0, total(z[:, index]) ** 2 / np.maximum(seen, 1), -np.inf))
    return power


def _tests(view: View) -> Hypotheses:
    return view.kept("hypotheses", hypotheses)


@B.feature(-1, 1, "N1 N3", "ours", stamps="D")
def dipole_gain(view: View) -> Column:
    """Share of the power over K that two sources explain better than one."""
    h = _tests(view)
    return np.where(view.seen_enough & (h.total > 0), (h.dipole - h.point) / h.total, np.nan)


@B.feature(-15, 25, "N1", "ours", stamps="D")
def llr_dipole(view: View) -> Column:
    """slog of half the chi square difference: log likelihood ratio of dipole over point source."""
    h = _tests(view)
    return np.where(view.seen_enough, slog((h.dipole - h.point) / 2), np.nan)


@B.feature(-1, 2, "N1 N3", "ours", stamps="D")
def dipole_ratio(view: View) -> Column:
    """Minus second over first amplitude of the best dipole, clipped: 1 equal opposite lobes, 0 no second lobe."""
    h = _tests(view)
    return np.where(view.seen_enough & (h.total > 0), np.clip(-h.second, -1.0, 2.0), np.nan)


@B.feature(-1, 1, "N1 N3", "ours", stamps="D")
def cr_gain(view: View) -> Column:
    """Share of the power over K that an unblurred pixel or segment explains better than a point source."""
    h = _tests(view)
    return np.where(view.seen_enough & (h.total > 0), (h.segment - h.point) / h.total, np.nan)


@B.feature(-25, 25, "N1", "ours", stamps="D")
def llr_cr(view: View) -> Column:
    """slog of half the chi square difference: log likelihood ratio of unblurred hit over point source."""
    h = _tests(view)
    return np.where(view.seen_enough, slog((h.segment - h.point) / 2), np.nan)


@B.feature(-12, 25, "N1", "ours", stamps="D")
def llr_flat(view: View) -> Column:
    """slog of half the power of the best point source: log likelihood ratio of point source over nothing."""
    return np.where(view.seen_enough, slog(_tests(view).point / 2), np.nan)
