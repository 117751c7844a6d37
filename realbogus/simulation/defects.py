"""What spoils frames, put in before any subtraction: in the sky's light, on the detector, and in the template.

Each defect leaves its mark in a map of bits beside the frame, which is how detections are told apart afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from realbogus.simulation.optics import Image
from realbogus.simulation.recipe import Recipe
from realbogus.simulation.scene import Scene

if TYPE_CHECKING:
    from realbogus.simulation.exposure import Conditions

Floats = NDArray[np.float64]
CALIBRATORS = 18.0, 14.0  # mag: the faintest and the brightest star that a zero point is fitted to
QUADRANT = 3  # frames a side: a photometric solution is fitted to the stars of them all
LEAST_LOSS = 0.015  # mag: what clouds must do to a place for it to be marked
BLOCK = 10  # pixels: the pipeline masks saturated cores and uncovered edges in blocks of about this size


class Defect(IntFlag):
    """Bits of the map of defects."""

    COSMIC_RAY = 1
    HOT_PIXEL = 2
    BAD_COLUMN = 4
    SATURATION = 8
    SPIKE = 16
    TRAIL = 32
    GHOST = 64
    BAD_FLAT = 128
    TEMPLATE = 256
    CROSSTALK = 512
    AMPLIFIER = 1024
    FLUX_SCALE = 2048
    GLINT = 4096


@dataclass(frozen=True)
class Damage:
    """Where a frame is spoilt: bits of Defect, and pixels that the pipeline masks (NaN in stamps)."""

    bits: NDArray[np.uint16]
    masked: NDArray[np.bool_]
    scale_rms: float = 0.0  # mag: of what flat and clouds did to the calibrators, about the zero point fitted to them


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


def damage_science(
    rng: np.random.Generator, light: Image, scene: Scene, recipe: Recipe, how: Conditions, detector: Detector
) -> tuple[Image, Damage]:
    """Turn light (DN expected on each pixel, sky included) into a frame read out, with all that spoils it."""
    bits = np.zeros(light.shape, np.uint16)
    bright = bright_stars(scene, how)
    _spikes(rng, light, bits, bright)
    if rng.random() < min(recipe.ghosts, 1.0):
        _ghost(rng, light, bits, bright)
    for chance, draw in ((recipe.trails, _trail), (recipe.aircraft, _aircraft), (recipe.glints, _glints)):
        if rng.random() < chance:
            draw(rng, light, bits, how.psf.fwhm_px, math.sqrt(how.sky_dn / how.gain))
    flat, calibrators = _flat(rng, bits, recipe), _calibrators(scene, how, light.shape)
    light *= flat
    lost = -2.5 * np.log10(flat[calibrators[:, 1].astype(int), calibrators[:, 0].astype(int)])
    if rng.random() < recipe.flux_failures:
        lost = lost + _clouds(rng, light, bits, how.sky_dn, calibrators)
    image = add_noise(rng, light, how.gain, how.read_noise, recipe.pixel_flat, recipe.noise_correlation)
    for _ in range(int(rng.poisson(recipe.cosmic_rays))):
        cosmic_ray(rng, image, bits)
    _detector_faults(rng, image, bits, detector, how.sky_dn)
    if rng.random() < recipe.crosstalk:
        _crosstalk(rng, image, bits, how.sky_dn, recipe.saturation_dn)
    if rng.random() < recipe.amplifier_steps:
        _amplifier_step(rng, image, bits, math.sqrt(how.sky_dn / how.gain))
    masked = _saturate(image, bits, recipe.saturation_dn)
    return image, Damage(bits, masked, float(lost.std()))


def damage_reference(rng: np.random.Generator, image: Image, recipe: Recipe, stars: Floats) -> Damage:
    """Spoil a coadd, in place: spikes and saturated cores of bright stars, hits that the clipping left."""
    bits = np.zeros(image.shape, np.uint16)
    _spikes(rng, image, bits, stars)
    for _ in range(int(rng.poisson(recipe.template_defects))):
        cosmic_ray(rng, image, bits, scale=0.35)
    masked = _saturate(image, bits, recipe.saturation_dn * 1.1)
    bits[(bits & int(Defect.COSMIC_RAY)) > 0] |= int(Defect.TEMPLATE)
    return Damage(bits, masked)


def bright_stars(scene: Scene, how: Conditions, faint: float = 14.5, bright: float = -np.inf) -> Floats:
    """Where the stars between these magnitudes fall on the frame: (N, 3) x, y, flux in DN."""
    rows = np.flatnonzero((scene.stars.mag > bright) & (scene.stars.mag < faint))
    x, y = scene.stars.x[rows] + scene.stars.moved_x[rows], scene.stars.y[rows] + scene.stars.moved_y[rows]
    dx, dy = how.mapping.shift(x, y, scene.side)
    return np.stack([x + dx, y + dy, 10.0 ** (-0.4 * (scene.stars.mag[rows] - how.zero_point))], axis=1)


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


def _spikes(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], stars: Floats) -> None:
    """Four diffraction spikes and a faint halo; their strength wavers from frame to frame."""
    waver = float(np.exp(rng.normal(0.0, 0.15)))
    turn = float(rng.normal(0.0, 0.01))
    for x, y, flux in stars:
        length = min(4.0 * (flux / 3e4) ** 0.5, 100.0)
        if length > 5.0:
            _draw_spike(light, bits, x, y, flux * waver * 1e-3, length, turn, int(Defect.SPIKE))


@njit(cache=True)
def _draw_spike(
    light: Image, bits: NDArray[np.uint16], x: float, y: float, flux: float, length: float, turn: float, mark: int
) -> None:
    """Add four arms of Gaussian cross-section, falling off as exp(-r / (length / 3))."""
    rows, columns = light.shape
    c, s = math.cos(turn), math.sin(turn)
    reach = int(length) + 2
    scale = length / 3.0
    for j in range(max(int(y) - reach, 0), min(int(y) + reach, rows - 1) + 1):
        for i in range(max(int(x) - reach, 0), min(int(x) + reach, columns - 1) + 1):
            dx, dy = i - x, j - y
            p, q = c * dx + s * dy, c * dy - s * dx
            for arm in range(2):
                along, across = (p, q) if arm == 0 else (q, p)
                if abs(across) < 3.0 and abs(along) < length:
                    added = flux / (4 * scale) * math.exp(-abs(along) / scale) * math.exp(-0.7 * across * across)
                    light[j, i] += added
                    if abs(across) < 1.5 and abs(along) > 4.0 and added > 3.0:
                        bits[j, i] |= mark


def _ghost(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], stars: Floats) -> None:
    """A pupil ghost: a faint, sharp-edged annulus opposite to a bright star, or from one outside the frame."""
    rows, columns = light.shape
    y0, x0 = rng.uniform(0, rows), rng.uniform(0, columns)
    outer = rng.uniform(12.0, 60.0)
    inner = outer * rng.uniform(0.3, 0.5)
    level = float(np.exp(rng.normal(1.8, 0.7)))
    near, r = _around(light.shape, x0, y0, outer + 12.0)
    light[near] += 0.25 * level * (1.0 - np.tanh(r - outer)) * (1.0 - np.tanh(inner - r))
    bits[near][(r < outer) & (r > inner)] |= np.uint16(Defect.GHOST)


def _trail(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], fwhm: float, noise: float) -> None:
    """A satellite's trail right across the frame, as wide as the PSF."""
    distance, sigma = _line(rng, light.shape), max(fwhm, 1.5) / 2.355 * 1.15
    level = noise * float(np.exp(rng.uniform(np.log(1.5), np.log(60.0))))
    light += level * np.exp(-0.5 * (distance / sigma) ** 2)
    bits[np.abs(distance) < 2.0 * fwhm] |= np.uint16(Defect.TRAIL)


def _glints(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], fwhm: float, noise: float) -> None:
    """A tumbling satellite: flashes at even steps along a line, each hardly longer than the PSF."""
    rows, columns = light.shape
    sigma, angle = max(fwhm, 1.5) / 2.355, rng.uniform(0, np.pi)
    step, level = rng.uniform(25.0, 120.0), noise * float(np.exp(rng.uniform(np.log(4.0), np.log(60.0))))
    x0, y0 = rng.uniform(0, columns), rng.uniform(0, rows)
    y, x = np.mgrid[-9:10, -9:10].astype(float)
    for k in range(-40, 41):
        px, py = x0 + k * step * math.cos(angle), y0 + k * step * math.sin(angle)
        i, j = round(px), round(py)
        if 9 <= i < columns - 9 and 9 <= j < rows - 9:
            u = (x - px + i) * math.cos(angle) + (y - py + j) * math.sin(angle)
            v = (y - py + j) * math.cos(angle) - (x - px + i) * math.sin(angle)
            flash = level * np.exp(-0.5 * ((u / (1.4 * sigma)) ** 2 + (v / sigma) ** 2))
            light[j - 9 : j + 10, i - 9 : i + 10] += flash
            bits[j - 9 : j + 10, i - 9 : i + 10][flash > 0.3 * level] |= np.uint16(Defect.GLINT)


def _aircraft(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], fwhm: float, noise: float) -> None:
    """An aircraft: a pair of broad trails side by side, out of focus, with flashes of its strobe between them."""
    middle, half = _line(rng, light.shape), rng.uniform(3.0, 9.0)
    level, sigma = noise * float(np.exp(rng.uniform(np.log(2.0), np.log(15.0)))), rng.uniform(1.5, 3.0) * fwhm / 2.355
    for side in (-half, half):
        light += level * np.exp(-0.5 * ((middle - side) / sigma) ** 2)
    bits[np.abs(middle) < half + 2.0 * sigma] |= np.uint16(Defect.TRAIL)


def _calibrators(scene: Scene, how: Conditions, shape: tuple[int, ...]) -> Floats:
    """Places on the frame of the stars that a zero point is fitted to: (N, 2) x, y. Its middle where there is none."""
    places = bright_stars(scene, how, *CALIBRATORS)[:, :2]
    inside = ((places >= 0.0) & (places < [shape[1], shape[0]])).all(axis=1)
    return places[inside] if inside.any() else np.array([[0.5 * shape[1], 0.5 * shape[0]]])


def _clouds(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], sky: float, stars: Floats) -> Floats:
    """The edge of a thin cloud over the quadrant, of which the frame is a ninth; sources behind it are fainter.

    The zero point is fitted to the calibrators of the whole quadrant and takes up what all of them lost: only
    differences from their mean are left in the light. stars (N, 2) are those on the frame, and the other ninths are
    taken to have theirs at the same places. Returns the magnitudes that each of them differs by, (9, N).
    """
    rows, columns = light.shape
    depth, width = float(np.exp(rng.uniform(np.log(0.06), np.log(0.5)))), rng.uniform(30.0, 150.0)
    edge, frame = _draw_line(rng, QUADRANT * rows, QUADRANT * columns), rng.integers(0, QUADRANT, 2)

    def lost(x: Floats, y: Floats) -> Floats:
        return np.asarray(0.5 * depth * (1.0 + np.tanh(_beside(edge, x, y) / width)))

    corners = np.array([(i * columns, j * rows) for j in range(QUADRANT) for i in range(QUADRANT)])
    of_stars = lost(stars[:, 0] + corners[:, :1], stars[:, 1] + corners[:, 1:])
    y, x = np.ogrid[:rows, :columns]
    here = lost(x + frame[0] * columns, y + frame[1] * rows) - of_stars.mean()
    light -= (1.0 - 10.0 ** (-0.4 * here)) * np.maximum(light - sky, 0.0)
    bits[np.abs(here) > LEAST_LOSS] |= np.uint16(Defect.FLUX_SCALE)
    return np.asarray(of_stars - of_stars.mean())


def _crosstalk(rng: np.random.Generator, image: Image, bits: NDArray[np.uint16], sky: float, full: float) -> None:
    """Ghosts of bright cores in the amplifier that is read at the same time: mirrored, faint, positive or negative."""
    strength = rng.choice([-1.0, 1.0]) * float(np.exp(rng.uniform(np.log(2e-4), np.log(2e-3))))
    excess = np.where(image - sky > 0.1 * full, np.minimum(image, full) - sky, 0.0)[:, ::-1]
    added = strength * excess
    image += added
    bits[np.abs(added) > 3.0] |= np.uint16(Defect.CROSSTALK)


def _amplifier_step(rng: np.random.Generator, image: Image, bits: NDArray[np.uint16], noise: float) -> None:
    """A step of the bias at an amplifier's edge, and a ramp of a few pixels beside it that was not taken out."""
    edge = int(rng.integers(image.shape[1] // 8, 7 * image.shape[1] // 8))
    step = rng.choice([-1.0, 1.0]) * noise * rng.uniform(1.0, 6.0)
    ramp = noise * rng.uniform(1.0, 10.0) * rng.choice([-1.0, 1.0]) * np.exp(-np.arange(12) / rng.uniform(0.6, 2.0))
    image[:, edge:] += step
    wide = min(12, image.shape[1] - edge)
    image[:, edge : edge + wide] += ramp[:wide]
    bits[:, edge - 3 : edge + 5] |= np.uint16(Defect.AMPLIFIER)


def _line(rng: np.random.Generator, shape: tuple[int, ...]) -> Image:
    """Signed distance in pixels of each pixel from a random line through the frame."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return _beside(_draw_line(rng, *shape), x, y)


def _draw_line(rng: np.random.Generator, rows: int, columns: int) -> tuple[float, float, float]:
    """A random line through a field: its angle, and x and y of a point on it."""
    angle = rng.uniform(0, np.pi)
    return angle, rng.uniform(0.1, 0.9) * columns, rng.uniform(0.1, 0.9) * rows


def _beside(line: tuple[float, float, float], x: Floats, y: Floats) -> Floats:
    """Signed distance of places from a line."""
    angle, x0, y0 = line
    return np.asarray((x - x0) * math.sin(angle) - (y - y0) * math.cos(angle))


def _flat(rng: np.random.Generator, bits: NDArray[np.uint16], recipe: Recipe) -> Image:
    """The error of the flat field: slow waves always, and now and then a dust ring that the flat did not take out."""
    rows, columns = bits.shape
    y, x = (np.cos(np.pi * np.arange(6)[:, None] * (np.arange(n) + 0.5) / n) for n in (rows, columns))
    flat = 1.0 + y.T @ rng.normal(0.0, 0.4 * recipe.flat_error, (6, 6)) @ x
    if rng.random() < recipe.bad_flat:
        for _ in range(int(rng.integers(1, 6))):
            _dust_ring(rng, flat, bits)
    return np.asarray(flat)


def _dust_ring(rng: np.random.Generator, flat: Image, bits: NDArray[np.uint16]) -> None:
    rows, columns = flat.shape
    x, y = rng.uniform(0, columns), rng.uniform(0, rows)
    radius, depth = rng.uniform(5.0, 18.0), rng.uniform(0.02, 0.10)
    near, r = _around(flat.shape, x, y, 3.0 * radius)
    ring = np.exp(-0.5 * ((r - radius) / (0.25 * radius)) ** 2)
    flat[near] *= 1.0 - depth * ring
    bits[near][ring > 0.3] |= np.uint16(Defect.BAD_FLAT)


def _around(shape: tuple[int, ...], x: float, y: float, reach: float) -> tuple[tuple[slice, slice], Image]:
    """The part of a frame within reach of a place, and the distance of its pixels from there."""
    rows = slice(max(math.floor(y - reach), 0), min(math.ceil(y + reach) + 1, shape[0]))
    columns = slice(max(math.floor(x - reach), 0), min(math.ceil(x + reach) + 1, shape[1]))
    v, u = np.ogrid[rows, columns]
    return (rows, columns), np.hypot(u - x, v - y)


def _detector_faults(
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


def _saturate(image: Image, bits: NDArray[np.uint16], full: float) -> NDArray[np.bool_]:
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
