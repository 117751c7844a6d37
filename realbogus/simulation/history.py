"""What the survey remembers: earlier visits of a field, and what it then saw of each object.

Earlier visits are not painted. Whether an object was detected then, and how bright, follows from its true light curve,
the depth of the visit and a draw of noise; upper limits stand where it was not.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus import packets
from realbogus.simulation.scene import ASTEROID, TRANSIENT, VARIABLE
from realbogus.simulation.truth import Verdict

Row = dict[str, Any]
Floats = NDArray[np.float64]
SCHEMA = "ztf/4.02"
WINDOW_D = 30.0  # ZTF packets hold the history of this many days
SAME_PX = 1.5  # detections closer than this are of one object
RBVERSION = "simulated"
RECURRENCE = {  # chance that a bogus of this kind is found again at a visit
    "residual": 0.12, "dipole": 0.3, "saturation": 0.3, "spike": 0.15, "bad_column": 0.25, "hot_pixel": 0.25,
    "template_defect": 0.9,
}  # fmt: skip


NEIGHBOUR = ("distnr", "ranr", "decnr", "magnr", "sigmagnr", "chinr", "sharpnr")  # the end of a row of fp_hists
PLAIN = ("ranr", "decnr")  # of them the doubles that are never null; the others are nullable floats
NEIGHBOURS = struct.Struct("<BfddBfBfBfBf")
FLUXES = struct.Struct("<BfBf")  # forcediffimflux and its error, both nullable and there; procstatus follows them
THERE = 2  # that byte
STATUS_BYTES = 3  # procstatus "0"


@dataclass(frozen=True)
class Visit:
    """An earlier exposure of the field."""

    jd: float
    limit: float  # 5 sigma, mag
    columns: Row  # as in prv_candidates, for a visit that saw nothing there
    encoded: bytes  # the same row as it stands in packets
    forced: bytes  # its row of fp_hists, likewise, with zeros for fluxes and neighbour


@dataclass
class KnownObject:
    """One object of the survey's database, as it grows during a run."""

    name: str
    rows: list[bytes] = field(default_factory=list)  # prv_candidates so far, encoded
    found: int = 0  # detections in the whole survey, not counting the present one
    first_jd: float = 0.0


@dataclass
class Objects:
    """The objects of one field; a detection near a known one is of it."""

    make_name: Any  # (number) -> name
    known: list[KnownObject] = field(default_factory=list)
    places: Floats = field(default_factory=lambda: np.empty((64, 2)))  # x, y of each, and room for more

    def at(self, x: float, y: float) -> KnownObject | None:
        """The nearest known object within reach of a place on the reference grid."""
        if not self.known:
            return None
        distance = np.hypot(*(self.places[: len(self.known)] - (x, y)).T)
        best = int(np.argmin(distance))
        return self.known[best] if distance[best] < SAME_PX else None

    def add(self, x: float, y: float) -> KnownObject:
        """A new object."""
        number = len(self.known)
        if number == len(self.places):
            self.places = np.concatenate([self.places, np.empty_like(self.places)])
        self.places[number] = x, y
        self.known.append(KnownObject(self.make_name(number)))
        return self.known[-1]


def encode_row(row: Row) -> bytes:
    """A row of prv_candidates as it stands in packets."""
    return packets.encode_item(SCHEMA, "prv_candidates", row)


def earlier_rows(
    rng: np.random.Generator, verdict: Verdict, visits: Sequence[Visit], candidate: Mapping[str, Any], zero_point: float
) -> tuple[list[bytes], int, float]:
    """prv_candidates of a new object, encoded, how often it was ever detected, and the JD of the first time."""
    rows, first = [visit.encoded for visit in visits], float(candidate["jd"])
    fluxes, noise = _seen(rng, verdict, visits, float(candidate["magpsf"]), zero_point)
    detected = np.flatnonzero(np.abs(fluxes) >= 5.0 * noise).tolist()
    for n in detected:
        size = abs(float(fluxes[n]))
        magnitude, error = zero_point - 2.5 * math.log10(size), 1.0857 * float(noise[n]) / size
        row = _detection(rng, visits[n], candidate, magnitude, error, 1 if fluxes[n] > 0 else -1)
        rows[n], first = encode_row(row), min(first, visits[n].jd)
    long_ago, since = _before(rng, verdict, len(detected), len(visits), candidate)
    return rows, len(detected) + long_ago, min(first, since)


def _seen(
    rng: np.random.Generator, verdict: Verdict, visits: Sequence[Visit], magpsf: float, zero_point: float
) -> tuple[Floats, Floats]:
    """The flux measured at each visit and its error, DN."""
    noise = 10.0 ** (-0.4 * (np.array([visit.limit for visit in visits]) - zero_point)) / 5.0
    if verdict.change is None:
        again = rng.random(noise.size) < RECURRENCE.get(verdict.kind, 0.0)
        drawn = 10.0 ** (-0.4 * (magpsf + rng.normal(0.0, 0.4, noise.size) - zero_point))
        return again * drawn * rng.choice([-1.0, 1.0], noise.size), noise
    lasting = 0.0 if verdict.change.event.kind == ASTEROID else verdict.change.flux
    return _gone(verdict, visits, zero_point) + lasting + rng.normal(0.0, noise), noise


def _gone(verdict: Verdict, visits: Sequence[Visit], zero_point: Any) -> Floats:
    """The true difference flux of a change at earlier visits, DN; zero points may differ from visit to visit."""
    assert verdict.change is not None
    event = verdict.change.event
    if event.kind == ASTEROID or not visits:
        return np.zeros(len(visits))
    before = event.flux(np.array([visit.jd for visit in visits]), zero_point)
    return np.asarray(before - event.flux(float(visits[0].columns["now"]), zero_point))


def _detection(
    rng: np.random.Generator, visit: Visit, candidate: Mapping[str, Any], magnitude: float, error: float, sign: int
) -> Row:
    """A row of prv_candidates for a visit that saw the object: like the present one, with that night's numbers."""
    row = dict(visit.columns)
    for name in row:
        if row[name] is None and name in candidate:
            row[name] = candidate[name]
    tblid = int(rng.integers(0, 200))
    row["isdiffpos"] = "t" if sign > 0 else "f"
    row["tblid"], row["candid"] = tblid, row["pid"] * 10**6 + (15 if sign > 0 else 10) * 1000 + tblid
    row["magpsf"], row["sigmapsf"] = magnitude, min(max(math.hypot(error, 0.02), 0.01), 0.217)
    row["magap"] = magnitude + float(rng.normal(0.0, 1.5 * error))
    row["magdiff"] = row["magap"] - magnitude
    row["scorr"] = 1.0857 / max(error, 1e-3) * float(rng.uniform(0.8, 1.1))
    row["ra"] = candidate["ra"] + float(rng.normal(0.0, 3e-5))
    row["dec"] = candidate["dec"] + float(rng.normal(0.0, 3e-5))
    row["rb"] = None
    return row


def _before(
    rng: np.random.Generator, verdict: Verdict, found: int, visits: int, candidate: Mapping[str, Any]
) -> tuple[int, float]:
    """Detections older than the window, and since when: variables were always there, transients only if they last."""
    jd = float(candidate["jd"])
    share = found / max(visits, 1)
    lasting = verdict.kind in (VARIABLE, *RECURRENCE)
    if not lasting or verdict.kind == TRANSIENT:
        return 0, jd
    covered = int(candidate["ncovhist"])
    count = int(rng.binomial(covered, min(0.5 * share**2 * rng.random() + 0.003, 1.0)))
    return count, jd - float(rng.uniform(300.0, 2400.0)) if count else jd


def forced_rows(
    rng: np.random.Generator, verdict: Verdict, visits: Sequence[Visit], candidate: Mapping[str, Any], zero_point: float
) -> list[bytes]:
    """fp_hists, encoded: forced photometry at the place of the candidate at each visit of the window."""
    if not visits:
        return []
    neighbour = NEIGHBOURS.pack(
        *(part for name in NEIGHBOUR for part in ((candidate[name],) if name in PLAIN else (THERE, candidate[name])))
    )
    scales = np.array([visit.columns["forced"]["magzpsci"] for visit in visits])
    noise = 10.0 ** (-0.4 * (np.array([visit.limit for visit in visits]) - scales)) / 5.0
    fluxes = rng.normal(0.0, noise)
    if verdict.change is not None and verdict.change.event.kind != ASTEROID:
        fluxes += _gone(verdict, visits, scales) + verdict.change.flux * 10.0 ** (-0.4 * (zero_point - scales))
    status = slice(-NEIGHBOURS.size - STATUS_BYTES, -NEIGHBOURS.size)
    return [
        visit.forced[: status.start - FLUXES.size] + FLUXES.pack(THERE, flux, THERE, error) + visit.forced[status]
        + neighbour
        for visit, flux, error in zip(visits, fluxes.tolist(), noise.tolist(), strict=True)
    ]  # fmt: skip


def encode_forced(row: Row) -> bytes:
    """A row of fp_hists as it stands in packets, with zeros for fluxes and neighbour."""
    blank = dict.fromkeys(("forcediffimflux", "forcediffimfluxunc", *NEIGHBOUR), 0.0)
    return packets.encode_item(SCHEMA, "fp_hists", row | blank)
