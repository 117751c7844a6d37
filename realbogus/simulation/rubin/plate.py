"""One exposure of Rubin, calibrated to nJy, and what a pipeline knows of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import erfa
import numpy as np

from realbogus.simulation.exposure import DAY_S, Reference
from realbogus.simulation.medians import median
from realbogus.simulation.optics import Image
from realbogus.simulation.places import Place
from realbogus.simulation.pointing import Observed, Pointing
from realbogus.simulation.recipe import Recipe

ZERO_POINT_MAG = 31.4  # AB magnitude of 1 nJy
PSF_SIDE = 41  # pixels of the PSF image beside a stamp, and of the window of the fits
MOMENTS_PX = 9  # half the window of the second moments


@dataclass(frozen=True)
class Plate:
    """One exposure, calibrated to nJy, as its packets need it."""

    science: Image  # sky taken away
    template: Image  # on the science grid, on its flux scale
    difference: Image
    variance: Image  # of a pixel of the difference
    science_variance: Image
    template_variance: Image
    profile: Image  # PSF of the difference
    science_profile: Image
    template_profile: Image
    place: Place
    moments: tuple[float, float, float]  # of the science PSF, arcsec squared
    midpoint: float  # MJD, TAI
    visit: int
    number: int  # of the exposure within its pointing


def calibrated(pointing: Pointing, recipe: Recipe, reference: Reference, seen: Observed, number: int) -> Plate:
    """An exposure in nJy; number counts those of its pointing."""
    how, frame = seen.frame.conditions, seen.subtracted.frame
    scale = to_njy(recipe, seen)
    of_template = 10.0 ** (0.4 * (how.zero_point - reference.zero_point)) * scale
    sky = median(seen.frame.image[::4, ::4])
    science = np.where(np.isfinite(frame.difference), seen.frame.image - sky, np.nan) * scale
    template = (seen.template - median(seen.template[::4, ::4])) * of_template
    science_variance = (
        np.maximum(seen.frame.image, 0.5 * sky) / how.gain + (how.read_noise / how.gain) ** 2
    ) * scale**2
    light = np.maximum(np.nan_to_num(template), 0.0) / of_template / max(reference.sky_dn, 1.0)
    template_variance = (reference.noise * of_template) ** 2 * (1.0 + light)
    profile = seen.subtracted.psf.image(PSF_SIDE // 2)
    utc = how.jd + 0.5 * how.exposure_s / DAY_S
    tai = erfa.utctai(2400000.5, utc - 2400000.5)
    return Plate(
        science, template, frame.difference * scale, frame.variance * scale**2, science_variance, template_variance,
        frame.psf, seen.subtracted.psf.image(10), reference.psf.image(10),
        Place(how.solution.terms, recipe.side, pointing.ra, pointing.dec, recipe.pixel_arcsec),
        second_moments(profile, recipe.pixel_arcsec), float(tai[0] - 2400000.5 + tai[1]), visit_id(how.jd), number,
    )  # fmt: skip


def visit_id(jd: float) -> int:
    """A visit's number: the date, then five digits that count the night's exposures in steps of its cadence."""
    year, month, day, fraction = erfa.jd2cal(jd - 0.5, 0.0)  # days are counted from noon
    return ((int(year) * 100 + int(month)) * 100 + int(day)) * 100_000 + int(fraction * 99_999)


def to_njy(recipe: Recipe, seen: Observed) -> float:
    """nJy per DN of an exposure."""
    return float(10.0 ** (0.4 * (ZERO_POINT_MAG - recipe.mag_shift - seen.frame.conditions.zero_point)))


def second_moments(image: Image, arcsec: float) -> tuple[float, float, float]:
    """Second moments xx, yy, xy in arcsec squared, under a Gaussian weight that adapts (Bernstein and Jarvis 2002)."""
    middle = image.shape[0] // 2
    inner = np.s_[middle - MOMENTS_PX : middle + MOMENTS_PX + 1]
    v, u = np.mgrid[-MOMENTS_PX : MOMENTS_PX + 1, -MOMENTS_PX : MOMENTS_PX + 1].astype(float)
    light = np.nan_to_num(image[inner, inner])
    xx, yy, xy = 4.0, 4.0, 0.0
    for _ in range(12):
        determinant = max(xx * yy - xy * xy, 1e-3)
        weight = light * np.exp(-0.5 * (yy * u * u - 2.0 * xy * u * v + xx * v * v) / determinant)
        total = float(weight.sum())
        if total <= 0.0:
            break
        xx, yy, xy = (2.0 * float((weight * m).sum()) / total for m in (u * u, v * v, u * v))
        xx, yy = min(max(xx, 0.5), 16.0), min(max(yy, 0.5), 16.0)
        most = 0.95 * math.sqrt(xx * yy)
        xy = min(max(xy, -most), most)
    return xx * arcsec**2, yy * arcsec**2, xy * arcsec**2
