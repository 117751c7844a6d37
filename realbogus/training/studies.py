"""What a report asks by fitting or scoring again: leakage, learning curve, importance of families, disagreement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column
from realbogus.features import CATALOGUE, FAMILIES
from realbogus.training.evaluate import auc, mdr_at, rounded, with_intervals
from realbogus.training.examples import Examples
from realbogus.training.fit import Recipe, fit, out_of_fold
from realbogus.training.held_out import HeldOut
from realbogus.training.splits import UNTESTED, Folds, folds

Tell = Callable[[str], None]

SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # of the groups, in a learning curve
SHUFFLES = 3  # of each family
MOST_ROWS = 20_000  # on which importance is measured
LEAK_ALARM = 0.01  # of AUC, by which rows at random may beat new exposures


def figures_of(score: Column, is_real: NDArray[np.bool_]) -> dict[str, float]:
    """The three figures that studies follow."""
    return {
        "auc": auc(score, is_real),
        "mdr_at_fpr_5": mdr_at(0.05, score, is_real),
        "mdr_at_fpr_10": mdr_at(0.10, score, is_real),
    }


def leakage(
    examples: Examples, grouped: Column, recipe: Recipe, tell: Tell = lambda _: None, threads: int = 1
) -> dict[str, Any]:
    """Figures with rows at random minus those with exposures held out, paired, and whether that sounds the alarm.

    grouped has a score of each row that does not only help to fit.
    """
    fold, counted = folds(examples, "random", recipe.folds, recipe.seed), ~examples.helping()
    random, judged = out_of_fold(examples, fold, recipe, tell, threads)[counted], examples.rows(counted)

    def difference(rows: NDArray[np.int64]) -> dict[str, float]:
        real = judged.is_real[rows]
        leaky, honest = figures_of(random[rows], real), figures_of(grouped[rows], real)
        return {name: leaky[name] - honest[name] for name in leaky}

    found = with_intervals(difference, judged.group, recipe.seed)
    return {"random_minus_grouped": found, "alarm_above": LEAK_ALARM, "alarm": found["auc"]["low"] > LEAK_ALARM}


def learning_curve(
    examples: Examples, fold: Folds, recipe: Recipe, tell: Tell = lambda _: None, threads: int = 1
) -> list[dict[str, Any]]:
    """Figures of forests fitted on a share of the groups that a fold leaves for fitting, and on all that helps."""
    found, helping = [], examples.helping()
    groups = np.unique(examples.group, return_inverse=True)[1]
    place = np.random.default_rng([recipe.seed, 5]).permutation(groups.max() + 1) / (groups.max() + 1)
    for share in SHARES:
        score, rows = np.full(len(examples), np.nan), []
        for number in range(int(fold.max()) + 1):
            tested = fold == number
            chosen = ~tested & ~helping & (place[groups] < share)
            if len(np.unique(examples.is_real[chosen])) == 2:
                score[tested] = fit(examples.rows(chosen | helping), recipe, threads).score(examples.X[tested])
                rows.append(int(chosen.sum()))
        tested = fold != UNTESTED
        if rows and np.isfinite(score[tested]).all():
            figures = figures_of(score[tested], examples.is_real[tested])
            told = {name: rounded(value) for name, value in figures.items()}
            found.append({"share": share, "rows": round(float(np.mean(rows))), **told})
        tell(f"learning from {100 * share:g} %")
    return found


def importance(judged: HeldOut, seed: int, tell: Tell = lambda _: None) -> list[dict[str, Any]]:
    """What each family of features is worth: the AUC lost where its columns are shuffled together, most first.

    Families stand in for each other, so losses are small and do not add up. `share` is that of the family in the sizes
    of all contributions.
    """
    examples, rows = judged.examples, np.arange(len(judged.examples))
    random = np.random.default_rng([seed, 11])
    if len(rows) > MOST_ROWS:
        rows = np.sort(random.choice(rows, MOST_ROWS, replace=False))
    part = _rows_of(judged, rows)
    base, is_real = auc(part.score, part.examples.is_real), part.examples.is_real
    sizes = _sizes(part)
    found = []
    for letter in sorted({CATALOGUE[name].family for name in examples.names}):
        columns = [at for at, name in enumerate(examples.names) if CATALOGUE[name].family == letter]
        lost = []
        for _ in range(SHUFFLES):
            X = part.examples.X.copy()
            X[:, columns] = X[random.permutation(len(X))][:, columns]
            lost.append(base - auc(part.rescored(X), is_real))
        found.append(
            {
                "family": letter,
                "name": FAMILIES[letter],
                "features": len(columns),
                "auc_lost": rounded(float(np.mean(lost))),
                "sd": rounded(float(np.std(lost))),
                "share": rounded(sizes[columns].sum() / max(sizes.sum(), 1e-12)),
            }
        )
        tell(f"importance of family {letter}")
    return sorted(found, key=lambda one: -(one["auc_lost"] or 0))


def strongest(judged: HeldOut, count: int = 15) -> list[dict[str, Any]]:
    """The features that move scores most, by the mean size of their contributions."""
    sizes = _sizes(judged)
    return [
        {
            "feature": judged.examples.names[at],
            "family": CATALOGUE[judged.examples.names[at]].family,
            "mean_size": rounded(sizes[at]),
        }
        for at in np.argsort(-sizes, kind="stable")[:count]
    ]


def disagreement(judged: HeldOut, bins: int = 4) -> list[dict[str, Any]]:
    """How often p_real is on the wrong side of a half, by how far the trees disagree: least to most."""
    spread = np.full(len(judged.score), np.nan)
    for rows, forest in judged.judges:
        spread[rows] = forest.spread(judged.examples.X[rows])
    wrong = (judged.p_real >= 0.5) != judged.examples.is_real
    return [
        {"spread": rounded(spread[rows].mean()), "rows": len(rows), "wrong": rounded(wrong[rows].mean())}
        for rows in np.array_split(np.argsort(spread, kind="stable"), bins)
        if len(rows)
    ]


def _sizes(judged: HeldOut) -> NDArray[np.float64]:
    """Mean size of each feature's contribution, (F,)."""
    total = np.zeros(len(judged.examples.names))
    for rows, forest in judged.judges:
        if rows.any():
            total += np.abs(forest.contributions(judged.examples.X[rows])).sum(axis=0)
    return total / max(len(judged.score), 1)


def _rows_of(judged: HeldOut, rows: NDArray[np.int64]) -> HeldOut:
    return replace(
        judged,
        examples=judged.examples.rows(rows),
        score=judged.score[rows],
        p_real=judged.p_real[rows],
        fold=judged.fold[rows],
        judges=tuple((mask[rows], forest) for mask, forest in judged.judges),
    )
