"""How good a score is: ranking, missed detections at stated false positive rates, calibration, with intervals.

Intervals are percentile bootstraps over groups (exposures with the objects they share), not over alerts: alerts of one
exposure fail together. All numbers are of scores that the forest gave to rows it had not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column
from realbogus.training.examples import Examples, Texts

Real = NDArray[np.bool_]

FPRS = (0.01, 0.02, 0.05, 0.10, 0.20)
RESAMPLINGS = 400
MANY_ROWS, FEWER = 20_000, 100  # beyond so many rows so many resamplings must do: each costs a sort of them all
LEVEL = (2.5, 97.5)  # percentiles of an interval
SNR_BINS = ((0.0, 7.0), (7.0, 15.0), (15.0, np.inf))
LEAST = 20  # rows of each class below which nothing is claimed of a subset


def auc(score: Column, is_real: Real) -> float:
    """Probability that a real alert scores above a bogus one, ties counting half. NaN without both classes."""
    real, bogus = score[is_real], np.sort(score[~is_real])
    if not (len(real) and len(bogus)):
        return float("nan")
    below, upto = np.searchsorted(bogus, real, "left"), np.searchsorted(bogus, real, "right")
    return float((below + upto).mean() / (2 * len(bogus)))


def cut_at(fpr: float, score: Column, is_real: Real) -> float:
    """The lowest cut, to six decimals, at or above which at most this share of bogus lies."""
    bogus = np.sort(score[~is_real])[::-1]
    allowed = int(np.floor(fpr * len(bogus) + 1e-9))
    if allowed >= len(bogus):
        return 0.0
    last = bogus[allowed]
    above = score[score > last]
    middle = (last + (above.min() if len(above) else 1.0)) / 2
    return float(min(np.ceil(middle * 1e6) / 1e6, 1.0))


def mdr_at(fpr: float, score: Column, is_real: Real) -> float:
    """Missed detection rate: share of real below the cut at this false positive rate."""
    return float((score[is_real] < cut_at(fpr, score, is_real)).mean()) if is_real.any() else float("nan")


def brier(p_real: Column, is_real: Real) -> float:
    """Mean squared error of the probability."""
    return float(((p_real - is_real) ** 2).mean())


def ece(p_real: Column, is_real: Real, bins: int = 10) -> float:
    """Expected calibration error: mean gap between probability and share of real, over bins of equal size."""
    order = np.argsort(p_real, kind="stable")
    gaps = [len(part) * abs(p_real[part].mean() - is_real[part].mean()) for part in np.array_split(order, bins)]
    return float(sum(gaps) / len(order))


def measures(score: Column, p_real: Column, is_real: Real) -> dict[str, float]:
    """The figures of merit of one set of rows."""
    missed = {f"mdr_at_fpr_{100 * fpr:g}": mdr_at(fpr, score, is_real) for fpr in (0.01, 0.05, 0.10)}
    return {"auc": auc(score, is_real), **missed, "brier": brier(p_real, is_real), "ece": ece(p_real, is_real)}


def with_intervals(
    compute: Callable[[NDArray[np.int64]], Mapping[str, float]], groups: Texts, seed: int
) -> dict[str, Any]:
    """Each figure that compute gives for row numbers, with its interval: name -> value, low, high."""
    value = compute(np.arange(len(groups)))
    numbered = np.unique(groups, return_inverse=True)[1]
    members = np.split(np.argsort(numbered, kind="stable"), np.cumsum(np.bincount(numbered))[:-1])
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLINGS if len(groups) <= MANY_ROWS else FEWER):
        picked = random.integers(len(members), size=len(members))
        drawn.append(list(compute(np.concatenate([members[group] for group in picked])).values()))
    table = np.array(drawn)
    sound = table[np.isfinite(table).all(axis=1)]  # resamplings that held what every figure needs
    low, high = np.percentile(sound, LEVEL, axis=0) if len(sound) else (table[0], table[0])
    return {
        name: {"value": rounded(found), "low": rounded(low[i]), "high": rounded(high[i])}
        for i, (name, found) in enumerate(value.items())
    }


def overall(examples: Examples, score: Column, p_real: Column, seed: int) -> dict[str, Any]:
    """How many rows there are, and the figures of merit of their out-of-fold scores."""
    is_real = examples.is_real
    return {
        "rows": len(examples),
        "real": int(is_real.sum()),
        "bogus": int((~is_real).sum()),
        "groups": len(np.unique(examples.group)),
        "overall": with_intervals(lambda i: measures(score[i], p_real[i], is_real[i]), examples.group, seed),
    }


def evaluate(examples: Examples, score: Column, p_real: Column, seed: int) -> dict[str, Any]:
    """Everything that is said of one set of out-of-fold scores: overall, without the doubtful, and by subset."""
    is_real = examples.is_real
    found: dict[str, Any] = {
        **overall(examples, score, p_real, seed),
        "slices": subsets(examples, score, seed),
        "kinds": _kinds(examples, score),
        "snr": _by_snr(examples, score),
        "paired": paired(examples, score, examples.references, seed),
    }
    for name, inside in examples.slices.items():
        if inside.any() and not is_real[inside].any() and name != "other bogus":
            left, rest = np.flatnonzero(~inside), examples.group[~inside]
            compute = lambda i, left=left: measures(score[left[i]], p_real[left[i]], is_real[left[i]])  # noqa: E731
            found.setdefault("without", {})[name] = with_intervals(compute, rest, seed)
    return found


def threshold_table(examples: Examples, score: Column, seed: int) -> list[dict[str, Any]]:
    """For each stated false positive rate: the cut, and how much real it loses and bogus it passes, with intervals.

    The cut itself is drawn anew in each resampling, so its own uncertainty is inside the intervals.
    """
    is_real, table = examples.is_real, []
    for fpr in FPRS:
        cut = cut_at(fpr, score, is_real)

        def rates(rows: NDArray[np.int64], fpr: float = fpr) -> dict[str, float]:
            fresh = cut_at(fpr, score[rows], is_real[rows])
            return {"score": fresh, "mdr": mdr_at(fpr, score[rows], is_real[rows])}

        entry = with_intervals(rates, examples.group, seed)
        passed = float((score[~is_real] >= cut).mean()) if (~is_real).any() else float("nan")
        table.append({"stated_fpr": fpr, "fpr": rounded(passed), **entry})
    return table


def rates_at(cut: float, examples: Examples, score: Column, seed: int) -> dict[str, Any]:
    """FPR and MDR at a cut that was chosen elsewhere, with intervals."""

    def rates(rows: NDArray[np.int64]) -> dict[str, float]:
        passed, real = score[rows] >= cut, examples.is_real[rows]
        if real.all() or not real.any():
            return {"fpr": float("nan"), "mdr": float("nan")}
        return {"fpr": float(passed[~real].mean()), "mdr": float((~passed[real]).mean())}

    return with_intervals(rates, examples.group, seed)


def subsets(examples: Examples, score: Column, seed: int) -> dict[str, Any]:
    """Share of each named subset at or above the cuts at 5 and 10 % false positives."""
    found = {}
    for name, inside in examples.slices.items():
        if inside.sum() >= LEAST:

            def shares(rows: NDArray[np.int64], inside: Real = inside) -> dict[str, float]:
                chosen, real = score[rows], examples.is_real[rows]
                kept = chosen[inside[rows]]
                cuts = {f"{100 * fpr:g}": cut_at(fpr, chosen, real) for fpr in (0.05, 0.10)}
                return {
                    f"passed_at_fpr_{at}": float((kept >= cut).mean()) if len(kept) else np.nan
                    for at, cut in cuts.items()
                }

            found[name] = {"rows": int(inside.sum()), **with_intervals(shares, examples.group, seed)}
    return found


def _kinds(examples: Examples, score: Column) -> dict[str, Any]:
    """Share of each kind of real and bogus at or above the cut at 5 % false positives."""
    cut = cut_at(0.05, score, examples.is_real)
    found = {}
    for kind in np.unique(examples.kind).tolist():
        for real, word in ((True, "real"), (False, "bogus")):
            inside = (examples.kind == kind) & (examples.is_real == real)
            if inside.any():
                passed = rounded(float((score[inside] >= cut).mean()))
                found[f"{word}: {kind or 'not told'}"] = {"rows": int(inside.sum()), "passed_at_fpr_5": passed}
    return found


def _by_snr(examples: Examples, score: Column) -> dict[str, Any]:
    """Figures by S/N of the detection, where it is known."""
    found = {}
    for low, high in SNR_BINS:
        inside = (examples.snr >= low) & (examples.snr < high)
        real = examples.is_real[inside]
        if min(real.sum(), (~real).sum()) >= LEAST:
            found[f"{low:g} to {high:g}"] = {
                "rows": int(inside.sum()),
                "auc": rounded(auc(score[inside], real)),
                "mdr_at_fpr_1": rounded(mdr_at(0.01, score[inside], real)),
                "mdr_at_fpr_5": rounded(mdr_at(0.05, score[inside], real)),
            }
    return found


def paired(examples: Examples, score: Column, references: Mapping[str, Column], seed: int) -> dict[str, Any]:
    """Ours and theirs on the identical rows that have their score, and the difference."""
    found = {}
    for name, theirs in references.items():
        rows = np.flatnonzero(np.isfinite(theirs))
        real = examples.is_real[rows]
        if min(real.sum(), (~real).sum()) < LEAST:
            continue

        def compare(i: NDArray[np.int64], rows: NDArray[np.int64] = rows, theirs: Column = theirs) -> dict[str, float]:
            chosen = rows[i]
            real, a, b = examples.is_real[chosen], score[chosen], theirs[chosen]
            figures = {"auc": auc, "mdr_at_fpr_5": _mdr(0.05), "mdr_at_fpr_10": _mdr(0.10)}
            both = {key: (figure(a, real), figure(b, real)) for key, figure in figures.items()}
            return {
                f"{key}_{whose}": number
                for key, (ours, other) in both.items()
                for whose, number in (("ours", ours), ("theirs", other), ("difference", ours - other))
            }

        found[name] = {"rows": len(rows), **with_intervals(compare, examples.group[rows], seed)}
    return found


def _mdr(fpr: float) -> Callable[[Column, Real], float]:
    return lambda score, is_real: mdr_at(fpr, score, is_real)


def rounded(number: float) -> float | None:
    """Six decimals; None where there is no number, since a manifest holds no NaN."""
    return round(float(number), 6) if np.isfinite(number) else None
