"""Fitting: weights, out-of-fold scores, calibration, threshold, and the forest that is kept.

The same examples and recipe give the same forest, to the byte: every tree's seed is drawn before the first is grown,
so that the number of threads does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from realbogus.alerts import Column, Matrix
from realbogus.calibration import Calibration, fit_calibration
from realbogus.drift import shares
from realbogus.errors import LabelError
from realbogus.forest import Forest
from realbogus.novelty import Novelty
from realbogus.training import evaluate
from realbogus.training.baselines import BASELINES, baselines, with_blanks_filled
from realbogus.training.examples import Examples
from realbogus.training.isolation import fit_novelty
from realbogus.training.likeness import alike
from realbogus.training.splits import SPLITS, UNTESTED, Folds, can_split, folds

KINDS = ("extra trees", "random forest")
IN_FULL = ("exposures", "nights")  # splits of which subsets and other scores are told
BOOSTED_TRIED = 0.2  # share of the features tried at each split of a boosted tree
FAINT = 7.0  # S/N below which forests lose most
GOLDEN_ROWS = 256
STEPS_AFTER = len(BASELINES) + 2  # of training, after judging: each baseline, the forest, the novelty

Tell = Callable[[str], None]  # is told each piece of work that is done


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to make a model from examples. All of it is in the manifest."""

    kind: str = "extra trees"  # of KINDS
    trees: int = 400
    least_leaf: int = 2  # rows in a leaf; on label P as good as 1 for new exposures, and better for new nights
    tried: float | str = "sqrt"  # features tried at each split: a share of them, or "sqrt"
    folds: int = 10
    seed: int = 1
    fpr: float = 0.05  # false positive rate at which the threshold is chosen
    simulated_weight: float = 1.0  # of all simulated alerts together, that of all real packets being 1
    alike: int = 0  # simulated alerts drawn beside packets, for how like them they look (`likeness`); 0 = all of them
    bogus_weight: float = 1.0  # of all bogus together, that of all real being 1
    faint_weight: float = 1.0  # of an alert with S/N below FAINT, that of others being 1
    boosted: int = 0  # trees of gradient boosting beside the forest
    boosted_leaves: int = 8  # of each of them, at most
    boosted_share: float = 0.25  # of the score that is theirs

    def __post_init__(self) -> None:
        problems = [
            (self.kind in KINDS, f"kind should be one of {', '.join(KINDS)}, is {self.kind!r}"),
            (1 <= self.trees <= 5000, f"trees should be 1 to 5000, is {self.trees}"),
            (self.least_leaf >= 1, f"least_leaf should be at least 1, is {self.least_leaf}"),
            (self.folds >= 2, f"folds should be at least 2, is {self.folds}"),
            (0 < self.fpr < 1, f"fpr should lie between 0 and 1, is {self.fpr}"),
            (self.simulated_weight > 0, f"simulated_weight should be above 0, is {self.simulated_weight}"),
            (self.alike >= 0, f"alike should be at least 0, is {self.alike}"),
            (self.bogus_weight > 0, f"bogus_weight should be above 0, is {self.bogus_weight}"),
            (self.faint_weight > 0, f"faint_weight should be above 0, is {self.faint_weight}"),
            (0 <= self.boosted <= 5000 - self.trees, f"boosted should be 0 to {5000 - self.trees}, is {self.boosted}"),
            (self.boosted_leaves >= 2, f"boosted_leaves should be at least 2, is {self.boosted_leaves}"),
            (0 < self.boosted_share < 1, f"boosted_share should lie between 0 and 1, is {self.boosted_share}"),
        ]
        for fulfilled, otherwise in problems:
            if not fulfilled:
                raise LabelError(otherwise)

    def steps(self) -> int:
        """How many times `train` tells of work done, at most."""
        return len(SPLITS) * (self.folds + 1) + STEPS_AFTER


@dataclass(frozen=True, eq=False)
class Trained:
    """A forest with what was found out about it."""

    forest: Forest
    calibration: Calibration
    threshold: float
    thresholds: list[dict[str, Any]]
    metrics: dict[str, Any]
    golden: Matrix
    recipe: Recipe
    novelty: Novelty
    reference: dict[str, list[float]]  # scores held out, see `drift.shares`


def train(examples: Examples, recipe: Recipe, tell: Tell = lambda _: None, threads: int = 2) -> Trained:
    """Judge the recipe on rows held out, then fit it on all.

    Where there are real packets, threshold, calibration, metrics, baselines and novelty are of them alone, and
    simulated alerts only help to fit. Raises LabelError where a class is missing.
    """
    counted = ~examples.helping()
    judged = examples.rows(counted)
    if min(judged.is_real.sum(), (~judged.is_real).sum()) < recipe.folds:
        raise LabelError(f"{recipe.folds} folds need at least as many real and as many bogus examples")
    fold, score = _held_out(examples, "exposures", recipe, tell, threads)
    kept, kept_fold = score, fold
    splits: dict[str, Any] = {}
    for split in [name for name in SPLITS if name == "exposures" or can_split(examples, name)]:
        if split != "exposures":
            fold, score = _held_out(examples, split, recipe, tell, threads)
        tested = counted & (fold != UNTESTED)
        p_real = _calibrated(score, examples.is_real, fold, counted, kept)
        said = evaluate.evaluate if split in IN_FULL else evaluate.overall
        splits[split] = said(examples.rows(tested), score[tested], p_real[tested], recipe.seed)
        tell(f"judged by {split}")
    others = baselines(judged, weights(judged, recipe), kept_fold[counted], recipe.seed, tell)
    metrics: dict[str, Any] = {
        "judged_on": "simulated" if examples.simulated().all() else "packets",
        "splits": splits,
        "baselines": evaluate.paired(judged, kept[counted], others.scores, recipe.seed),
        "best_single_feature": others.single,
    }
    forest = fit(examples, recipe, threads)
    tell("forest fitted")
    novelty = fit_novelty(judged.X, recipe.seed)
    tell("novelty fitted")
    return Trained(
        forest=forest,
        calibration=fit_calibration(kept[counted], judged.is_real),
        threshold=evaluate.cut_at(recipe.fpr, kept[counted], judged.is_real),
        thresholds=evaluate.threshold_table(judged, kept[counted], recipe.seed),
        metrics=metrics,
        golden=golden_rows(judged.X, forest, recipe.seed),
        recipe=recipe,
        novelty=novelty,
        reference=shares(kept[counted], judged.is_real),
    )


def transferred(trained: Trained, examples: Examples) -> dict[str, Any]:
    """How a model does on alerts of another kind than those that it was fitted, calibrated and judged on."""
    score, seed = trained.forest.score(examples.X), trained.recipe.seed
    found = evaluate.evaluate(examples, score, trained.calibration(score), seed)
    return {**found, "at_threshold": evaluate.rates_at(trained.threshold, examples, score, seed)}


def _held_out(examples: Examples, split: str, recipe: Recipe, tell: Tell, threads: int) -> tuple[Folds, Column]:
    """The folds of a split, and the score of each row by a forest that saw no row of its fold."""
    fold = folds(examples, split, recipe.folds, recipe.seed)
    return fold, out_of_fold(examples, fold, recipe, tell, threads)


def fit(examples: Examples, recipe: Recipe, threads: int = 2) -> Forest:
    """The forest of all these rows; of simulated ones beside packets, of those that the recipe draws."""
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        RandomForestClassifier,
    )  # a second, which only fitting should cost

    grower = ExtraTreesClassifier if recipe.kind == "extra trees" else RandomForestClassifier
    settings = {
        "n_estimators": recipe.trees,
        "min_samples_leaf": recipe.least_leaf,
        "max_features": recipe.tried,
        "random_state": recipe.seed,
        "n_jobs": threads,
    }
    examples = alike(examples, recipe.alike, recipe.seed, threads) if recipe.alike else examples
    weight = weights(examples, recipe)
    fitted = grower(**settings).fit(examples.X, examples.is_real, sample_weight=weight)
    forest = Forest.from_sklearn(fitted, real=True)
    return forest.boosted(_boosted(examples, recipe, weight), recipe.boosted_share) if recipe.boosted else forest


def _boosted(examples: Examples, recipe: Recipe, weight: Column) -> Any:
    """Gradient boosting of the same rows by squared loss, each split among some of the features as in the forest.

    Log-odds rank new exposures of known nights a little better, and new nights worse: scripts/design/ranking.py. One
    thread, since sums over rows would depend on how many there are; 63 bins cost a quarter of 255.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor  # as above

    settings = {"max_iter": recipe.boosted, "max_leaf_nodes": recipe.boosted_leaves, "max_features": BOOSTED_TRIED}
    with threadpool_limits(1):
        grower = HistGradientBoostingRegressor(max_bins=63, early_stopping=False, random_state=recipe.seed, **settings)
        return grower.fit(with_blanks_filled(examples.X), examples.is_real.astype(np.float64), sample_weight=weight)


def weights(examples: Examples, recipe: Recipe) -> Column:
    """How much each row counts: real and bogus in sum, simulated and real packets, and faint ones as the recipe says.

    The mean is 1.
    """
    weight = np.zeros(len(examples))
    trust = examples.weight * np.where(examples.snr < FAINT, recipe.faint_weight, 1.0)
    for simulated, share in ((False, 1.0), (True, recipe.simulated_weight)):
        for is_real in (False, True):
            inside = (examples.simulated() == simulated) & (examples.is_real == is_real)
            if inside.any():
                total = share * (1.0 if is_real else recipe.bogus_weight)
                weight[inside] = total * trust[inside] / trust[inside].sum()
    return np.asarray(weight * len(weight) / weight.sum())


def out_of_fold(
    examples: Examples, fold: Folds, recipe: Recipe, tell: Tell = lambda _: None, threads: int = 2
) -> Column:
    """The score of each row by a forest that saw no row of its fold."""
    score = np.full(len(examples), np.nan)
    for number in range(int(fold.max()) + 1):
        tested = fold == number
        score[tested] = fit(examples.rows(~tested), recipe, threads).score(examples.X[tested])
        tell(f"fold {number + 1} of {int(fold.max()) + 1}")
    return score


def _calibrated(score: Column, is_real: np.ndarray, fold: Folds, counted: np.ndarray, kept: Column) -> Column:
    """p_real of each row by a calibration that saw no row of its fold, (N,); NaN where it was not tested or counts not.

    Where only one fold is tested, the others have no score of this split; then those of the first split stand in.
    """
    p_real, alone = np.full(len(score), np.nan), fold.max() == 0
    for number in range(int(fold.max()) + 1):
        tested, others = counted & (fold == number), counted & (fold != number)
        if tested.any():
            told = kept if alone else score
            p_real[tested] = fit_calibration(told[others], is_real[others])(score[tested])
    return p_real


def golden_rows(X: Matrix, forest: Forest, seed: int) -> Matrix:
    """Made-up rows that try a forest hard, (GOLDEN_ROWS, F); no row is that of an alert.

    Each feature is drawn from its own quantiles; then come missing values, extremes, and values at a split and just
    above it.
    """
    random = np.random.default_rng([seed, 256])
    rows = np.empty((GOLDEN_ROWS, X.shape[1]), dtype=np.float32)
    for feature in range(X.shape[1]):
        known = X[np.isfinite(X[:, feature]), feature].astype(np.float64)
        grid = np.quantile(known, np.linspace(0, 1, 65)) if len(known) else np.zeros(65)
        rows[:, feature] = np.interp(random.random(GOLDEN_ROWS), np.linspace(0, 1, 65), grid)
    quarter = GOLDEN_ROWS // 4
    rows[:quarter][random.random((quarter, X.shape[1])) < 0.15] = np.nan
    rows[0] = np.nan
    extremes = np.array([0, 1e-30, 1e30, -1e30, np.finfo(np.float32).max, np.finfo(np.float32).min], dtype=np.float32)
    rows[1:16] = random.choice(extremes, (15, X.shape[1]))
    inner = np.flatnonzero(forest.left >= 0)
    if len(inner):
        asked = random.choice(inner, (2 * quarter, 8))
        for row, nodes in zip(rows[2 * quarter :], asked, strict=True):
            row[forest.feature[nodes]] = forest.threshold[nodes]
        rows[3 * quarter :] = np.nextafter(rows[3 * quarter :], np.finfo(np.float32).max)
    return rows


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """The recipe as the manifest keeps it."""
    return asdict(recipe)
