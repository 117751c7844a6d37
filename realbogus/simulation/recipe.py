"""The recipe of a simulated survey: how many of each thing a frame holds and how well it is observed.

Numbers are for the Palomar camera (1.01 arcsec pixels, 30 s). Where they were compared with real packets, see
docs/simulation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

PIXEL_ARCSEC = 1.01  # ZTF
CHIP_SHAPE = (3080, 3072)  # rows, columns of a ZTF quadrant
EVENTS = ("variables", "transients", "asteroids")  # what truly changes
BANDS = {1: "g", 2: "r", 3: "i"}  # ZTF fid


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a simulated survey looks like. Rates are means per exposure of one frame unless stated otherwise."""

    name: str = "palomar"
    survey: str = "ztf"  # whose packets: "ztf" or "rubin"
    pixel_arcsec: float = PIXEL_ARCSEC
    mag_shift: float = 0.0  # AB magnitude less the magnitude that scenes are drawn in, which suit a depth of 20.6
    side: int = 1024  # pixels of a frame, a piece of a quadrant
    visits: int = 4  # exposures that share one template

    # the sky
    stars: float = 4500.0  # to 23.5 mag, median over fields
    stars_spread: float = 1.3  # sigma of ln(stars) from field to field
    star_slope: float = 0.23  # log10 counts per mag
    galaxies: float = 1100.0  # to 22.5 mag
    variables: float = 90.0  # stars and nuclei that vary by enough to be seen, per field
    variable_mag: float = 16.9  # mean
    variable_mag_spread: float = 1.5
    variable_swing: float = 0.25  # median half range of a star of mag 17.5; fainter ones need more to be seen
    transients: float = 15.0  # per field, most of them near hosts
    asteroids: float = 10.0
    fast_stars: float = 4.0  # stars that moved by 0.3-2.5 px since the template

    # how it is observed
    optics_px: float = 1.5  # FWHM of telescope and camera, added in squares
    seeing_px: float = 1.08  # median FWHM of the air
    seeing_spread: float = 0.22  # sigma of its logarithm from night to night
    poor_frames: float = 0.05  # share of exposures with about twice the seeing: focus, wind
    ellipticity: float = 0.06  # rms over exposures; that of references is 0.05
    skew: float = 0.07  # rms of coma and of trefoil, as relative changes of the squared radius
    turbulence: float = 0.03  # rms of ln fwhm over the frame in waves that no kernel follows
    reference_seeing_px: float = 1.25  # of the air, in the reference
    reference_frames: int = 16
    sky_dn: float = 175.0  # median
    sky_spread: float = 0.55  # sigma of its logarithm from exposure to exposure
    pedestal_spread: float = 0.45  # sigma of ln of the level that frames are given over that of their sky
    noise_correlation: tuple[float, ...] = (0.0, 0.04, -0.05, -0.04, -0.03)  # one apart in x, y; two; diagonally
    gain: float = 6.2  # electrons per DN
    read_noise: float = 10.0  # electrons
    zero_point: float = 26.25
    saturation_dn: float = 42_000.0
    registration_px: float = 0.03  # rms per axis, whole frame
    distortion_px: float = 0.02  # rms of the part that varies over the frame
    subtraction: str = "zogy"  # the engine: "zogy" or "alard-lupton"
    gain_error: float = 0.01  # rms relative error of the flux ratio that ZOGY takes for the two frames
    psf_model_error: float = 0.03  # rms relative error of the width that the pipeline believes the PSF to have
    psf_wings_error: float = 0.3  # rms error of the Moffat beta, likewise
    psf_failures: float = 0.0  # share of exposures whose PSF the pipeline models three times worse
    quoted_width: float = 1.36  # FWHM that the survey quotes over that of the profile within a pixel
    score_noise: float = 1.4  # by which the pipeline takes the noise of its detection image for too large
    limit_scatter: float = 1.8  # how much shallower than its noise the survey quotes its frames
    calibration_error: float = 0.012  # of fluxes, likewise, where the engine is ZOGY
    astrometric_px: float = 0.035  # registration error that the pipeline allows for when it detects
    wander_px: float = 0.025  # rms per axis of the air's own displacements, in waves shorter than any solution follows
    bad_registration: float = 0.04  # share of exposures with a failure of 0.3-1 px

    # what goes wrong
    cosmic_rays: float = 10.0
    hot_pixels: float = 8.0
    bad_columns: float = 1.0  # per frame, new since the template
    trails: float = 0.025
    aircraft: float = 0.005
    glints: float = 0.02
    crosstalk: float = 0.05
    amplifier_steps: float = 0.03
    flux_failures: float = 0.03  # share of exposures with a cloud's edge somewhere on the quadrant
    ghosts: float = 0.1
    flat_error: float = 0.006  # of the slow waves of the flat field
    pixel_flat: float = 0.012  # of single pixels
    colour_error: float = 0.03  # mag: error of the colour term between exposure and reference
    flux_error: float = 0.015  # mag: scatter of single stars, by scintillation, clouds and small-scale flats
    bad_flat: float = 0.05  # share of exposures with a flat that is wrong by a few per cent
    template_defects: float = 3.0  # per template: cosmic rays and hot pixels that survived the coadd

    # what the survey keeps
    threshold: float = 5.0  # sigma in the detection image
    vetted: bool = True  # apply the survey's first, loose cuts as its alert stream does
    most_alerts: int = 70  # that one exposure of a frame may give, chosen at random; a breaker


def with_events(recipe: Recipe, share: float) -> Recipe:
    """The same telescope under a sky with this share of the variables, transients and asteroids.

    The recipes hold some twelve times what the sky has, so that a night of a given number of alerts takes fewer frames.
    """
    return replace(recipe, **{name: getattr(recipe, name) * share for name in EVENTS})


def palomar(**changes: Any) -> Recipe:
    """The standard recipe: like the Zwicky Transient Facility's public survey."""
    return Recipe(**changes)


STEADY: Mapping[str, Any] = {  # pipelines that err in some exposures, not by as much in all
    "variables": 60.0, "variable_swing": 0.38, "optics_px": 1.2, "reference_seeing_px": 1.5, "turbulence": 0.04,
    "gain_error": 0.006, "psf_model_error": 0.025, "psf_wings_error": 0.15, "psf_failures": 0.4, "wander_px": 0.05,
    "registration_px": 0.04, "distortion_px": 0.03, "colour_error": 0.006, "flux_error": 0.008, "cosmic_rays": 7.0,
    "calibration_error": 0.008, "flux_failures": 0.012, "quoted_width": 1.55,
}  # fmt: skip


def steady(**changes: Any) -> Recipe:
    """Like palomar, with errors of PSFs, colours and fluxes as small as a pipeline's own checks would make them.

    Fewer residuals of stars, larger variables, stars sharper than their templates. See docs/simulation.md for what
    each is worth for training.
    """
    return Recipe(**{"name": "steady", **STEADY, **changes})


def windy(**changes: Any) -> Recipe:
    """Another telescope: worse and more changeable seeing, poorer tracking, other optics and noise.

    Independent enough of the standard recipe to test what a model trained on that one is worth elsewhere.
    """
    other: dict[str, Any] = {
        **STEADY,
        "name": "windy",
        "subtraction": "alard-lupton",
        "star_slope": 0.24,
        "stars": 3600.0,
        "galaxies": 800.0,
        "seeing_px": 1.9,
        "optics_px": 1.7,
        "seeing_spread": 0.28,
        "turbulence": 0.06,
        "wander_px": 0.09,
        "reference_seeing_px": 1.6,
        "reference_frames": 20,
        "sky_dn": 240.0,
        "gain": 3.5,
        "read_noise": 14.0,
        "zero_point": 25.8,
        "registration_px": 0.12,
        "distortion_px": 0.09,
        "bad_registration": 0.1,
        "cosmic_rays": 18.0,
        "hot_pixels": 12.0,
        "bad_columns": 2.0,
        "trails": 0.15,
        "crosstalk": 0.1,
        "amplifier_steps": 0.1,
        "flux_failures": 0.02,
        "ghosts": 0.5,
        "flat_error": 0.01,
        "pixel_flat": 0.009,
        "colour_error": 0.012,
        "flux_error": 0.012,
        "saturation_dn": 55000.0,
    }
    return Recipe(**(other | changes))


def pachon(**changes: Any) -> Recipe:
    """Like Rubin's: 0.2 arcsec pixels, four magnitudes deeper, frames calibrated to nJy, its packets.

    Scenes keep the counts of the shallow survey per frame, which is 25 times smaller on the sky. Seeing, noise of
    science and template pixels and the size of the PSF are those of real packets (median 0.95 arcsec; 40 and 8 nJy).
    """
    other: dict[str, Any] = {
        "name": "pachon",
        "survey": "rubin",
        "subtraction": "alard-lupton",
        "pixel_arcsec": 0.2,
        "mag_shift": 4.0,
        "visits": 4,
        "stars": 900.0,
        "stars_spread": 0.7,
        "galaxies": 1600.0,
        "variables": 30.0,
        "transients": 14.0,
        "optics_px": 1.6,
        "seeing_px": 3.6,
        "seeing_spread": 0.2,
        "reference_seeing_px": 3.1,
        "reference_frames": 36,
        "sky_dn": 1600.0,
        "pedestal_spread": 0.0,
        "noise_correlation": (0.0,) * 5,
        "gain": 1.5,
        "read_noise": 9.0,
        "zero_point": 27.4,
        "saturation_dn": 65_000.0,
        "cosmic_rays": 10.0,
        "pixel_flat": 0.003,  # of a sky ten times as many counts
        "flat_error": 0.002,
        "score_noise": 1.15,
    }
    return Recipe(**(other | changes))


RECIPES: Mapping[str, Callable[..., Recipe]] = {"pachon": pachon, "palomar": palomar, "steady": steady, "windy": windy}
