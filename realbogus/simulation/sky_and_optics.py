"""What sky and optics add to a frame's light and take from it: spikes, ghosts, trails, clouds, a wrong flat field."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from realbogus.simulation.defects import Defect
from realbogus.simulation.optics import Image
from realbogus.simulation.recipe import Recipe
from realbogus.simulation.scene import Scene

if TYPE_CHECKING:
    from realbogus.simulation.exposure import Conditions

Floats = NDArray[np.float64]
CALIBRATORS = 18.0, 14.0  # mag: the faintest and the brightest star that a zero point is fitted to
QUADRANT = 3  # frames a side: a photometric solution is fitted to the stars of them all
LEAST_LOSS = 0.015  # mag: what clouds must do to a place for it to be marked


def bright_stars(scene: Scene, how: Conditions, faint: float = 14.5, bright: float = -np.inf) -> Floats:
    """Where the stars between these magnitudes fall on the frame: (N, 3) x, y, flux in DN."""
    rows = np.flatnonzero((scene.stars.mag > bright) & (scene.stars.mag < faint))
    x, y = scene.stars.x[rows] + scene.stars.moved_x[rows], scene.stars.y[rows] + scene.stars.moved_y[rows]
    dx, dy = how.mapping.shift(x, y, scene.side)
    return np.stack([x + dx, y + dy, 10.0 ** (-0.4 * (scene.stars.mag[rows] - how.zero_point))], axis=1)


def spikes(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], stars: Floats) -> None:
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


def ghost(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], stars: Floats) -> None:
    """A pupil ghost: a faint, sharp-edged annulus opposite to a bright star, or from one outside the frame."""
    rows, columns = light.shape
    y0, x0 = rng.uniform(0, rows), rng.uniform(0, columns)
    outer = rng.uniform(12.0, 60.0)
    inner = outer * rng.uniform(0.3, 0.5)
    level = float(np.exp(rng.normal(1.8, 0.7)))
    near, r = _around(light.shape, x0, y0, outer + 12.0)
    light[near] += 0.25 * level * (1.0 - np.tanh(r - outer)) * (1.0 - np.tanh(inner - r))
    bits[near][(r < outer) & (r > inner)] |= np.uint16(Defect.GHOST)


def trail(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], fwhm: float, noise: float) -> None:
    """A satellite's trail right across the frame, as wide as the PSF."""
    distance, sigma = _line(rng, light.shape), max(fwhm, 1.5) / 2.355 * 1.15
    level = noise * float(np.exp(rng.uniform(np.log(1.5), np.log(60.0))))
    light += level * np.exp(-0.5 * (distance / sigma) ** 2)
    bits[np.abs(distance) < 2.0 * fwhm] |= np.uint16(Defect.TRAIL)


def glints(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], fwhm: float, noise: float) -> None:
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


def aircraft(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], fwhm: float, noise: float) -> None:
    """An aircraft: a pair of broad trails side by side, out of focus, with flashes of its strobe between them."""
    middle, half = _line(rng, light.shape), rng.uniform(3.0, 9.0)
    level, sigma = noise * float(np.exp(rng.uniform(np.log(2.0), np.log(15.0)))), rng.uniform(1.5, 3.0) * fwhm / 2.355
    for side in (-half, half):
        light += level * np.exp(-0.5 * ((middle - side) / sigma) ** 2)
    bits[np.abs(middle) < half + 2.0 * sigma] |= np.uint16(Defect.TRAIL)


def calibrators(scene: Scene, how: Conditions, shape: tuple[int, ...]) -> Floats:
    """Places on the frame of the stars that a zero point is fitted to: (N, 2) x, y. Its middle where there is none."""
    places = bright_stars(scene, how, *CALIBRATORS)[:, :2]
    inside = ((places >= 0.0) & (places < [shape[1], shape[0]])).all(axis=1)
    return places[inside] if inside.any() else np.array([[0.5 * shape[1], 0.5 * shape[0]]])


def clouds(rng: np.random.Generator, light: Image, bits: NDArray[np.uint16], sky: float, stars: Floats) -> Floats:
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


def flat_field(rng: np.random.Generator, bits: NDArray[np.uint16], recipe: Recipe) -> Image:
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


def _around(shape: tuple[int, ...], x: float, y: float, reach: float) -> tuple[tuple[slice, slice], Image]:
    """The part of a frame within reach of a place, and the distance of its pixels from there."""
    rows = slice(max(math.floor(y - reach), 0), min(math.ceil(y + reach) + 1, shape[0]))
    columns = slice(max(math.floor(x - reach), 0), min(math.ceil(x + reach) + 1, shape[1]))
    v, u = np.ogrid[rows, columns]
    return (rows, columns), np.hypot(u - x, v - y)
