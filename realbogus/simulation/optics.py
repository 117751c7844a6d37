"""Point-spread functions: elliptical Moffat profiles that vary over a frame, and painting points with them.

Frames are (rows, columns) float64; x counts columns, y rows, pixel centres at whole numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Image = NDArray[np.float64]  # (rows, columns)
BRIGHTER_FATTER = 0.04  # growth of the width of a star near the full well
FALLOFF_STEPS = 4096  # of the table of a profile; errs by 1e-6 of the peak
SKEW = 35  # where it begins in the vector of parameters
KNOWN_SKEW = 0.5  # the share of the skew that a pipeline's model of the PSF follows
NEAR_PX = 3.0  # from the centre: where pixels are averaged over 2 x 2 places, since the PSF is undersampled
GAUSS = 0.5 / math.sqrt(3.0)  # pixels from the middle to these places: exact for cubics, where the PSF is near to one
POWERS = ((0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0))  # of v and u, in the order of polynomial()
FARTHEST_PX = 160.0  # that light of a star reaches
MOST_PLACES = 330**2  # at which one profile is evaluated
Points = NDArray[np.float64]  # (N, 3): x, y, flux
Singles = NDArray[np.float32]


@dataclass(frozen=True)
class PSF:
    """A Moffat profile whose width and shape change slowly over the frame."""

    fwhm_px: float  # at the centre
    beta: float  # 2.5 broad wings, 4.5 nearly Gaussian
    e1: float  # ellipticity along x; (a - b)/(a + b) = hypot(e1, e2)
    e2: float  # along the diagonal
    slopes: tuple[float, ...] = (0.0,) * 6  # d ln fwhm, d e1, d e2 along u, then along v, over half the frame
    bowl: float = 0.0  # growth of ln fwhm from centre to edge: focus
    ripples: tuple[float, ...] = (0.0,) * 24  # four waves of the air's turbulence: kx, ky, phase, d ln fwhm, d e1, d e2

    skew: tuple[float, ...] = (0.0,) * 4  # relative change of r squared with direction: coma along x, y; trefoil, twice

    def parameters(self) -> NDArray[np.float64]:
        """Everything as one vector, the form that the compiled painters take."""
        return np.array([self.fwhm_px, self.beta, self.e1, self.e2, *self.slopes, self.bowl, *self.ripples, *self.skew])

    def image(self, radius: int, u: float = 0.0, v: float = 0.0) -> Image:
        """The profile at field position u, v in [-1, 1], centred in a (2 radius + 1) square, sum 1."""
        side, p = 2 * radius + 1, self.parameters()
        stamp, room = np.zeros((side, side)), 2 * side**2 + 200
        work, at = np.empty((3, room), np.float32), np.empty(room, np.int32)
        shape, r, table = _shape_at(p, u, v), 1.5 * side, falloff(self.beta)
        _add(stamp, float(radius), float(radius), 1.0, self.beta, table, shape, p[SKEW:], r, work, at)
        return np.asarray(stamp / stamp.sum())


def draw_psf(
    rng: np.random.Generator, fwhm_px: float, turbulence: float = 0.0, ellipticity: float = 0.05, skew: float = 0.0
) -> PSF:
    """A plausible PSF of this width: Moffat with broad wings, an ellipticity of this rms, slow change over the frame.

    beta 2.15-2.9 is that of bright stars in real packets out to 8 pixels. turbulence is the rms of ln fwhm (and half
    of it that of the ellipticity) in waves too short for a kernel to follow.
    """
    size, angle = min(abs(rng.normal(0.0, ellipticity)), 0.25), rng.uniform(0.0, 2 * np.pi)
    slopes = tuple(float(s) for s in rng.normal(0.0, [0.02, 0.012, 0.012, 0.02, 0.012, 0.012]))
    beta, bowl = float(rng.uniform(2.15, 2.9)), float(abs(rng.normal(0.0, 0.02)))
    waves = np.concatenate(
        [
            rng.normal(0.0, 7.0, (4, 2)),
            rng.uniform(0.0, 2 * np.pi, (4, 1)),
            turbulence * rng.normal(0.0, [0.7, 0.35, 0.35], (4, 3)),
        ],
        axis=1,
    )
    ripples = tuple(waves.ravel().tolist())
    skews = tuple(np.clip(rng.normal(0.0, skew, 4), -0.24, 0.24).tolist())
    e1, e2 = float(size * np.cos(angle)), float(size * np.sin(angle))
    return PSF(float(fwhm_px), beta, e1, e2, slopes, bowl, ripples, skews)


def believed_psf(rng: np.random.Generator, psf: PSF, error: float, wings_error: float) -> PSF:
    """The PSF as a pipeline models it: the same over the frame, with these rms errors of its width (relative) and beta.

    An error of beta by 0.3 at the same width is one of a tenth of the light in the middle pixel.
    """
    width, wings, e1, e2 = rng.normal(0.0, [error, wings_error, 0.3 * error, 0.3 * error])
    skew = tuple(KNOWN_SKEW * one for one in psf.skew)
    return PSF(psf.fwhm_px * (1.0 + width), max(psf.beta + wings, 2.0), psf.e1 + e1, psf.e2 + e2, skew=skew)


def paint_points(image: Image, points: Points, psf: PSF, faintest: float) -> None:
    """Add point sources to image, each out to where its profile falls below faintest DN a pixel."""
    _paint_points(image, np.ascontiguousarray(points, np.float64), psf.parameters(), falloff(psf.beta), faintest)


@njit(cache=True)
def sow(image: Image, points: Points) -> None:
    """Add points as light not yet blurred: each over 4 x 4 pixels by the cubic of Catmull and Rom, its sum kept."""
    rows, columns = image.shape
    wx, wy = np.empty(4), np.empty(4)
    for k in range(points.shape[0]):
        i, j = math.floor(points[k, 0]), math.floor(points[k, 1])
        if i < 1 or j < 1 or i + 2 >= columns or j + 2 >= rows:
            continue
        cubic(points[k, 0] - i, wx)
        cubic(points[k, 1] - j, wy)
        for n in range(4):
            for m in range(4):
                image[j + n - 1, i + m - 1] += points[k, 2] * wy[n] * wx[m]


@njit(cache=True)
def cubic(t: float, weights: NDArray[np.float64]) -> None:
    """Weights of Catmull and Rom's cubic for the pixels -1, 0, 1, 2 at a fraction t in [0, 1)."""
    weights[0] = 0.5 * t * (t * (2.0 - t) - 1.0)
    weights[1] = 0.5 * (t * t * (3.0 * t - 5.0) + 2.0)
    weights[2] = 0.5 * t * (t * (4.0 - 3.0 * t) + 1.0)
    weights[3] = 0.5 * t * t * (t - 1.0)


def falloff(beta: float) -> Singles:
    """w ** beta for w in [0, 1] in even steps: the Moffat profile as a function of w = 1 / (1 + r**2 / a**2)."""
    return np.asarray(np.linspace(0.0, 1.0, FALLOFF_STEPS + 1) ** beta, np.float32)


def spatial_psf(psf: PSF, radius: int, count: int = 3) -> NDArray[np.float64]:
    """The PSF as sum of p_k(u, v) P_k with p = 1, u, v, ...: (count, side, side), fitted on 5 x 5 places."""
    places = [(u, v) for u in np.linspace(-1, 1, 5) for v in np.linspace(-1, 1, 5)]
    stamps = np.stack([psf.image(radius, u, v) for u, v in places]).reshape(len(places), -1)
    terms = np.array([polynomial(u, v)[:count] for u, v in places])
    solution = np.linalg.pinv(terms) @ stamps
    return solution.reshape(count, 2 * radius + 1, 2 * radius + 1)


def surface(coefficients: NDArray[np.float64], shape: tuple[int, ...]) -> Image:
    """The sum of c_k p_k(u, v) over a frame of this shape; p are the first terms of polynomial()."""
    square = np.zeros((3, 3))
    for c, (power_v, power_u) in zip(coefficients, POWERS, strict=False):
        square[power_v, power_u] = c
    v, u = (np.linspace(-1, 1, n)[:, None] ** np.arange(3) for n in shape)
    return np.asarray(v @ square @ u.T)


def polynomial(u: Any, v: Any) -> tuple[Any, ...]:
    """The six terms of a second-order surface at one place, or at arrays of places."""
    return 1.0, u, v, u * u, u * v, v * v


@njit(cache=True)
def _shape_at(p: NDArray[np.float64], u: float, v: float) -> tuple[float, float, float, float]:
    """Moffat radius a and the quadratic form of the ellipse at a field position."""
    growth = p[4] * u + p[7] * v + p[10] * (u * u + v * v)
    e1, e2 = p[2] + p[5] * u + p[8] * v, p[3] + p[6] * u + p[9] * v
    for k in range(11, 35, 6):
        wave = math.cos(p[k] * u + p[k + 1] * v + p[k + 2])
        growth += p[k + 3] * wave
        e1 += p[k + 4] * wave
        e2 += p[k + 5] * wave
    fwhm = p[0] * math.exp(growth)
    e = min(math.hypot(e1, e2), 0.4)
    angle = 0.5 * math.atan2(e2, e1)
    stretch = (1.0 + e) / (1.0 - e)  # axis ratio a/b; area kept
    c, s = math.cos(angle), math.sin(angle)
    major, minor = 1.0 / stretch, stretch
    a = fwhm / (2.0 * math.sqrt(2.0 ** (1.0 / p[1]) - 1.0))
    return a, c * c * major + s * s * minor, c * s * (major - minor), s * s * major + c * c * minor


@njit(cache=True)
def _places(
    x: float, y: float, r: float, rows: int, columns: int, dx: Singles, dy: Singles, at: NDArray[np.int32]
) -> tuple[int, int]:
    """Where a profile is evaluated, relative to its centre, and in which pixel: 2 x 2 places each near it, then one.

    Gives how many places are of the former and how many there are in all.
    """
    left, right = math.floor(x - NEAR_PX) + 1, math.ceil(x + NEAR_PX)
    low, high = math.floor(y - NEAR_PX) + 1, math.ceil(y + NEAR_PX)
    n = 0
    for j in range(max(low, 0), min(high, rows)):
        for i in range(max(left, 0), min(right, columns)):
            for v in range(-1, 2, 2):
                for u in range(-1, 2, 2):
                    dx[n], dy[n], at[n] = i - x + u * GAUSS, j - y + v * GAUSS, j * columns + i
                    n += 1
    near = n
    for j in range(max(math.ceil(y - r), 0), min(math.floor(y + r), rows - 1) + 1):
        half = math.sqrt(max(r * r - (j - y) ** 2, 0.0))
        first, last = max(math.ceil(x - half), 0), min(math.floor(x + half), columns - 1) + 1
        hole = (left, right) if low <= j < high else (last, last)
        for begin, end in ((first, min(hole[0], last)), (max(hole[1], first), last)):
            for i in range(begin, end):
                dx[n], dy[n], at[n] = i - x, j - y, j * columns + i
                n += 1
    return near, n


@njit(cache=True, error_model="numpy")
def _profile(
    out: Singles, dx: Singles, dy: Singles, table: Singles, form: tuple[np.float32, ...], skew: tuple[np.float32, ...]
) -> None:  # fmt: skip
    """The skewed Moffat profile at these places, 1 at the centre; table is that of falloff().

    In single precision and without branches, so that compilers make it work on many places at once.
    """
    one, half, three, steps = np.float32(1.0), np.float32(0.5), np.float32(3.0), np.float32(FALLOFF_STEPS)
    for k in range(out.size):
        x, y = dx[k], dy[k]
        scale = one / np.sqrt(x * x + y * y + half)
        u, v = x * scale, y * scale
        bend = skew[0] * u + skew[1] * v + skew[2] * u * (u * u - three * v * v) + skew[3] * v * (three * u * u - v * v)
        out[k] = steps / (one + (form[0] * x * x + form[1] * x * y + form[2] * y * y) * (one + bend))
    for k in range(out.size):
        n = np.uint32(min(np.int32(out[k]), np.int32(FALLOFF_STEPS - 1)))
        out[k] = table[n] + (out[k] - np.float32(n)) * (table[n + np.uint32(1)] - table[n])


@njit(cache=True)
def _add(
    image: Image, x: float, y: float, flux: float, beta: float, table: Singles, shape: tuple[float, ...],
    skew: NDArray[np.float64], r: float, work: Singles, at: NDArray[np.int32],
) -> None:  # fmt: skip
    """Add one profile of this shape out to r pixels. work (3, N) and at (N,) are room for as many places."""
    rows, columns = image.shape
    near, n = _places(x, y, r, rows, columns, work[0], work[1], at)
    a, q11, q12, q22 = shape
    form = np.float32(q11 / (a * a)), np.float32(2.0 * q12 / (a * a)), np.float32(q22 / (a * a))
    bends = np.float32(skew[0]), np.float32(skew[1]), np.float32(skew[2]), np.float32(skew[3])
    out, pixels = work[2], image.reshape(-1)
    _profile(out[:n], work[0, :n], work[1, :n], table, form, bends)
    norm = flux * (beta - 1.0) / (math.pi * a * a)
    for m in range(near):
        pixels[at[m]] += 0.25 * norm * out[m]
    for m in range(near, n):
        pixels[at[m]] += norm * out[m]


@njit(cache=True)
def _paint_points(image: Image, points: Points, p: NDArray[np.float64], table: Singles, faintest: float) -> None:
    rows, columns = image.shape
    beta = p[1]
    work, at = np.empty((3, MOST_PLACES), np.float32), np.empty(MOST_PLACES, np.int32)
    for k in range(points.shape[0]):
        x, y, flux = points[k, 0], points[k, 1], points[k, 2]
        if flux == 0.0:
            continue
        a, q11, q12, q22 = _shape_at(p, 2.0 * x / columns - 1.0, 2.0 * y / rows - 1.0)
        peak = abs(flux) * (beta - 1.0) / (math.pi * a * a)
        a *= 1.0 + BRIGHTER_FATTER * min(peak / 5e4, 1.0)
        reach = a * math.sqrt(max((peak / faintest) ** (1.0 / beta) - 1.0, 0.0))
        r = min(max(1.1 * reach, 4.0), FARTHEST_PX)
        _add(image, x, y, flux, beta, table, (a, q11, q12, q22), p[SKEW:], r, work, at)
