"""Labelled alerts as a table: features, labels, and what a split may not part."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import COLUMNS, Column, Matrix
from realbogus.errors import LabelError
from realbogus.features import CATALOGUE

Texts = NDArray[np.str_]


@dataclass(frozen=True)
class Label:
    """What one alert is, by whose word, and what it hangs together with."""

    is_real: bool
    source: str  # what the label rests on: "panel", "asteroid", "simulated"
    group: str  # alerts of one group never lie on both sides of a split: same exposure, same object
    night: str
    field: str = ""  # part of the sky; "" = not told. Unseen fields are a split of their own
    kind: str = ""  # class of bogus or of real thing, "" = not told
    weight: float = 1.0  # how far to trust it, 0 to 1
    snr: float = float("nan")  # S/N of the detection; NaN = take the packet's own
    references: Mapping[str, float] = dataclasses.field(
        default_factory=dict
    )  # others' scores of it, to compare with, never to use
    slices: frozenset[str] = frozenset()  # subsets that are reported on their own


@dataclass(frozen=True)
class LabelSet:
    """Labels by candid, with the rule that made them."""

    by_candid: Mapping[int, Label]
    rule: str  # sentences for the card; more than one rule, a paragraph each
    made_from: tuple[str, ...] = ()  # columns of an AlertBatch that the rule looked at


@dataclass(frozen=True, eq=False)
class Examples:
    """N labelled alerts with F features."""

    names: tuple[str, ...]  # (F,)
    X: Matrix  # (N, F), NaN = undefined
    candid: NDArray[np.int64]  # (N,)
    is_real: NDArray[np.bool_]  # (N,)
    weight: Column  # (N,)
    snr: Column  # (N,) NaN = not told
    mjd: Column  # (N,)
    survey: Texts  # (N,)
    band: Texts  # (N,)
    source: Texts  # (N,) see Label
    kind: Texts  # (N,)
    group: Texts  # (N,)
    night: Texts  # (N,)
    field: Texts  # (N,) "" = not told
    references: Mapping[str, Column]  # (N,) each, NaN = that score is not there
    slices: Mapping[str, NDArray[np.bool_]]  # (N,) each
    rules: tuple[str, ...] = ()  # of the labels
    context: Mapping[str, Column] = dataclasses.field(
        default_factory=dict
    )  # (N,) each; conditions to report by, never to use

    def __len__(self) -> int:
        return len(self.candid)

    def rows(self, chosen: NDArray[Any]) -> Examples:
        """Some of them, by index or mask."""
        picked: dict[str, Any] = {name: getattr(self, name)[chosen] for name in _COLUMNS}
        tables: dict[str, Any] = {
            name: {key: column[chosen] for key, column in getattr(self, name).items()} for name in _TABLES
        }
        return replace(self, **picked, **tables)

    def with_features(self, names: Sequence[str]) -> Examples:
        """The same rows with some of their features, in the order of names."""
        place = {name: at for at, name in enumerate(self.names)}
        columns = [place[name] for name in names]
        return replace(self, names=tuple(names), X=np.ascontiguousarray(self.X[:, columns]))

    def looked_up(self, by_candid: Mapping[int, float]) -> Column:
        """A number for each row, NaN where the mapping has none: (N,)."""
        return np.array([by_candid.get(candid, np.nan) for candid in self.candid.tolist()], dtype=np.float64)

    def simulated(self) -> NDArray[np.bool_]:
        """Which of them are simulated."""
        return np.asarray(self.source == "simulated")

    def helping(self) -> NDArray[np.bool_]:
        """Which of them only help to fit: the simulated ones, where there are packets."""
        made = self.simulated()
        return made if not made.all() else np.zeros_like(made)

    def sha256(self) -> str:
        """Digest of all that training sees: names, features, labels, weights, groups, in order."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        for name in ("X", "candid", "is_real", "weight"):
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        for name in ("source", "group", "night"):
            digest.update("\n".join(getattr(self, name).tolist()).encode())
        return digest.hexdigest()


_COLUMNS = [f.name for f in fields(Examples) if str(f.type).startswith(("Matrix", "NDArray", "Column", "Texts"))]
_TABLES = {"references": np.nan, "slices": False, "context": np.nan}  # with what stands for "not there"


def joined(parts: Sequence[Examples]) -> Examples:
    """Several tables with the same features as one, ordered by source, time and candid, so that order tells nothing."""
    if not parts:
        raise LabelError("there are no labelled alerts to train on")
    whole = one_after_another(parts)
    return whole.rows(np.lexsort((whole.candid, whole.mjd, whole.source == "simulated")))


def one_after_another(parts: Sequence[Examples]) -> Examples:
    """Tables with the same features as one, in their order."""
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    tables: dict[str, Any] = {}
    for table, absent in _TABLES.items():
        keys = sorted({key for part in parts for key in getattr(part, table)})
        tables[table] = {
            key: np.concatenate([getattr(part, table).get(key, np.full(len(part), absent)) for part in parts])
            for key in keys
        }
    rules = tuple(dict.fromkeys(rule for part in parts for rule in part.rules))
    return replace(parts[0], rules=rules, **columns, **tables)


def check_closure(names: Sequence[str], made_from: Sequence[str]) -> None:
    """Raise LabelError if a feature reads a column that made a label, or one that no feature may read."""
    for name in names:
        for column in CATALOGUE[name].columns:
            if COLUMNS[column].denied:
                raise LabelError(f"feature {name} reads {column}: {COLUMNS[column].denied}")
            if column in made_from:
                raise LabelError(
                    f"feature {name} reads {column}, from which labels were made; leave out the feature or the labels"
                )
