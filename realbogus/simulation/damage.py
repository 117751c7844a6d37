"""Frames spoilt before any subtraction: in the sky's light and the optics, then on the detector; and the template.

Each defect leaves its mark in a map of bits beside the frame.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from realbogus.simulation.defects import Damage, Defect
from realbogus.simulation.detector import (
    Detector,
    add_noise,
    amplifier_step,
    cosmic_ray,
    crosstalk,
    saturate,
    standing_faults,
)
from realbogus.simulation.optics import Image
from realbogus.simulation.recipe import Recipe
from realbogus.simulation.scene import Scene
from realbogus.simulation.sky_and_optics import (
    Floats,
    aircraft,
    bright_stars,
    calibrators,
    clouds,
    flat_field,
    ghost,
    glints,
    spikes,
    trail,
)

if TYPE_CHECKING:
    from realbogus.simulation.exposure import Conditions


def damage_science(
    rng: np.random.Generator, light: Image, scene: Scene, recipe: Recipe, how: Conditions, detector: Detector
) -> tuple[Image, Damage]:
    """Turn light (DN expected on each pixel, sky included) into a frame read out, with all that spoils it."""
    bits = np.zeros(light.shape, np.uint16)
    bright = bright_stars(scene, how)
    spikes(rng, light, bits, bright)
    if rng.random() < min(recipe.ghosts, 1.0):
        ghost(rng, light, bits, bright)
    for chance, draw in ((recipe.trails, trail), (recipe.aircraft, aircraft), (recipe.glints, glints)):
        if rng.random() < chance:
            draw(rng, light, bits, how.psf.fwhm_px, math.sqrt(how.sky_dn / how.gain))
    flat, stars = flat_field(rng, bits, recipe), calibrators(scene, how, light.shape)
    light *= flat
    lost = -2.5 * np.log10(flat[stars[:, 1].astype(int), stars[:, 0].astype(int)])
    if rng.random() < recipe.flux_failures:
        lost = lost + clouds(rng, light, bits, how.sky_dn, stars)
    image = add_noise(rng, light, how.gain, how.read_noise, recipe.pixel_flat, recipe.noise_correlation)
    for _ in range(int(rng.poisson(recipe.cosmic_rays))):
        cosmic_ray(rng, image, bits)
    standing_faults(rng, image, bits, detector, how.sky_dn)
    if rng.random() < recipe.crosstalk:
        crosstalk(rng, image, bits, how.sky_dn, recipe.saturation_dn)
    if rng.random() < recipe.amplifier_steps:
        amplifier_step(rng, image, bits, math.sqrt(how.sky_dn / how.gain))
    masked = saturate(image, bits, recipe.saturation_dn)
    return image, Damage(bits, masked, float(lost.std()))


def damage_reference(rng: np.random.Generator, image: Image, recipe: Recipe, stars: Floats) -> Damage:
    """Spoil a coadd, in place: spikes and saturated cores of bright stars, hits that the clipping left."""
    bits = np.zeros(image.shape, np.uint16)
    spikes(rng, image, bits, stars)
    for _ in range(int(rng.poisson(recipe.template_defects))):
        cosmic_ray(rng, image, bits, scale=0.35)
    masked = saturate(image, bits, recipe.saturation_dn * 1.1)
    bits[(bits & int(Defect.COSMIC_RAY)) > 0] |= int(Defect.TEMPLATE)
    return Damage(bits, masked)
