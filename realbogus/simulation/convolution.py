"""Frames convolved with small kernels, tile by tile, so that all work stays in a processor's cache.

A tile is transformed, multiplied with the transforms of the kernels and transformed back; all but its first rows and
columns is right, so tiles overlap by the width of the kernels (overlap-save).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from realbogus.simulation.optics import POWERS, Image, Singles

TILE = 180  # pixels that a tile gives at most each way: its transform then fits a processor's second cache
Spectrum = NDArray[np.complex64]  # (images or rows of kernels, height, width // 2 + 1) of a tile


def convolve_all(
    images: Sequence[Image | Singles], kernels: Sequence[Sequence[Image | None]], margin: int = 0
) -> Singles:
    """For each row of kernels the sum of all images convolved with their kernel of that row: (rows, height, width).

    Kernels are odd squares of one side, None = not used; images are of one shape, with zeros outside. The results are
    larger than they by margin pixels on each side. In single precision, which errs by 1e-6 of the brightest pixel of a
    tile.
    """
    overlap = next(kernel.shape[0] for row in kernels for kernel in row if kernel is not None) - 1
    rows, columns = images[0].shape
    out = np.empty((len(kernels), rows + 2 * margin, columns + 2 * margin), np.float32)
    (high, height), (broad, width) = (_sides(length, overlap) for length in out.shape[1:])
    first = overlap // 2 + margin
    laid = np.zeros((len(images), out.shape[1] + height, out.shape[2] + width), np.float32)
    for one, image in zip(laid, images, strict=True):
        one[first : first + rows, first : first + columns] = image
    spectra = [[None if one is None else _spectrum(one, (height, width)) for one in row] for row in kernels]
    for y in range(0, out.shape[1], high):
        for x in range(0, out.shape[2], broad):
            part = out[:, y : y + high, x : x + broad]
            total = _products(scipy.fft.rfft2(laid[:, y : y + height, x : x + width]), spectra)
            lines = scipy.fft.ifft(total, axis=1, overwrite_x=True)[:, overlap : overlap + part.shape[1]]
            part[:] = scipy.fft.irfft(lines, width)[:, :, overlap : overlap + part.shape[2]]
    return out


def _sides(length: int, overlap: int) -> tuple[int, int]:
    """What a tile gives and what it takes along an axis: parts as even as can be, of sides that transform fast."""
    gives = -(-length // -(-length // TILE))
    return gives, scipy.fft.next_fast_len(gives + overlap, real=True)


def _spectrum(kernel: Image, shape: tuple[int, int]) -> Spectrum:
    """The transform of a kernel in the corner of a tile."""
    return np.asarray(scipy.fft.rfft2(kernel.astype(np.float32), shape))


def _products(tiles: Spectrum, spectra: Sequence[Sequence[Spectrum | None]]) -> Spectrum:
    """For each row of kernels the sum of the tiles' transforms times theirs."""
    out = np.zeros((len(spectra), *tiles.shape[1:]), np.complex64)
    for total, row in zip(out, spectra, strict=True):
        for tile, kernel in zip(tiles, row, strict=True):
            if kernel is not None:
                total += tile * kernel
    return out


def convolve(image: Image, kernel: Image) -> Image:
    """Convolution with a small odd kernel, same shape, zeros outside."""
    return np.asarray(convolve_all([image], [[kernel]])[0], np.float64)


def convolve_varying(image: Image, kernels: NDArray[np.float64]) -> Image:
    """image convolved with sum_k p_k(u, v) K_k, p the first len(kernels) terms of the surface at the output pixel."""
    blurred = convolve_all([image], [[kernel] for kernel in kernels])
    return _weighed(blurred, np.array(POWERS[: len(kernels)]))


@njit(cache=True)
def _weighed(terms: Singles, powers: NDArray[np.int64]) -> Image:
    """The sum of v ** powers[k, 0] u ** powers[k, 1] terms[k]; u, v in [-1, 1] across the frame."""
    rows, columns = terms.shape[1:]
    out, across = np.zeros((rows, columns)), 2.0 / (columns - 1)
    for k in range(len(terms)):
        u = (across * np.arange(columns) - 1.0) ** powers[k, 1]
        for j in range(rows):
            v = (2.0 * j / (rows - 1) - 1.0) ** powers[k, 0]
            for i in range(columns):
                out[j, i] += v * u[i] * terms[k, j, i]
    return out
