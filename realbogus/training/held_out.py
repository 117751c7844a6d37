"""Scores of labelled rows by a model that did not learn from them; where it did, its recipe is fitted anew without.

A row is seen if the model was trained on it, or on an alert of its group. Nobody gets to judge a model on rows it has
seen unawares: they are scored by forests of the same recipe that saw none of their group, or left out, or kept with a
warning that travels with the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column, Matrix
from realbogus.calibration import fit_calibration
from realbogus.errors import LabelError
from realbogus.forest import Forest
from realbogus.model import Model
from realbogus.training.examples import Examples, one_after_another
from realbogus.training.fit import Recipe, fit
from realbogus.training.splits import UNTESTED, Folds, folds

Tell = Callable[[str], None]

REFIT, LEAVE_OUT, KEEP = "refit", "leave-out", "keep"  # what becomes of rows that the model has seen
SEEN = (REFIT, LEAVE_OUT, KEEP)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Labelled rows with scores, and how they came by them."""

    examples: Examples  # N rows
    score: Column  # (N,)
    p_real: Column  # (N,) at the training prior
    fold: Folds  # (N,) of the refit that scored each; UNTESTED = the model itself did
    judges: tuple[tuple[NDArray[np.bool_], Forest], ...]  # which forest scored which rows
    recipe: Recipe
    how: str  # in one sentence
    warnings: tuple[str, ...] = ()
    helping: Examples | None = None  # rows that only helped to fit: simulated ones, where there are packets

    def rescored(self, X: Matrix) -> Column:
        """The score of the same rows with other features (N, F), each by the forest that judged it."""
        score = np.full(len(X), np.nan)
        for rows, forest in self.judges:
            score[rows] = forest.score(X[rows])
        return score

    def fitted_on(self) -> Examples:
        """The rows with those that help after them, for forests fitted anew."""
        return self.examples if self.helping is None else one_after_another([self.examples, self.helping])

    @property
    def refitted(self) -> bool:
        """Whether all rows were scored by forests of the recipe, so that more may be asked of the recipe."""
        return bool((self.fold != UNTESTED).all())


def recipe_of(model: Model) -> Recipe:
    """The recipe that the manifest keeps. Raises LabelError where this code knows no such recipe.

    That of an imported model only tells its kind and size.
    """
    known = {field.name for field in fields(Recipe)}
    found = model.manifest["training"].get("recipe", {})
    if unknown := sorted(set(found) - known):
        raise LabelError(f"the recipe of {model.id.name}/{model.id.version} has {', '.join(unknown)}, unknown here")
    return Recipe(**found)


def seen(model: Model, examples: Examples) -> NDArray[np.bool_]:
    """Which rows the model was trained on, or on an alert of their group, (N,).

    A model that does not tell its rows is taken to have seen all of the same kind of label from the time it covers.
    """
    if model.trained_on is not None:
        rows = np.isin(examples.candid, model.trained_on)
    else:
        rows = np.zeros(len(examples), dtype=np.bool_)
        for source, counts in model.manifest["training"].get("counts", {}).items():
            inside = (examples.mjd >= counts["first_mjd"] - 0.01) & (examples.mjd <= counts["last_mjd"] + 0.01)
            rows |= (examples.source == source) & inside
    return np.isin(examples.group, examples.group[rows])


def held_out(
    model: Model,
    examples: Examples,
    *,
    split: str = "exposures",
    treat_seen: str = REFIT,
    tell: Tell = lambda _: None,
    threads: int = 1,
) -> HeldOut:
    """Score rows without letting the model judge what it learnt from. examples has the model's own features.

    Simulated rows beside packets are not judged; they help to fit a model anew that learnt from such. Raises LabelError
    where nothing is left, or the features are others.
    """
    if examples.names != model.feature_names:
        raise LabelError("the examples were measured with other features than the model's")
    helps = examples.helping()
    helping = examples.rows(helps) if helps.any() else None
    found = _held_out(model, examples.rows(~helps), helping, split, treat_seen, tell, threads)
    if helping is None or found.helping is not None:
        return found
    return replace(
        found, warnings=(*found.warnings, f"{len(helping)} simulated alerts beside packets had no part in this")
    )


def _held_out(
    model: Model,
    examples: Examples,
    helping: Examples | None,
    split: str,
    treat_seen: str,
    tell: Tell,
    threads: int,
) -> HeldOut:
    known, recipe = seen(model, examples), recipe_of(model)
    name = f"{model.id.name}/{model.id.version}"
    if treat_seen == KEEP or not known.any():
        warnings = (f"{known.sum()} of these rows trained {name}: the figures flatter it",) if known.any() else ()
        score = model.score(examples.X)
        everything = np.ones(len(examples), dtype=np.bool_)
        how = f"scored by {name} itself" + (", TRAINING ROWS INCLUDED" if known.any() else ", which saw none of them")
        fold = np.full(len(examples), UNTESTED, dtype=np.int64)
        return HeldOut(examples, score, model.p_real(score), fold, ((everything, model.forest),), recipe, how, warnings)
    if treat_seen == LEAVE_OUT:
        if known.all():
            raise LabelError(f"{name} has seen all {len(known)} rows: leaving them out leaves nothing to judge it on")
        left = _held_out(model, examples.rows(~known), None, split, treat_seen, tell, threads)
        return HeldOut(**{**vars(left), "how": f"{left.how}; {known.sum()} rows that trained it were left out"})
    if model.manifest["metrics"].get("imported"):
        raise LabelError(f"{name} was fitted elsewhere and cannot be fitted anew: leave seen rows out, or keep them")
    learnt = "simulated" in model.manifest["training"].get("counts", {})
    return _refitted(model, examples, helping if learnt else None, known, split, tell, threads)


def _refitted(
    model: Model,
    examples: Examples,
    helping: Examples | None,
    known: NDArray[np.bool_],
    split: str,
    tell: Tell,
    threads: int,
) -> HeldOut:
    """Seen rows by forests of the recipe that saw none of their fold, the others by the model itself."""
    recipe = recipe_of(model)
    score, p_real = np.full(len(examples), np.nan), np.full(len(examples), np.nan)
    fold = np.full(len(examples), UNTESTED, dtype=np.int64)
    learnt = one_after_another([examples.rows(known), *([] if helping is None else [helping])])
    part = folds(learnt, split, recipe.folds, recipe.seed)
    judges = []
    for number, tested, forest in fold_forests(learnt, part, recipe, tell, threads):
        rows = np.flatnonzero(known)[tested[: known.sum()]]
        score[rows], fold[rows] = forest.score(learnt.X[tested]), number
        judges.append((_mask(rows, len(examples)), forest))
    part = part[: known.sum()]
    for number in np.unique(part):
        tested, others = np.flatnonzero(known)[part == number], np.flatnonzero(known)[part != number]
        p_real[tested] = fit_calibration(score[others], examples.is_real[others])(score[tested])
    if (fresh := ~known).any():
        score[fresh] = model.score(examples.X[fresh])
        p_real[fresh] = model.p_real(score[fresh])
        judges.append((fresh, model.forest))
    name, count = f"{model.id.name}/{model.id.version}", int(part.max()) + 1
    how = (
        f"{known.sum()} rows that trained {name} were scored by {count} forests of its recipe, none of which saw an "
        f"alert of their group"
        + (f"; {len(helping)} simulated alerts helped to fit them" if helping is not None else "")
        + (f"; the other {fresh.sum()} by the model itself" if fresh.any() else "")
    )
    doubts = tuple(_doubts(model, learnt))
    return HeldOut(examples, score, p_real, fold, tuple(judges), recipe, how, doubts, helping)


def fold_forests(
    examples: Examples, fold: Folds, recipe: Recipe, tell: Tell = lambda _: None, threads: int = 1
) -> Iterator[tuple[int, NDArray[np.bool_], Forest]]:
    """Number, tested rows and forest of each fold; the forest was fitted on all rows outside."""
    for number in range(int(fold.max()) + 1):
        tested = fold == number
        yield number, tested, fit(examples.rows(~tested), recipe, threads)
        tell(f"fold {number + 1} of {int(fold.max()) + 1}")


def _doubts(model: Model, table: Examples) -> Iterator[str]:
    """Where the refit is not quite that of training."""
    training: dict[str, Any] = model.manifest["training"]
    if training.get("sha256") == table.sha256():
        return
    counts = training.get("counts", {})
    rows = sum(entry["real"] + entry["bogus"] for entry in counts.values())
    yield (
        f"{model.id.name}/{model.id.version} was trained on another table than its recipe is fitted on here "
        f"({rows} rows there, {len(table)} here): the figures are those of the recipe, not quite of the model"
    )


def _mask(rows: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    mask = np.zeros(count, dtype=np.bool_)
    mask[rows] = True
    return mask
