"""The cut for a stated budget, purity or false positive rate, from scored nights without labels.

What p_real says at the share of real that the nights themselves give away is all that is known of alerts without
labels: expected purity and completeness are sums of it. They are as good as the calibration, which reports test. The
intervals are of one more night: its exposures are drawn from these, and which of its alerts are real by their p_real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column
from realbogus.calibration import at_prior, estimated_prior
from realbogus.errors import LabelError
from realbogus.policy import DECIMALS

RESAMPLINGS = 300
LEVEL = (2.5, 97.5)  # percentiles of an interval

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ScoredNights:
    """Alerts of one model and survey, in any order."""

    score: Column  # (N,) rounded as in annotations
    p_real: Column  # (N,) at the training prior
    trained_at: float  # that prior: share of real among the rows that calibrated
    night: Ids  # (N,) whole nights, numbered as one likes
    exposure: Ids  # (N,) what fails together

    def __post_init__(self) -> None:
        if not len(self.score):
            raise LabelError("there are no scored alerts")
        if not (np.isfinite(self.score).all() and np.isfinite(self.p_real).all()):
            raise LabelError("every alert needs a score and a p_real")

    def __len__(self) -> int:
        return len(self.score)

    @property
    def nights(self) -> int:
        """How many nights there are."""
        return len(np.unique(self.night))

    def priors(self) -> Column:
        """The share of real in the night of each alert, estimated from p_real, (N,)."""
        prior = np.empty(len(self))
        for night in np.unique(self.night):
            inside = self.night == night
            prior[inside] = estimated_prior(self.p_real[inside], self.trained_at)
        return prior

    def p_real_night(self) -> Column:
        """p_real at the prior of each alert's own night, (N,)."""
        prior = self.priors()
        return np.clip(at_prior(self.p_real, self.trained_at, prior), 0.0, 1.0)


@dataclass(frozen=True)
class Expected:
    """A number with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Cut:
    """A threshold and what to expect above it on a night like these; the intervals are those of a single night."""

    threshold: float
    per_night: Expected  # alerts
    purity: Expected  # share of real among them
    completeness: Expected  # share of all real alerts among them
    fpr: Expected  # share of bogus among them


def for_budget(nights: ScoredNights, per_night: float, seed: int = 1) -> Cut:
    """The lowest cut that passes so many alerts a night on average.

    Raises LabelError for a budget below one, and where more alerts than that have the highest score there is: forests
    are certain of many, and no cut parts what ties at 1.
    """
    if not per_night >= 1:
        raise LabelError(f"a budget is at least one alert a night, not {per_night:g}")
    count = int(np.floor(per_night * nights.nights + 1e-9))
    certain = int((nights.score >= 1).sum())
    if certain > count:
        raise LabelError(
            f"{certain / nights.nights:g} alerts a night have the score 1 and cannot be told apart: no cut passes only "
            f"{per_night:g}; take a budget of at least {int(np.ceil(certain / nights.nights))}"
        )
    return _told(nights, _between(np.sort(nights.score)[::-1], count), seed)


def for_purity(nights: ScoredNights, purity: float, seed: int = 1) -> Cut:
    """The lowest cut above which the expected share of real is at least this. Raises LabelError if there is none."""
    return _lowest(nights, lambda p: np.cumsum(p) / np.arange(1, len(p) + 1) >= purity, f"purity {purity:g}", seed)


def for_fpr(nights: ScoredNights, fpr: float, seed: int = 1) -> Cut:
    """The lowest cut that passes at most this expected share of bogus. Raises LabelError if there is none."""
    return _lowest(nights, lambda p: np.cumsum(1 - p) <= fpr * (1 - p).sum(), f"FPR {fpr:g}", seed)


def _lowest(nights: ScoredNights, enough: Callable[[Column], NDArray[np.bool_]], what: str, seed: int) -> Cut:
    """The lowest cut at which p_real of what passes, scores falling, is good enough."""
    order = np.argsort(-nights.score, kind="stable")
    score, good = nights.score[order], enough(nights.p_real_night()[order])
    ends = np.append(score[:-1] > score[1:], True)  # a cut falls between different scores only
    counts = np.flatnonzero(good & ends) + 1
    if not len(counts):
        raise LabelError(f"no cut reaches {what} on these nights")
    return _told(nights, _between(score, int(counts.max())), seed)


def _between(falling: Column, count: int) -> float:
    """The lowest cut, to six decimals, that passes at most so many of these."""
    if count >= len(falling):
        return 0.0
    refused = falling[count]
    above = falling[falling > refused]
    middle = (refused + (above.min() if len(above) else 1.0)) / 2
    return float(min(np.ceil(middle * 10**DECIMALS) / 10**DECIMALS, 1.0))


def _told(nights: ScoredNights, threshold: float, seed: int) -> Cut:
    passed, p = nights.score >= threshold, nights.p_real_night()
    exposure = np.unique(nights.exposure, return_inverse=True)[1]
    sums = _sums(exposure, passed, p)
    random, drawn = np.random.default_rng([seed, 31]), []
    for _ in range(RESAMPLINGS):
        picked = random.integers(len(sums), size=max(round(len(sums) / nights.nights), 1))
        drawn.append(_shares(_sums(exposure, passed, random.random(len(p)) < p)[picked].sum(axis=0)))
    count = passed.sum() / nights.nights
    figures = [
        Expected(round(value, DECIMALS), round(float(low), DECIMALS), round(float(high), DECIMALS))
        for value, (low, high) in zip(
            _shares(sums.sum(axis=0)), np.nanpercentile(np.array(drawn), LEVEL, axis=0).T, strict=True
        )
    ]
    return Cut(threshold, _next_night(nights, passed, float(count), random), *figures)


def _sums(exposure: Ids, passed: NDArray[np.bool_], real: Column | NDArray[np.bool_]) -> NDArray[np.float64]:
    """For each exposure: passed, passed real, all real, passed bogus, all bogus; real: which are, or how likely."""
    count, inside = np.bincount(exposure), exposure[passed]
    through = np.bincount(inside, minlength=len(count))
    all_real, passed_real = np.bincount(exposure, real), np.bincount(inside, real[passed], len(count))
    return np.column_stack([through, passed_real, all_real, through - passed_real, count - all_real])


def _shares(sums: NDArray[np.float64]) -> tuple[float, float, float]:
    """Purity, completeness and FPR; NaN of nothing."""
    passed, passed_real, real, passed_bogus, bogus = sums.tolist()
    return (
        passed_real / passed if passed else np.nan,
        passed_real / real if real else np.nan,
        passed_bogus / bogus if bogus else np.nan,
    )


def _next_night(nights: ScoredNights, passed: NDArray[np.bool_], count: float, random: np.random.Generator) -> Expected:
    """The count of one more night: its chance, on top of how these nights differ and of how few they are.

    What passes may come by the exposure: if its calibration fails, all of its stars are alerts. Then not alerts but
    exposures come as Poisson says, and the count scatters more by the mean size of the party that an alert is in.
    Nights differ by what their counts scatter beyond that.
    """
    counts = np.bincount(np.unique(nights.night, return_inverse=True)[1], passed)
    parties = np.bincount(np.unique(nights.exposure, return_inverse=True)[1], passed)
    size = (parties**2).sum() / max(passed.sum(), 1) or 1.0
    means = random.gamma(max(passed.sum(), 1) / size, size / nights.nights, RESAMPLINGS * 10)
    differ = (counts.var(ddof=1) / count - size) / count if len(counts) > 1 and count else 0.0
    if differ > 0:
        means = means * random.gamma(1 / differ, differ, len(means))
    low, high = np.percentile(size * random.poisson(means / size), LEVEL)
    return Expected(round(count, 3), round(float(low), 3), round(float(high), 3))
