"""Measuring a place on a difference frame: fluxes, widths, moments and counts of pixels, compiled.

d is the difference, missing tells where it has no pixel; j and i are row and column, sign is that of the source.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from realbogus.simulation.optics import Image, cubic


@njit(cache=True)
def ring_median(d: Image, missing: NDArray[np.bool_], j: int, i: int) -> float:
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
def psf_fit(
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
    flux, error, _, _ = psf_fit(image, variance, ~np.isfinite(image), psf, j, i, fx, fy, 1.0, 1.0)
    return flux, error


@njit(cache=True)
def aperture(
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
def core_width(d: Image, missing: NDArray[np.bool_], j: int, i: int, sign: float) -> float:
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
def windowed(
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
def box_counts(d: Image, missing: NDArray[np.bool_], j: int, i: int, sign: float) -> tuple[float, float, float]:
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
