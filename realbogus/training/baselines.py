"""What other methods reach on the same features, rows and folds: a forest that beats none of them is not worth it.

Whatever a method fits (imputer, transform, the best feature) is fitted inside the fold. One thread, so that the same
rows give the same numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from realbogus.alerts import Column, Matrix
from realbogus.training.evaluate import auc
from realbogus.training.examples import Examples
from realbogus.training.splits import Folds

Tell = Callable[[str], None]

MOST_ROWS = 20_000  # that a baseline is fitted on in a fold, drawn at random from more: they need not cost an hour
SINGLE = "best single feature"
BASELINES = ("logistic regression", "k nearest neighbours", "extra trees, as they come", "gradient boosting", SINGLE)


@dataclass(frozen=True)
class Baselines:
    """Scores of rows by methods that saw no row of their fold."""

    scores: Mapping[str, Column]  # (N,) each; NaN where a row was not tested
    single: str  # the feature that was chosen most often as the best


def baselines(examples: Examples, weight: Column, fold: Folds, seed: int, tell: Tell = lambda _: None) -> Baselines:
    """The score of each row by each method, fitted on the rows of other folds with these weights (N,)."""
    scores = {name: np.full(len(examples), np.nan) for name in BASELINES}
    chosen: Counter[str] = Counter()
    random = np.random.default_rng([seed, 77])
    with threadpool_limits(1):
        for name in BASELINES:
            for number in range(int(fold.max()) + 1):
                tested, others = fold == number, np.flatnonzero(fold != number)
                if len(others) > MOST_ROWS:
                    others = np.sort(random.choice(others, MOST_ROWS, replace=False))
                X, is_real = examples.X[others], examples.is_real[others]
                if name == SINGLE:
                    best = best_feature(X, is_real)
                    chosen[examples.names[best[0]]] += 1
                    scores[name][tested] = ranked(X[:, best[0]], examples.X[tested, best[0]], best[1])
                else:
                    scores[name][tested] = _fitted(name, X, is_real, weight[others], seed)(examples.X[tested])
            tell(f"baseline: {name}")
    return Baselines(scores, chosen.most_common(1)[0][0])


def best_feature(X: Matrix, is_real: np.ndarray) -> tuple[int, int]:
    """The feature that ranks best alone, and +1 where real is above bogus, -1 where below. NaN count as the median."""
    found = [auc(_filled(column, column), is_real) for column in X.T]
    best = int(np.argmax(np.abs(np.array(found) - 0.5)))
    return best, 1 if found[best] >= 0.5 else -1


def ranked(known: NDArray[np.float32], fresh: NDArray[np.float32], sign: int) -> Column:
    """Share of known values that each fresh one exceeds, or with sign -1 the share above it: (M,) in [0, 1]."""
    usual = np.sort(_filled(known, known))
    share = np.searchsorted(usual, _filled(fresh, known), side="left") / max(len(usual), 1)
    return share if sign > 0 else 1 - share


def with_blanks_filled(X: Matrix) -> Matrix:
    """X (N, F) with 0 in the features that no row has: scikit-learn's boosting cannot bin them, nor split by them."""
    blank = np.isnan(X).all(axis=0)
    return np.where(blank, np.float32(0), X) if blank.any() else X


def _filled(values: NDArray[np.float32], known: NDArray[np.float32]) -> Column:
    there = known[np.isfinite(known)]
    return np.where(np.isfinite(values), values, np.median(there) if len(there) else 0.0).astype(np.float64)


def _fitted(name: str, X: Matrix, is_real: np.ndarray, weight: Column, seed: int) -> Callable[[Matrix], Column]:
    """The method fitted on these rows, as a function from features to scores."""
    from sklearn.pipeline import make_pipeline  # a second, which only fitting should cost

    steps = _steps(name, len(X), seed)
    pipeline = make_pipeline(*steps)
    last = pipeline.steps[-1][0]
    weighs = {} if name == "k nearest neighbours" else {f"{last}__sample_weight": weight}
    pipeline.fit(with_blanks_filled(X), is_real, **weighs)
    return lambda fresh: np.asarray(pipeline.predict_proba(fresh)[:, -1], dtype=np.float64)


def _steps(name: str, rows: int, seed: int) -> list[Any]:
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import QuantileTransformer

    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    if name == "gradient boosting":
        return [HistGradientBoostingClassifier(early_stopping=False, random_state=seed)]
    if name == "extra trees, as they come":
        return [impute, ExtraTreesClassifier(random_state=seed)]
    even = QuantileTransformer(n_quantiles=min(256, rows), output_distribution="normal", random_state=seed)
    if name == "logistic regression":
        return [impute, even, LogisticRegression(C=0.03, max_iter=1000)]
    return [impute, even, KNeighborsClassifier(min(15, rows), weights="distance")]
