"""Family A: counts of negative pixels and sums near the candidate.

Dipoles and ringing leave deep negative pixels beside the source; stars seldom do.
"""

from __future__ import annotations

import numpy as np

from realbogus.alerts import Column
from realbogus.features import geometry as geo
from realbogus.features.feature import Family
from realbogus.features.view import Layer, View, WindowMask, median_of_rows, slog, total

A = Family("A")
AUTOSCAN = "Goldstein+2015 (autoScan)"


def _count(view: View, layer: Layer, box: np.ndarray, hit: WindowMask) -> Column:
    """How many pixels of the box are hit, rescaled to the full box; NaN by rule N1 and where noise is undefined."""
    ok = layer.ok & box
    count = (hit & ok).sum(axis=1) * (box.sum() / np.maximum(ok.sum(axis=1), 1))
    return np.where(view.enough(box, layer.ok) & ~np.isnan(layer.noise), count, np.nan)


def _negative(view: View, box: np.ndarray, n_sigma: float) -> Column:
    return _count(view, view.difference, box, view.difference.z <= -n_sigma)


def _excess(view: View, box: np.ndarray, n_sigma: float) -> Column:
    """Bright pixels of the difference less those of the template."""
    difference = _count(view, view.difference, box, view.difference.z >= n_sigma)
    return difference - _count(view, view.template, box, view.template.z >= n_sigma)


@A.feature(0, 25, "N1", AUTOSCAN, stamps="D", unit="px")
def n2sig3(view: View) -> Column:
    """Pixels of the central 5 x 5 with z <= -2."""
    return _negative(view, geo.BOX5, 2.0)


@A.feature(0, 25, "N1", AUTOSCAN, stamps="D", unit="px")
def n3sig3(view: View) -> Column:
    """Pixels of the central 5 x 5 with z <= -3."""
    return _negative(view, geo.BOX5, 3.0)


@A.feature(0, 49, "N1", AUTOSCAN, stamps="D", unit="px")
def n2sig5(view: View) -> Column:
    """Pixels of the central 7 x 7 with z <= -2."""
    return _negative(view, geo.BOX7, 2.0)


@A.feature(0, 49, "N1", AUTOSCAN, stamps="D", unit="px")
def n3sig5(view: View) -> Column:
    """Pixels of the central 7 x 7 with z <= -3."""
    return _negative(view, geo.BOX7, 3.0)


@A.feature(-25, 25, "N1", AUTOSCAN, stamps="DT", unit="px")
def n2sig3shift(view: View) -> Column:
    """Pixels of the central 5 x 5 with z >= 2 in the difference, less those in the template."""
    return _excess(view, geo.BOX5, 2.0)


@A.feature(-25, 25, "N1", AUTOSCAN, stamps="DT", unit="px")
def n3sig3shift(view: View) -> Column:
    """Pixels of the central 5 x 5 with z >= 3 in the difference, less those in the template."""
    return _excess(view, geo.BOX5, 3.0)


@A.feature(-49, 49, "N1", AUTOSCAN, stamps="DT", unit="px")
def n2sig5shift(view: View) -> Column:
    """Pixels of the central 7 x 7 with z >= 2 in the difference, less those in the template."""
    return _excess(view, geo.BOX7, 2.0)


@A.feature(-49, 49, "N1", AUTOSCAN, stamps="DT", unit="px")
def n3sig5shift(view: View) -> Column:
    """Pixels of the central 7 x 7 with z >= 3 in the difference, less those in the template."""
    return _excess(view, geo.BOX7, 3.0)


@A.feature(0, 49, "N1", AUTOSCAN, stamps="D", unit="px")
def numneg(view: View) -> Column:
    """Pixels of the central 7 x 7 with z < 0."""
    return _count(view, view.difference, geo.BOX7, view.difference.window < 0)


@A.feature(-12, 12, "N1", AUTOSCAN + ", logarithm ours", stamps="D")
def diffsum(view: View) -> Column:
    """slog of the sum of z over the central 5 x 5."""
    ok = view.difference.ok & geo.BOX5
    mean = total(view.difference.z, ok) / np.maximum(ok.sum(axis=1), 1)
    return np.where(view.enough(geo.BOX5, view.difference.ok), slog(25 * mean), np.nan)


@A.feature(-1, 1, "N1 N3", "ZTF schema", stamps="D")
def sumrat(view: View) -> Column:
    """Sum over sum of absolute values of the 3 x 3 median-filtered difference in the central 5 x 5, edges repeated.

    On the raw difference, without background, as ZTF does. Invalid pixels stay out of each median.
    """
    ok = view.difference.ok[:, geo.BOX5].reshape(-1, 5, 5)
    with np.errstate(invalid="ignore"):
        raw = view.difference.raw[:, geo.WINDOW, geo.WINDOW].reshape(-1, geo.PIXELS)[:, geo.BOX5].reshape(-1, 5, 5)
    box = np.pad(np.where(ok, raw, np.nan), ((0, 0), (1, 1), (1, 1)), mode="edge")
    stack = np.stack([box[:, y : y + 5, x : x + 5] for y in range(3) for x in range(3)], axis=-1).reshape(-1, 9)
    filtered = _median(stack).reshape(-1, 25)
    sums = total(filtered, np.isfinite(filtered)), total(np.abs(filtered), np.isfinite(filtered))
    return np.where(view.enough(geo.BOX5, view.difference.ok) & (sums[1] > 0), sums[0] / sums[1], np.nan)


def _median(rows: np.ndarray) -> np.ndarray:
    """Median of each row without its NaN; NaN where nothing is left."""
    return median_of_rows(rows, np.isfinite(rows).sum(axis=-1))


@A.feature(-12, 12, "N3", AUTOSCAN + ", logarithm ours", stamps="D")
def l1(view: View) -> Column:
    """slog of sign(sum u) sum|u| / sqrt|sum u| over the stamp, u = d / max|d|; NaN where |sum u| < 1e-6 sum|u|."""
    d = view.difference.pixels.reshape(len(view.psf), -1)
    net, gross, peak = total(d), total(np.abs(d)), np.abs(d).max(axis=1)
    value = np.sign(net) * gross / np.sqrt(np.abs(net) * peak)
    return np.where(np.abs(net) >= 1e-6 * gross, slog(value), np.nan)


def _share_negative(view: View) -> tuple[Column, Column]:
    d = np.where(view.seen, view.difference.window, 0.0)
    return total(np.maximum(-d, 0.0)), total(np.abs(d))


@A.feature(0, 1, "N1 N3", "ours", stamps="D")
def negative_share(view: View) -> Column:
    """Sum of the negative part of d over the sum of |d|, in K."""
    negative, gross = _share_negative(view)
    return np.where(view.seen_enough & (gross > 0), negative / gross, np.nan)


@A.feature(-2, 10, "N1 N3", "ours, in the spirit of the dipole cuts of many pipelines", stamps="D")
def depth_ratio(view: View) -> Column:
    """Depth of the most negative pixel of K over the height of the brightest, clipped to -1 and 5."""
    d = view.difference.window
    top, bottom = largest_pair(view, d)
    return np.where(view.seen_enough & (top > 0), np.clip(bottom / top, -1.0, 5.0), np.nan)


def largest_pair(view: View, d: np.ndarray) -> tuple[Column, Column]:
    """Brightest pixel and depth of the most negative pixel of K."""
    top: Column = np.where(view.seen, d, -np.inf).max(axis=1)
    bottom: Column = np.where(view.seen, -d, -np.inf).max(axis=1)
    return top, bottom
