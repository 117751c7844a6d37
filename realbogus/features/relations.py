"""Family H: how science, template and difference stamp belong together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import CENTRE, Column
from realbogus.features import geometry as geo
from realbogus.features.feature import Family
from realbogus.features.fits import pearson
from realbogus.features.view import Layer, View, Window, slog, total

H = Family("H")
LAG = 3  # pixels, largest registration shift looked for


class Closure(NamedTuple):
    """S - s d = scale T + offset, fitted over the pixels valid in all three stamps."""

    scale: Column
    offset: Column


def closure(view: View) -> Closure:
    """Flux scale of the template on that of the difference; the two have different zero points.

    s = +1 for a candidate brighter than the template, -1 for a fainter one. Measured on ZTF: 0.45 to 1.17.
    """
    return view.kept("closure", _closure)


def _closure(view: View) -> Closure:
    s, t, d = view.science, view.template, view.difference
    ok = (s.valid & t.valid & d.valid).reshape(len(view.psf), -1)
    x = t.pixels.reshape(ok.shape)
    y = s.pixels.reshape(ok.shape) - view.sign[:, None] * d.pixels.reshape(ok.shape)
    n = ok.sum(axis=1)
    mean_x, mean_y = total(x, ok) / n, total(y, ok) / n
    dx = np.where(ok, x - mean_x[:, None], 0.0)
    spread = total(dx * dx)
    scale = np.where(spread > 0, total(dx * y) / spread, np.nan)
    return Closure(scale, mean_y - scale * mean_x)


def correlation(view: View, a: Layer, b: Layer) -> Column:
    """Pearson correlation of two stamps over the pixels of K valid in both."""
    both = view.disk & a.ok & b.ok
    return np.where(view.enough(view.disk, a.ok & b.ok), pearson(a.window, b.window, both), np.nan)


@H.feature(-1, 1, "N1 N3", "ours", stamps="DS")
def ncc_ds(view: View) -> Column:
    """Correlation of difference and science stamp over K."""
    return correlation(view, view.difference, view.science)


@H.feature(-1, 1, "N1 N3", "ours", stamps="DT")
def ncc_dt(view: View) -> Column:
    """Correlation of difference and template over K; high = residual of a template source."""
    return correlation(view, view.difference, view.template)


@H.feature(-1, 1, "N1 N3", "ours", stamps="ST")
def ncc_st(view: View) -> Column:
    """Correlation of science and template over K; high = the scene itself hardly changed."""
    return correlation(view, view.science, view.template)


def _registration(view: View) -> tuple[Column, Column]:
    """Shift in pixels between science window and template at which they correlate best, and that correlation."""
    s, t = view.science, view.template
    lags = range(-LAG, LAG + 1)
    ncc = np.array([[_at_lag(s, t, y, x) for x in lags] for y in lags])
    flat = np.where(np.isfinite(ncc), ncc, -np.inf).reshape(len(lags) ** 2, -1)
    best, rows = flat.argmax(axis=0), np.arange(flat.shape[1])
    y, x = best // len(lags), best % len(lags)
    dy = _vertex(ncc, y, x, rows, 1, 0)
    dx = _vertex(ncc, y, x, rows, 0, 1)
    return np.hypot(y - LAG + dy, x - LAG + dx), flat[best, rows]


def _at_lag(s: Layer, t: Layer, y: int, x: int) -> Column:
    start = CENTRE - geo.HALF
    rows, columns = slice(start + y, start + y + geo.SIDE), slice(start + x, start + x + geo.SIDE)
    shifted = np.ascontiguousarray(t.pixels[:, rows, columns]).reshape(s.window.shape)
    ok = np.ascontiguousarray(t.valid[:, rows, columns]).reshape(s.window.shape)
    return pearson(s.window, shifted, s.ok & ok)


def _vertex(
    ncc: NDArray[np.float64], y: NDArray[np.intp], x: NDArray[np.intp], rows: NDArray[np.intp], dy: int, dx: int
) -> Column:
    """Sub-pixel offset of the peak along one axis; 0 at the border of the lags."""
    last = ncc.shape[0] - 1
    here, at = (y if dy else x), ncc[y, x, rows]
    below = ncc[np.maximum(y - dy, 0), np.maximum(x - dx, 0), rows]
    above = ncc[np.minimum(y + dy, last), np.minimum(x + dx, last), rows]
    bend = below - 2 * at + above
    offset = np.clip((below - above) / (2 * np.where(bend < 0, bend, np.nan)), -0.5, 0.5)
    return np.where((here > 0) & (here < last) & np.isfinite(offset), offset, 0.0)


@H.feature(0, 4, "N1", "ours", stamps="ST", unit="W")
def st_shift(view: View) -> Column:
    """Distance of the peak of the correlation of science window and template within 3 px, parabola-refined.

    Plain normalised correlation of the 21 x 21 window instead of phase correlation of the stamp: it needs no
    Fourier transform, handles invalid pixels, and looks at the candidate's surroundings only.
    """
    shift, _ = view.kept("registration", _registration)
    return np.where(_both_enough(view), shift / view.psf, np.nan)


@H.feature(-1, 1, "N1", "ours", stamps="ST")
def st_peak(view: View) -> Column:
    """That correlation: how far st_shift can be believed."""
    _, peak = view.kept("registration", _registration)
    return np.where(_both_enough(view), peak, np.nan)


def _both_enough(view: View) -> NDArray[np.bool_]:
    return view.enough(np.ones(geo.PIXELS, bool), view.science.ok & view.template.ok)


@H.feature(0, 12, "N1 N3", "ours", stamps="DST", columns="diff_sign")
def closure_resid(view: View) -> Column:
    """ln(1 + rms over K of (S - s d - scale T - offset) / noise of d)."""
    fit = closure(view)
    s, t, d = view.science, view.template, view.difference
    ok = view.disk & s.ok & t.ok & d.ok
    left = s.window - view.sign[:, None] * d.window - fit.scale[:, None] * t.window - fit.offset[:, None]
    rms = np.sqrt(total(left * left, ok) / np.maximum(ok.sum(axis=1), 1)) / d.noise
    return np.where(view.enough(view.disk, s.ok & t.ok & d.ok), np.log1p(rms), np.nan)


@H.feature(-5, 15, "N1", "ours", stamps="T")
def t_core_z(view: View) -> Column:
    """slog of the largest z of the template over C: is there a source underneath."""
    return _core_peak(view, view.template)


@H.feature(-5, 15, "N1", "ours", stamps="S")
def s_core_z(view: View) -> Column:
    """slog of the largest z of the science stamp over C."""
    return _core_peak(view, view.science)


def _core_peak(view: View, layer: Layer) -> Column:
    top = np.where(view.core & layer.ok, layer.z, -np.inf).max(axis=1)
    return np.where(view.enough(view.core, layer.ok), slog(top), np.nan)


def smooth_gradient(view: View) -> tuple[Window, Window]:
    """Central differences (x, y) of the template window smoothed by a Gaussian of sigma 0.5 px (3 taps an axis)."""
    side = np.exp(-2.0)
    image = view.template.window.reshape(-1, geo.SIDE, geo.SIDE)
    wide = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="edge")
    rows = wide[:, 1:-1] + side * (wide[:, :-2] + wide[:, 2:])
    smooth = (rows[:, :, 1:-1] + side * (rows[:, :, :-2] + rows[:, :, 2:])) / (1 + 2 * side) ** 2
    gx = (smooth[:, 1:-1, 2:] - smooth[:, 1:-1, :-2]) / 2
    gy = (smooth[:, 2:, 1:-1] - smooth[:, :-2, 1:-1]) / 2
    return gx.reshape(-1, geo.PIXELS), gy.reshape(-1, geo.PIXELS)


@H.feature(0, 1, "N1 N3", "ours", stamps="DT")
def grad_r2(view: View) -> Column:
    """Share of the power of d over K that the gradient of T explains: a registration error is -shift.grad T."""
    seen = view.seen & view.template.ok
    gx, gy = (np.where(seen, g, 0.0) for g in smooth_gradient(view))
    d = np.where(seen, view.difference.window, 0.0)
    xx, yy, xy, dx, dy = total(gx * gx), total(gy * gy), total(gx * gy), total(gx * d), total(gy * d)
    determinant = xx * yy - xy * xy
    explained = (dx * dx * yy - 2 * dx * dy * xy + dy * dy * xx) / determinant
    power = total(d * d)
    usable = view.enough(view.disk, view.difference.ok & view.template.ok)
    usable &= (power > 0) & (determinant > 1e-9 * xx * yy)
    return np.where(usable, explained / power, np.nan)


def centred(view: View, layer: Layer) -> Column:
    """Correlation of P with a stamp over K."""
    return np.where(view.enough(view.disk, layer.ok), pearson(view.model, layer.window, view.disk & layer.ok), np.nan)


@H.feature(-1, 1, "N1 N3", "ours", stamps="S")
def psf_ncc_s(view: View) -> Column:
    """Correlation of P with the science stamp over K: is there a point source at the candidate's place."""
    return centred(view, view.science)


@H.feature(-1, 1, "N1 N3", "ours", stamps="T")
def psf_ncc_t(view: View) -> Column:
    """Correlation of P with the template over K."""
    return centred(view, view.template)
