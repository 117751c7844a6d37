"""A forest that was fitted elsewhere, with what can be found out about it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realbogus.calibration import fit_calibration
from realbogus.drift import shares
from realbogus.errors import LabelError
from realbogus.forest import Forest
from realbogus.training import evaluate
from realbogus.training.examples import Examples
from realbogus.training.fit import Recipe, Trained, golden_rows
from realbogus.training.isolation import fit_novelty

SEED = 1


def imported(forest: Forest, told: Mapping[str, Any], examples: Examples, fpr: float) -> Trained:
    """Its calibration, threshold and figures on these rows, which it may have seen: `metrics["imported"]` warns.

    Raises LabelError where a class is missing.
    """
    score, is_real = forest.score(examples.X), examples.is_real
    if min(is_real.sum(), (~is_real).sum()) < evaluate.LEAST:
        raise LabelError(f"at least {evaluate.LEAST} real and as many bogus alerts are needed to calibrate it")
    calibration = fit_calibration(score, is_real)
    figures = evaluate.evaluate(examples, score, calibration(score), SEED)
    judged_on = "simulated" if examples.simulated().all() else "packets"
    return Trained(
        forest=forest,
        calibration=calibration,
        threshold=evaluate.cut_at(fpr, score, is_real),
        thresholds=evaluate.threshold_table(examples, score, SEED),
        metrics={"judged_on": judged_on, "splits": {"exposures": figures}, "imported": True},
        golden=golden_rows(examples.X, forest, SEED),
        recipe=Recipe(kind=told["kind"], trees=forest.trees, fpr=fpr),
        novelty=fit_novelty(examples.X, SEED),
        reference=shares(score, is_real),
    )
