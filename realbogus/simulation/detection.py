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

from realbogus.simulation.exposure import convolve_varying
from realbogus.simulation.optics import Image, cubic

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
    spread = _robust(frame.difference[::3, ::3]), _robust(frame.filtered[::3, ::3])
    return Candidates(
        _measure(clean, frame.variance, missing, score, frame.filtered, frame.psf, peaks, spread[0], spread[1], briefly)
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
    signal = convolve(np.where(missing, 0.0, difference), psf[::-1, ::-1])
    power = convolve(np.where(missing, 0.0, variance), psf[::-1, ::-1] ** 2)
    if astrometric is not None:
        power = power + astrometric
    score = signal / np.sqrt(np.maximum(power, 1e-9))
    score[missing] = 0.0
    return score, signal


def convolve(image: Image, kernel: Image) -> Image:
    """Convolution with a small odd kernel, same shape, zeros outside."""
    return convolve_varying(image, kernel[None])


def _robust(image: Image) -> float:
    """1.4826 times the median absolute deviation of the pixels that are there."""
    values = image[np.isfinite(image)]
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


@njit(cache=True)
def _peaks(score: Image, threshold: float) -> NDArray[np.int64]:
    """Rows and columns of local maxima of |score| over 5 x 5 pixels above threshold: (N, 2), in order of rows."""
    rows, columns = score.shape
    found = []
    for j in range(rows):
        for i in range(columns):
            s = abs(score[j, i])
            if s < threshold:
                continue
            sign = 1.0 if score[j, i] > 0 else -1.0
            best = True
            for v in range(max(j - 2, 0), min(j + 3, rows)):
                for u in range(max(i - 2, 0), min(i + 3, columns)):
                    other = sign * score[v, u]
                    if other > s or (other == s and (v < j or (v == j and u < i))):
                        best = False
            if best:
                found.append((j, i))
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
    psf_width = _core_width(psf, np.zeros(psf.shape, np.bool_), psf.shape[0] // 2, psf.shape[1] // 2, 1.0)
    for k in range(peaks.shape[0]):
        j, i = peaks[k, 0], peaks[k, 1]
        sign = 1.0 if score[j, i] > 0 else -1.0
        jj, ii = min(max(j, 1), rows - 2), min(max(i, 1), columns - 2)
        fx = _parabola(sign * score[jj, ii - 1], sign * score[jj, ii], sign * score[jj, ii + 1])
        fy = _parabola(sign * score[jj - 1, ii], sign * score[jj, ii], sign * score[jj + 1, ii])
        flux, error, chi2, plain = _psf_fit(d, variance, missing, psf, j, i, fx, fy, sign, noise)
        gone = 0
        for v in range(max(j - 2, 0), min(j + 3, rows)):
            for u in range(max(i - 2, 0), min(i + 3, columns)):
                gone += missing[v, u]
        out[k, 0], out[k, 1], out[k, 2], out[k, 3] = i + fx, j + fy, sign, sign * score[j, i]
        out[k, 4], out[k, 5], out[k, 6] = flux, error, chi2
        out[k, 11], out[k, 21], out[k, 22] = _core_width(d, missing, j, i, sign) / psf_width, gone, plain
        if briefly:
            continue
        sky = _ring_median(d, missing, j, i) * sign
        ap, ap_var = _aperture(d, variance, missing, i + fx, j + fy, 4.0, sign, sky)
        wide, wide_var = _aperture(d, variance, missing, i + fx, j + fy, 9.0, sign, sky)
        a, b = _windowed(d, missing, j, i, fx, fy, sign, WINDOW_PX)
        nneg, nbad, sumrat = _box_counts(d, missing, j, i, sign)
        out[k, 7], out[k, 8], out[k, 9], out[k, 10] = ap, math.sqrt(ap_var), wide, math.sqrt(wide_var)
        out[k, 12], out[k, 13], out[k, 14] = a, b, a / b
        out[k, 15], out[k, 16], out[k, 17] = nneg, nbad, sumrat
        out[k, 18], out[k, 19], out[k, 20] = sign * d[j, i] / noise, sign * filtered[j, i] / filtered_noise, sky
    return out


@njit(cache=True)
def _ring_median(d: Image, missing: NDArray[np.bool_], j: int, i: int) -> float:
    """Median of the ring between 9 and 14 pixels, 0 if it is not there."""
    values = np.empty(29 * 29)
    n = 0
    for v in range(max(j - 14, 0), min(j + 15, d.shape[0])):
        for u in range(max(i - 14, 0), min(i + 15, d.shape[1])):
            r2 = (v - j) ** 2 + (u - i) ** 2
            if 81 <= r2 <= 196 and (u + v) % 2 == 0 and not missing[v, u]:  # every other one is enough
                values[n] = d[v, u]
                n += 1
    return np.median(values[:n]) if n > 10 else 0.0


@njit(cache=True, error_model="numpy")
def _shifted(psf: Image, fx: float, fy: float) -> Image:
    """The inner 11 x 11 pixels of the PSF moved by a fraction of a pixel; bilinear shifts would blur it."""
    out = np.zeros((11, 11))
    wx, wy = np.empty(4), np.empty(4)
    i0, j0 = math.floor(-fx), math.floor(-fy)
    cubic(-fx - i0, wx)
    cubic(-fy - j0, wy)
    c = psf.shape[0] // 2 - 5
    for v in range(11):
        for u in range(11):
            total = 0.0
            for n in range(4):
                for m in range(4):
                    total += wy[n] * wx[m] * psf[c + v + j0 + n - 1, c + u + i0 + m - 1]
            out[v, u] = total
    return out


@njit(cache=True, error_model="numpy")
def _psf_fit(
    d: Image, variance: Image, missing: NDArray[np.bool_], psf: Image, j: int, i: int, fx: float, fy: float,
    sign: float, noise: float,
) -> tuple[float, float, float, float]:  # fmt: skip
    """Weighted flux of the PSF at a place, its error, reduced chi square within 4 pixels, error on plain sky."""
    profile = _shifted(psf, fx, fy)
    top, bottom, power, plain, n = 0.0, 0.0, 0.0, 0.0, 0
    for v in range(max(j - 5, 0), min(j + 6, d.shape[0])):
        for u in range(max(i - 5, 0), min(i + 6, d.shape[1])):
            if missing[v, u] or (v - j) ** 2 + (u - i) ** 2 > 25:
                continue
            p = profile[v - j + 5, u - i + 5]
            top += p * sign * d[v, u] / variance[v, u]
            bottom += p * p / variance[v, u]
            power += p * p
    if bottom <= 0.0:
        return 0.0, 1e9, 0.0, 1e9
    flux = top / bottom
    for v in range(max(j - 4, 0), min(j + 5, d.shape[0])):
        for u in range(max(i - 4, 0), min(i + 5, d.shape[1])):
            if missing[v, u] or (v - j) ** 2 + (u - i) ** 2 > 16:
                continue
            rest = sign * d[v, u] - flux * profile[v - j + 5, u - i + 5]
            plain += rest * rest / variance[v, u]
            n += 1
    return flux, 1.0 / math.sqrt(bottom), plain / max(n - 1, 1), noise / math.sqrt(power)


def forced(image: Image, variance: Image, psf: Image, x: float, y: float) -> tuple[float, float]:
    """Flux of the PSF at a place and its error, of either sign; error 1e9 where there are no pixels."""
    j, i = min(max(round(y), 0), image.shape[0] - 1), min(max(round(x), 0), image.shape[1] - 1)
    fx, fy = min(max(x - i, -0.5), 0.5), min(max(y - j, -0.5), 0.5)
    flux, error, _, _ = _psf_fit(image, variance, ~np.isfinite(image), psf, j, i, fx, fy, 1.0, 1.0)
    return flux, error


@njit(cache=True)
def _aperture(
    d: Image, variance: Image, missing: NDArray[np.bool_], x: float, y: float, radius: float, sign: float, sky: float
) -> tuple[float, float]:
    """Sum within a circle (its edge shared by a linear ramp of one pixel), above sky, and its variance."""
    total, power = 0.0, 0.0
    for v in range(max(int(y - radius - 1), 0), min(int(y + radius + 2), d.shape[0])):
        for u in range(max(int(x - radius - 1), 0), min(int(x + radius + 2), d.shape[1])):
            share = min(max(radius + 0.5 - math.hypot(u - x, v - y), 0.0), 1.0)
            if share > 0.0 and not missing[v, u]:
                total += share * (sign * d[v, u] - sky)
                power += share * share * variance[v, u]
    return total, power


@njit(cache=True)
def _core_width(d: Image, missing: NDArray[np.bool_], j: int, i: int, sign: float) -> float:
    """FWHM of a Gaussian core: a straight line through ln(value) against r squared near the brightest pixel."""
    best, bj, bi = -1.0, j, i
    for v in range(max(j - 1, 0), min(j + 2, d.shape[0])):
        for u in range(max(i - 1, 0), min(i + 2, d.shape[1])):
            if sign * d[v, u] > best and not missing[v, u]:
                best, bj, bi = sign * d[v, u], v, u
    if best <= 0.0:
        return 0.0
    sx, sy, total = 0.0, 0.0, 0.0
    for v in range(max(bj - 1, 0), min(bj + 2, d.shape[0])):
        for u in range(max(bi - 1, 0), min(bi + 2, d.shape[1])):
            w = max(sign * d[v, u], 0.0)
            total += w
            sx += w * (u - bi)
            sy += w * (v - bj)
    cx, cy = bi + sx / total, bj + sy / total
    s0, s1, s2, t0, t1 = 0.0, 0.0, 0.0, 0.0, 0.0
    for v in range(max(bj - 4, 0), min(bj + 5, d.shape[0])):
        for u in range(max(bi - 4, 0), min(bi + 5, d.shape[1])):
            value = sign * d[v, u]
            r2 = (v - cy) ** 2 + (u - cx) ** 2
            if missing[v, u] or r2 > 4.5:
                continue
            value = max(value, 0.08 * best)
            w = value * value
            s0 += w
            s1 += w * r2
            s2 += w * r2 * r2
            t0 += w * math.log(value)
            t1 += w * r2 * math.log(value)
    spread = s0 * s2 - s1 * s1
    if spread <= 1e-12 * s0 * s2 or s0 <= 0.0:
        return 0.5
    slope = (s0 * t1 - s1 * t0) / spread
    if slope >= -1e-3:
        return 15.0
    return 2.0 * math.sqrt(math.log(2.0) / -slope)


@njit(cache=True, error_model="numpy")
def _windowed(
    d: Image, missing: NDArray[np.bool_], j: int, i: int, fx: float, fy: float, sign: float, sigma: float
) -> tuple[float, float]:
    """Rms of the windowed profile along its major and minor axis, pixels; Gaussian window, positive pixels only."""
    total, xx, yy, xy = 0.0, 0.0, 0.0, 0.0
    for v in range(max(j - 4, 0), min(j + 5, d.shape[0])):
        for u in range(max(i - 4, 0), min(i + 5, d.shape[1])):
            value = sign * d[v, u]
            if missing[v, u] or value <= 0.0:
                continue
            dx, dy = u - i - fx, v - j - fy
            w = value * math.exp(-0.5 * (dx * dx + dy * dy) / (sigma * sigma))
            total += w
            xx += w * dx * dx
            yy += w * dy * dy
            xy += w * dx * dy
    if total <= 0.0:
        return 0.5, 0.5
    xx, yy, xy = xx / total, yy / total, xy / total
    mean, half = 0.5 * (xx + yy), math.hypot(0.5 * (xx - yy), xy)
    return math.sqrt(mean + half), math.sqrt(max(mean - half, 0.04))


@njit(cache=True)
def _box_counts(d: Image, missing: NDArray[np.bool_], j: int, i: int, sign: float) -> tuple[float, float, float]:
    """Negative and missing pixels of the 5 x 5 box, and sum over sum of absolutes after a 3 x 3 median filter."""
    nneg, nbad, up, all_of_it = 0, 0, 0.0, 0.0
    window = np.empty(9)
    for v in range(max(j - 2, 0), min(j + 3, d.shape[0])):
        for u in range(max(i - 2, 0), min(i + 3, d.shape[1])):
            if missing[v, u]:
                nbad += 1
                continue
            nneg += sign * d[v, u] < 0.0
            n = 0
            for q in range(max(v - 1, 0), min(v + 2, d.shape[0])):
                for p in range(max(u - 1, 0), min(u + 2, d.shape[1])):
                    k, new = n, sign * d[q, p]
                    while k > 0 and window[k - 1] > new:  # kept in order as it fills
                        window[k] = window[k - 1]
                        k -= 1
                    window[k] = new
                    n += 1
            value = 0.5 * (window[(n - 1) // 2] + window[n // 2])
            up += value
            all_of_it += abs(value)
    return float(nneg), float(nbad), up / all_of_it if all_of_it > 0.0 else 0.0
