"""ZTF: its field names, units, signs, sentinels and time scale.

Facts that the field names do not tell:

- ``jd`` is UTC at the *start* of the exposure. Schemas before 3 do not tell the exposure time; it was 30 s.
- -999 means "none", by equality. A missing bright Gaia star was looked for and not found, which is information.
- ``seeratio`` is the FWHM of the difference image over that of the candidate, so their product is the width of the
  PSF. ``fwhm`` alone is the candidate's own.
- ``distnr`` is in pixels, the other distances are in arcsec.
- The difference stamp is already turned so that the candidate is positive (reference minus science where
  ``isdiffpos`` says negative).
- ``xpos`` and ``ypos`` count from 1. Stamps at the edge of a quadrant arrive trimmed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import AlertBatch, Column, Rejected
from realbogus.frame import Corner, Shape, trimmed_corner
from realbogus.limits import Limits
from realbogus.packets.fields import Decoded, Fields
from realbogus.surveys.survey import (
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

PIXEL_ARCSEC = 1.01
QUADRANT = (3080, 3072)  # rows and columns of one of the 64 readout quadrants, px
EXPOSURE_S = 30.0  # of the public survey; used where the packet does not tell
SENTINEL = -999.0  # "none"; compared with a tolerance since some columns are float32
HOST_RADIUS_ARCSEC = 5.0
PS1_RADIUS_ARCSEC, GAIA_RADIUS_ARCSEC = 30.0, 90.0  # how far the pipeline searches
MJD_OF_JD_0 = 2400000.5
BAND_OF_FID = {1: "g", 2: "r", 3: "i"}
IS_POSITIVE = {"t": True, "1": True, "f": False, "0": False}

_NUMBERS = (  # noqa: SIM905 (a list of words reads better than one of strings)
    "jd exptime ra dec xpos ypos magpsf sigmapsf magap diffmaglim scorr dsdiff classtar nbad magzpscirms chipsf "
    "seeratio fwhm aimage bimage distnr magnr sigmagnr sharpnr distpsnr1 sgscore1 sgscore nmtchps neargaia maggaia "
    "neargaiabright maggaiabright rb drb rcid"
).split()

FIELDS = Fields(
    numbers=tuple(f"candidate.{name}" for name in _NUMBERS),
    integers=("candid", "candidate.fid"),
    texts=("objectId", "candidate.name", "candidate.isdiffpos"),  # the oldest schemas name the object in the candidate
    blobs=("cutoutScience.stampData", "cutoutTemplate.stampData", "cutoutDifference.stampData"),
)


def schema_name(schema: Mapping[str, Any]) -> str | None:
    """Give "ztf/4.02" for a writer schema of ZTF alerts, else None.

    Others build on the same layout (WINTER, ZUDS, ATLAS, DESIRT), so the full name of the record must be ZTF's own.
    """
    name, fields = records_of(schema)
    if name != "ztf.alert" or not STAMP_FIELDS | {"candid", "candidate"} <= fields.keys():
        return None
    record = schema[-1] if isinstance(schema, list) else schema
    version = str(record.get("version", ""))
    return f"ztf/{version}" if re.fullmatch(r"[0-9A-Za-z._-]{1,16}", version) else "ztf/unknown"


def to_batch(decoded: Decoded, limits: Limits) -> tuple[AlertBatch, list[Rejected]]:
    """Make alerts of decoded ZTF packets; what cannot become one is Rejected and harms no other."""
    raw = dict(zip(_NUMBERS, decoded.numbers.T, strict=True))
    value = {name: _masked(column) for name, column in raw.items()}
    with np.errstate(over="ignore"):
        readings = _read(decoded, raw, value)

    def place(row: int, shape: Shape) -> Corner:
        return trimmed_corner(shape, float(value["xpos"][row]), float(value["ypos"][row]), QUADRANT)

    return assemble("ztf", decoded, readings, place, limits)


def _masked(column: Column) -> Column:
    """NaN for the sentinel and for what is not finite."""
    return np.where(np.isfinite(column) & ~_none(column), column, np.nan)


def _none(column: Column) -> NDArray[np.bool_]:
    return np.asarray(np.abs(column - SENTINEL) < 1e-3, bool)


def _read(decoded: Decoded, raw: Mapping[str, Column], value: Mapping[str, Column]) -> Readings:
    signs = texts(decoded, 2)
    positives = [IS_POSITIVE.get(sign) for sign in signs]
    readings = Readings(
        candid=decoded.integers[:, 0],
        has_candid=decoded.present[:, 0],
        object_id=[name or older for name, older in zip(texts(decoded, 0), texts(decoded, 1), strict=True)],
        band=[BAND_OF_FID.get(fid, "") for fid in decoded.integers[:, 1].tolist()],
        columns=_columns(raw, value) | {"diff_sign": np.array([1.0 if one else -1.0 for one in positives])},
        turn=np.zeros(len(decoded.index), bool),
        stamp_columns=slice(0, 3),
    )
    unsigned = np.array([one is None for one in positives], bool)
    readings.refuse(unsigned, lambda row: f"isdiffpos is {signs[row][:8]!r}, expected t, f, 1 or 0")
    return readings


def _columns(raw: Mapping[str, Column], value: Mapping[str, Column]) -> dict[str, Column]:
    exposure = np.where(value["exptime"] > 0, value["exptime"], EXPOSURE_S)
    ratio, error = positive(value["seeratio"]), positive(value["sigmapsf"])
    width = ratio * positive(value["fwhm"])
    snr = 2.5 / np.log(10) / error
    return {
        "psf_fwhm_px": width,
        "mag_psf": value["magpsf"],
        "mag_psf_err": error,
        "mag_aperture": value["magap"],
        "mag_limit": value["diffmaglim"],
        "snr_psf": snr,
        "snr_peak": value["scorr"],
        "sharpness_snr": value["dsdiff"],
        "stellarity": value["classtar"],
        "flag_count": not_negative(value["nbad"]),
        "zero_point_rms": not_negative(value["magzpscirms"]),
        "chi2_psf_catalogue": not_negative(value["chipsf"]),
        "fwhm_over_psf": 1 / ratio,
        "major_axis_px": positive(value["aimage"]),
        "minor_axis_px": positive(value["bimage"]),
        "ra_deg": np.where(value["ra"] == 360, 0.0, value["ra"]),
        "dec_deg": value["dec"],
        "mjd": value["jd"] - MJD_OF_JD_0 + exposure / 2 / 86400,
        "exposure_s": exposure,
        "chip_x_px": value["xpos"],
        "chip_y_px": value["ypos"],
        "detector": value["rcid"],
        "position_error_arcsec": position_error(width * PIXEL_ARCSEC, snr),
        "survey_rb": value["rb"],
        "survey_drb": value["drb"],
    } | _neighbours(raw, value)


def _neighbours(raw: Mapping[str, Column], value: Mapping[str, Column]) -> dict[str, Column]:
    """Nearest sources of the reference image, Pan-STARRS 1 and Gaia."""
    host = not_negative(value["distnr"]) * PIXEL_ARCSEC
    absent = np.where(np.isnan(host), np.where(_none(raw["distnr"]), 1.0, np.nan), host > HOST_RADIUS_ARCSEC)
    ps1, gaia = _within(value["distpsnr1"], PS1_RADIUS_ARCSEC), _within(value["neargaia"], GAIA_RADIUS_ARCSEC)
    bright = _within(value["neargaiabright"], GAIA_RADIUS_ARCSEC)
    star_score = np.where(np.isnan(value["sgscore1"]), value["sgscore"], value["sgscore1"])
    return {
        "host_absent": absent,
        "host_distance_arcsec": host,
        "host_mag": value["magnr"],
        "host_mag_err": not_negative(value["sigmagnr"]),
        "host_sharpness": value["sharpnr"],
        "ps1_distance_arcsec": ps1,
        "ps1_star_score": np.where(value["distpsnr1"] > PS1_RADIUS_ARCSEC, np.nan, star_score),
        "ps1_neighbours": not_negative(value["nmtchps"]),
        "gaia_distance_arcsec": gaia,
        "gaia_mag": np.where(np.isnan(gaia), np.nan, value["maggaia"]),
        "gaia_bright_distance_arcsec": np.where(_none(raw["neargaiabright"]), np.inf, bright),
        "gaia_bright_mag": np.where(np.isnan(bright), np.nan, value["maggaiabright"]),
    }


def _within(distance: Column, radius: float) -> Column:
    """NaN beyond the radius that was searched: some archives hold 120 or 300 there as placeholders."""
    return np.where(distance <= radius, not_negative(distance), np.nan)


ZTF = Survey("ztf", "ZTF", FIELDS, schema_name, to_batch, PIXEL_ARCSEC, {"survey_rb": "rb", "survey_drb": "drb"})
