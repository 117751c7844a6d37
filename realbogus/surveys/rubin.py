"""Rubin Observatory's LSST: its field names, units, signs and time scale.

Facts that the field names do not tell:

- ``midpointMjdTai`` is TAI, 37 s ahead of UTC since 2017. The packets do not tell the exposure time; a visit is 30 s.
- Fluxes are in nJy, so AB magnitude = 31.4 - 2.5 log10 flux. Null means missing, and a flux of -999 is a flux.
- The second moments are in arcsec squared, whatever the schema's text says: the width that follows from them is that of
  the PSF image in the packets' own stamps (ratio 1.00, 5 to 95 %: 0.98 to 1.02, on 160 packets).
- The difference is science minus template for every candidate; where ``isNegative`` is set it is turned here.
- Stamps are 30 to 93 px a side, cut around the candidate; even sides leave it half a pixel off their middle, and the
  fraction of ``x`` and ``y`` says to which side.
- A solar system object has no ``diaObjectId``; "SS" with its ``ssObjectId`` then names the object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import erfa
import numpy as np

from realbogus.alerts import AlertBatch, Column, Rejected
from realbogus.frame import Corner, Shape, centred_corner
from realbogus.limits import Limits
from realbogus.packets.fields import Decoded, Fields
from realbogus.surveys.survey import (
    BANDS,
    STAMP_FIELDS,
    Readings,
    Survey,
    assemble,
    not_negative,
    position_error,
    positive,
    records_of,
    texts,
)

PIXEL_ARCSEC = 0.2
EXPOSURE_S = 30.0  # of a visit; the packets do not tell
ZERO_POINT_MAG = 31.4  # AB magnitude of 1 nJy
FWHM_OF_SIGMA = 2.3548
HOST_SIGMA = 3.0  # a template flux counts as a host from here on
MAG_OF_RATIO = 2.5 / np.log(10)  # error of a magnitude over relative error of its flux
MJD_ZERO = 2400000.5

# never the injected ones: they are labels
PIXEL_FLAGS = tuple(
    f"pixelFlags_{name}" for name in ("bad", "cr", "edge", "interpolated", "nodata", "saturated", "suspect", "streak")
)

_NUMBERS = (  # noqa: SIM905 (a list of words reads better than one of strings)
    "midpointMjdTai ra dec raErr decErr x y psfFlux psfFluxErr psfChi2 psfNdata apFlux templateFlux templateFluxErr "
    "ixx iyy ixy ixxPSF iyyPSF extendedness reliability bboxSize isNegative dipoleFitAttempted dipoleChi2 dipoleNdata "
    "trailChi2 trailNdata detector"
).split() + list(PIXEL_FLAGS)

FIELDS = Fields(
    numbers=tuple(f"diaSource.{name}" for name in _NUMBERS),
    integers=("diaSource.diaSourceId", "diaSource.diaObjectId", "diaSource.ssObjectId"),
    texts=("diaSource.band",),
    blobs=("cutoutScience", "cutoutTemplate", "cutoutDifference"),
)


def schema_name(schema: Mapping[str, Any]) -> str | None:
    """Give "rubin/10.0" for a writer schema of Rubin alerts, else None. The full name carries the version."""
    name, fields = records_of(schema)
    match = re.fullmatch(r"lsst\.v(\d{1,3})_(\d{1,3})\.alert", name)
    if match is None or not STAMP_FIELDS | {"diaSource"} <= fields.keys():
        return None
    return f"rubin/{match[1]}.{match[2]}"


def to_batch(decoded: Decoded, limits: Limits) -> tuple[AlertBatch, list[Rejected]]:
    """Make alerts of decoded Rubin packets; what cannot become one is Rejected and harms no other."""
    value = {
        name: np.where(np.isfinite(column), column, np.nan)
        for name, column in zip(_NUMBERS, decoded.numbers.T, strict=True)
    }

    def place(row: int, shape: Shape) -> Corner:
        return centred_corner(shape, float(value["x"][row]), float(value["y"][row]))

    with np.errstate(over="ignore", invalid="ignore"):
        readings = _read(decoded, value)
    return assemble("rubin", decoded, readings, place, limits)


def _read(decoded: Decoded, value: Mapping[str, Column]) -> Readings:
    negative = value["isNegative"]
    readings = Readings(
        candid=decoded.integers[:, 0],
        has_candid=decoded.present[:, 0],
        object_id=_object_ids(decoded),
        band=[band if band in BANDS else "" for band in texts(decoded, 0)],
        columns=_columns(value) | _profile(value) | _host(value),
        turn=negative == 1,
        stamp_columns=slice(0, 3),
    )
    readings.refuse(np.isnan(negative), lambda row: "isNegative is missing, so the sign of the difference is unknown")
    return readings


def _object_ids(decoded: Decoded) -> list[str]:
    known = np.where(decoded.present, decoded.integers, 0)[:, 1:].tolist()
    return [str(fixed) if fixed > 0 else f"SS{moving}" if moving > 0 else "" for fixed, moving in known]


def _columns(value: Mapping[str, Column]) -> dict[str, Column]:
    flux, error = np.abs(value["psfFlux"]), positive(value["psfFluxErr"])
    aperture = np.where(value["apFlux"] * value["psfFlux"] > 0, np.abs(value["apFlux"]), np.nan)
    flags = np.stack([value[name] for name in PIXEL_FLAGS])
    return {
        "mag_psf": _magnitude(flux),
        "mag_psf_err": MAG_OF_RATIO * error / positive(flux),
        "mag_aperture": _magnitude(aperture),
        "mag_limit": _magnitude(5 * error),
        "snr_psf": flux / error,
        "stellarity": 1 - value["extendedness"],
        "flag_count": np.where(np.isnan(flags).all(axis=0), np.nan, (flags == 1).sum(axis=0)),
        "chi2_psf_catalogue": _reduced(value, "psf"),
        "dipole_chi2_ratio": np.where(
            value["dipoleFitAttempted"] == 1, _reduced(value, "dipole") / positive(_reduced(value, "psf")), np.nan
        ),
        "trail_chi2_ratio": _reduced(value, "trail") / positive(_reduced(value, "psf")),
        "bounding_box_px": not_negative(value["bboxSize"]),
        "diff_sign": np.where(value["isNegative"] == 1, -1.0, 1.0),
        "ra_deg": np.where(value["ra"] == 360, 0.0, value["ra"]),
        "dec_deg": value["dec"],
        "mjd": utc_of_tai(value["midpointMjdTai"]),
        "exposure_s": np.full(len(flux), EXPOSURE_S),
        "chip_x_px": value["x"],
        "chip_y_px": value["y"],
        "detector": value["detector"],
        "survey_drb": value["reliability"],
    }


def _profile(value: Mapping[str, Column]) -> dict[str, Column]:
    """Widths of PSF and candidate, from the second moments in arcsec squared, and the position error."""
    psf, candidate = positive(value["ixxPSF"] + value["iyyPSF"]), positive(value["ixx"] + value["iyy"])
    spread = np.hypot((value["ixx"] - value["iyy"]) / 2, value["ixy"])
    width = FWHM_OF_SIGMA * np.sqrt(psf / 2)
    told = 3600 * np.sqrt((positive(value["raErr"]) ** 2 + positive(value["decErr"]) ** 2) / 2)
    computed = position_error(width, np.abs(value["psfFlux"]) / positive(value["psfFluxErr"]))
    return {
        "psf_fwhm_px": width / PIXEL_ARCSEC,
        "fwhm_over_psf": np.sqrt(candidate / psf),
        "major_axis_px": np.sqrt(positive(candidate / 2 + spread)) / PIXEL_ARCSEC,
        "minor_axis_px": np.sqrt(positive(candidate / 2 - spread)) / PIXEL_ARCSEC,
        "position_error_arcsec": np.where(told > 0, told, computed),
    }


def _host(value: Mapping[str, Column]) -> dict[str, Column]:
    """What the template holds at the candidate; no catalogue of neighbours comes with the packet."""
    flux, error = value["templateFlux"], positive(value["templateFluxErr"])
    host = np.where(flux > HOST_SIGMA * error, flux, np.nan)
    return {
        "host_absent": np.where(np.isnan(flux / error), np.nan, np.isnan(host)),
        "host_mag": _magnitude(host),
        "host_mag_err": MAG_OF_RATIO * error / host,
    }


def _magnitude(flux_njy: Column) -> Column:
    return ZERO_POINT_MAG - 2.5 * np.log10(positive(flux_njy))


def _reduced(value: Mapping[str, Column], fit: str) -> Column:
    return not_negative(value[f"{fit}Chi2"]) / positive(value[f"{fit}Ndata"])


def utc_of_tai(mjd_tai: Column) -> Column:
    """UTC modified Julian dates of TAI ones, by the leap seconds that ERFA knows; NaN where it knows no such date."""
    usable = np.abs(mjd_tai) < 1e6
    zero, utc, _ = erfa.ufunc.taiutc(MJD_ZERO, np.where(usable, mjd_tai, 0.0))  # the plain function warns of the future
    return np.where(usable, (zero - MJD_ZERO) + utc, np.nan)


RUBIN = Survey("rubin", "Rubin", FIELDS, schema_name, to_batch, PIXEL_ARCSEC, {"survey_drb": "reliability"})
