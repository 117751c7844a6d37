"""Frames convolved with small kernels, tile by tile, so that all work stays in a processor's cache.

A tile is transformed, multiplied with the transforms of the kernels and transformed back; its middle is right, so tiles
overlap by the width of the kernels (overlap-save). Two tiles pass as the real and the imaginary part of one. Lines are
transformed many at once; frequencies keep the order that the forward steps leave them in, which the way back undoes.

No multiplication is fused with an addition (fastmath's "contract"): code just compiled and code from numba's cache did
that in different places, and a night's bytes depended on which of them ran.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from realbogus.simulation.optics import POWERS, Image, Singles

SIDE = 128  # pixels of a tile
LANES = 32  # lines transformed side by side: they fill 32 kB, a processor's first cache
PART = np.uint64(SIDE * LANES)  # where their imaginary parts begin
STRIPS = SIDE // LANES
Step = Callable[[Singles], None]


def convolve_all(
    images: Sequence[Image | Singles], kernels: Sequence[Sequence[Image | None]], margin: int = 0
) -> Singles:
    """For each row of kernels the sum of all images convolved with their kernel of that row: (rows, height, width).

    Kernels are odd squares of one side up to 63, None = not used; images are of one shape, with zeros outside. The
    results are larger than they by margin pixels on each side. In single precision, which errs by 1e-6 of the brightest
    pixel of a tile.
    """
    used = np.array([[kernel is not None for kernel in row] for row in kernels])
    radius = next(kernel.shape[0] for row in kernels for kernel in row if kernel is not None) // 2
    shape, valid = images[0].shape, SIDE - 2 * radius
    rows, columns = (-(-(n + 2 * margin) // valid) for n in shape)
    laid = np.zeros((len(images), rows * valid + 2 * radius, columns * valid + 2 * radius), np.float32)
    first = radius + margin
    for one, image in zip(laid, images, strict=True):
        one[first : first + shape[0], first : first + shape[1]] = image
    spectra = np.zeros((*used.shape, STRIPS, 2 * SIDE * LANES), np.float32)
    for at in np.argwhere(used):
        spectra[tuple(at)] = _kernel_spectrum(kernels[at[0]][at[1]])
    out = np.empty((len(kernels), shape[0] + 2 * margin, shape[1] + 2 * margin), np.float32)
    _convolve(laid, spectra, used, radius, out)
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


def _kernel_spectrum(kernel: Image) -> Singles:
    """The transform of a kernel with its centre at the origin, scaled for the way back, as _across leaves it."""
    radius = kernel.shape[0] // 2
    tile = np.zeros((SIDE, SIDE), np.float32)
    tile[: kernel.shape[0], : kernel.shape[0]] = kernel / SIDE**2
    tile = np.roll(tile, (-radius, -radius), (0, 1))
    half, out = np.empty((2, STRIPS, 2 * SIDE * LANES), np.float32)
    _down(np.concatenate([tile, np.zeros_like(tile)]), ((0, 0), (SIDE, 0)), half)
    for strip in range(STRIPS):
        _across(half, strip, out[strip])
    return out


def _turns(quarter: int) -> Singles:
    """exp(-2 pi i k m / (4 quarter)) for m = 1, 2, 3, real and imaginary: (quarter, 6)."""
    turns = np.exp(-0.5j * np.pi / quarter * np.outer(np.arange(quarter), np.arange(1, 4)))
    return np.stack([turns.real, turns.imag], axis=2).reshape(quarter, 6).astype(np.float32)


def _fours(quarter: int) -> Step:
    """The step of a forward transform that joins lines a quarter apart, four by four."""
    turns, q = _turns(quarter), np.uint64(quarter * LANES)
    p, r = q + q, q + q + q

    @njit(cache=True)
    def step(z: Singles) -> None:
        for block in range(SIDE // (4 * quarter)):
            for k in range(quarter):
                c1, s1, c2, s2, c3, s3 = turns[k, 0], turns[k, 1], turns[k, 2], turns[k, 3], turns[k, 4], turns[k, 5]
                first = (4 * quarter * block + k) * LANES
                for lane in range(LANES):
                    i = np.uint64(first + lane)
                    j = i + PART
                    sum_x, gap_x, sum_y, gap_y = z[i] + z[i + p], z[i] - z[i + p], z[j] + z[j + p], z[j] - z[j + p]
                    add_x, off_x = z[i + q] + z[i + r], z[i + q] - z[i + r]
                    add_y, off_y = z[j + q] + z[j + r], z[j + q] - z[j + r]
                    z[i], z[j] = sum_x + add_x, sum_y + add_y
                    x, y = gap_x + off_y, gap_y - off_x
                    z[i + q], z[j + q] = x * c1 - y * s1, x * s1 + y * c1
                    x, y = sum_x - add_x, sum_y - add_y
                    z[i + p], z[j + p] = x * c2 - y * s2, x * s2 + y * c2
                    x, y = gap_x - off_y, gap_y + off_x
                    z[i + r], z[j + r] = x * c3 - y * s3, x * s3 + y * c3

    return step


def _fours_back(quarter: int) -> Step:
    """The step that undoes it, but for a factor of four."""
    turns, q = _turns(quarter), np.uint64(quarter * LANES)
    p, r = q + q, q + q + q

    @njit(cache=True)
    def step(z: Singles) -> None:
        for block in range(SIDE // (4 * quarter)):
            for k in range(quarter):
                c1, s1, c2, s2, c3, s3 = turns[k, 0], turns[k, 1], turns[k, 2], turns[k, 3], turns[k, 4], turns[k, 5]
                first = (4 * quarter * block + k) * LANES
                for lane in range(LANES):
                    i = np.uint64(first + lane)
                    j = i + PART
                    x1, y1 = z[i + q] * c1 + z[j + q] * s1, z[j + q] * c1 - z[i + q] * s1
                    x2, y2 = z[i + p] * c2 + z[j + p] * s2, z[j + p] * c2 - z[i + p] * s2
                    x3, y3 = z[i + r] * c3 + z[j + r] * s3, z[j + r] * c3 - z[i + r] * s3
                    sum_x, gap_x, sum_y, gap_y = z[i] + x2, z[i] - x2, z[j] + y2, z[j] - y2
                    add_x, off_x, add_y, off_y = x1 + x3, x1 - x3, y1 + y3, y1 - y3
                    z[i], z[j] = sum_x + add_x, sum_y + add_y
                    z[i + p], z[j + p] = sum_x - add_x, sum_y - add_y
                    z[i + q], z[j + q] = gap_x - off_y, gap_y + off_x
                    z[i + r], z[j + r] = gap_x + off_y, gap_y - off_x

    return step


HALF_TURN = np.exp(-2j * np.pi * np.arange(SIDE // 2) / SIDE)
COSINES, SINES = HALF_TURN.real.astype(np.float32), HALF_TURN.imag.astype(np.float32)
HALF = np.uint64(SIDE // 2 * LANES)


@njit(cache=True)
def _twos(z: Singles) -> None:
    """The first step of a forward transform: joins lines half a tile apart."""
    for k in range(SIDE // 2):
        c, s = COSINES[k], SINES[k]
        for lane in range(LANES):
            i = np.uint64(k * LANES + lane)
            j = i + PART
            x, y = z[i] - z[i + HALF], z[j] - z[j + HALF]
            z[i], z[j] = z[i] + z[i + HALF], z[j] + z[j + HALF]
            z[i + HALF], z[j + HALF] = x * c - y * s, x * s + y * c


@njit(cache=True)
def _twos_back(z: Singles) -> None:
    """What undoes it, but for a factor of two."""
    for k in range(SIDE // 2):
        c, s = COSINES[k], SINES[k]
        for lane in range(LANES):
            i = np.uint64(k * LANES + lane)
            j = i + PART
            x, y = z[i + HALF] * c + z[j + HALF] * s, z[j + HALF] * c - z[i + HALF] * s
            z[i + HALF], z[j + HALF] = z[i] - x, z[j] - y
            z[i], z[j] = z[i] + x, z[j] + y


_sixteen, _four, _one = (_fours(quarter) for quarter in (16, 4, 1))
_sixteen_back, _four_back, _one_back = (_fours_back(quarter) for quarter in (16, 4, 1))


@njit(cache=True)
def _forward(z: Singles) -> None:
    """Transform the lines of a strip: z holds SIDE x LANES real parts, then as many imaginary ones."""
    _twos(z)
    _sixteen(z)
    _four(z)
    _one(z)


@njit(cache=True)
def _backward(z: Singles) -> None:
    """The inverse, but for a factor of SIDE."""
    _one_back(z)
    _four_back(z)
    _sixteen_back(z)
    _twos_back(z)


@njit(cache=True)
def _down(image: Singles, tiles: tuple[tuple[int, int], tuple[int, int]], half: Singles) -> None:
    """Transform the columns of two tiles of an image as one complex, to (STRIPS, 2 SIDE LANES)."""
    pixels, stride = image.reshape(-1), image.shape[1]
    for strip in range(STRIPS):
        z = half[strip]
        for part in range(2):
            start = tiles[part][0] * stride + tiles[part][1] + strip * LANES
            for k in range(SIDE):
                for lane in range(LANES):
                    z[np.uint64((part * SIDE + k) * LANES + lane)] = pixels[np.uint64(start + k * stride + lane)]
        _forward(z)


@njit(cache=True)
def _across(half: Singles, rows: int, z: Singles) -> None:
    """Transform a strip of its rows, which become the lanes of z."""
    for strip in range(STRIPS):
        columns = half[strip]
        for part in range(2):
            start, to = (part * SIDE + rows * LANES) * LANES, (part * SIDE + strip * LANES) * LANES
            for row in range(LANES):
                for k in range(LANES):
                    z[np.uint64(to + k * LANES + row)] = columns[np.uint64(start + row * LANES + k)]
    _forward(z)


@njit(cache=True)
def _back_across(z: Singles, half: Singles, rows: int) -> None:
    """The way back of these rows."""
    _backward(z)
    for strip in range(STRIPS):
        columns = half[strip]
        for part in range(2):
            to, start = (part * SIDE + rows * LANES) * LANES, (part * SIDE + strip * LANES) * LANES
            for row in range(LANES):
                for k in range(LANES):
                    columns[np.uint64(to + row * LANES + k)] = z[np.uint64(start + k * LANES + row)]


@njit(cache=True)
def _back_up(half: Singles, radius: int, image: Singles, tiles: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """The way back of its columns; what is right of the tiles goes to the image."""
    pixels, stride, valid = image.reshape(-1), image.shape[1], SIDE - 2 * radius
    for strip in range(STRIPS):
        z, first = half[strip], strip * LANES
        _backward(z)
        for part in range(2):
            y, x = tiles[part]
            left = max(radius - first, 0)
            right = min(LANES, radius - first + min(valid, stride - x))
            for k in range(min(valid, image.shape[0] - y)):
                to, at = (y + k) * stride + x + first - radius, (part * SIDE + k + radius) * LANES
                for lane in range(left, right):
                    pixels[np.uint64(to + lane)] = z[np.uint64(at + lane)]


@njit(cache=True)
def _add_product(total: Singles, z: Singles, kernel: Singles) -> None:
    """Add z times the kernel's transform."""
    for n in range(SIDE * LANES):
        i = np.uint64(n)
        j = i + PART
        total[i] += z[i] * kernel[i] - z[j] * kernel[j]
        total[j] += z[i] * kernel[j] + z[j] * kernel[i]


@njit(cache=True)
def _convolve(laid: Singles, spectra: Singles, used: NDArray[np.bool_], radius: int, out: Singles) -> None:
    """All tiles, two at a time; the last may go alone."""
    valid = SIDE - 2 * radius
    columns = (laid.shape[2] - 2 * radius) // valid
    count = columns * ((laid.shape[1] - 2 * radius) // valid)
    halves = np.empty((len(laid), STRIPS, 2 * SIDE * LANES), np.float32)
    results = np.empty((len(out), STRIPS, 2 * SIDE * LANES), np.float32)
    strips, total = np.empty((len(laid), 2 * SIDE * LANES), np.float32), np.empty(2 * SIDE * LANES, np.float32)
    for tile in range(0, count, 2):
        other = min(tile + 1, count - 1)
        tiles = (tile // columns * valid, tile % columns * valid), (other // columns * valid, other % columns * valid)
        for n in range(len(laid)):
            _down(laid[n], tiles, halves[n])
        for strip in range(STRIPS):
            for n in range(len(laid)):
                _across(halves[n], strip, strips[n])
            for m in range(len(out)):
                total[:] = 0.0
                for n in range(len(laid)):
                    if used[m, n]:
                        _add_product(total, strips[n], spectra[m, n, strip])
                _back_across(total, results[m], strip)
        for m in range(len(out)):
            _back_up(results[m], radius, out[m], tiles)
