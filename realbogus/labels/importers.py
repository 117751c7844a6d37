"""What others say of alerts, as claims: asteroid matches, the Transient Name Server, vetting, panel, simulator."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from realbogus.errors import LabelError
from realbogus.labels.journal import Claim
from realbogus.labels.manifest import MAX_ROWS, read_manifest, read_truth
from realbogus.labels.sources import SOURCES
from realbogus.training.examples import LabelSet
from realbogus.training.labelled import Tally, batches

MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
MATCH_ARCSEC = 2.0  # within which an asteroid or a transient is the alert's
MATCH_MAG = 1.0  # by which an asteroid's predicted magnitude may be off, colour included
BEFORE_D, AFTER_D = 30.0, 100.0  # of a transient's discovery, within which an alert shows it
CELL_DEG = 5.0  # side of a part of the sky that a split by field keeps together

Row = Mapping[str, str]


@dataclass(frozen=True)
class Seen:
    """What a packet says of itself, for matching and for what no split may part."""

    survey: str
    object_id: str
    mjd: float
    ra_deg: float
    dec_deg: float
    diff_sign: float

    def told(self) -> dict[str, str]:
        """The keys of a claim."""
        cell = f"sky {int(self.ra_deg // CELL_DEG)} {int((self.dec_deg + 90) // CELL_DEG)}"
        exposure, night = f"{self.survey} {self.mjd:.5f}", f"{self.survey} {int(np.floor(self.mjd))}"
        return {"object_id": self.object_id, "exposure": exposure, "night": night, "field": cell}


Packets = Mapping[int, Seen]  # by candid


@dataclass(frozen=True)
class Options:
    """What an importer may need beside its table."""

    survey: str
    time: str  # of the claims, where the table has none of its own
    packets: Packets
    position_only: bool = False


def seen_in(messages: Iterator[bytes], survey: str, tell: Callable[[int], None] = lambda _: None) -> dict[int, Seen]:
    """What the packets of a survey say of themselves, by candid."""
    found = {}
    for batch in batches(messages, survey, Tally(), tell):
        columns = [batch.columns[name].tolist() for name in ("mjd", "ra_deg", "dec_deg", "diff_sign")]
        for candid, object_id, *values in zip(batch.candid.tolist(), batch.object_id, *columns, strict=True):
            found[candid] = Seen(survey, object_id, *values)
    return found


Importer = Callable[[Path, Options], Iterator[Claim]]


def asteroids(path: Path, options: Options) -> Iterator[Claim]:
    """Matches with known asteroids: columns candid, ssdistnr (arcsec), ssmagnr and magpsf (mag), as ZTF names them.

    With position_only the magnitudes are not looked at, so that features may read the alert's.
    """
    needed = ("candid", "ssdistnr") if options.position_only else ("candid", "ssdistnr", "ssmagnr", "magpsf")
    for row in rows_of(path, needed):
        distance = _number(row, "ssdistnr")
        near = 0 <= distance <= MATCH_ARCSEC
        bright = options.position_only or (
            _number(row, "ssmagnr") > 0 and abs(_number(row, "ssmagnr") - _number(row, "magpsf")) <= MATCH_MAG
        )
        if near and bright:
            source = "asteroid-position" if options.position_only else "asteroid"
            yield _claim(row, options, source, real=True, kind="asteroid")


def transients(path: Path, options: Options) -> Iterator[Claim]:
    """A table of the Transient Name Server: columns ra, declination (deg), discoverydate (UTC) and type ("" = none).

    Alerts of the packets are matched by place and time; those fainter than the template are left alone.
    """
    if not options.packets:
        raise LabelError("transients are matched with alerts by place and time: give the alerts by --packets")
    entries = list(rows_of(path, ("ra", "declination", "discoverydate", "type")))
    candids = [candid for candid, seen in options.packets.items() if seen.diff_sign > 0]
    if not (entries and candids):
        return
    tree = cKDTree(_unit(np.array([[_number(e, "ra"), _number(e, "declination")] for e in entries])))
    places = _unit(np.array([[options.packets[c].ra_deg, options.packets[c].dec_deg] for c in candids]))
    reach = 2 * np.sin(np.radians(MATCH_ARCSEC / 3600) / 2)
    discovered = [_mjd(entry["discoverydate"], path) for entry in entries]
    for candid, near in zip(candids, tree.query_ball_point(places, reach), strict=True):
        mjd = options.packets[candid].mjd
        found = [entry for entry in near if -BEFORE_D <= mjd - discovered[entry] <= AFTER_D]
        if found:
            best = max(found, key=lambda entry: (bool(entries[entry]["type"].strip()), -entry))
            kind = entries[best]["type"].strip()
            source = "spectrum" if kind else "tns"
            yield _claim({"candid": str(candid)}, options, source, real=True, kind=kind or "transient")


def vetting(path: Path, options: Options) -> Iterator[Claim]:
    """Looks of people: columns candid and label, where others than real and bogus are passed over.

    Optional: labeler, time, kind, confidence.
    """
    for row in rows_of(path, ("candid", "label")):
        if row["label"].strip().lower() in ("real", "bogus"):
            told = replace(options, time=row.get("time") or options.time)
            yield _claim(row, told, "vetting", real=row["label"].strip().lower() == "real", kind=row.get("kind") or "")


def panel(path: Path, options: Options) -> Iterator[Claim]:
    """Label P of the shared manifest."""
    return _of_labels(read_manifest(path, options.survey), options, "panel")


def truth(path: Path, options: Options) -> Iterator[Claim]:
    """The truth of a simulated night."""
    return _of_labels(read_truth(path), options, "simulated")


def _of_labels(labels: LabelSet, options: Options, source: str) -> Iterator[Claim]:
    """Labels that come with their group, which stands for object and exposure where no packet tells them."""
    for candid, label in labels.by_candid.items():
        claim = _claim({"candid": str(candid)}, options, source, real=label.is_real, kind=label.kind)
        if not claim.object_id:
            claim = replace(claim, object_id=label.group, exposure=label.group, night=label.night, field=label.field)
        yield claim


IMPORTERS: Mapping[str, Importer] = {
    "asteroids": asteroids,
    "tns": transients,
    "vetting": vetting,
    "manifest": panel,
    "truth": truth,
}


def rows_of(path: Path, needed: Sequence[str]) -> Iterator[Row]:
    """The rows of a CSV table that has these columns. Raises LabelError where it has not."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in needed if name not in (reader.fieldnames or ())]:
            raise LabelError(f"{path}: not a table of these, it has no column {', '.join(missing)}")
        for number, row in enumerate(reader, 2):
            if number > MAX_ROWS:
                raise LabelError(f"{path}: more than {MAX_ROWS} rows")
            if any(row.get(name) is None for name in needed):
                raise LabelError(f"{path}: line {number} is cut short")
            yield row


def _claim(row: Row, options: Options, source: str, *, real: bool, kind: str) -> Claim:
    candid = row["candid"].strip()
    if not candid.lstrip("-").isdigit():
        raise LabelError(f"candid should be a whole number, is {candid!r}")
    seen = options.packets.get(int(candid))
    told = row.get("confidence")
    return Claim(
        candid=int(candid),
        survey=options.survey,
        real=real,
        source=source,
        confidence=_number(row, "confidence") if told else SOURCES[source].confidence,
        time=options.time,
        labeler=row.get("labeler") or "",
        kind=kind,
        **(seen.told() if seen else {}),
    )


def _number(row: Row, name: str) -> float:
    """NaN where nothing stands."""
    try:
        return float(row[name] or "nan")
    except ValueError as error:
        raise LabelError(f"{name} should be a number, is {row[name]!r}") from error


def _unit(degrees: np.ndarray) -> np.ndarray:
    """Unit vectors of (N, 2) right ascensions and declinations."""
    ra, dec = np.radians(degrees).T
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _mjd(text: str, path: Path) -> float:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise LabelError(f"{path}: discoverydate should be a time, is {text!r}") from error
    return ((found if found.tzinfo else found.replace(tzinfo=UTC)) - MJD_ZERO).total_seconds() / 86400
