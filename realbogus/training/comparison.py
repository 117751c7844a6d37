"""Two models on identical rows: paired differences, and where their decisions part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.errors import LabelError
from realbogus.training.evaluate import auc, brier, cut_at, ece, mdr_at, rounded, with_intervals
from realbogus.training.held_out import HeldOut

FIGURES = {
    "auc": "AUC",
    "mdr_at_fpr_1": "MDR at 1 % FPR",
    "mdr_at_fpr_5": "MDR at 5 % FPR",
    "mdr_at_fpr_10": "MDR at 10 % FPR",
    "brier": "Brier score of p_real",
    "ece": "ECE of p_real",
}


def compared(first: HeldOut, second: HeldOut) -> dict[str, Any]:
    """Figures of both on the rows that both have, and the differences, with paired intervals over groups.

    Raises LabelError where they share no rows of both classes.
    """
    common, a, b = np.intersect1d(first.examples.candid, second.examples.candid, return_indices=True)
    is_real = first.examples.is_real[a]
    if not (is_real.any() and (~is_real).any()):
        raise LabelError("the two share no rows of both classes")
    sides = {"first": (first, a), "second": (second, b)}

    def figures(i: NDArray[np.int64]) -> dict[str, float]:
        told = {side: _figures(judged, rows[i]) for side, (judged, rows) in sides.items()}
        both = {f"{name}_{side}": value for side, found in told.items() for name, value in found.items()}
        return both | {f"{name}_difference": told["first"][name] - told["second"][name] for name in FIGURES}

    scores = [first.score[a], second.score[b]]
    passed = [score >= cut_at(0.05, score, is_real) for score in scores]
    ranks = [np.argsort(np.argsort(score, kind="stable"), kind="stable") for score in scores]
    return {
        "rows": len(common),
        "real": int(is_real.sum()),
        "bogus": int((~is_real).sum()),
        "how": {"first": first.how, "second": second.how},
        "figures": with_intervals(figures, first.examples.group[a], first.recipe.seed),
        "rank_correlation": rounded(float(np.corrcoef(ranks[0], ranks[1])[0, 1])),
        "only_first": int((passed[0] & ~passed[1]).sum()),
        "only_second": int((passed[1] & ~passed[0]).sum()),
    }


def verdict(name: str, difference: dict[str, float]) -> str:
    """Whether the first is "better" or "worse" by this figure; "" where the interval holds zero."""
    if difference["low"] <= 0 <= difference["high"]:
        return ""
    return "better" if (difference["value"] > 0) == (name == "auc") else "worse"


def _figures(judged: HeldOut, rows: NDArray[np.int64]) -> dict[str, float]:
    score, p_real, is_real = judged.score[rows], judged.p_real[rows], judged.examples.is_real[rows]
    missed = {f"mdr_at_fpr_{100 * fpr:g}": mdr_at(fpr, score, is_real) for fpr in (0.01, 0.05, 0.10)}
    return {"auc": auc(score, is_real), **missed, "brier": brier(p_real, is_real), "ece": ece(p_real, is_real)}
