"""Family I: what else is in the stamp."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import CENTRE, STAMP_SIDE, Column
from realbogus.features import geometry as geo
from realbogus.features.feature import Family
from realbogus.features.view import FWHM_TO_SIGMA, MAD_TO_SIGMA, View, median_of_rows, total

I = Family("I")  # noqa: E741  # the letter of the family
TAPS = 20  # pixels on each side, at most, over which P is summed
PEAK_SIGNIFICANCE = 5.0


@I.feature(0, 100, "N1", "ours", stamps="D")
def noise_ratio(view: View) -> Column:
    """Robust noise of d in the window outside K over that of the whole stamp: host or halo of a bright star."""
    outside = ~view.disk & view.difference.ok
    values = np.where(outside, view.difference.window, np.nan)
    count = outside.sum(axis=1)
    deviation = np.abs(values - median_of_rows(values, count)[:, None])
    noise = median_of_rows(deviation, count) * np.float64(MAD_TO_SIGMA)
    return np.where(view.enough(~view.disk, view.difference.ok), noise / view.difference.noise, np.nan)


def _significance(view: View) -> NDArray[np.float64]:
    """|P * z| / sqrt(sum P^2) over the whole stamp (N, 63, 63), P cut off at 2 W; pixels beyond it count as zero."""
    sigma, smooth = view.psf * FWHM_TO_SIGMA, view.difference.pixels
    taps = np.arange(-TAPS, TAPS + 1)
    reach = (2 * view.psf).astype(int)
    weights = np.where(np.abs(taps[:, None]) <= reach, np.exp(-(taps[:, None] ** 2) / (2 * sigma**2)), 0.0)
    for axis in (1, 2):
        padded = np.pad(smooth, [(0, 0)] + [(TAPS, TAPS) if a == axis else (0, 0) for a in (1, 2)])
        smooth = np.zeros_like(smooth)
        for tap, weight in zip(taps, weights, strict=True):
            smooth += weight[:, None, None] * np.take(padded, np.arange(STAMP_SIDE) + TAPS + tap, axis=axis)
    power = (weights**2).sum(axis=0) * view.difference.noise
    significance: NDArray[np.float64] = np.abs(smooth) / power[:, None, None]
    return significance


@I.feature(0, 5, "N1", "ours, in the spirit of PTF good_cand_density", stamps="D")
def n_peaks(view: View) -> Column:
    """ln(1 + local maxima of |P * z| / sqrt(sum P^2) above 5 outside K): how crowded with residuals the stamp is."""
    s = _significance(view)
    wide = np.pad(s, ((0, 0), (1, 1), (1, 1)))
    around = [wide[:, 1 + y : 1 + y + STAMP_SIDE, 1 + x : 1 + x + STAMP_SIDE] for y in (-1, 0, 1) for x in (-1, 0, 1)]
    axis = np.arange(STAMP_SIDE) - CENTRE
    outside = np.hypot(axis[:, None], axis) > view.disk_radius[:, None, None]
    count = ((s > PEAK_SIGNIFICANCE) & (s >= np.max(around, axis=0)) & outside).sum(axis=(1, 2))
    return np.where(np.isnan(view.difference.noise) | ~view.seen_enough, np.nan, np.log1p(count))


@I.feature(-1, 1, "N1 N3", "ours", stamps="D")
def noise_acf1(view: View) -> Column:
    """Correlation of neighbouring pixels of d in the window outside K, rows and columns: white noise gives 0."""
    d = np.clip(view.difference.z, -5.0, 5.0).reshape(-1, geo.SIDE, geo.SIDE)
    ok = (~view.disk & view.difference.ok).reshape(d.shape)
    pairs = [(d[:, :, :-1], d[:, :, 1:], ok[:, :, :-1] & ok[:, :, 1:]), (d[:, :-1], d[:, 1:], ok[:, :-1] & ok[:, 1:])]
    count = sum(both.sum(axis=(1, 2)) for _, _, both in pairs)
    product = sum(total((a * b).reshape(len(d), -1), both.reshape(len(d), -1)) for a, b, both in pairs)
    flat, inside = d.reshape(len(d), -1), ok.reshape(len(d), -1)
    power = total(flat * flat, inside) / np.maximum(inside.sum(axis=1), 1)
    usable = view.enough(~view.disk, view.difference.ok) & (power > 0) & (count > 0)
    return np.where(usable, np.clip(product / np.maximum(count, 1) / power, -1.0, 1.0), np.nan)
