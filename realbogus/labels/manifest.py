"""Labels from tables: the manifest of the shared real packets, and the truth of simulated nights.

A label says what an alert is, by whose word, and which alerts it must not be parted from in a split. The rule that
made labels also names the columns it looked at, so that no feature can read the answer.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from realbogus.errors import LabelError
from realbogus.labels.sources import PANEL_RULE, SIMULATED_RULE
from realbogus.training.examples import Label, LabelSet
from realbogus.training.splits import joined_groups

MAX_ROWS = 5_000_000
CELL_DEG = 5.0  # side of a part of the sky that a split by field keeps together
ASTEROID = "known asteroid"  # how the manifest's label_source begins for them
NOISY = 0.9  # braai from which a panel's "bogus" is in doubt: mostly residuals on bright stars, some true variables


def read_manifest(path: Path, survey: str = "ztf") -> LabelSet:
    """Label P of the shared real packets. Raises LabelError for a table that is not theirs.

    Groups join alerts of the same exposure or object. Known asteroids are a slice, not a label: their rule looked at
    the magnitude, which features read. The scores rb, drb and braai come along for comparison.
    """
    rows = _rows(path, ("candid", "objectId", "survey", "jd", "component", "panel", "label_source", "braai"))
    rows = [row for row in rows if row["survey"] == survey]
    groups = joined_groups([(f"object {row['objectId']}", f"exposure {row['jd']}") for row in rows])
    labels = {}
    for row, group in zip(rows, groups, strict=True):
        if row["panel"] in ("real", "bogus"):
            labels[_integer(row, "candid", path)] = Label(
                is_real=row["panel"] == "real",
                source="panel",
                group=group,
                night=row["component"],
                field=_sky(row),
                kind=row["panel_kind"].partition("/")[0],
                references={name: float(row[name]) for name in ("rb", "drb", "braai") if row[name]},
                slices=_slices(row),
            )
    return LabelSet(labels, PANEL_RULE)


def read_truth(path: Path) -> LabelSet:
    """Labels of a simulated night from its table of truth. Raises LabelError for a table that is not one.

    Groups join alerts of the same exposure, object or piece of sky, whose template they share.
    """
    rows = _rows(path, ("candid", "object_id", "real", "kind", "snr", "exposure", "night", "field", "detector"))
    groups = joined_groups([_shared(row) for row in rows])
    labels = {}
    for row, group in zip(rows, groups, strict=True):
        if row["real"] not in ("0", "1"):
            raise LabelError(f"{path}: real should be 0 or 1, is {row['real']!r}")
        labels[_integer(row, "candid", path)] = Label(
            is_real=row["real"] == "1",
            source="simulated",
            group=f"simulated {group}",
            night=f"simulated {row['night']}",
            field=f"simulated {row['field']}",
            kind=row["kind"],
            snr=_number(row, "snr", path),
        )
    return LabelSet(labels, SIMULATED_RULE)


def _shared(row: Mapping[str, str]) -> tuple[str, str, str]:
    """What a simulated alert may share with others."""
    sky = f"field {row['field']} detector {row['detector']}"
    return f"object {row['object_id']}", f"exposure {row['exposure']}", sky


def _sky(row: Mapping[str, str]) -> str:
    """The part of the sky, CELL_DEG a side; "" where the table does not tell."""
    if not (row.get("ra") and row.get("dec")):
        return ""
    return f"sky {int(float(row['ra']) // CELL_DEG)} {int((float(row['dec']) + 90) // CELL_DEG)}"


def _slices(row: Mapping[str, str]) -> frozenset[str]:
    if row["panel"] == "real":
        return frozenset(["known asteroids" if row["label_source"].startswith(ASTEROID) else "other real"])
    noisy = bool(row["braai"]) and float(row["braai"]) >= NOISY
    return frozenset(["bogus with braai >= 0.9" if noisy else "other bogus"])


def _rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise LabelError(f"{path}: not a table of these labels, it has no column {', '.join(missing)}")
        rows: list[dict[str, str]] = []
        for row in reader:
            if len(rows) >= MAX_ROWS:
                raise LabelError(f"{path}: more than {MAX_ROWS} rows")
            if None in row.values() or None in row:
                raise LabelError(f"{path}: line {reader.line_num} has not {len(reader.fieldnames or ())} values")
            rows.append(row)
    return rows


def _integer(row: Mapping[str, str], name: str, path: Path) -> int:
    try:
        return int(row[name])
    except ValueError as error:
        raise LabelError(f"{path}: {name} should be a whole number, is {row[name]!r}") from error


def _number(row: Mapping[str, str], name: str, path: Path) -> float:
    try:
        return float(row[name] or "nan")
    except ValueError as error:
        raise LabelError(f"{path}: {name} should be a number, is {row[name]!r}") from error
