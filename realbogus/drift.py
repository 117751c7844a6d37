"""Is tonight like the nights that the model knows? Scores in bins, and how far two sets of bins are apart.

PSI, the population stability index, is the sum of (q - p) ln(q / p) over the bins, p being the shares of the reference
and q those of tonight: 0 where both are the same, some 0.1 where an eye would notice, 0.25 and more where something
changed. Even equal populations differ by about (bins - 1) (1/n + 1/m) for n and m values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column

BINS = 10  # of equal width between 0 and 1
FLOOR = 1e-4  # share that an empty bin counts as
LEAST = 1000  # scores, before anything is said
LEARNED = 5000  # scores that make a reference where the model brings none
RECENT = 5000  # scores, about, that tonight's shares are of

SHARES = np.linspace(0.0, 1.0, 101)[:, None]  # of real among a night's alerts, that are tried

Counts = NDArray[np.float64]  # (BINS,)


def counted(scores: Column) -> Counts:
    """How many scores lie in each bin, (BINS,); NaN in none."""
    inside = scores[(scores >= 0) & (scores <= 1)]
    return np.bincount(np.minimum((inside * BINS).astype(np.intp), BINS - 1), minlength=BINS).astype(np.float64)


def psi(reference: Counts, found: Counts) -> float:
    """The population stability index of found counts against a reference; NaN where either is empty.

    Several references (M, BINS) give the least of their indices.
    """
    total = reference.sum(axis=-1, keepdims=True)
    if not total.all() or not found.sum():
        return float("nan")
    p = np.maximum(reference / total, FLOOR)
    q = np.maximum(found / found.sum(), FLOOR)
    return float(((q - p) * np.log(q / p)).sum(axis=-1).min())


def shares(score: Column, is_real: NDArray[np.bool_]) -> dict[str, list[float]]:
    """What a manifest keeps as reference: the share of bogus and of real alerts whose score lies in each bin."""
    both = {"bogus": counted(score[~is_real]), "real": counted(score[is_real])}
    return {name: (found / max(found.sum(), 1.0)).round(6).tolist() for name, found in both.items()}


def reference_of(manifest: Mapping[str, Any]) -> Counts | None:
    """The scores that a model's manifest leads to expect, (M, BINS); None where it brings none.

    How many alerts are real differs from night to night and is no drift: M mixtures of bogus and real, 0 to all.
    """
    entry = manifest.get("reference")
    score = entry.get("score") if isinstance(entry, Mapping) else None
    told = score if isinstance(score, Mapping) else {}
    try:
        bogus, real = (np.array(told.get(name, []), np.float64) for name in ("bogus", "real"))
    except (TypeError, ValueError):
        return None
    good = all(one.shape == (BINS,) and (one >= 0).all() and 0 < one.sum() < np.inf for one in (bogus, real))
    return SHARES * real + (1 - SHARES) * bogus if good else None


@dataclass
class ScoreDrift:
    """The scores of one model on one survey, against its reference or else against the first that it gave here.

    Only alerts move it: nothing happens by day. Old scores fade, so that it tells of about the last RECENT ones.
    """

    reference: Counts | None = None  # of the model, (BINS,) or (M, BINS); None = learn it
    _learned: Counts = field(default_factory=lambda: np.zeros(BINS))
    _recent: Counts = field(default_factory=lambda: np.zeros(BINS))

    def add(self, scores: Column) -> None:
        """Count the scores of a batch."""
        found = counted(scores)
        if self.reference is None:
            self._learned += found
            if self._learned.sum() >= LEARNED:
                self.reference = self._learned
            return
        self._recent = self._recent * max(1.0 - len(scores) / RECENT, 0.0) + found

    def psi(self) -> float:
        """How far recent scores are from the reference; NaN before there are enough."""
        if self.reference is None or self._recent.sum() < LEAST:
            return float("nan")
        return psi(self.reference, self._recent)


@dataclass
class FeatureDrift:
    """Some features of one survey, each against the first LEARNED values that it had here.

    Ten bins that held equally many of these, and one for NaN: a feature that goes missing drifts too.
    """

    count: int  # features
    _first: list[NDArray[np.float32]] = field(default_factory=list)
    _edges: list[NDArray[np.float32]] = field(default_factory=list)  # a feature: BINS - 1 quantiles
    _reference: list[Counts] = field(default_factory=list)  # a feature: (BINS + 1,)
    _recent: list[Counts] = field(default_factory=list)

    def add(self, X: NDArray[np.float32]) -> None:
        """Count a batch, (N, count)."""
        if not self._edges:
            self._learn(X)
            return
        fade = max(1.0 - len(X) / RECENT, 0.0)
        self._recent = [old * fade + new for old, new in zip(self._recent, self._counted(X), strict=True)]

    def psi(self) -> list[float]:
        """How far each feature is from its beginning; NaN before there are enough."""
        if not self._edges or self._recent[0].sum() < LEAST:
            return [float("nan")] * self.count
        return [psi(before, now) for before, now in zip(self._reference, self._recent, strict=True)]

    def _learn(self, X: NDArray[np.float32]) -> None:
        self._first.append(X.copy())
        if sum(map(len, self._first)) < LEARNED:
            return
        known = np.concatenate(self._first)
        self._first = []
        inner = np.linspace(0, 1, BINS + 1)[1:-1]
        finite = (column[np.isfinite(column)] for column in known.T)
        self._edges = [np.quantile(one, inner) if len(one) else np.zeros(BINS - 1, np.float32) for one in finite]
        self._reference = self._counted(known)
        self._recent = [np.zeros(BINS + 1) for _ in self._edges]

    def _counted(self, X: NDArray[np.float32]) -> list[Counts]:
        bins = (
            np.where(np.isnan(column), BINS, np.searchsorted(edges, column))
            for edges, column in zip(self._edges, X.T, strict=True)
        )
        return [np.bincount(one, minlength=BINS + 1).astype(np.float64) for one in bins]
