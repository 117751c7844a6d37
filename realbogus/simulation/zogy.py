"""Image subtraction after Zackay, Ofek and Gal-Yam (2016, ApJ 830, 27), written from the paper.

Each frame is filtered with the other's PSF, and the difference divided, in Fourier space, by what makes its noise
white. What comes out is the proper difference D with its own PSF, and the score S_corr, which is in units of its noise:
that of photons, also of the sources, and that of registration errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from realbogus.simulation.convolution import convolve_all
from realbogus.simulation.optics import Image, Singles

GRID = 64  # pixels: kernels are worked out on a square of this side; their wings are far shorter
RADIUS = 10  # pixels: kernels and PSFs are cut to a square of 2 RADIUS + 1
DARKEST = -0.2  # of the variance of plain sky: no pixel is believed to have less by more than this
LEAST = 1e-7  # of the power of the PSFs: where both PSFs pass nothing there is no signal either


@dataclass(frozen=True)
class Half:
    """One of the two frames, its sky taken away, NaN replaced by 0."""

    image: Image | Singles
    sigma: float  # rms of a pixel of plain sky
    of_light: float  # variance that a pixel has besides for each count of light in it
    psf: Image  # odd side, sum 1
    flux: float  # counts that a source of unit flux gives


@dataclass(frozen=True)
class Proper:
    """The proper subtraction of two frames of the same shape."""

    difference: Image  # D over its flux scale: in units of the new frame's flux, white noise
    psf: Image  # of the difference, (2 RADIUS + 1) square, sum 1
    score: Image  # S_corr, signal to noise of a point source at each pixel
    filtered: Image  # S: the same without regard to the noise of sources and registration


def zogy(new: Half, reference: Half, registration_px: float, calibration: float = 0.0) -> Proper:
    """Subtract the reference from the new frame.

    registration_px is the rms error an axis of their alignment, calibration that of their fluxes, relative; S_corr
    takes both for noise.
    """
    difference, score_new, score_reference, transfer = _kernels(new, reference)
    squares = score_new**2, score_reference**2
    # The variance is that of plain sky plus so much for each count, so it comes from the same two transforms.
    proper, old, young, power = convolve_all(
        [new.image, reference.image],
        [
            [difference[0], -difference[1]],
            [None, score_reference],
            [score_new, None],
            [new.of_light * squares[0], reference.of_light * squares[1]],
        ],
        margin=1,
    )
    plain = float(squares[0].sum() * new.sigma**2 + squares[1].sum() * reference.sigma**2)
    inner, score, filtered = _scored(proper, young, old, power, plain, registration_px**2, calibration**2)
    return Proper(inner, transfer, score, filtered)


@njit(cache=True, error_model="numpy")
def _scored(
    proper: Singles, new: Singles, old: Singles, power: Singles, plain: float, registration: float, calibration: float
) -> tuple[Image, Image, Image]:
    """D, S_corr and S from D, the two parts of S and the noise of sources, all with a margin of one pixel."""
    shape = new.shape[0] - 2, new.shape[1] - 2
    difference, score, filtered = np.empty(shape), np.empty(shape), np.empty(shape)
    sky, darkest, of_flux = np.float32(plain), np.float32(DARKEST * plain), np.float32(calibration)
    of_place = np.float32(0.25 * registration)  # differences span two pixels
    for j in range(shape[0]):
        v = j + 1
        for i in range(shape[1]):
            u = i + 1
            noise = sky + max(power[v, u], darkest) + of_flux * new[v, u] * new[v, u]
            for part in (new, old):
                down, right = part[v + 1, u] - part[v - 1, u], part[v, u + 1] - part[v, u - 1]
                noise += of_place * (down * down + right * right)
            difference[j, i] = proper[v, u]
            filtered[j, i] = new[v, u] - old[v, u]
            score[j, i] = filtered[j, i] / np.sqrt(noise)
    return difference, score, filtered


def _kernels(new: Half, reference: Half) -> tuple[tuple[Image, Image], Image, Image, Image]:
    """What N and R are convolved with to give D, and to give the two parts of S; and the PSF of D. In real space."""
    p_new, p_reference = (_centred(half.psf) for half in (new, reference))
    f_new, f_reference = new.flux, reference.flux
    power_new, power_reference = np.abs(p_new) ** 2, np.abs(p_reference) ** 2
    total = (new.sigma * f_reference) ** 2 * power_reference + (reference.sigma * f_new) ** 2 * power_new
    total = total + LEAST * total.max()
    root = np.sqrt(total)
    scale = f_new * f_reference / np.hypot(new.sigma * f_reference, reference.sigma * f_new)  # F_D
    to_flux = new.flux / scale
    transfer = _small(f_reference * f_new * p_reference * p_new / (scale * root))
    difference = _small(to_flux * f_reference * p_reference / root), _small(to_flux * f_new * p_new / root)
    score_new = _small(f_new * f_reference**2 * np.conj(p_new) * power_reference / total)
    score_reference = _small(f_reference * f_new**2 * np.conj(p_reference) * power_new / total)
    return difference, score_new, score_reference, transfer / transfer.sum()


def _centred(psf: Image) -> NDArray[np.complex128]:
    """Transform of a PSF on the small grid, its centre at the origin."""
    half = psf.shape[0] // 2
    laid = np.zeros((GRID, GRID))
    laid[: psf.shape[0], : psf.shape[1]] = psf
    return np.asarray(scipy.fft.rfft2(np.roll(laid, (-half, -half), (0, 1))))


def _small(spectrum: NDArray[np.complex128]) -> Image:
    """The kernel of a transform, cut to its middle."""
    whole = np.roll(scipy.fft.irfft2(spectrum, (GRID, GRID)), (RADIUS, RADIUS), (0, 1))
    return np.ascontiguousarray(whole[: 2 * RADIUS + 1, : 2 * RADIUS + 1])
