"""What a survey is to the rest of realbogus, and how its decoded packets become an AlertBatch.

A survey's own module says which fields to read and what they mean (`Readings`); `assemble` reads the stamps, parts
the good alerts from the bad and puts the columns together, the same way for every survey.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import COLUMNS, AlertBatch, Column, Rejected
from realbogus.errors import PacketError, Reason
from realbogus.limits import Limits
from realbogus.packets.fields import Decoded, Fields
from realbogus.stamps import STAMPS, Place, read_triplets

BANDS = frozenset("ugrizy")
FIRST_MJD, LAST_MJD = 47892.0, 88069.0  # 1990 to 2100; a time outside is nonsense in an alert of today's surveys
LONGEST_ID = 64  # characters; real object ids have 12 to 20

# Position error of packets that do not tell it: a floor for the astrometric solution, and a centroid's photon noise.
# Ours; ZTF's solution is good to some 0.05 to 0.1 arcsec an axis against Gaia.
ASTROMETRY_ARCSEC = 0.1
UNKNOWN_POSITION_ERROR_ARCSEC = 0.5  # where neither width nor S/N is known; half a ZTF pixel

ToBatch = Callable[[Decoded, Limits], tuple[AlertBatch, list[Rejected]]]


@dataclass(frozen=True)
class Survey:
    """One survey: how to know its packets, what to read of them, and how to make alerts of that."""

    name: str  # "ztf"
    title: str  # as people write it, "ZTF"
    fields: Fields  # what `packets.read` is asked for
    schema_name: Callable[[Mapping[str, Any]], str | None]  # a writer schema -> "ztf/4.02", None = not this survey's
    to_batch: ToBatch
    pixel_arcsec: float  # side of a pixel of its stamps
    own_scores: Mapping[str, str]  # column -> what the survey calls its own score in it


@dataclass
class Readings:
    """What a survey's module has read of N packets: all rows, good or bad."""

    candid: NDArray[np.int64]  # (N,)
    has_candid: NDArray[np.bool_]  # (N,)
    object_id: list[str]
    band: list[str]
    columns: dict[str, Column]  # (N,) each; what is not in it is NaN for all
    turn: NDArray[np.bool_]  # (N,) negate the difference
    stamp_columns: slice  # which blobs of Decoded are the three stamps, in order
    problems: dict[int, PacketError] = field(default_factory=dict)  # row -> the first thing found wrong with it

    def refuse(self, bad: NDArray[np.bool_], say: Callable[[int], str]) -> None:
        """Mark rows as rejected for a bad value; say(row) tells what is wrong with it."""
        for row in np.flatnonzero(bad).tolist():
            self.problems.setdefault(row, PacketError(say(row), Reason.BAD_VALUE))


def assemble(
    survey: str, decoded: Decoded, readings: Readings, place: Place, limits: Limits
) -> tuple[AlertBatch, list[Rejected]]:
    """Read the stamps of the rows without a problem; give the good rows as a batch and the others as Rejected."""
    _check_identity(readings)
    rows = [row for row in range(len(decoded.index)) if row not in readings.problems]
    spans = decoded.blobs[rows, readings.stamp_columns]
    messages = [decoded.messages[row] for row in rows]
    triplets, unread = read_triplets(
        messages, spans, readings.turn[rows], lambda at, shape: place(rows[at], shape), limits.stamp_bytes
    )
    readings.problems.update((rows[at], problem) for at, problem in unread.items())
    if unread:
        read = [at for at in range(len(rows)) if at not in unread]
        rows, triplets = [rows[at] for at in read], triplets[read]
    batch = AlertBatch(
        survey=survey,
        index=decoded.index[rows],
        candid=readings.candid[rows],
        object_id=_pick(readings.object_id, rows),
        band=_pick(readings.band, rows),
        schema=_pick(decoded.schemas, rows),
        columns=_columns(readings.columns, rows),
        triplets=triplets,
    )
    return batch, [_rejected(survey, decoded, readings, row) for row in sorted(readings.problems)]


def _check_identity(readings: Readings) -> None:
    ra, dec, mjd = (readings.columns[name] for name in ("ra_deg", "dec_deg", "mjd"))
    candid, names = readings.candid, readings.object_id
    readings.refuse(~readings.has_candid, lambda row: "the packet has no id of its detection (candid)")
    readings.refuse(candid <= 0, lambda row: f"the id of the detection (candid) is {candid[row]}, expected above 0")
    readings.refuse(
        np.fromiter((len(name) > LONGEST_ID for name in names), bool, len(names)),
        lambda row: f"the object's id has {len(names[row])} characters, more than {LONGEST_ID}",
    )
    readings.refuse(~((ra >= 0) & (ra < 360)), lambda row: f"right ascension is {_say(ra[row])}, expected 0 to 360 deg")
    readings.refuse(~(np.abs(dec) <= 90), lambda row: f"declination is {_say(dec[row])}, expected -90 to 90 deg")
    readings.refuse(
        ~((mjd > FIRST_MJD) & (mjd < LAST_MJD)),
        lambda row: f"time is {_say(mjd[row])}, expected MJD {FIRST_MJD:.0f} to {LAST_MJD:.0f}",
    )


def _say(value: float) -> str:
    return "missing" if np.isnan(value) else f"{value:.10g}"


def _columns(known: Mapping[str, Column], rows: list[int]) -> dict[str, Column]:
    nothing = np.full(len(rows), np.nan)
    return {name: _bounded(name, known[name][rows]) if name in known else nothing for name in COLUMNS}


def _bounded(name: str, column: Column) -> Column:
    """NaN for what overflowed on the way from nonsense values; only "none found" may be infinitely far away."""
    return column if name == "gaia_bright_distance_arcsec" else np.where(np.isfinite(column), column, np.nan)


def _pick(values: Sequence[str], rows: list[int]) -> list[str]:
    return [values[row] for row in rows]


def _rejected(survey: str, decoded: Decoded, readings: Readings, row: int) -> Rejected:
    problem = readings.problems[row]
    return Rejected(
        index=int(decoded.index[row]),
        reason=problem.reason,
        detail=str(problem),
        survey=survey,
        candid=int(readings.candid[row]) if readings.has_candid[row] else None,
        object_id=readings.object_id[row][:LONGEST_ID],
    )


# what the modules of the surveys share


def texts(decoded: Decoded, column: int) -> list[str]:
    """(N,) texts of one column, "" where null or absent."""
    return [decoded.text(row, column) for row in range(len(decoded.index))]


def positive(values: Column) -> Column:
    """The values above zero, else NaN: for widths, errors and fluxes that something is divided by."""
    return np.where(values > 0, values, np.nan)


def not_negative(values: Column) -> Column:
    """The values from zero on, else NaN: for distances and counts."""
    return np.where(values >= 0, values, np.nan)


def position_error(psf_fwhm_arcsec: Column, snr: Column) -> Column:
    """1 sigma error of a centroid on one axis, arcsec: astrometric floor and photon noise, added in quadrature.

    The photon noise of a Gaussian profile is its sigma over S/N (King 1983). A fixed value where either is NaN.
    """
    noise = psf_fwhm_arcsec / 2.3548 / positive(snr)
    return np.where(np.isfinite(noise), np.hypot(ASTROMETRY_ARCSEC, noise), UNKNOWN_POSITION_ERROR_ARCSEC)


def records_of(schema: Any) -> tuple[str, dict[str, Any]]:
    """Full name and fields (name -> type) of a writer schema's top-level record; "" and {} if it is none.

    A union of records that define each other (a form found in early ZTF packets) stands for its last record.
    """
    record = schema[-1] if isinstance(schema, Sequence) and not isinstance(schema, str) and schema else schema
    if not isinstance(record, Mapping) or record.get("type") != "record":
        return "", {}
    name, space = str(record.get("name", "")), record.get("namespace")
    fields = {str(item.get("name")): item.get("type") for item in record.get("fields", ()) if isinstance(item, Mapping)}
    return (f"{space}.{name}" if space and "." not in name else name), fields


STAMP_FIELDS = frozenset(f"cutout{name.capitalize()}" for name in STAMPS)
