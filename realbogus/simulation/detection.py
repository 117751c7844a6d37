"""Detection on a difference frame, and measuring what was found, as a survey's pipeline does.

A matched filter with the PSF, local maxima of both signs above a threshold, then PSF and aperture photometry, shapes,
negative pixels and the like, under the names of the ZTF columns they fill.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from realbogus.simulation.convolution import convolve_all
from realbogus.simulation.medians import spread
from realbogus.simulation.optics import Image
from realbogus.simulation.photometry import aperture, box_counts, core_width, psf_fit, ring_median, windowed

Floats = NDArray[np.float64]
WINDOW_PX = 1.05  # sigma of the window for the second moments
COLUMNS = (
    "x", "y", "sign", "scorr", "flux", "flux_error", "chi2", "aperture", "aperture_error", "wide", "wide_error",
    "width", "a", "b", "elong", "nneg", "nbad", "sumrat", "dsnrms", "ssnrms", "sky", "missing", "sky_error",
)  # fmt: skip


@dataclass(frozen=True)
class Candidates:
    """What was found, as columns by name.

    x, y in frame pixels; fluxes in DN, positive for both signs; width of the core in units of the PSF's own.
    """

    table: Floats  # (N, len(COLUMNS))

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, name: str) -> Floats:
        """One column."""
        return np.asarray(self.table[:, COLUMNS.index(name)])

    def where(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Candidates:
        """Some of them."""
        return Candidates(self.table[keep])


@dataclass(frozen=True)
class Searchable:
    """A difference frame as it is searched; all images of one shape, in DN but for the score."""

    difference: Image  # NaN where there is no pixel
    variance: Image  # that of a pixel, DN squared
    psf: Image  # a point source's profile in the difference, odd side, sum 1
    score: Image  # S/N of a point source at each pixel
    filtered: Image  # the difference convolved with its PSF


def detect(frame: Searchable, threshold: float, *, briefly: bool = False) -> Candidates:
    """Everything above threshold sigma, of either sign, in the score image.

    briefly measures only what a catalogue holds: place, fluxes of the PSF, width; the other columns are NaN.
    """
    missing = ~np.isfinite(frame.difference)
    score = np.where(missing, 0.0, frame.score)
    peaks = _peaks(score, threshold)
    clean = np.where(missing, 0.0, frame.difference)
    noises = spread(frame.difference[::3, ::3]), spread(frame.filtered[::3, ::3])
    return Candidates(
        _measure(clean, frame.variance, missing, score, frame.filtered, frame.psf, peaks, *noises, briefly)
    )


def searchable(difference: Image, variance: Image, psf: Image, astrometric: Floats | None = None) -> Searchable:
    """A difference with the score of its matched filter.

    astrometric, if given, is the variance that registration errors add to the matched-filter image.
    """
    score, filtered = matched_filter(difference, variance, psf, astrometric)
    return Searchable(difference, variance, psf, score, filtered)


def matched_filter(
    difference: Image, variance: Image, psf: Image, astrometric: Floats | None = None
) -> tuple[Image, Image]:
    """Signal to noise of a point source at each pixel, and the difference convolved with the PSF. NaN counts as 0."""
    missing = ~np.isfinite(difference)
    images, turned = [np.where(missing, 0.0, image) for image in (difference, variance)], psf[::-1, ::-1]
    signal, power = np.asarray(convolve_all(images, [[turned, None], [None, turned**2]]), np.float64)
    if astrometric is not None:
        power = power + astrometric
    score = signal / np.sqrt(np.maximum(power, 1e-9))
    score[missing] = 0.0
    return score, signal


@njit(cache=True)
def _above(values: Floats, threshold: float) -> list[int]:
    """Where values are beyond threshold, of either sign; looks at many at once, as hardly any are."""
    found = []
    for first in range(0, values.size, 64):
        some, hit = values[first : first + 64], 0
        for k in range(some.size):
            hit |= int(abs(some[k]) >= threshold)
        if hit:
            for k in range(some.size):
                if abs(some[k]) >= threshold:
                    found.append(first + k)
    return found


@njit(cache=True)
def _is_peak(score: Image, j: int, i: int) -> bool:
    """Whether none of the 5 x 5 pixels around is farther from zero on its side; of equal ones the first is the peak."""
    sign = 1.0 if score[j, i] > 0 else -1.0
    for v in range(max(j - 2, 0), min(j + 3, score.shape[0])):
        for u in range(max(i - 2, 0), min(i + 3, score.shape[1])):
            other, own = sign * score[v, u], sign * score[j, i]
            if other > own or (other == own and (v < j or (v == j and u < i))):
                return False
    return True


@njit(cache=True)
def _peaks(score: Image, threshold: float) -> NDArray[np.int64]:
    """Rows and columns of local maxima of |score| over 5 x 5 pixels above threshold: (N, 2), in order of rows."""
    found, columns = [], score.shape[1]
    for at in _above(score.reshape(-1), threshold):
        if _is_peak(score, at // columns, at % columns):
            found.append((at // columns, at % columns))
    out = np.empty((len(found), 2), np.int64)
    for k in range(len(found)):
        out[k, 0], out[k, 1] = found[k]
    return out


@njit(cache=True)
def _parabola(left: float, middle: float, right: float) -> float:
    """Offset of the maximum of a parabola through three values, within half a pixel."""
    bend = left - 2.0 * middle + right
    if bend >= 0.0:
        return 0.0
    return min(max(0.5 * (left - right) / bend, -0.5), 0.5)


@njit(cache=True, error_model="numpy")
def _measure(
    d: Image, variance: Image, missing: NDArray[np.bool_], score: Image, filtered: Image, psf: Image,
    peaks: NDArray[np.int64], noise: float, filtered_noise: float, briefly: bool,
) -> Floats:  # fmt: skip
    """One row a peak, in the order of COLUMNS."""
    out = np.full((peaks.shape[0], 23), np.nan)
    rows, columns = d.shape
    psf_width = core_width(psf, np.zeros(psf.shape, np.bool_), psf.shape[0] // 2, psf.shape[1] // 2, 1.0)
    for k in range(peaks.shape[0]):
        j, i = peaks[k, 0], peaks[k, 1]
        sign = 1.0 if score[j, i] > 0 else -1.0
        jj, ii = min(max(j, 1), rows - 2), min(max(i, 1), columns - 2)
        fx = _parabola(sign * score[jj, ii - 1], sign * score[jj, ii], sign * score[jj, ii + 1])
        fy = _parabola(sign * score[jj - 1, ii], sign * score[jj, ii], sign * score[jj + 1, ii])
        flux, error, chi2, plain = psf_fit(d, variance, missing, psf, j, i, fx, fy, sign, noise)
        gone = 0
        for v in range(max(j - 2, 0), min(j + 3, rows)):
            for u in range(max(i - 2, 0), min(i + 3, columns)):
                gone += missing[v, u]
        out[k, 0], out[k, 1], out[k, 2], out[k, 3] = i + fx, j + fy, sign, sign * score[j, i]
        out[k, 4], out[k, 5], out[k, 6] = flux, error, chi2
        out[k, 11], out[k, 21], out[k, 22] = core_width(d, missing, j, i, sign) / psf_width, gone, plain
        if briefly:
            continue
        sky = ring_median(d, missing, j, i) * sign
        ap, ap_var = aperture(d, variance, missing, i + fx, j + fy, 4.0, sign, sky)
        wide, wide_var = aperture(d, variance, missing, i + fx, j + fy, 9.0, sign, sky)
        a, b = windowed(d, missing, j, i, fx, fy, sign, WINDOW_PX)
        nneg, nbad, sumrat = box_counts(d, missing, j, i, sign)
        out[k, 7], out[k, 8], out[k, 9], out[k, 10] = ap, math.sqrt(ap_var), wide, math.sqrt(wide_var)
        out[k, 12], out[k, 13], out[k, 14] = a, b, a / b
        out[k, 15], out[k, 16], out[k, 17] = nneg, nbad, sumrat
        out[k, 18], out[k, 19], out[k, 20] = sign * d[j, i] / noise, sign * filtered[j, i] / filtered_noise, sky
    return out
