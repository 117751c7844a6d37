"""From score to probability: a monotone curve through knots, fitted on scores of alerts the forest had not seen.

Every calibration is a table of (score, p_real), read by straight lines between knots. So what a model file holds are
plain numbers, and evaluating them is the same arithmetic everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column
from realbogus.errors import ModelError

MAX_KNOTS = 4096
SURE = 1e-12  # no score makes certain, however few the rows that say so
ISOTONIC_NEEDS = 5_000  # rows; with fewer a logistic curve has the smaller error
PRIORS = (1e-4, 0.9)  # share of real that a night may be believed to have
_CURVE = np.linspace(0.0, 1.0, 257)  # scores at which a logistic curve is tabled: its error stays under 1e-4 between


@dataclass(frozen=True, eq=False)
class Calibration:
    """p_real as a function of score: both rise, both lie in [0, 1], and score runs from 0 to 1."""

    kind: str  # how it was fitted: "isotonic" or "logistic"
    prior: float  # share of real among the rows it was fitted on, to which p_real refers
    rows: int  # how many they were
    score: NDArray[np.float64]  # (K,) strictly rising, 0 to 1
    p_real: NDArray[np.float64]  # (K,) not falling

    def __post_init__(self) -> None:
        check_knots(self.score, self.p_real)

    def __call__(self, score: Column) -> Column:
        """The probability that each is real, at the training prior. NaN stays NaN."""
        return np.asarray(np.interp(score, self.score, self.p_real), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {
            "kind": self.kind,
            "prior": self.prior,
            "rows": self.rows,
            "score": self.score.tolist(),
            "p_real": self.p_real.tolist(),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Calibration:
        """From a manifest. Raises ModelError where it is not a calibration."""
        try:
            knots = [np.asarray(found[name], dtype=np.float64) for name in ("score", "p_real")]
            return cls(str(found["kind"]), float(found["prior"]), int(found["rows"]), *knots)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise error if isinstance(error, ModelError) else ModelError(f"calibration: {error!r}") from error


def check_knots(score: NDArray[np.float64], p_real: NDArray[np.float64]) -> None:
    """Raise ModelError unless the knots are a rising curve of probabilities from score 0 to score 1."""
    if score.ndim != 1 or score.shape != p_real.shape or not 2 <= len(score) <= MAX_KNOTS:
        raise ModelError(f"calibration: expected 2 to {MAX_KNOTS} knots, found {score.shape} and {p_real.shape}")
    if not (np.isfinite(score).all() and np.isfinite(p_real).all()):
        raise ModelError("calibration: its knots are not finite")
    if score[0] != 0 or score[-1] != 1 or (np.diff(score) <= 0).any():
        raise ModelError("calibration: its scores do not rise from 0 to 1")
    if p_real[0] < 0 or p_real[-1] > 1 or (np.diff(p_real) < 0).any():
        raise ModelError("calibration: its probabilities fall, or leave 0 to 1")


def fit_calibration(score: Column, is_real: NDArray[np.bool_], weight: Column | None = None) -> Calibration:
    """Isotonic where there are rows enough, else logistic. The scores must be of rows the forest had not seen."""
    fit = fit_isotonic if len(score) >= ISOTONIC_NEEDS else fit_logistic
    return fit(score, is_real, weight)


def fit_isotonic(score: Column, is_real: NDArray[np.bool_], weight: Column | None = None) -> Calibration:
    """The rising step curve of least squares, one knot in the middle of each step's scores.

    Its ends are pulled in by half a row, since no finite sample shows a probability of 0 or 1. Where steps tie, the raw
    score still ranks.
    """
    weight = np.ones(len(score)) if weight is None else weight
    centre, level, mass = _pooled(score, is_real.astype(np.float64), weight)
    edge = np.minimum(0.5 / mass, 0.5)
    level = np.maximum.accumulate(np.clip(level, edge, 1 - edge))
    keep = (centre > 0) & (centre < 1)
    knots = np.concatenate([[0.0], centre[keep], [1.0]])
    return Calibration("isotonic", _prior(is_real, weight), len(score), knots, np.interp(knots, centre, level))


def _pooled(score: Column, target: Column, weight: Column) -> tuple[Column, Column, Column]:
    """Pool adjacent violators: centre of scores, level and weight of each block, levels rising."""
    x, tied = np.unique(score, return_inverse=True)
    y, w = np.bincount(tied, target * weight), np.bincount(tied, weight)
    blocks: list[list[float]] = []  # score * w, target * w, w
    for block in np.column_stack([x * w, y, w]).tolist():
        blocks.append(block)
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    sums = np.array(blocks)
    return _thinned(sums[:, 0] / sums[:, 2], sums[:, 1] / sums[:, 2], sums[:, 2])


def _thinned(centre: Column, level: Column, mass: Column) -> tuple[Column, Column, Column]:
    """At most half MAX_KNOTS blocks, with distinct centres."""
    centre, first = np.unique(centre, return_index=True)
    pick = np.unique(np.linspace(0, len(centre) - 1, min(len(centre), MAX_KNOTS // 2)).round().astype(np.int64))
    return centre[pick], level[first][pick], mass[first][pick]


def fit_logistic(score: Column, is_real: NDArray[np.bool_], weight: Column | None = None) -> Calibration:
    """p = 1 / (1 + exp(-(a logit(score) + b))), by maximum likelihood with Platt's softened targets.

    Scores of 0 and 1 count as half a step beyond 1 in 1 000. A slope below zero, which would turn the ranking round,
    becomes zero.
    """
    weight = np.ones(len(score)) if weight is None else weight
    positive, negative = float(weight[is_real].sum()), float(weight[~is_real].sum())
    if not (positive and negative):
        raise ModelError("calibration needs rows of both classes")
    target = np.where(is_real, (positive + 1) / (positive + 2), 1 / (negative + 2))
    slope, shift = _newton(_logit(score), target, weight)
    p_real = np.clip(_logistic(max(slope, 0.0) * _logit(_CURVE) + shift), SURE, 1 - SURE)
    return Calibration("logistic", _prior(is_real, weight), len(score), _CURVE, np.maximum.accumulate(p_real))


def _newton(x: Column, target: Column, weight: Column) -> tuple[float, float]:
    """Slope and shift that maximise the likelihood of targets in (0, 1)."""
    slope, shift = 1.0, 0.0
    for _ in range(50):
        p = _logistic(slope * x + shift)
        bend, miss = weight * p * (1 - p), weight * (p - target)
        a, b, c = (bend * x * x).sum() + 1e-9, (bend * x).sum(), bend.sum() + 1e-9
        g, h = (miss * x).sum(), miss.sum()
        step_slope, step_shift = (c * g - b * h) / (a * c - b * b), (a * h - b * g) / (a * c - b * b)
        scale = min(1.0, 4.0 / max(abs(step_slope), abs(step_shift), 1e-300))
        slope, shift = slope - scale * step_slope, shift - scale * step_shift
        if max(abs(step_slope), abs(step_shift)) < 1e-12:
            break
    return float(slope), float(shift)


def at_prior(p_real: Column, trained_at: float, prior: float | Column) -> Column:
    """p_real as it is where the share of real is `prior` (one or N), not that of training (Saerens et al. 2002)."""
    odds_real, odds_bogus = p_real * prior / trained_at, (1 - p_real) * (1 - prior) / (1 - trained_at)
    return np.asarray(odds_real / (odds_real + odds_bogus))


def estimated_prior(
    p_real: Column, trained_at: float, *, low: float = PRIORS[0], high: float = PRIORS[1], steps: int = 500
) -> float:
    """The share of real among these alerts, from their p_real at the training prior alone.

    Expectation maximisation (Saerens, Latinne & Decaestecker 2002), kept within [low, high]: a night without a real
    alert would end at 0, where no later alert could be real. NaN are left out; without any number it is trained_at.
    """
    known = p_real[np.isfinite(p_real)]
    prior = float(np.clip(trained_at, low, high))
    if not len(known):
        return prior
    for _ in range(steps):
        before, prior = prior, float(np.clip(at_prior(known, trained_at, prior).mean(), low, high))
        if abs(prior - before) < 1e-9:
            break
    return prior


def _logit(score: Column) -> Column:
    inside = np.clip(score, 5e-4, 1 - 5e-4)
    return np.asarray(np.log(inside / (1 - inside)))


def _logistic(x: Column) -> Column:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))))


def _prior(is_real: NDArray[np.bool_], weight: Column) -> float:
    return float(weight[is_real].sum() / weight.sum())
