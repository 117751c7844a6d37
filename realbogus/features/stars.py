"""Family L: what the subtraction did to the rest of the stamp.

If other stars left residuals like the candidate's, the image does not fit its template: wrong scale, seeing, clouds.
Stars are the pixels outside K, valid in D and T, with z of the template above 5. Less than four count as none, and
then what is said of them is 0: no evidence, which is not the same as a measurement that failed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column
from realbogus.features import geometry as geo
from realbogus.features.defects import FEWEST_IN_LINE
from realbogus.features.feature import Family
from realbogus.features.relations import closure
from realbogus.features.view import View, slog, total

L = Family("L")
STAR, FEWEST_STAR_PIXELS = 5.0, 4  # z of the template
RESIDUAL, SPOT = 3.0, 4.0  # |z| of the difference, on stars and anywhere
RATIO_LIMIT, CORE_LIMIT, CONTRAST_LIMIT = 3.0, 5.0, 20.0
CONTRAST_FLOOR = 0.01  # residual ratio of stars below which all is well
CLIP = 20.0  # of z, so that one star does not make the moments
DARKEST, BRIGHTEST = -3.0, 6.0  # of z, along strips


class Outside(NamedTuple):
    """The stamp outside K: z of the difference, where it is valid, and where stars are. All (N, 3969)."""

    z: NDArray[np.float64]
    ok: NDArray[np.bool_]
    stars: NDArray[np.bool_]


def _outside(view: View) -> Outside:
    n, d, t = len(view.psf), view.difference, view.template
    z = (d.pixels / d.noise[:, None, None]).reshape(n, -1)
    ok = d.valid.reshape(n, -1) & (view.disk_radius[:, None] < geo.STAMP_R)
    bright = (t.pixels / t.noise[:, None, None]).reshape(n, -1) > STAR
    stars = ok & t.valid.reshape(n, -1) & bright
    return Outside(z, ok, stars & (stars.sum(axis=1) >= FEWEST_STAR_PIXELS)[:, None])


def outside(view: View) -> Outside:
    """See Outside; computed once."""
    return view.kept("outside", _outside)


class Sums(NamedTuple):
    """Sums of d and t and of their products over a region (N,)."""

    d: Column
    t: Column
    dd: Column
    tt: Column
    dt: Column


def _sums(d: NDArray[np.float64], t: NDArray[np.float64], mask: NDArray[np.bool_]) -> Sums:
    return Sums(total(d, mask), total(t, mask), total(d * d, mask), total(t * t, mask), total(d * t, mask))


def _on_stars(view: View) -> Sums:
    stars = outside(view).stars
    d, t = (layer.pixels.reshape(stars.shape) for layer in (view.difference, view.template))
    return _sums(d, t, stars)


def _of_stars(view: View, value: Column) -> Column:
    """The value where there are stars, 0 where there are none, NaN where a noise is not defined."""
    defined = ~np.isnan(view.difference.noise + view.template.noise)
    return np.where(defined, np.where(outside(view).stars.any(axis=1), value, 0.0), np.nan)


def _share_of_stars(view: View, hit: NDArray[np.bool_]) -> Column:
    stars = outside(view).stars
    return _of_stars(view, (hit & stars).sum(axis=1) / stars.sum(axis=1))


@L.feature(0, 1, "N3", "ours", stamps="DT")
def star_share(view: View) -> Column:
    """Share of the stamp outside K that shows stars."""
    both = outside(view).ok & view.template.valid.reshape(outside(view).ok.shape)
    return _of_stars(view, outside(view).stars.sum(axis=1) / both.sum(axis=1))


@L.feature(-3, 3, "N3", "ours", stamps="DST", columns="diff_sign")
def star_ratio(view: View) -> Column:
    """Sum of d over sum of T on stars, on the flux scale of the difference, clipped to 3: residual of other stars."""
    on = view.kept("on_stars", _on_stars)
    return _of_stars(view, np.clip(on.d / (closure(view).scale * on.t), -RATIO_LIMIT, RATIO_LIMIT))


@L.feature(-3, 3, "N3", "ours", stamps="DST", columns="diff_sign")
def star_slope(view: View) -> Column:
    """Slope of d against T on stars, on the flux scale of the difference, clipped to 3."""
    on = view.kept("on_stars", _on_stars)
    return _of_stars(view, np.clip(on.dt / (closure(view).scale * on.tt), -RATIO_LIMIT, RATIO_LIMIT))


@L.feature(-1, 1, "N3", "ours", stamps="DT")
def star_corr(view: View) -> Column:
    """Correlation about zero of d and T on stars."""
    on = view.kept("on_stars", _on_stars)
    return _of_stars(view, on.dt / np.sqrt(on.dd * on.tt))


@L.feature(-15, 15, "N3", "ours", stamps="DT")
def star_signif(view: View) -> Column:
    """slog of the significance of that slope: sum of d T over sqrt(sum of T T) and over the noise of d."""
    on = view.kept("on_stars", _on_stars)
    return _of_stars(view, slog(on.dt / np.sqrt(on.tt) / view.difference.noise))


@L.feature(0, 15, "N3", "ours", stamps="DT")
def star_rms(view: View) -> Column:
    """ln(1 + rms of z of the difference on stars)."""
    on, count = view.kept("on_stars", _on_stars), outside(view).stars.sum(axis=1)
    return _of_stars(view, np.log1p(np.sqrt(on.dd / count) / view.difference.noise))


@L.feature(0, 1, "N3", "ours", stamps="DT")
def star_bright(view: View) -> Column:
    """Share of the pixels of stars with z of the difference above 3."""
    return _share_of_stars(view, outside(view).z > RESIDUAL)


@L.feature(0, 1, "N3", "ours", stamps="DT")
def star_dark(view: View) -> Column:
    """Share of the pixels of stars with z of the difference below -3."""
    return _share_of_stars(view, outside(view).z < -RESIDUAL)


def _in_core(view: View) -> Sums:
    core = view.core & view.difference.ok & view.template.ok
    return _sums(view.difference.window, view.template.window, core)


def _of_core(view: View, value: Column) -> Column:
    return np.where(view.enough(view.core, view.difference.ok & view.template.ok), value, np.nan)


@L.feature(-5, 5, "N1 N3", "ours", stamps="DST", columns="diff_sign")
def core_ratio(view: View) -> Column:
    """Sum of d over |sum of T| in C, on the flux scale of the difference, clipped to 5: what star_ratio is to stars."""
    core = view.kept("in_core", _in_core)
    return _of_core(view, np.clip(core.d / np.abs(closure(view).scale * core.t), -CORE_LIMIT, CORE_LIMIT))


@L.feature(-5, 5, "N1 N3", "ours", stamps="DST", columns="diff_sign")
def core_slope(view: View) -> Column:
    """Slope of d against T in C, on the flux scale of the difference, clipped to 5: what star_slope is to stars."""
    core = view.kept("in_core", _in_core)
    return _of_core(view, np.clip(core.dt / (closure(view).scale * core.tt), -CORE_LIMIT, CORE_LIMIT))


@L.feature(-8, 8, "N1 N3", "ours", stamps="DST", columns="diff_sign")
def ratio_excess(view: View) -> Column:
    """core_ratio less star_ratio: did the candidate change more than the stars beside it."""
    return core_ratio(view) - star_ratio(view)


@L.feature(-8, 8, "N1 N3", "ours", stamps="DST", columns="diff_sign")
def slope_excess(view: View) -> Column:
    """core_slope less star_slope."""
    return core_slope(view) - star_slope(view)


@L.feature(-20, 20, "N1 N3", "ours", stamps="DST", columns="diff_sign")
def ratio_contrast(view: View) -> Column:
    """core_ratio over |star_ratio| + 0.01, clipped to 20."""
    contrast = core_ratio(view) / (np.abs(star_ratio(view)) + CONTRAST_FLOOR)
    return np.clip(contrast, -CONTRAST_LIMIT, CONTRAST_LIMIT)


def _share_outside(view: View, hit: NDArray[np.bool_]) -> Column:
    ok = outside(view).ok
    return np.where(np.isnan(view.difference.noise), np.nan, (hit & ok).sum(axis=1) / ok.sum(axis=1))


@L.feature(0, 1, "N3", "ours", stamps="D")
def spots_bright(view: View) -> Column:
    """Share of the stamp outside K with z > 4."""
    return _share_outside(view, outside(view).z > SPOT)


@L.feature(0, 1, "N3", "ours", stamps="D")
def spots_dark(view: View) -> Column:
    """Share of the stamp outside K with z < -4."""
    return _share_outside(view, outside(view).z < -SPOT)


@L.feature(-1, 1, "N3", "ours", stamps="D")
def spots_sign(view: View) -> Column:
    """(bright - dark) / (bright + dark + 0.001) of these shares: do all residuals have the candidate's sign."""
    bright, dark = spots_bright(view), spots_dark(view)
    return (bright - dark) / (bright + dark + 1e-3)


def _moment(view: View, power: int) -> Column:
    """Mean of z^power outside K, z clipped to 20."""
    z, ok, _ = outside(view)
    mean: Column = total(np.clip(z, -CLIP, CLIP) ** power, ok) / ok.sum(axis=1)
    return mean


@L.feature(-100, 100, "N3", "ours", stamps="D")
def outer_skew(view: View) -> Column:
    """Skewness about zero of z outside K, z clipped to 20."""
    skew: Column = _moment(view, 3) / _moment(view, 2) ** 1.5
    return skew


@L.feature(-2, 3, "N3", "ours", stamps="D")
def outer_rms(view: View) -> Column:
    """ln of the rms of z outside K, z clipped to 20; 0 where the noise is Gaussian."""
    return np.asarray(np.log(_moment(view, 2)) / 2)


def _strips(view: View) -> tuple[Column, Column]:
    """Largest sum z / sqrt(pixels) over strips, and the same of the weaker half of each."""
    z, ok, _ = outside(view)
    z = np.where(ok, np.clip(z, DARKEST, BRIGHTEST), 0.0)
    sums, counts = (np.zeros((2, len(z), len(geo.LINES))) for _ in range(2))
    for line, (index, length, middle) in enumerate(zip(geo.LINES, geo.LINE_LENGTHS, geo.LINE_MIDDLES, strict=True)):
        for half, part in enumerate((index[:middle], index[middle:length])):
            sums[half, :, line] = total(z[:, part])
            counts[half, :, line] = ok[:, part].sum(axis=1)
    sums, counts = (values[:, :, geo.STRIPS].sum(axis=3) for values in (sums, counts))
    weaker = _significance(sums, counts, FEWEST_IN_LINE // 2).min(axis=0)
    return _significance(sums.sum(axis=0), counts.sum(axis=0), FEWEST_IN_LINE).max(axis=1), weaker.max(axis=1)


def _significance(sums: NDArray[np.float64], counts: NDArray[np.float64], fewest: int) -> NDArray[np.float64]:
    return np.where(counts >= fewest, sums / np.sqrt(np.maximum(counts, 1)), -np.inf)


@L.feature(0, 5, "N1", "ours", stamps="D")
def trail(view: View) -> Column:
    """ln(1 + largest sum z / sqrt(pixels)) outside K over strips of 3 px through the candidate, z clipped to -3 and 6.

    24 angles, each at 3 offsets. Unlike radon_peak it does not see the candidate itself.
    """
    whole, _ = view.kept("strips", _strips)
    return np.where(view.seen_enough, np.log1p(np.maximum(whole, 0.0)), np.nan)


@L.feature(0, 5, "N1", "ours", stamps="D")
def trail_both(view: View) -> Column:
    """The same of the weaker half of each strip: a trail or a chain of glints goes on on both sides."""
    _, weaker = view.kept("strips", _strips)
    return np.where(view.seen_enough, np.log1p(np.maximum(weaker, 0.0)), np.nan)


def _log_ratio(above: Column, below: Column) -> Column:
    ratio = above / below
    return np.asarray(np.log(np.where(ratio > 0, ratio, np.nan)))


@L.feature(-15, 15, "N3", "ours", stamps="DST", columns="diff_sign")
def flux_scale(view: View) -> Column:
    """ln of the flux scale of the template on that of the difference; 0 = both images have one zero point."""
    return _log_ratio(closure(view).scale, np.ones(len(view.psf)))


@L.feature(-5, 5, "N3", "ours", stamps="DS")
def science_noise(view: View) -> Column:
    """ln of the noise of the science stamp over that of the difference."""
    return _log_ratio(view.science.noise, view.difference.noise)


@L.feature(-15, 15, "N3", "ours", stamps="DST", columns="diff_sign")
def template_noise(view: View) -> Column:
    """ln of the noise of the template over that of the difference, on the flux scale of the difference."""
    return _log_ratio(closure(view).scale * view.template.noise, view.difference.noise)
