"""A science frame and its registered template to a frame that can be searched, by the engine that the recipe names.

Both engines get what a pipeline knows: PSFs and a flux scale with their errors, never the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from realbogus.simulation.convolution import convolve
from realbogus.simulation.detection import Searchable, searchable
from realbogus.simulation.exposure import Conditions, Reference, add_slopes
from realbogus.simulation.medians import median
from realbogus.simulation.optics import PSF, Image, Singles, believed_psf
from realbogus.simulation.recipe import Recipe
from realbogus.simulation.scene import Scene
from realbogus.simulation.subtraction import Floats, alard_lupton, gaussian_basis, mesh_background
from realbogus.simulation.zogy import Half, zogy

FAILED_PSF = 3.0  # by how much errors of a PSF's model are larger where it fails


@dataclass(frozen=True)
class Subtracted:
    """A frame to search, and what the pipeline knows of how it was made."""

    frame: Searchable
    psf: PSF  # of the science frame, as the pipeline believes it to be
    sky_variance: float  # of a pixel of plain sky, DN squared
    stamps: int  # stars that the solution rests on


Engine = Callable[[np.random.Generator, Recipe, Scene, Conditions, Reference, Image, Image], Subtracted | None]


def with_alard_lupton(
    rng: np.random.Generator, recipe: Recipe, scene: Scene, how: Conditions, reference: Reference,
    science: Image, template: Image,
) -> Subtracted | None:  # fmt: skip
    """By a fitted kernel of order 0, 1 or 2 over the frame, then a matched filter; None if there are too few stars."""
    psf, _ = _believed(rng, recipe, how, reference)
    variance = _variance(science, how, reference)
    order = int(rng.choice([0, 1, 2], p=[0.15, 0.35, 0.5]))
    done = alard_lupton(science, template, variance, _kernel_stars(scene, how), gaussian_basis(), order)
    if done is None:
        return None
    profile = psf.image(10)
    level = median(done.matched[::4, ::4])
    astrometric = np.zeros(science.shape)
    add_slopes(astrometric, convolve(np.nan_to_num(done.matched - level), profile), recipe.astrometric_px**2)
    frame = searchable(done.difference, variance, profile, astrometric)
    return Subtracted(frame, psf, median(variance[::4, ::4]), done.stamps)


def with_zogy(
    rng: np.random.Generator, recipe: Recipe, scene: Scene, how: Conditions, reference: Reference,
    science: Image, template: Image,
) -> Subtracted:  # fmt: skip
    """By the proper difference; the PSFs and the flux ratio that it rests on have the errors of the recipe."""
    psf, reference_psf = _believed(rng, recipe, how, reference)
    scale = 10.0 ** (0.4 * (reference.zero_point - how.zero_point)) * float(np.exp(rng.normal(0.0, recipe.gain_error)))
    sky = median(science[::4, ::4])
    new = np.subtract(science, sky, dtype=np.float32)  # what follows is worked out in single precision anyway
    old = np.subtract(template, median(template[::4, ::4]), dtype=np.float32)
    new -= mesh_background(new - old / np.float32(scale))
    noise = _noise(new, old, sky, scale, how, reference)
    done = zogy(
        Half(new, noise.sigma, 1.0 / how.gain, psf.image(10), 1.0),
        Half(old, reference.noise, noise.of_template, reference_psf.image(10), scale),
        recipe.astrometric_px,
        recipe.calibration_error,
    )
    done.difference[noise.gone] = np.nan
    frame = Searchable(done.difference, noise.both, done.psf, done.score, done.filtered)
    return Subtracted(frame, psf, noise.sigma**2 + (reference.noise / scale) ** 2, len(_kernel_stars(scene, how)))


ENGINES: Mapping[str, Engine] = {"alard-lupton": with_alard_lupton, "zogy": with_zogy}


def _believed(rng: np.random.Generator, recipe: Recipe, how: Conditions, reference: Reference) -> tuple[PSF, PSF]:
    """The PSFs of frame and template as the pipeline models them; now and then a model of the frame's fails."""
    worse = FAILED_PSF if rng.random() < recipe.psf_failures else 1.0
    width, wings = recipe.psf_model_error, recipe.psf_wings_error
    return believed_psf(rng, how.psf, worse * width, worse * wings), believed_psf(rng, reference.psf, width, wings)


@dataclass(frozen=True)
class _Noise:
    """What a pipeline takes for the noise of both frames."""

    both: Image  # variance of the pixels of their difference
    sigma: float  # rms of a pixel of the new frame's plain sky
    of_template: float  # variance a pixel of the template has for each DN of light
    gone: NDArray[np.bool_]  # pixels missing in either


def _noise(new: Singles, old: Singles, sky: float, scale: float, how: Conditions, reference: Reference) -> _Noise:
    """What a pipeline takes for the noise, from the frames less their skies; fills missing pixels with 0."""
    readout, of_light = (how.read_noise / how.gain) ** 2, reference.noise**2 / max(reference.sky_dn, 1.0)
    both, gone = _variances(new, old, sky, 1.0 / how.gain, readout, reference.noise**2, of_light, scale)
    return _Noise(both, math.sqrt(sky / how.gain + readout), of_light, gone)


@njit(cache=True)
def _variances(
    new: Singles, old: Singles, sky: float, photon: float, readout: float, plain: float, of_light: float, scale: float
) -> tuple[Image, NDArray[np.bool_]]:
    both = np.empty(new.shape)
    gone, unit = np.zeros(new.shape, np.bool_), 1.0 / scale**2
    for j in range(new.shape[0]):
        for i in range(new.shape[1]):
            if not (np.isfinite(new[j, i]) and np.isfinite(old[j, i])):
                gone[j, i] = True
                new[j, i], old[j, i] = 0.0, 0.0
            own = (sky + max(new[j, i], -0.2 * sky)) * photon + readout
            both[j, i] = own + (plain + max(old[j, i], 0.0) * of_light) * unit
    return both, gone


def _variance(science: Image, how: Conditions, reference: Reference) -> Image:
    """What the pipeline believes the variance of a difference pixel to be, from the frame itself; DN squared."""
    sky = median(science[::4, ::4])
    scale = 10.0 ** (0.4 * (how.zero_point - reference.zero_point))
    light = np.maximum(np.nan_to_num(science, nan=sky), 0.8 * sky)
    return np.asarray(light / how.gain + (how.read_noise / how.gain) ** 2 + (scale * reference.noise) ** 2)


def _kernel_stars(scene: Scene, how: Conditions) -> Floats:
    """Up to 45 stars to fit the kernel on, spread over the frame: bright, not saturated, the brightest of each cell."""
    stars = scene.stars
    rows = np.flatnonzero((stars.mag > 14.3) & (stars.mag < 18.3))
    rows = rows[np.argsort(stars.mag[rows], kind="stable")]
    x, y = stars.x[rows] + stars.moved_x[rows], stars.y[rows] + stars.moved_y[rows]
    dx, dy = how.mapping.shift(x, y, scene.side)
    cells: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for place in zip((x + dx).tolist(), (y + dy).tolist(), strict=True):
        cell = cells.setdefault((int(place[0] * 5 // scene.side), int(place[1] * 5 // scene.side)), [])
        if len(cell) < 2:
            cell.append(place)
    return np.array([place for cell in cells.values() for place in cell]).reshape(-1, 2)
