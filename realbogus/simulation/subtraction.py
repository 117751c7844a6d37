"""Image subtraction after Alard and Lupton (1998, ApJ 503, 325), written from the paper.

The template is convolved with a kernel that makes it look like the science frame, and taken away. The kernel is a sum
of Gaussians times polynomials whose coefficients vary over the frame; it is fitted by least squares on small stamps
around isolated stars, together with a smooth background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from realbogus.simulation.convolution import convolve_varying
from realbogus.simulation.medians import median
from realbogus.simulation.optics import Image, Singles, polynomial, surface

Floats = NDArray[np.float64]
KERNEL_RADIUS = 8  # pixels
STAMP_RADIUS = 11  # pixels: the part of a stamp that is compared
FEWEST_STAMPS = 6


@dataclass(frozen=True)
class Basis:
    """K kernels (K, side, side): Gaussians times polynomials; the first has sum 1, the others sum 0.

    Each is rows[k] (outer) columns[k] less share[k] times the first, which makes convolutions of stamps cheap.
    """

    kernels: Floats
    rows: Floats  # (K, side)
    columns: Floats  # (K, side)
    share: Floats  # (K,)


@dataclass(frozen=True)
class Subtraction:
    """A difference frame in DN of the science frame, NaN where either frame has no pixel."""

    difference: Image
    kernels: Floats  # (P, side, side): the kernel is sum_p p(u, v) kernels[p]
    matched: Image  # the template convolved to the science frame's PSF, with its background
    scale: float  # sum of the kernel at the centre: DN of the science frame per DN of the template
    background: Floats  # (P,) of the least-squares fit, DN
    stamps: int  # used after clipping
    chi: float  # median rms of the stamps' residual over their expected noise

    def kernel_at(self, u: float = 0.0, v: float = 0.0) -> Image:
        """The kernel at a field position in [-1, 1]."""
        terms = np.array(polynomial(u, v))[: len(self.kernels)]
        return np.asarray(np.einsum("p,pij->ij", terms, self.kernels))


def gaussian_basis(sigmas: tuple[float, ...] = (0.6, 1.2, 2.4), degrees: tuple[int, ...] = (4, 3, 2)) -> Basis:
    """The usual basis; sigmas in pixels. All but the first are made to have sum 0, so the first carries the flux."""
    t = np.arange(-KERNEL_RADIUS, KERNEL_RADIUS + 1, dtype=float)
    rows, columns = [], []
    for sigma, degree in zip(sigmas, degrees, strict=True):
        gauss = np.exp(-0.5 * (t / sigma) ** 2)
        profiles = [gauss * (t / sigma) ** power for power in range(degree + 1)]
        profiles = [profile / np.sqrt((profile**2).sum()) for profile in profiles]
        pairs = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
        rows += [profiles[j] for _, j in pairs]
        columns += [profiles[i] for i, _ in pairs]
    rows[0], columns[0] = rows[0] / rows[0].sum(), columns[0] / columns[0].sum()
    high, wide = np.stack(rows), np.stack(columns)
    share = high.sum(axis=1) * wide.sum(axis=1)
    share[0] = 0.0
    plain = high[:, :, None] * wide[:, None, :]
    return Basis(plain - share[:, None, None] * plain[0], high, wide, share)


def alard_lupton(
    science: Image, template: Image, noise: Image, stars: Floats, basis: Basis, order: int = 2
) -> Subtraction | None:
    """Subtract template from science; both (side, side) with NaN for missing pixels.

    noise is the variance of a pixel of the science frame, stars (N, 2) their x and y in it. order 0, 1 or 2 is that of
    the kernel's change over the frame. None if there are too few usable stars.
    """
    gone = ~(np.isfinite(science) & np.isfinite(template))
    level = median(template[::4, ::4])
    filled = np.where(np.isfinite(template), template, level)
    fit = _fit(science, filled - level, noise, gone, stars, basis, (1, 3, 6)[order])
    if fit is None:
        return None
    coefficients, background, used, chi = fit
    kernels = np.einsum("kp,kij->pij", coefficients, basis.kernels)
    matched = convolve_varying(filled - level, kernels)
    sky = surface(background, science.shape)
    difference = np.where(gone, np.nan, science - matched - sky)
    rest = mesh_background(difference)
    return Subtraction(difference - rest, kernels, matched + sky + rest, float(kernels[0].sum()), background, used, chi)


def _fit(
    science: Image, template: Image, noise: Image, gone: NDArray[np.bool_], stars: Floats, basis: Basis, terms: int
) -> tuple[Floats, Floats, int, float] | None:
    """Coefficients (K, P) of the kernel and (P,) of the background, by least squares with two rounds of clipping."""
    stamps = _cut_stamps(science, template, noise, gone, stars, basis)
    if stamps is None:
        return None
    model, data, weight, where = stamps  # (N, M, K + 1), (N, M), (N, M), (N, P_max)
    surface = where[:, :terms]
    keep = np.ones(len(data), bool)
    weighted = model * weight[:, :, None]
    normal = np.matmul(weighted.transpose(0, 2, 1), model)  # (N, K+1, K+1)
    right = np.matmul(weighted.transpose(0, 2, 1), data[:, :, None])[:, :, 0]
    power = (weight * data**2).sum(axis=1)
    for _ in range(3):
        solution = _solve(normal[keep], right[keep], surface[keep])
        local = surface @ solution.T  # (N, K+1): the kernel at each stamp
        chi2 = power - 2.0 * (local * right).sum(axis=1) + np.einsum("na,nab,nb->n", local, normal, local)
        rms = np.sqrt(np.maximum(chi2, 0.0) / data.shape[1])
        limit = np.median(rms[keep]) + 3.0 * 1.4826 * np.median(np.abs(rms[keep] - np.median(rms[keep]))) + 0.02
        fewer = keep & (rms <= limit)
        if fewer.sum() < FEWEST_STAMPS or (fewer == keep).all():
            break
        keep = fewer
    return solution[:-1], solution[-1], int(keep.sum()), float(np.median(rms[keep]))


def _cut_stamps(
    science: Image, template: Image, noise: Image, gone: NDArray[np.bool_], stars: Floats, basis: Basis
) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Stamps around the stars that are whole: the template convolved with each basis kernel, and the science data."""
    reach = STAMP_RADIUS + KERNEL_RADIUS
    side = science.shape[0]
    at = np.round(stars).astype(int)
    inside = ((at >= reach) & (at < side - reach)).all(axis=1)
    at = np.array(
        [(x, y) for x, y in at[inside] if not gone[y - reach : y + reach + 1, x - reach : x + reach + 1].any()]
    )
    if len(at) < FEWEST_STAMPS:
        return None
    wide = np.stack([template[y - reach : y + reach + 1, x - reach : x + reach + 1] for x, y in at])
    r = STAMP_RADIUS
    data = np.stack([science[y - r : y + r + 1, x - r : x + r + 1] for x, y in at])
    variance = np.stack([noise[y - r : y + r + 1, x - r : x + r + 1] for x, y in at])
    pixels = (2 * r + 1) ** 2
    blurred = _convolve_stamps(wide, basis)
    model = np.concatenate([blurred, np.ones((len(at), pixels, 1))], axis=2)
    where = np.array([polynomial(2.0 * x / side - 1.0, 2.0 * y / side - 1.0) for x, y in at])
    return model, data.reshape(len(at), -1), 1.0 / variance.reshape(len(at), -1), where


def _convolve_stamps(stamps: Floats, basis: Basis) -> Floats:
    """Each stamp (N, side, side) convolved with each kernel where it fits: (N, pixels, K). Columns first, then rows."""
    size = basis.rows.shape[1]
    wide = np.lib.stride_tricks.sliding_window_view(stamps, size, axis=2) @ basis.columns[:, ::-1].T  # (N, H, w, K)
    high = np.lib.stride_tricks.sliding_window_view(wide, size, axis=1)  # (N, h, w, K, side)
    plain = np.einsum("nhwks,ks->nhwk", high, basis.rows[:, ::-1])
    plain -= plain[..., :1] * basis.share
    return np.asarray(plain.reshape(len(stamps), -1, len(basis.share)))


def _solve(normal: Floats, right: Floats, surface: Floats) -> Floats:
    """Least squares for all coefficients (K + 1, P); each stamp's normal matrix is used for all its surface terms."""
    k, p = right.shape[1], surface.shape[1]
    outer = surface[:, :, None] * surface[:, None, :]
    matrix = np.einsum("nab,npq->apbq", normal, outer, optimize=True).reshape(k * p, k * p)
    vector = np.einsum("na,np->ap", right, surface).reshape(k * p)
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-30))
    matrix = matrix * scale[:, None] * scale[None, :] + 1e-9 * np.eye(k * p)
    return np.asarray((np.linalg.solve(matrix, vector * scale) * scale).reshape(k, p))


def mesh_background(image: Image | Singles, mesh: int = 64) -> Singles:
    """A smooth background: clipped medians of mesh x mesh cells, smoothed 3 x 3 and interpolated. NaN is left out."""
    rows, columns = image.shape[0] // mesh, image.shape[1] // mesh
    cells = image[: rows * mesh, : columns * mesh].reshape(rows, mesh, columns, mesh)[:, 2::5].transpose(0, 2, 1, 3)
    sample = cells.astype(np.float32).reshape(rows, columns, -1)  # every fifth row is enough
    finite = np.isfinite(sample)
    middle = np.nan_to_num(_median(sample, finite))
    spread = 1.4826 * np.nan_to_num(_median(np.abs(sample - middle[..., None]), finite))
    clipped = finite & (np.abs(sample - middle[..., None]) < 3.0 * spread[..., None])
    level = scipy.ndimage.median_filter(np.nan_to_num(_median(sample, clipped)), size=3, mode="nearest")
    y = (np.arange(image.shape[0]) + 0.5) / mesh - 0.5
    x = (np.arange(image.shape[1]) + 0.5) / mesh - 0.5
    return _separable_linear(level, y, x)


def _median(values: Singles, valid: NDArray[np.bool_]) -> Singles:
    """Median over the last axis of the valid values; NaN where there are none."""
    ordered = np.sort(np.where(valid, values, np.inf), axis=-1)
    count = valid.sum(axis=-1)
    at = np.maximum(count - 1, 0) // 2
    low = np.take_along_axis(ordered, at[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[-1] - 1)[..., None], axis=-1)[..., 0]
    return np.where(count > 0, 0.5 * (low + high), np.nan)


def _separable_linear(level: Floats, y: Floats, x: Floats) -> Singles:
    """Bilinear interpolation of a small grid at rows y and columns x, held constant beyond its edges."""
    high, wide = _tents(y, level.shape[0]) @ level, _tents(x, level.shape[1])
    return np.asarray(high.astype(np.float32) @ wide.astype(np.float32).T)


def _tents(at: Floats, knots: int) -> Floats:
    """Weights of linear interpolation between the knots 0, 1, ... at some places: (places, knots)."""
    return np.maximum(1.0 - np.abs(np.clip(at, 0, knots - 1)[:, None] - np.arange(knots)), 0.0)
