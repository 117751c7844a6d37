"""Fitting what `novelty` evaluates: an isolation forest, turned into plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Matrix
from realbogus.forest import LARGEST, Forest
from realbogus.novelty import QUANTILES, Novelty

TREES = 200
SAMPLE = 256  # rows a tree sees; more make the crowd hide the odd ones (Liu, Ting & Zhou 2008)


def fit_novelty(X: Matrix, seed: int, trees: int = TREES) -> Novelty:
    """The novelty of rows against all rows of X (N, F), real and bogus alike. The same arguments, the same arrays."""
    from sklearn.ensemble import IsolationForest  # here, so that help stays instant

    usual = _medians(X)
    filled = np.where(np.isnan(X), usual, X)
    sample = min(SAMPLE, len(X))
    fitted = IsolationForest(n_estimators=trees, max_samples=sample, random_state=seed, n_jobs=1).fit(filled)
    found = of_sklearn([tree.tree_ for tree in fitted.estimators_], usual, sample)
    told = found(X)
    quantiles = {f"{share:g}": round(float(np.quantile(told, share)), 6) for share in QUANTILES}
    return Novelty(found.forest, found.longest, found.expected, quantiles)


def of_sklearn(trees: list[Any], usual: NDArray[np.float32], sample: int) -> Novelty:
    """The novelty of scikit-learn's fitted isolation trees, each over all features, with medians (F,) for NaN."""
    left = np.concatenate([tree.children_left for tree in trees]).astype("<i4")
    feature = np.concatenate([tree.feature for tree in trees]).astype("<i4")
    threshold = np.minimum(np.concatenate([tree.threshold for tree in trees]), LARGEST)
    steps = np.concatenate([_steps(tree) for tree in trees])
    leaf = left < 0
    longest = float(max(steps.max(), 1.0))
    forest = Forest(
        n_features=len(usual),
        offset=np.cumsum([0] + [tree.node_count for tree in trees]).astype("<i8"),
        depth=np.array([tree.max_depth for tree in trees], dtype="<i4"),
        left=left,
        right=np.concatenate([tree.children_right for tree in trees]).astype("<i4"),
        feature=np.where(leaf, -1, feature).astype("<i4"),
        threshold=np.where(leaf, 0.0, threshold),
        missing_left=(~leaf & (usual[np.where(leaf, 0, feature)] <= threshold)).astype("|u1"),
        count=np.concatenate([tree.n_node_samples for tree in trees]).astype("<i4"),
        value=np.column_stack([1 - steps / longest, steps / longest]),
    )
    return Novelty(forest, longest, float(_way_to_one_of(np.array([max(sample, 2)]))[0]), {})


def _medians(X: Matrix) -> NDArray[np.float32]:
    """Of each feature; 0 where it is never there."""
    usual = np.zeros(X.shape[1], dtype=np.float32)
    for number, column in enumerate(X.T):
        known = column[~np.isnan(column)]
        usual[number] = np.median(known) if len(known) else 0.0
    return usual


def _steps(tree: Any) -> NDArray[np.float64]:
    """The way to each leaf in steps, with what further splitting of its rows would take; in inner nodes, the mean."""
    count, left, right = tree.n_node_samples, tree.children_left, tree.children_right
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # parents come before their children
        if left[node] >= 0:
            depth[[left[node], right[node]]] = depth[node] + 1
    steps = depth + _way_to_one_of(count)
    for node in range(tree.node_count - 1, -1, -1):
        if left[node] >= 0:
            sides = [left[node], right[node]]
            steps[node] = np.average(steps[sides], weights=count[sides])
    return np.asarray(steps)


def _way_to_one_of(count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean steps to one of so many rows by random splits: that of a failed search in a binary tree of them."""
    many = np.maximum(count, 2).astype(np.float64)
    steps = 2.0 * (np.log(many - 1) + np.euler_gamma) - 2.0 * (many - 1) / many
    return np.where(count > 2, steps, np.where(count == 2, 1.0, 0.0))
