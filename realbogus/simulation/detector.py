"""What a detector does to the light that falls on it: noise, cosmic rays, standing faults, electronics, saturation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from realbogus.simulation.defects import Defect
from realbogus.simulation.optics import Image
from realbogus.simulation.recipe import Recipe

Floats = NDArray[np.float64]
BLOCK = 10  # pixels: the pipeline masks saturated cores and uncovered edges in blocks of about this size


@dataclass(frozen=True)
class Detector:
    """The standing faults of one detector, alike in all its exposures."""

    hot: NDArray[np.int64]  # (N, 2) row, column
    hot_dn: Floats  # (N,) added in a 30 s exposure
    columns: NDArray[np.int64]  # (M, 3) column, first and last row
    column_gain: Floats  # (M,) response of the column, 1 = good


def draw_detector(rng: np.random.Generator, recipe: Recipe) -> Detector:
    """Hot pixels (some of them warm and flickering) and bad columns."""
    hot, bad = int(rng.poisson(recipe.hot_pixels)), int(rng.poisson(recipe.bad_columns))
    starts = rng.integers(0, recipe.side, bad)
    ends = np.minimum(starts + rng.integers(150, recipe.side + 1, bad), recipe.side)
    columns = np.stack([rng.integers(0, recipe.side, bad), starts, ends], axis=1)
    gains = 1.0 + rng.choice([-1.0, 1.0], bad) * np.exp(rng.normal(-2.3, 0.8, bad))
    return Detector(rng.integers(0, recipe.side, (hot, 2)), np.exp(rng.normal(5.6, 0.9, hot)), columns, gains)


def add_noise(
    rng: np.random.Generator, light: Image, gain: float, read_noise: float, pixel_flat: float = 0.0,
    correlation: tuple[float, ...] = (0.0,) * 5,
) -> Image:  # fmt: skip
    """Photon and read noise, and the flat field's error of single pixels, relative.

    correlation is that of pixels one apart in x and y, two apart in x and y, and of diagonal neighbours: small, as
    detectors and their electronics make it.

    Skies hold hundreds of electrons, so the Gaussian limit of Poisson is exact enough.
    """
    normal = rng.standard_normal((light.shape[0] + 2, light.shape[1] + 2), np.float32)
    normal /= np.float32(math.sqrt(1.0 + sum(c * c for c in correlation)))
    return np.asarray(
        _noisy(light, normal, 1.0 / gain, (read_noise / gain) ** 2, pixel_flat**2, np.array(correlation, np.float32))
    )


@njit(cache=True)
def _noisy(
    light: Image, normal: NDArray[np.float32], photon: float, readout: float, flat: float, near: NDArray[np.float32]
) -> Image:
    out = np.empty(light.shape)
    for j in range(light.shape[0]):
        for i in range(light.shape[1]):
            level = max(light[j, i], 0.0)
            n = normal[j + 2, i + 2] + near[0] * normal[j + 2, i + 1] + near[1] * normal[j + 1, i + 2]
            n += near[2] * normal[j + 2, i] + near[3] * normal[j, i + 2] + near[4] * normal[j + 1, i + 1]
            out[j, i] = light[j, i] + math.sqrt((photon + flat * level) * level + readout) * n
    return out


def cosmic_ray(rng: np.random.Generator, image: Image, bits: NDArray[np.uint16], scale: float = 1.0) -> None:
    """A narrow track: mostly one to three pixels, seldom a long one. Not blurred by the PSF."""
    length = float(rng.exponential(1.2)) if rng.random() < 0.85 else float(rng.uniform(4.0, 25.0))
    total = float(np.exp(rng.uniform(np.log(80.0), np.log(2500.0)))) * scale * max(1.0, length / 3.0)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = rng.uniform(0, image.shape[0] - 1), rng.uniform(0, image.shape[1] - 1)
    steps = max(int(4 * length), 1)
    along = np.linspace(0.0, length, steps)
    share = rng.gamma(4.0, 0.25, steps)
    share *= total / share.sum()
    diffusion = rng.uniform(0.3, 0.6)  # pixels by which the charge spreads in the silicon
    track = np.stack([x + along * math.cos(angle), y + along * math.sin(angle), share], axis=1)
    _deposit(image, bits, track, diffusion, int(Defect.COSMIC_RAY))


@njit(cache=True)
def _deposit(image: Image, bits: NDArray[np.uint16], track: Floats, sigma: float, mark: int) -> None:
    """Add charges, each spread over the pixels around it by a Gaussian."""
    rows, columns = image.shape
    scale = 1.0 / (sigma * math.sqrt(2.0))
    for k in range(track.shape[0]):
        x, y, charge = track[k, 0], track[k, 1], track[k, 2]
        for j in range(max(int(y) - 2, 0), min(int(y) + 4, rows)):
            high = 0.5 * (math.erf((j + 0.5 - y) * scale) - math.erf((j - 0.5 - y) * scale))
            for i in range(max(int(x) - 2, 0), min(int(x) + 4, columns)):
                wide = 0.5 * (math.erf((i + 0.5 - x) * scale) - math.erf((i - 0.5 - x) * scale))
                added = charge * high * wide
                image[j, i] += added
                if added > 1.0:
                    bits[j, i] |= mark


def standing_faults(
    rng: np.random.Generator, image: Image, bits: NDArray[np.uint16], detector: Detector, sky: float
) -> None:
    """Hot pixels and bad columns, as far as calibration left them over in this exposure."""
    flicker = rng.random(len(detector.hot)) < 0.6
    rows, columns = detector.hot[flicker].T
    image[rows, columns] += detector.hot_dn[flicker] * np.exp(rng.normal(0.0, 0.3, flicker.sum()))
    bits[rows, columns] |= np.uint16(Defect.HOT_PIXEL)
    for (column, first, last), gain in zip(detector.columns, detector.column_gain, strict=True):
        left = rng.normal(1.0, 0.4)  # how much of the fault calibration left
        image[first:last, column] += left * (gain - 1.0) * sky
        bits[first:last, column] |= np.uint16(Defect.BAD_COLUMN)


def crosstalk(rng: np.random.Generator, image: Image, bits: NDArray[np.uint16], sky: float, full: float) -> None:
    """Ghosts of bright cores in the amplifier that is read at the same time: mirrored, faint, positive or negative."""
    strength = rng.choice([-1.0, 1.0]) * float(np.exp(rng.uniform(np.log(2e-4), np.log(2e-3))))
    excess = np.where(image - sky > 0.1 * full, np.minimum(image, full) - sky, 0.0)[:, ::-1]
    added = strength * excess
    image += added
    bits[np.abs(added) > 3.0] |= np.uint16(Defect.CROSSTALK)


def amplifier_step(rng: np.random.Generator, image: Image, bits: NDArray[np.uint16], noise: float) -> None:
    """A step of the bias at an amplifier's edge, and a ramp of a few pixels beside it that was not taken out."""
    edge = int(rng.integers(image.shape[1] // 8, 7 * image.shape[1] // 8))
    step = rng.choice([-1.0, 1.0]) * noise * rng.uniform(1.0, 6.0)
    ramp = noise * rng.uniform(1.0, 10.0) * rng.choice([-1.0, 1.0]) * np.exp(-np.arange(12) / rng.uniform(0.6, 2.0))
    image[:, edge:] += step
    wide = min(12, image.shape[1] - edge)
    image[:, edge : edge + wide] += ramp[:wide]
    bits[:, edge - 3 : edge + 5] |= np.uint16(Defect.AMPLIFIER)


def saturate(image: Image, bits: NDArray[np.uint16], full: float) -> NDArray[np.bool_]:
    """Clip at the full well, let the excess bleed along columns, and mask the cores in blocks, as pipelines do."""
    masked = np.zeros(image.shape, bool)
    if image.max() <= full:
        return masked
    _bleed(image, bits, full, int(Defect.SATURATION))
    for rows, columns in _clusters(np.argwhere(image > 0.98 * full)):
        half = max(BLOCK, (3 * (columns[1] - columns[0] + 5)) // 4)
        j, i = (rows[0] + rows[1] + 1) // 2, (columns[0] + columns[1] + 1) // 2
        masked[max(j - half, 0) : j + half, max(i - half, 0) : i + half] = True
    return masked


def _clusters(places: NDArray[np.int64]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Groups of pixels whose neighbours are at most four away: first and last row, first and last column of each."""
    if not len(places):
        return []
    pairs = cKDTree(places).query_pairs(4.0, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(places), len(places)))
    count, label = connected_components(links, directed=False)
    groups = [places[label == group] for group in range(count)]
    return [((int(g[:, 0].min()), int(g[:, 0].max())), (int(g[:, 1].min()), int(g[:, 1].max()))) for g in groups]


@njit(cache=True)
def _bleed(image: Image, bits: NDArray[np.uint16], full: float, mark: int) -> None:
    """Spill the charge above the full well up and down its column, half each way."""
    rows, columns = image.shape
    brightest = np.zeros(columns)
    for j in range(rows):
        for i in range(columns):
            brightest[i] = max(brightest[i], image[j, i])
    for i in range(columns):
        if brightest[i] <= full:
            continue
        for direction in (1, -1):
            carried = 0.0
            for k in range(rows):
                j = k if direction == 1 else rows - 1 - k
                excess = image[j, i] - full
                if direction == 1 and excess > 0.0:
                    image[j, i] = full + 0.5 * excess  # the other half goes down in the second pass
                    carried += 0.5 * excess
                    bits[j, i] |= mark
                elif direction == -1 and excess > 0.0:
                    image[j, i] = full
                    carried += excess
                    bits[j, i] |= mark
                elif carried > 0.0:
                    room = full - image[j, i]
                    taken = min(room, carried)
                    image[j, i] += taken
                    carried = 0.97 * (carried - taken)
                    bits[j, i] |= mark
