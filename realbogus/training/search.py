"""Hyper-parameter search within a stated budget, judged so that the choice does not flatter itself.

Inside each outer fold the whole search runs again on the rows left for fitting, with inner folds of its own; the
winner then scores the outer fold. So the nested figures are those of the procedure on rows that took no part in it.
Beside them stands what the winner of the full search gets on the folds that chose it: the difference is the flattery.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realbogus.alerts import Column
from realbogus.errors import LabelError
from realbogus.training.evaluate import Real, mdr_at, rounded, with_intervals
from realbogus.training.examples import Examples
from realbogus.training.fit import KINDS, Recipe, fit, out_of_fold
from realbogus.training.splits import folds
from realbogus.training.studies import figures_of

Tell = Callable[[str], None]

SPACE: dict[str, tuple[Any, ...]] = {  # what is tried; everything else stays as the recipe says
    "kind": KINDS,
    "least_leaf": (1, 2, 3, 5, 8),
    "tried": ("sqrt", 0.05, 0.2, 0.35, 0.5),
    "faint_weight": (1.0, 2.0),
    "bogus_weight": (1.0, 2.0),
}
OUTER, INNER = 5, 3  # folds
SEARCH_TREES = 120  # in a trial, if the recipe has more: ranks recipes as well at a third of the cost
FPRS = (0.02, 0.05, 0.1, 0.2)  # over which the MDR is averaged: one cut alone hangs on a few bogus


@dataclass(frozen=True)
class Found:
    """The recipe that a search chose, and what it tried."""

    recipe: Recipe
    told: dict[str, Any]


def steps(trials: int) -> int:
    """How many times `search` tells of work done."""
    return (OUTER + 1) * trials


def objective(score: Column, is_real: Real) -> float:
    """Mean MDR over FPRS; less is better."""
    return float(np.mean([mdr_at(fpr, score, is_real) for fpr in FPRS]))


def candidates(recipe: Recipe, trials: int, seed: int) -> list[Recipe]:
    """The recipe itself and others drawn from SPACE, all different, trials in all or as many as there are."""
    random = np.random.default_rng([seed, 41])
    most = int(np.prod([len(values) for values in SPACE.values()]))
    found = {recipe: None}
    while len(found) < min(trials, most):
        drawn = {name: values[random.integers(len(values))] for name, values in SPACE.items()}
        found[replace(recipe, **drawn)] = None
    return list(found)


def search(examples: Examples, recipe: Recipe, trials: int, tell: Tell = lambda _: None, threads: int = 1) -> Found:
    """The best of some recipes, with nested figures. The same arguments choose the same recipe.

    Raises LabelError for a budget of no trial.
    """
    if trials < 1:
        raise LabelError(f"a search needs at least one trial, not {trials}")
    tried = candidates(recipe, trials, recipe.seed)
    outer = folds(examples, "exposures", OUTER, recipe.seed)
    nested, inside = np.full(len(examples), np.nan), []
    for number in range(int(outer.max()) + 1):
        tested = outer == number
        table = examples.rows(~tested)
        chosen = tried[int(np.argmin(_judged(table, tried, tell, threads)))]
        inside.append(_changes(chosen))
        nested[tested] = fit(table, _light(chosen), threads).score(examples.X[tested])
    judged, counted = examples.rows(~examples.helping()), nested[~examples.helping()]
    losses = _judged(examples, tried, tell, threads)
    best = tried[int(np.argmin(losses))]
    told = {
        "trials": len(tried),
        "objective": f"mean MDR at {', '.join(f'{100 * fpr:g}' for fpr in FPRS)} % FPR",
        "chosen": _changes(best),
        "chosen_in_outer_folds": inside,
        "objective_nested": rounded(objective(counted, judged.is_real)),
        "objective_of_the_chosen": rounded(min(losses)),
        "objective_of_the_first": rounded(losses[0]),
        "nested": with_intervals(lambda i: figures_of(counted[i], judged.is_real[i]), judged.group, recipe.seed),
        "table": [{**_changes(one), "objective": rounded(loss)} for one, loss in zip(tried, losses, strict=True)],
    }
    return Found(best, told)


def _judged(examples: Examples, tried: list[Recipe], tell: Tell, threads: int) -> list[float]:
    """The objective of each recipe by inner folds of these rows."""
    inner = folds(examples, "exposures", INNER, tried[0].seed)
    counted = ~examples.helping()
    losses = []
    for number, one in enumerate(tried):
        score = out_of_fold(examples, inner, _light(one), threads=threads)
        losses.append(objective(score[counted], examples.is_real[counted]))
        tell(f"search: recipe {number + 1} of {len(tried)}")
    return losses


def _light(recipe: Recipe) -> Recipe:
    return replace(recipe, trees=min(recipe.trees, SEARCH_TREES))


def _changes(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in SPACE}
