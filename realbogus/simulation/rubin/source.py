"""The diaSource of a detection: fluxes, shapes, fits and flags, measured on its exposure."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from realbogus import packets
from realbogus.simulation.defects import Defect
from realbogus.simulation.exposure import DAY_S
from realbogus.simulation.medians import median
from realbogus.simulation.optics import Image
from realbogus.simulation.photometry import forced
from realbogus.simulation.pointing import Observed
from realbogus.simulation.rubin.plate import PSF_SIDE, Plate, second_moments

SCHEMA = "rubin/11.0"
BANDS = {1: "g", 2: "r", 3: "i"}
DIPOLE_SIGMA = 4.0  # a negative lobe this deep makes the pipeline try a dipole


def measured(plate: Plate, seen: Observed, row: int, corner: tuple[int, int]) -> dict[str, Any]:
    """The diaSource of a detection, without its ids."""
    found, scale = seen.found, math.sqrt(float(plate.variance[0, 0] / seen.subtracted.frame.variance[0, 0]))
    x, y, sign = float(found["x"][row]), float(found["y"][row]), float(found["sign"][row])
    flux, error = sign * scale * float(found["flux"][row]), scale * float(found["flux_error"][row])
    ra, dec = plate.place.sky(*plate.place.on_reference(x, y))
    arcsec = plate.place.pixel_arcsec
    snr = float(found["scorr"][row])
    off = 0.6 * math.sqrt(plate.moments[0] + plate.moments[1]) / snr  # arcsec: a centroid's photon noise
    science = forced(plate.science, plate.science_variance, plate.science_profile, x, y)
    template = forced(plate.template, plate.template_variance, plate.template_profile, x, y)
    patch, noise = _window(plate.difference, x, y), _window(plate.variance, x, y)
    return dict.fromkeys(_nullable()) | {
        "diaSourceId": 0, "visit": 0, "detector": 0, "parentDiaSourceId": None,
        "midpointMjdTai": plate.midpoint, "timeProcessedMjdTai": plate.midpoint + 60.0 / DAY_S,
        "ra": ra, "dec": dec, "raErr": off / 3600.0 / max(math.cos(math.radians(dec)), 0.05), "decErr": off / 3600.0,
        "ra_dec_Cov": 0.0, "x": x + corner[0], "y": y + corner[1], "xErr": off / arcsec, "yErr": off / arcsec,
        "apFlux": sign * scale * float(found["aperture"][row]),
        "apFluxErr": scale * float(found["aperture_error"][row]),
        "isNegative": sign < 0, "snr": snr, "psfFlux": flux, "psfFluxErr": error,
        "scienceFlux": science[0], "scienceFluxErr": science[1],
        "templateFlux": template[0], "templateFluxErr": template[1],
        "band": BANDS[seen.frame.conditions.band], "extendedness": _extendedness(found["width"][row]),
        **dict(zip(("ixxPSF", "iyyPSF", "ixyPSF"), plate.moments, strict=True)),
        **dict(zip(("ixx", "iyy", "ixy"), second_moments(sign * patch, arcsec), strict=True)),
        **_fits(plate, patch * sign, noise, sign), **_trail(flux, error, ra, dec),
        **_flags(seen, x, y), "bboxSize": int(np.clip(round(4.0 * math.log(max(snr, 5.0)) + 5.0), 9, 60)),
    }  # fmt: skip


@lru_cache(maxsize=1)
def _nullable() -> tuple[str, ...]:
    """Every field of a diaSource."""
    return tuple(packets.field_names(SCHEMA, "diaSource"))


def _window(image: Image, x: float, y: float) -> Image:
    """The 41 x 41 pixels around a place; NaN outside."""
    half, (rows, columns) = PSF_SIDE // 2, image.shape
    i, j = round(x), round(y)
    out = np.full((PSF_SIDE, PSF_SIDE), np.nan)
    top, left = max(j - half, 0), max(i - half, 0)
    part = image[top : min(j + half + 1, rows), left : min(i + half + 1, columns)]
    out[top - j + half : top - j + half + part.shape[0], left - i + half : left - i + half + part.shape[1]] = part
    return out


def _fits(plate: Plate, patch: Image, noise: Image, sign: float) -> dict[str, Any]:
    """Chi squares of the point source over the window, and of two points where a negative lobe asks for it."""
    profile = np.zeros((PSF_SIDE, PSF_SIDE))
    half, small = PSF_SIDE // 2, plate.profile.shape[0] // 2
    profile[half - small : half + small + 1, half - small : half + small + 1] = plate.profile
    usable = np.isfinite(patch) & np.isfinite(noise)
    flux = float((patch * profile)[usable].sum() / (profile[usable] ** 2).sum())
    chi2 = float((((patch - flux * profile) ** 2) / noise)[usable].sum())
    out = {"psfChi2": chi2, "psfNdata": int(usable.sum()), "isDipole": False, "dipoleFitAttempted": False,
           "dipoleNdata": 0, "trailNdata": 0}  # fmt: skip
    near = np.nan_to_num(patch[half - 7 : half + 8, half - 7 : half + 8])
    j, i = (int(n) - 7 for n in np.unravel_index(int(near.argmin()), near.shape))
    if near[j + 7, i + 7] > -DIPOLE_SIGMA * math.sqrt(float(noise[half, half])):
        return out
    other = np.roll(profile, (j, i), (0, 1))
    pair = np.stack([profile[usable], -other[usable]], axis=1)
    fluxes, *_ = np.linalg.lstsq(pair, patch[usable], rcond=None)
    rest = float(((patch[usable] - pair @ fluxes) ** 2 / noise[usable]).sum())
    one = math.sqrt(median(noise) / float((profile**2).sum()))
    return out | {
        "isDipole": bool(fluxes.min() > 0.5 * fluxes.max()), "dipoleFitAttempted": True,
        "dipoleMeanFlux": float(np.abs(fluxes).mean()), "dipoleMeanFluxErr": one / math.sqrt(2.0),
        "dipoleFluxDiff": sign * float(fluxes[0] - fluxes[1]), "dipoleFluxDiffErr": one * math.sqrt(2.0),
        "dipoleLength": math.hypot(i, j) * plate.place.pixel_arcsec,
        "dipoleAngle": math.degrees(math.atan2(-j, -i)), "dipoleChi2": rest, "dipoleNdata": int(usable.sum()),
    }  # fmt: skip


def _trail(flux: float, error: float, ra: float, dec: float) -> dict[str, Any]:
    return {"trailFlux": flux, "trailFluxErr": error, "trailRa": ra, "trailDec": dec, "trail_flag_edge": False}


def _extendedness(width: float) -> float:
    """0 for the width of the PSF or less, 1 from about twice of it."""
    return float(1.0 / (1.0 + math.exp(-8.0 * (width - 1.55))))


def _flags(seen: Observed, x: float, y: float) -> dict[str, bool]:
    """The flags of a pipeline that knows saturation, bad columns and missing pixels, but missed this cosmic ray."""
    names = [name for name in _nullable() if "flag" in name.lower() and name != "pixelFlags"]
    out = dict.fromkeys(names, False) | {"glint_trail": False}
    j, i = round(y), round(x)
    box, missing = (
        seen.frame.damage.bits[max(j - 4, 0) : j + 5, max(i - 4, 0) : i + 5],
        seen.subtracted.frame.difference,
    )
    gone = bool(np.isnan(missing[max(j - 4, 0) : j + 5, max(i - 4, 0) : i + 5]).any())
    bits = int(np.bitwise_or.reduce(box, axis=None))
    out["pixelFlags_saturated"] = bool(bits & int(Defect.SATURATION))
    out["pixelFlags_bad"] = bool(bits & int(Defect.BAD_COLUMN))
    out["pixelFlags_nodata"] = out["pixelFlags_interpolated"] = gone
    out["pixelFlags_edge"] = min(i, j, missing.shape[1] - 1 - i, missing.shape[0] - 1 - j) < 5
    out["pixelFlags"] = any(out[name] for name in out if name.startswith("pixelFlags_"))
    return out
