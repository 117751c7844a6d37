"""The recipe of a simulated survey: how many of each thing a frame holds and how well it is observed.

Numbers are for the Palomar camera (1.01 arcsec pixels, 30 s). Where they were compared with real packets, see
docs/simulation.md.
"""

from __future__ import annotations

from dataclasses import dataclass

PIXEL_ARCSEC = 1.01  # ZTF
CHIP_SHAPE = (3080, 3072)  # rows, columns of a ZTF quadrant
BANDS = {1: "g", 2: "r", 3: "i"}  # ZTF fid


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a simulated survey looks like. Rates are means per exposure of one frame unless stated otherwise."""

    name: str = "palomar"
    side: int = 1024  # pixels of a frame, a piece of a quadrant
    visits: int = 4  # exposures that share one template

    # the sky
    stars: float = 2400.0  # to 23.5 mag, median over fields
    stars_spread: float = 0.7  # sigma of ln(stars) from field to field
    star_slope: float = 0.27  # log10 counts per mag
    galaxies: float = 1100.0  # to 22.5 mag
    variables: float = 45.0  # stars and nuclei that vary by enough to be seen, per field
    transients: float = 16.0  # per field, most of them near hosts
    asteroids: float = 6.0
    fast_stars: float = 4.0  # stars that moved by 0.3-2.5 px since the template

    # how it is observed
    seeing_px: float = 2.15  # median FWHM
    seeing_spread: float = 0.20  # sigma of its logarithm from night to night
    reference_seeing_px: float = 2.0
    reference_frames: int = 16
    sky_dn: float = 150.0  # median
    gain: float = 6.2  # electrons per DN
    read_noise: float = 10.0  # electrons
    zero_point: float = 26.25
    saturation_dn: float = 42_000.0
    registration_px: float = 0.06  # rms per axis, whole frame
    distortion_px: float = 0.04  # rms of the part that varies over the frame
    bad_registration: float = 0.06  # share of exposures with a failure of 0.3-1 px

    # what goes wrong
    cosmic_rays: float = 14.0
    hot_pixels: float = 6.0
    bad_columns: float = 1.0  # per frame, new since the template
    trails: float = 0.08
    glints: float = 0.05
    ghosts: float = 0.3
    flat_error: float = 0.006
    bad_flat: float = 0.05  # share of exposures with a flat that is wrong by a few per cent
    template_defects: float = 8.0  # per template: cosmic rays and hot pixels that survived the coadd

    # what the survey keeps
    threshold: float = 5.0  # sigma in the detection image
    vetted: bool = True  # apply the survey's first, loose cuts as its alert stream does
    max_residuals: int = 400  # alerts a frame and exposure may give at most, as a breaker
