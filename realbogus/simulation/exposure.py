"""From a scene to frames: pointing, PSF, sky and noise of an exposure; a reference frame coadded from better ones.

The science frame is on its own pixel grid. The reference is made on the reference grid with a margin, then resampled
to the science grid with the astrometric solution's error, which leaves its noise correlated, as in a real survey.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from realbogus.simulation.convolution import convolve_varying
from realbogus.simulation.damage import damage_reference, damage_science
from realbogus.simulation.defects import Damage
from realbogus.simulation.detector import Detector
from realbogus.simulation.optics import PSF, Image, Singles, draw_psf, paint_points, polynomial, sow, spatial_psf
from realbogus.simulation.recipe import Recipe
from realbogus.simulation.scene import ASTEROID, Event, Galaxies, Scene, paint_galaxies
from realbogus.simulation.sky_and_optics import bright_stars

FAINT = 10.0  # noises of a pixel: points of less light, S/N 3 or so, are not painted one by one
PAD = 12  # pixels by which the reference frame is larger on each side
DAY_S = 86400.0
SEGMENT = 16  # pixels of a row
ONE, TWO, THREE, FOUR, FIVE = (np.uint64(n) for n in range(1, 6))


@dataclass(frozen=True)
class Mapping:
    """Displacement from reference to science pixels: a shift and a second-order distortion, per axis."""

    terms: NDArray[np.float64]  # (2, 6) pixels: coefficients of optics.polynomial for x and y

    def shift(self, x: NDArray[np.float64], y: NDArray[np.float64], side: int) -> NDArray[np.float64]:
        """dx, dy at reference positions: (2, N)."""
        surface = np.stack(np.broadcast_arrays(*polynomial(2.0 * x / side - 1.0, 2.0 * y / side - 1.0)))
        return np.asarray(np.einsum("at,tn->an", self.terms, surface))


@dataclass(frozen=True)
class Conditions:
    """How one exposure was taken."""

    jd: float
    band: int  # ZTF fid
    exposure_s: float
    psf: PSF
    sky_dn: float
    gradient: tuple[float, float]  # of the sky over half the frame, relative
    zero_point: float
    gain: float
    read_noise: float
    mapping: Mapping  # where the sky truly falls
    solution: Mapping  # where the pipeline believes it falls
    colour_error: float = 0.0  # mag by which stars one sigma redder than most are too faint
    wander: tuple[
        tuple[float, ...], ...
    ] = ()  # waves of the air's displacements: kx, ky, phase, px along x, px along y


@dataclass(frozen=True)
class Frame:
    """A science frame as read out, in DN, and what spoilt it."""

    image: Image
    conditions: Conditions
    damage: Damage
    sharpest: Image  # what is truly there without noise and defects; for tests and truth


@dataclass(frozen=True)
class Reference:
    """The coadded template on the reference grid, with a margin of PAD pixels on each side."""

    image: Image
    psf: PSF
    zero_point: float
    sky_dn: float
    epochs: NDArray[np.float64]  # JD of the frames in it
    frames: int
    noise: float  # rms a pixel, DN
    damage: Damage


def draw_conditions(rng: np.random.Generator, recipe: Recipe, jd: float, band: int, night_seeing: float) -> Conditions:
    """The weather, pointing and registration of one exposure."""
    air = night_seeing * float(np.exp(rng.normal(0.0, 0.12)))
    air = float(np.clip(air * rng.uniform(1.6, 2.6) if rng.random() < recipe.poor_frames else air, 0.3, 5.0))
    seeing = math.hypot(recipe.optics_px, air)
    zero_point = float(
        recipe.zero_point + rng.normal(0.0, 0.06) - (rng.exponential(0.4) if rng.random() < 0.1 else 0.0)
    )
    sky = float(recipe.sky_dn * np.exp(rng.normal(0.0, recipe.sky_spread)) * {1: 0.75, 2: 1.0, 3: 1.5}[band])
    true = np.zeros((2, 6))
    true[:, 0] = rng.uniform(-4.0, 4.0, 2)
    true[:, 1:] = rng.normal(0.0, 0.4, (2, 5))
    error = np.zeros((2, 6))
    error[:, 0] = rng.normal(0.0, recipe.registration_px, 2)
    error[:, 1:] = rng.normal(0.0, recipe.distortion_px, (2, 5))
    if rng.random() < recipe.bad_registration:
        angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.0)
        error[:, 0] += size * np.array([np.cos(angle), np.sin(angle)])
    gradient = tuple(float(g) for g in rng.normal(0.0, 0.01, 2))
    psf = draw_psf(rng, seeing, recipe.turbulence, recipe.ellipticity, recipe.skew)
    return Conditions(
        jd, band, 30.0, psf, sky, (gradient[0], gradient[1]), zero_point,
        recipe.gain, recipe.read_noise, Mapping(true), Mapping(true + error),
        float(rng.normal(0.0, recipe.colour_error)),
        _draw_wander(rng, recipe.wander_px),
    )  # fmt: skip


def _draw_wander(rng: np.random.Generator, size_px: float) -> tuple[tuple[float, ...], ...]:
    """Four waves of random direction, two to ten across the frame."""
    scale = [12.0, 12.0, 100.0, 0.7 * size_px, 0.7 * size_px]
    return tuple(tuple(wave) for wave in rng.normal(0.0, scale, (4, 5)).tolist())


def expose(rng: np.random.Generator, scene: Scene, recipe: Recipe, how: Conditions, detector: Detector) -> Frame:
    """Take one science exposure: sky, sources and photon noise, then everything that spoils a frame."""
    side = scene.side
    image = np.zeros((side, side))
    flicker = recipe.flux_error * rng.standard_normal(scene.stars.x.size)
    _paint_scene(image, scene, how, stretch=0.0, flicker=flicker)
    y, x = np.linspace(-1, 1, side)[:, None], np.linspace(-1, 1, side)[None, :]
    truth = image + how.sky_dn * (1.0 + how.gradient[0] * x + how.gradient[1] * y)
    noisy, damage = damage_science(rng, truth.copy(), scene, recipe, how, detector)
    return Frame(noisy, how, damage, truth)


def make_reference(rng: np.random.Generator, scene: Scene, recipe: Recipe, jd: float, band: int) -> Reference:
    """Coadd the frames of a reference: mean of their PSFs, noise of each resampled before it is averaged."""
    count = int(np.clip(rng.poisson(recipe.reference_frames), 15, 40))
    epochs = jd - 900.0 + np.sort(rng.uniform(0.0, 120.0, count))
    air = recipe.reference_seeing_px * float(np.exp(rng.normal(0, 0.25)))
    psf = draw_psf(rng, math.hypot(recipe.optics_px, air), skew=recipe.skew)
    zero_point = float(recipe.zero_point + rng.normal(0.0, 0.2))
    how = Conditions(float(epochs.mean()), band, 30.0, psf, recipe.sky_dn, (0.0, 0.0), zero_point, recipe.gain,
                     recipe.read_noise, Mapping(np.zeros((2, 6))), Mapping(np.zeros((2, 6))))  # fmt: skip
    shape = (scene.side + 2 * PAD, scene.side + 2 * PAD)
    image = np.zeros(shape)
    _paint_scene(image, scene, how, stretch=1.0, epochs=epochs)
    sky = float(recipe.sky_dn * np.exp(rng.normal(-0.2, 0.2)))
    # The mean of frames resampled by many fractions of a pixel is one Gaussian field with their mean correlation.
    noise = _bilinear(rng.standard_normal(shape, np.float32), *common_fraction(rng.uniform(0.0, 0.3, (2, count))))
    variance = (image + sky) / how.gain + (how.read_noise / how.gain) ** 2
    worse = 1.3 * float(np.exp(rng.normal(0.15, 0.35)))  # than the mean of as many good frames
    image += sky + worse * noise / np.float32(math.sqrt(count)) * np.sqrt(variance)
    stars = bright_stars(scene, how) + np.array([PAD, PAD, 0.0])
    damage = damage_reference(rng, image, recipe, stars)
    level = worse * math.sqrt((sky / how.gain + (how.read_noise / how.gain) ** 2) / count)
    return Reference(image, psf, zero_point, sky, epochs, count, level, damage)


def register(reference: Reference, solution: Mapping, side: int, image: Image | None = None) -> Image:
    """The reference (or a map on its grid) resampled to the science grid by Lanczos-3; NaN where it does not reach."""
    source = reference.image if image is None else image
    return np.asarray(_remap(np.ascontiguousarray(source, np.float32), solution.terms, side, float(PAD), LANCZOS))


def _paint_scene(
    image: Image, scene: Scene, how: Conditions, *, stretch: float, epochs: NDArray[np.float64] | None = None,
    flicker: NDArray[np.float64] | float = 0.0,
) -> None:  # fmt: skip
    """Add all light of the scene. For the reference (epochs given) events have their mean flux and stars not moved."""
    pad = PAD * stretch
    stars, scale = scene.stars, how.zero_point
    moved = 0.0 if epochs is not None else 1.0
    x, y = stars.x + moved * stars.moved_x, stars.y + moved * stars.moved_y
    flux = 10.0 ** (-0.4 * (stars.mag + how.colour_error * stars.colour + flicker - scale))
    light = [np.stack([x, y, flux], axis=1)]
    for event in scene.events:
        light.append(_event_points(event, how, epochs))
    points = np.concatenate(light)
    dx, dy = how.mapping.shift(points[:, 0], points[:, 1], scene.side)
    for kx, ky, phase, ax, ay in how.wander:
        wave = np.cos(kx * points[:, 0] / scene.side + ky * points[:, 1] / scene.side + phase)
        dx, dy = dx + ax * wave, dy + ay * wave
    points[:, 0] += dx + pad
    points[:, 1] += dy + pad
    noise = math.sqrt(how.sky_dn / how.gain)
    faint = np.abs(points[:, 2]) < FAINT * noise
    paint_points(image, points[~faint], how.psf, 0.03 * noise if epochs is None else 0.01 * noise)
    image += _blurred_light(scene.galaxies, points[faint], how, image.shape, scene.side, pad)


def _event_points(event: Event, how: Conditions, epochs: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """An event as points: one, or several along the trail of a mover."""
    if epochs is not None:
        return np.array([[event.x, event.y, event.reference_flux(epochs, how.zero_point)]])
    flux = event.flux(how.jd, how.zero_point)
    if event.kind != ASTEROID:
        return np.array([[event.x, event.y, flux]])
    steps = how.jd + np.linspace(-0.5, 0.5, 5) * how.exposure_s / DAY_S
    return np.array([[*event.place(float(t)), flux / 5.0] for t in steps])


def _blurred_light(
    galaxies: Galaxies, faint: NDArray[np.float64], how: Conditions, shape: tuple[int, ...], side: int, pad: float
) -> Image:
    """Galaxies and faint points convolved with the varying PSF: three convolutions, one a term of its surface."""
    dx, dy = how.mapping.shift(galaxies.x, galaxies.y, side)
    moved = Galaxies(
        galaxies.x + dx, galaxies.y + dy, galaxies.mag, galaxies.radius, galaxies.index, galaxies.ratio, galaxies.angle
    )
    flux = 10.0 ** (-0.4 * (galaxies.mag - how.zero_point))
    layer = paint_galaxies(moved, flux, (shape[0], shape[1]), pad)
    sow(layer, faint)
    return convolve_varying(layer, spatial_psf(how.psf, 15))


@njit(cache=True)
def add_slopes(power: Image, image: Image, factor: float) -> None:
    """Add factor times the squared gradient of image, by central differences, to power."""
    rows, columns = image.shape
    for j in range(1, rows - 1):
        for i in range(1, columns - 1):
            down, right = 0.5 * (image[j + 1, i] - image[j - 1, i]), 0.5 * (image[j, i + 1] - image[j, i - 1])
            power[j, i] += factor * (down * down + right * right)


def _bilinear(noise: NDArray[np.float32], fx: np.float32, fy: np.float32) -> NDArray[np.float32]:
    """White noise after resampling by a fraction of a pixel: its neighbours become correlated. Changes noise."""
    noise[:, 1:] += fx * (noise[:, :-1] - noise[:, 1:])
    noise[1:] += fy * (noise[:-1] - noise[1:])
    return noise


def common_fraction(fractions: NDArray[np.float64]) -> NDArray[np.float32]:
    """The one fraction an axis whose bilinear weights correlate neighbours as much as all of them do in the mean."""
    neighbour = (fractions * (1.0 - fractions)).mean(axis=1)
    return np.asarray(0.5 - np.sqrt(0.25 - neighbour), np.float32)


def _lanczos_table(steps: int = 2048) -> NDArray[np.float64]:
    """The six Lanczos-3 weights for fractions of a pixel in [0, 1], normalised: (steps + 1, 6)."""
    offset = np.linspace(0.0, 1.0, steps + 1)[:, None] - np.arange(-2, 4)[None, :]
    weights = np.sinc(offset) * np.sinc(offset / 3.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


LANCZOS = _lanczos_table()


@njit(cache=True)
def _came_from(terms: NDArray[np.float64], i: float, j: float, half: float) -> tuple[float, float]:
    """The displacement at a science pixel, by two fixed-point steps of the inverse mapping."""
    p, q, dx, dy = i / half - 1.0, j / half - 1.0, 0.0, 0.0
    for _ in range(2):
        dx = terms[0, 0] + terms[0, 1] * p + terms[0, 2] * q
        dx += terms[0, 3] * p * p + terms[0, 4] * p * q + terms[0, 5] * q * q
        dy = terms[1, 0] + terms[1, 1] * p + terms[1, 2] * q
        dy += terms[1, 3] * p * p + terms[1, 4] * p * q + terms[1, 5] * q * q
        p, q = (i - dx) / half - 1.0, (j - dy) / half - 1.0
    return dx, dy


@njit(cache=True)
def _remap(source: Singles, terms: NDArray[np.float64], side: int, pad: float, table: NDArray[np.float64]) -> Image:
    """Sample source where each science pixel came from; NaN where a pixel's neighbours are not all there.

    Displacements and weights are linear between every 16th pixel of a row, over which they hardly change, so that the
    pixels between can be summed side by side.
    """
    out = np.empty((side, side))
    half, pixels = 0.5 * side, source.reshape(-1)
    wide, high = np.empty((2, 6), np.float32), np.empty((2, 6), np.float32)
    for j in range(side):
        dx, dy = _came_from(terms, 0.0, float(j), half)
        for first in range(0, side, SEGMENT):
            next_dx, next_dy = _came_from(terms, float(first + SEGMENT), float(j), half)
            begin, end = first - dx + pad, first + SEGMENT - next_dx + pad
            i0, j0 = math.floor(0.5 * (begin + end - SEGMENT)), math.floor(j + pad - 0.5 * (dy + next_dy))
            stop = min(first + SEGMENT, side)
            if i0 < 2 or j0 < 2 or i0 + stop - first + 2 >= source.shape[1] or j0 + 3 >= source.shape[0]:
                out[j, first:stop] = np.nan
            else:
                _lanczos(wide, begin - i0, end - SEGMENT - i0, table)
                _lanczos(high, j - dy + pad - j0, j - next_dy + pad - j0, table)
                _weigh(out[j, first:stop], pixels[(j0 - 2) * source.shape[1] + i0 - 2 :], source.shape[1], wide, high)
            dx, dy = next_dx, next_dy
    return out


@njit(cache=True)
def _lanczos(weights: Singles, begin: float, end: float, table: NDArray[np.float64]) -> None:
    """Weights at a fraction of a pixel, and their steps to those at another a segment away; also just outside [0, 1].

    By straight lines in the table.
    """
    steps = table.shape[0] - 1
    for m, t in enumerate((begin * steps, end * steps)):
        k = min(max(int(t), 0), steps - 1)
        for n in range(6):
            weights[m, n] = table[k, n] + (t - k) * (table[k + 1, n] - table[k, n])
    for n in range(6):
        weights[1, n] = (weights[1, n] - weights[0, n]) / SEGMENT


@njit(cache=True)
def _weigh(out: NDArray[np.float64], pixels: Singles, stride: int, wide: Singles, high: Singles) -> None:
    """Sums of 6 x 6 pixels from each pixel of the first row on; their weights change evenly along the segment."""
    w, dw, h, dh = wide[0], wide[1], high[0], high[1]
    w0, w1, w2, w3, w4, w5 = w[0], w[1], w[2], w[3], w[4], w[5]
    d0, d1, d2, d3, d4, d5 = dw[0], dw[1], dw[2], dw[3], dw[4], dw[5]
    h0, h1, h2, h3, h4, h5 = h[0], h[1], h[2], h[3], h[4], h[5]
    g0, g1, g2, g3, g4, g5 = dh[0], dh[1], dh[2], dh[3], dh[4], dh[5]
    for i in range(out.size):
        at, total = np.float32(i), np.float32(0.0)
        a, b, c, d, e, f = w0 + at * d0, w1 + at * d1, w2 + at * d2, w3 + at * d3, w4 + at * d4, w5 + at * d5
        for first, step, n in ((h0, g0, 0), (h1, g1, 1), (h2, g2, 2), (h3, g3, 3), (h4, g4, 4), (h5, g5, 5)):
            k = np.uint64(n * stride + i)
            row = a * pixels[k] + b * pixels[k + ONE] + c * pixels[k + TWO]
            row += d * pixels[k + THREE] + e * pixels[k + FOUR] + f * pixels[k + FIVE]
            total += (first + at * step) * row
        out[i] = total
