"""Family G: cosmic rays, bad columns, streaks, saturation, missing pixels.

They fire on rare classes; judge them by false positives per class rather than by average importance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from realbogus.alerts import CENTRE, Column
from realbogus.features import geometry as geo
from realbogus.features.feature import Family
from realbogus.features.noise import AUTOSCAN
from realbogus.features.view import Layer, View, median_of_rows, total

G = Family("G")
NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
PLATEAU, PLATEAU_PIXELS = 0.98, 4
FEWEST_IN_LINE = 20  # valid pixels


def _median_filter(images: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """size x size median filter of (N, n, n) without the border: (N, n - size + 1, n - size + 1)."""
    boxes = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
    return np.median(boxes.reshape(*boxes.shape[:3], size * size), axis=-1)


@G.feature(-1.5, 3, "N1", AUTOSCAN + ", floor, logarithm and window ours", stamps="D")
def lacosmic(view: View) -> Column:
    """log10 of max d over max(M3 - M7(M3)) in the central 5 x 5, M_k the k x k median filter; clipped to -1.5 and 3.

    The denominator is at least 0.1 noise. Only the central 5 x 5: medians over the whole stamp would cost more
    than all other features together, and would look at other sources. Invalid pixels count as background.
    """
    half = 2 + 1 + 3  # box, 3 x 3 filter, 7 x 7 filter
    centre = slice(geo.HALF - half, geo.HALF + half + 1)
    d = view.difference.window.reshape(-1, geo.SIDE, geo.SIDE)[:, centre, centre]
    small = _median_filter(d, 3)
    fine = small[:, 3:-3, 3:-3] - _median_filter(small, 7)
    top = d[:, 4:-4, 4:-4].max(axis=(1, 2))
    floor = 0.1 * view.difference.noise
    value = np.log10(np.maximum(top, floor) / np.maximum(fine.max(axis=(1, 2)), floor))
    return np.where(view.enough(geo.BOX5, view.difference.ok), np.clip(value, -1.5, 3.0), np.nan)


def _brightest(view: View) -> NDArray[np.intp]:
    """Flat index of the brightest valid pixel of d with r <= W."""
    near = view.near & view.difference.ok
    index: NDArray[np.intp] = np.where(near, view.difference.window, -np.inf).argmax(axis=1)
    return index


def _isolation(view: View, layer: Layer) -> Column:
    """(peak - mean of the 8 neighbours) / peak at the brightest pixel of d, -1 at least."""
    rows, at = np.arange(len(view.psf)), _brightest(view)
    near = [at + y * geo.SIDE + x for y, x in NEIGHBOURS]
    values = np.array([layer.window[rows, i] for i in near])
    seen = np.array([layer.ok[rows, i] for i in near])
    peak = layer.window[rows, at]
    mean = np.where(seen, values, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    usable = view.enough(geo.BOX5, view.difference.ok) & layer.ok[rows, at] & (seen.sum(axis=0) >= 4) & (peak > 0)
    return np.where(usable, np.maximum((peak - mean) / peak, -1.0), np.nan)


@G.feature(-1, 12, "N1 N3", "ours", stamps="D")
def peak_ring8(view: View) -> Column:
    """(peak - mean of its 8 neighbours) / peak at the brightest pixel of d with r <= W; 1 = an isolated pixel."""
    return np.minimum(_isolation(view, view.difference), 12.0)


@G.feature(-1, 12, "N1 N3", "ours", stamps="DS")
def peak_ring8_sci(view: View) -> Column:
    """(S - mean of 8 neighbours) / S of the science stamp at that same pixel: a hit in one exposure is sharp in it."""
    return np.minimum(_isolation(view, view.science), 12.0)


@G.feature(-3, 50, "N1", AUTOSCAN + " (COLMEDS), rows ours", stamps="D", unit="sigma")
def line_med_max(view: View) -> Column:
    """Largest median of z along the rows and columns within 2 px of the candidate, over the whole stamp."""
    layer, near = view.difference, slice(CENTRE - geo.LINE_OFFSET_PX, CENTRE + geo.LINE_OFFSET_PX + 1)
    d = np.where(layer.valid, layer.pixels, np.nan)
    lines = np.concatenate([d[:, near], d[:, :, near].transpose(0, 2, 1)], axis=1)
    count = np.isfinite(lines).sum(axis=2)
    medians = median_of_rows(lines.reshape(-1, lines.shape[2]), count.ravel()).reshape(count.shape)
    best = np.where(count >= FEWEST_IN_LINE, medians, -np.inf).max(axis=1) / layer.noise
    return np.where(view.seen_enough, best, np.nan)


@G.feature(0, 5, "N1", "ours", stamps="D")
def radon_peak(view: View) -> Column:
    """ln(1 + largest sum z / sqrt(pixels)) over 24 angles of lines that pass within 2 px, z clipped to 5.

    Lines run over the whole stamp and hold at least 20 valid pixels. A streak that made the candidate passes it,
    so other lines would only find other sources.
    """
    layer = view.difference
    z = np.clip(layer.pixels / layer.noise[:, None, None], -5.0, 5.0).reshape(len(view.psf), -1)
    ok = layer.valid.reshape(len(z), -1)
    best = np.full(len(z), -np.inf)
    for line, length in zip(geo.LINES, geo.LINE_LENGTHS, strict=True):
        count = ok[:, line[:length]].sum(axis=1)
        strength = total(z[:, line[:length]]) / np.sqrt(np.maximum(count, 1))
        best = np.maximum(best, np.where(count >= FEWEST_IN_LINE, strength, -np.inf))
    return np.where(view.seen_enough, np.log1p(np.maximum(best, 0.0)), np.nan)


def plateau_share(view: View, layer: Layer) -> Column:
    """Share of the valid pixels of K on a plateau at 98 % of the maximum, if 4 or more of them touch; else 0."""
    seen = view.disk & layer.ok
    top = np.where(seen, layer.window, -np.inf).max(axis=1)
    high = seen & (layer.window >= PLATEAU * top[:, None]) & (top > 0)[:, None]
    share = [_connected(plateau) for plateau in high.reshape(-1, geo.SIDE, geo.SIDE)]
    value = np.array(share) / np.maximum(seen.sum(axis=1), 1)
    return np.where(view.enough(view.disk, layer.ok), value, np.nan)


def _connected(plateau: NDArray[np.bool_]) -> int:
    """Pixels of the plateau in pieces of at least 4 that share edges."""
    labels, n = ndimage.label(plateau)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    return int(sizes[sizes >= PLATEAU_PIXELS].sum())


@G.feature(0, 1, "N1", "ours", stamps="S")
def sat_frac_s(view: View) -> Column:
    """Share of K in the science stamp on a plateau: at least 4 touching pixels within 2 % of the maximum.

    ZTF masks what is saturated: 0 in all real ZTF packets seen; Rubin's are not all 0.
    """
    return plateau_share(view, view.science)


@G.feature(0, 1, "N1", "ours", stamps="T")
def sat_frac_t(view: View) -> Column:
    """Share of K in the template on a plateau: at least 4 touching pixels within 2 % of the maximum.

    0 in all real ZTF packets seen, as in the science stamp.
    """
    return plateau_share(view, view.template)


def _missing(layer: Layer) -> Column:
    share: Column = 1 - layer.valid_count / (layer.valid.shape[1] * layer.valid.shape[2])
    return share


@G.feature(0, 1, "N0", AUTOSCAN, stamps="D")
def nan_frac_d(view: View) -> Column:
    """Share of invalid pixels in the difference stamp."""
    return _missing(view.difference)


@G.feature(0, 1, "N0", "ours", stamps="S")
def nan_frac_s(view: View) -> Column:
    """Share of invalid pixels in the science stamp."""
    return _missing(view.science)


@G.feature(0, 1, "N0", "ours", stamps="T")
def nan_frac_t(view: View) -> Column:
    """Share of invalid pixels in the template stamp."""
    return _missing(view.template)


@G.feature(0, 400, "N1", "ours", stamps="D", unit="px")
def n_bright(view: View) -> Column:
    """Pixels of K with z > 5, rescaled to the full K: hits are small, streaks and residuals of stars large."""
    scale = view.disk.sum(axis=1) / np.maximum(view.seen.sum(axis=1), 1)
    count = ((view.difference.z > 5.0) & view.seen).sum(axis=1) * scale
    return np.where(view.seen_enough & ~np.isnan(view.difference.noise), count, np.nan)
