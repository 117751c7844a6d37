"""A batch of alerts as features see it: allowed columns only, and the quantities that many features share.

Pixels are float64, invalid ones 0 in windows and absent from every count. What is computed once is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import COLUMNS, DIFFERENCE, SCIENCE, TEMPLATE, AlertBatch, Column
from realbogus.errors import DeniedColumn
from realbogus.features import geometry as geo

Window = NDArray[np.float64]  # (N, 441), central 21 x 21 pixels row by row
WindowMask = NDArray[np.bool_]  # (N, 441)
Stamps = NDArray[np.float64]  # (N, 63, 63)
StampsMask = NDArray[np.bool_]  # (N, 63, 63)
Kept = TypeVar("Kept")

PSF_FWHM_PX = {"ztf": 2.5, "rubin": 6.9}  # used where a packet does not give it; medians of real packets
PSF_FWHM_LIMITS_PX = (1.5, 10.0)
SENTINEL = 1e30  # some templates hold -3.4e38: finite, yet no pixel
FEWEST_PIXELS = 100  # for a background and noise that mean anything
ENOUGH = 0.8  # share of valid pixels, rule N1
MAD_TO_SIGMA = np.float32(1.4826)
FWHM_TO_SIGMA = 1.0 / 2.354820045030949


def slog(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed logarithm sign(x) ln(1 + |x|), for what has no bounds."""
    return np.sign(x) * np.log1p(np.abs(x))


def total(values: NDArray[np.float64], mask: NDArray[np.bool_] | None = None) -> Column:
    """Sum of each row, over the mask where given. Rows are contiguous, so a batch sums as its alerts alone do."""
    chosen = values if mask is None else np.where(mask, values, 0.0)
    result: Column = np.ascontiguousarray(chosen).sum(axis=-1)
    return result


def largest(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> Column:
    """Largest value of each row over the mask; -inf where the mask is empty."""
    result: Column = np.where(mask, values, -np.inf).max(axis=-1)
    return result


def median_of_rows(values: NDArray[np.float32], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Median of the count smallest of each row, where NaN sorts last; NaN where count is 0."""
    ordered = np.sort(values, axis=-1)
    rows = np.arange(len(ordered))
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[-1] - 1)
    middle = (ordered[rows, low].astype(np.float64) + ordered[rows, high].astype(np.float64)) / 2
    return np.where(count > 0, middle, np.nan)


def valid_pixels(stamps: NDArray[np.float32]) -> StampsMask:
    """Which pixels of (N, 63, 63) are measurements: finite, no sentinel, and not in a row or column of zeros only."""
    with np.errstate(invalid="ignore"):
        measured = np.abs(stamps) < SENTINEL
    zero_rows = (stamps == 0).all(axis=2)
    zero_columns = (stamps == 0).all(axis=1)
    valid: StampsMask = measured & ~zero_rows[:, :, None] & ~zero_columns[:, None, :]
    return valid


class Layer:
    """One of the three stamps of every alert."""

    def __init__(self, stamps: NDArray[np.float32]) -> None:
        self.raw = stamps
        self.valid = valid_pixels(stamps)
        self.valid_count = self.valid.sum(axis=(1, 2))

    @cached_property
    def _levels(self) -> tuple[Column, Column]:
        flat = np.where(self.valid, self.raw, np.float32(np.nan)).reshape(len(self.raw), -1)
        background = median_of_rows(flat, self.valid_count)
        deviation = np.abs(flat - background.astype(np.float32)[:, None])
        noise = median_of_rows(deviation, self.valid_count) * MAD_TO_SIGMA.astype(np.float64)
        enough = self.valid_count >= FEWEST_PIXELS
        return np.where(enough, background, np.nan), np.where(enough & (noise > 0), noise, np.nan)

    @property
    def background(self) -> Column:
        """Median of the valid pixels (N,); NaN where there are fewer than 100."""
        return self._levels[0]

    @property
    def noise(self) -> Column:
        """1.4826 MAD of the valid pixels (N,); NaN where it is zero or there are too few pixels."""
        return self._levels[1]

    @cached_property
    def pixels(self) -> Stamps:
        """The whole stamps less their background, 0 where invalid."""
        return np.where(self.valid, self.raw.astype(np.float64) - self.background[:, None, None], 0.0)

    @cached_property
    def window(self) -> Window:
        """The central window of `pixels`."""
        return np.ascontiguousarray(self.pixels[:, geo.WINDOW, geo.WINDOW]).reshape(len(self.raw), geo.PIXELS)

    @cached_property
    def ok(self) -> WindowMask:
        """Which pixels of the window are valid."""
        return np.ascontiguousarray(self.valid[:, geo.WINDOW, geo.WINDOW]).reshape(len(self.raw), geo.PIXELS)

    @cached_property
    def z(self) -> Window:
        """The window in units of the noise."""
        return self.window / self.noise[:, None]


class View:
    """What a feature may look at. Columns that would leak the label, the time or the place raise DeniedColumn."""

    def __init__(self, batch: AlertBatch) -> None:
        self._columns = batch.columns
        self.survey = batch.survey
        self.columns_read: set[str] = set()
        self._kept: dict[str, object] = {}
        self._triplets = batch.triplets

    @cached_property
    def difference(self) -> Layer:
        """The difference stamps, the candidate positive."""
        return Layer(self._triplets[:, DIFFERENCE])

    @cached_property
    def science(self) -> Layer:
        """The science stamps."""
        return Layer(self._triplets[:, SCIENCE])

    @cached_property
    def template(self) -> Layer:
        """The template stamps."""
        return Layer(self._triplets[:, TEMPLATE])

    def column(self, name: str) -> Column:
        """A column of the batch (N,), NaN = undefined. Raises DeniedColumn where features may not read it."""
        meaning = COLUMNS.get(name)
        if meaning is None:
            raise DeniedColumn(name, "no such column")
        if meaning.denied:
            raise DeniedColumn(name, meaning.denied)
        self.columns_read.add(name)
        return self._columns[name]

    def kept(self, key: str, compute: Callable[[View], Kept]) -> Kept:
        """What compute gives for this view, computed at the first call and kept under the key."""
        if key not in self._kept:
            self._kept[key] = compute(self)
        return self._kept[key]  # type: ignore[return-value]  # the key belongs to one function

    @cached_property
    def psf_missing(self) -> NDArray[np.bool_]:
        """Where the packet gives no usable PSF width and the survey's median stands in."""
        width = self.column("psf_fwhm_px")
        return ~(width > 0)

    @cached_property
    def psf(self) -> Column:
        """W (N,): FWHM of the PSF in pixels, the unit of every length here; never NaN."""
        width = np.where(self.psf_missing, PSF_FWHM_PX.get(self.survey, 3.0), self.column("psf_fwhm_px"))
        return np.clip(width, *PSF_FWHM_LIMITS_PX)

    @property
    def sign(self) -> Column:
        """+1 or -1: brighter or fainter than the template. Only for formulas that need it; no feature is it."""
        sign = self.column("diff_sign")
        return np.where(np.isnan(sign), 1.0, sign)

    @cached_property
    def core(self) -> WindowMask:
        """Region C: r <= max(1.5 W, 3 px)."""
        return np.maximum(1.5 * self.psf, 3.0)[:, None] >= geo.R

    @cached_property
    def near(self) -> WindowMask:
        """Where peaks are looked for: r <= W, and with neighbours on all sides inside the window."""
        return np.minimum(self.psf, geo.HALF - 1.0)[:, None] >= geo.R

    @cached_property
    def disk_radius(self) -> Column:
        """Radius of region K: 2.5 W, at least 5 and at most 10 px (the window)."""
        return np.clip(2.5 * self.psf, 5.0, float(geo.HALF))

    @cached_property
    def disk(self) -> WindowMask:
        """Region K, where most features look."""
        return self.disk_radius[:, None] >= geo.R

    @cached_property
    def seen(self) -> WindowMask:
        """Valid difference pixels of K."""
        return self.disk & self.difference.ok

    @cached_property
    def seen_enough(self) -> NDArray[np.bool_]:
        """Where at least 80 % of K is valid in the difference."""
        return self.enough(self.disk, self.difference.ok)

    @cached_property
    def model(self) -> Window:
        """P: circular Gaussian of FWHM W on the candidate's pixel, sum 1."""
        return gaussian(self.psf)

    def enough(self, region: NDArray[np.bool_], ok: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Rule N1: at least 80 % of the region's pixels are valid."""
        wanted = np.broadcast_to(region, ok.shape)
        passes: NDArray[np.bool_] = (wanted & ok).sum(axis=-1) >= ENOUGH * wanted.sum(axis=-1)
        return passes


def gaussian(fwhm: Column, x: float | Column = 0.0, y: float | Column = 0.0) -> Window:
    """Circular Gaussian of unit sum sampled on the window, its centre at (x, y) pixels from the candidate."""
    sigma = (fwhm * FWHM_TO_SIGMA)[:, None]
    dx, dy = geo.X - np.reshape(x, (-1, 1)), geo.Y - np.reshape(y, (-1, 1))
    image: Window = np.exp(-(dx**2 + dy**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    return image
