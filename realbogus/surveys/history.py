"""Light curves: what a packet tells of its object at earlier times, and of this detection. For people, never features.

ZTF packets hold ``prv_candidates``: detections of the last 30 days, and upper limits where ``isdiffpos`` is null. Rubin
packets hold ``prvDiaSources``, detections only. Whatever is no honest measurement is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from realbogus.surveys import rubin, ztf
from realbogus.surveys.survey import BANDS, FIRST_MJD, LAST_MJD

MOST = 1000  # points of one light curve; a ZTF packet has some 30, one of Rubin up to 300
FAINTEST, BRIGHTEST = 40.0, -5.0  # mag; beyond is nonsense
LARGEST_ERROR = 5.0  # mag

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """A measurement, or an upper limit."""

    mjd: float  # UTC, mid-exposure
    band: str
    mag: float  # AB, of the difference flux; of an upper limit the 5 sigma limit
    mag_err: float = math.nan  # 1 sigma; NaN = not told
    sign: int = 1  # +1 brighter than the template, -1 fainter, 0 = an upper limit


def light_curve(survey: str, record: Any) -> list[Point]:
    """The points of a whole packet, this detection included, by time; [] for a survey without a history."""
    reader = _READERS.get(survey)
    if reader is None or not isinstance(record, Mapping):
        return []
    found = [point for point in reader(record) if _is_honest(point)]
    return sorted(found, key=lambda point: (point.mjd, point.band))[-MOST:]


def _is_honest(point: Point) -> bool:
    error = math.isnan(point.mag_err) or 0 <= point.mag_err <= LARGEST_ERROR
    return FIRST_MJD < point.mjd < LAST_MJD and BRIGHTEST < point.mag < FAINTEST and error


def _rows(record: Row, earlier: str, now: str) -> Iterator[Row]:
    """The earlier rows, and that of this detection."""
    rows = record.get(earlier)
    yield from (row for row in (rows if isinstance(rows, list) else ()) if isinstance(row, Mapping))
    if isinstance(row := record.get(now), Mapping):
        yield row


def _of_ztf(record: Row) -> Iterator[Point]:
    for row in _rows(record, "prv_candidates", "candidate"):
        mjd = _number(row, "jd") - ztf.MJD_OF_JD_0 + ztf.EXPOSURE_S / 2 / 86400
        band = ztf.BAND_OF_FID.get(row.get("fid", 0), "")
        sign = row.get("isdiffpos")
        if sign is None:
            yield Point(mjd, band, _number(row, "diffmaglim"), sign=0)
        elif str(sign) in ztf.IS_POSITIVE:
            positive = ztf.IS_POSITIVE[str(sign)]
            yield Point(mjd, band, _number(row, "magpsf"), _number(row, "sigmapsf"), 1 if positive else -1)


def _of_rubin(record: Row) -> Iterator[Point]:
    rows = list(_rows(record, "prvDiaSources", "diaSource"))
    times = rubin.utc_of_tai(np.array([_number(row, "midpointMjdTai") for row in rows], np.float64))
    for row, mjd in zip(rows, times.tolist(), strict=True):
        flux, error = _number(row, "psfFlux"), _number(row, "psfFluxErr")
        if flux and error > 0:  # NaN is neither
            magnitude = rubin.ZERO_POINT_MAG - 2.5 * math.log10(abs(flux)) if math.isfinite(flux) else math.nan
            band = row.get("band")
            known = band if isinstance(band, str) and band in BANDS else ""
            yield Point(mjd, known, magnitude, float(rubin.MAG_OF_RATIO) * error / abs(flux), 1 if flux > 0 else -1)


def _number(row: Row, name: str) -> float:
    """A field as a number; NaN where it is none, or stands for "none"."""
    value = row.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or value == ztf.SENTINEL:
        return math.nan
    return float(value)


_READERS: Mapping[str, Callable[[Row], Iterator[Point]]] = {"ztf": _of_ztf, "rubin": _of_rubin}
