"""Family E: symmetry about the candidate, ring by ring and in Zernike modes."""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column
from realbogus.features import geometry as geo
from realbogus.features.feature import Family
from realbogus.features.view import View, Window, total

E = Family("E")
ZERNIKE = "ours, in the spirit of Ackley+2019"


def _d(view: View) -> Window:
    """d over K, 0 elsewhere."""
    return view.kept("d_in_disk", lambda v: np.where(v.seen, v.difference.window, 0.0))


def _over_gross(view: View, value: Column) -> Column:
    gross = total(np.abs(_d(view)))
    return np.where(view.seen_enough & (gross > 0), value / gross, np.nan)


@E.feature(0, 1, "N1 N3", "ours, in the spirit of Brink+2013 sym", stamps="D")
def quad_range(view: View) -> Column:
    """Largest less smallest quadrant sum of d over the sum of |d| in K; axes are shared between quadrants."""
    sums = np.array([total(_d(view) * quadrant) for quadrant in geo.QUADRANTS])
    return _over_gross(view, sums.max(axis=0) - sums.min(axis=0))


@E.feature(0, 1, "N1 N3", "ours, in the spirit of galaxy asymmetry", stamps="D")
def asym180(view: View) -> Column:
    """Sum of |d - d rotated by 180 degrees| over twice the sum of |d|, over pixels of K valid with their opposite."""
    both = view.seen & view.seen[:, ::-1]
    d = np.where(both, view.difference.window, 0.0)
    gross = total(np.abs(d))
    return np.where(view.seen_enough & (gross > 0), total(np.abs(d - d[:, ::-1])) / (2 * gross), np.nan)


def _harmonic(view: View, cosine: NDArray[np.float64], sine: NDArray[np.float64]) -> Column:
    """Sum over rings of the length of the ring's Fourier component, over the sum of |d|."""
    d = _d(view)
    rings = [ring == geo.RING for ring in range(1, geo.HALF + 1)]
    lengths = [np.hypot(total(d[:, r] * cosine[r]), total(d[:, r] * sine[r])) for r in rings]
    return _over_gross(view, np.sum(lengths, axis=0))


@E.feature(0, 1, "N1 N3", "ours", stamps="D")
def ring_h1(view: View) -> Column:
    """Power of the first harmonic (dipole) around 1-px rings of K, over the sum of |d|."""
    return _harmonic(view, geo.COS1, geo.SIN1)


@E.feature(0, 1, "N1 N3", "ours", stamps="D")
def ring_h2(view: View) -> Column:
    """Power of the second harmonic (elongation, streak, trail) around 1-px rings of K, over the sum of |d|."""
    return _harmonic(view, geo.COS2, geo.SIN2)


def _rings(view: View) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Valid pixels, mean and variance of z in each ring with 1 <= r < 2.5 W (10, N); NaN where a ring has no pixel."""
    z, counts, means, variances = view.difference.z, [], [], []
    for ring in range(1, geo.HALF + 1):
        here = ring == geo.RING
        seen = view.seen[:, here]
        count = seen.sum(axis=1)
        mean = total(z[:, here], seen) / np.where(count > 0, count, np.nan)
        counts.append(count)
        means.append(mean)
        variances.append(total((z[:, here] - mean[:, None]) ** 2, seen) / np.where(count > 0, count, np.nan))
    return np.array(counts, float), np.array(means), np.array(variances)


@E.feature(0, 25, "N1", "ours", stamps="D")
def ring_var(view: View) -> Column:
    """ln(1 + mean over rings of the variance of z within the ring)."""
    counts, _, variances = view.kept("rings", _rings)
    mean = np.where(counts > 0, variances, 0.0).sum(axis=0) / (counts > 0).sum(axis=0)
    return np.where(view.seen_enough, np.log1p(mean), np.nan)


@E.feature(-5000, 5000, "N1", "ours", stamps="D")
def neg_ring_depth(view: View) -> Column:
    """Smallest over rings of mean(z) sqrt(pixels): over-subtraction and ringing."""
    counts, means, _ = view.kept("rings", _rings)
    depth = np.where(counts > 0, means * np.sqrt(counts), np.inf).min(axis=0)
    return np.where(view.seen_enough, depth, np.nan)


def _radial(n: int, m: int) -> list[tuple[int, float]]:
    """Powers and coefficients of the Zernike radial polynomial R_nm."""
    plus, minus = (n + m) // 2, (n - m) // 2
    return [
        (n - 2 * k, (-1) ** k * factorial(n - k) / (factorial(k) * factorial(plus - k) * factorial(minus - k)))
        for k in range(minus + 1)
    ]


def zernike_norms(image: Window, radius: Column) -> NDArray[np.float64]:
    """|Z_nm| (25, N) of an image of unit norm on the disk of this radius, n <= 8, m >= 0, in order of ZERNIKE_MODES."""
    power = np.sqrt(total(image * image))
    rho2 = geo.R2 / (radius**2)[:, None]
    spiral = (geo.X - 1j * geo.Y) / radius[:, None]
    norms = []
    for n, m in geo.ZERNIKE_MODES:
        radial = sum(c * rho2 ** ((p - m) // 2) for p, c in _radial(n, m))
        mode = radial * spiral**m
        moment = np.hypot(total(image * mode.real), total(image * mode.imag))
        norms.append((n + 1) / np.pi / radius**2 * moment / power)
    return np.array(norms)


def _zernike(view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    model = np.where(view.seen, view.model, 0.0)
    return zernike_norms(_d(view), view.disk_radius), zernike_norms(model, view.disk_radius)


@E.feature(0, 1, "N1 N3", ZERNIKE, stamps="D")
def zern_20(view: View) -> Column:
    """Norm of the Zernike moment (2, 0) of d / |d| on K: defocus."""
    norms = view.kept("zernike", _zernike)[0]
    return np.where(view.seen_enough, norms[geo.ZERNIKE_MODES.index((2, 0))], np.nan)


@E.feature(0, 2, "N1 N3", ZERNIKE, stamps="D")
def zern_dist(view: View) -> Column:
    """Distance between the 25 Zernike norms (n <= 8) of d / |d| and those of P / |P| on K."""
    norms, model = view.kept("zernike", _zernike)
    return np.where(view.seen_enough, np.sqrt(((norms - model) ** 2).sum(axis=0)), np.nan)
