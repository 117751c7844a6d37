"""A random forest as plain arrays: checked, scored, explained. Nothing in it can run code.

One `Forest` holds all nodes of all trees, tree after tree, each tree in any order that puts parents before their
children (scikit-learn's own order does). `score` and `contributions` run compiled over a second layout of the same
nodes; `plain_score` and `plain_contributions` walk these arrays with numpy and define what the compiled ones must give,
to the last bit. So does scikit-learn's `predict_proba` with one job, from which forests come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column, Matrix
from realbogus.errors import ModelError
from realbogus.forest_checks import check_forest

if TYPE_CHECKING:
    from realbogus.forest_layout import Layout

LARGEST = float(np.finfo(np.float32).max)

DTYPES: Mapping[str, str] = {  # of the arrays of a forest, and of the entries of forest.npz
    "offset": "<i8",
    "depth": "<i4",
    "left": "<i4",
    "right": "<i4",
    "feature": "<i4",
    "threshold": "<f8",
    "missing_left": "|u1",
    "count": "<i4",
    "value": "<f8",
}


@dataclass(frozen=True, eq=False)
class Forest:
    """T trees of N nodes in all, over n_features features and C classes, the last of which is "real".

    A row goes left where its float32 feature is at most the threshold, NaN where `missing_left` says so; infinities
    compare like numbers. Making a Forest checks its whole structure and raises `ModelError`: there is no unchecked one.
    The arrays are read-only.
    """

    n_features: int
    offset: NDArray[np.int64]  # (T + 1,) where each tree begins; the last is N
    depth: NDArray[np.int32]  # (T,) steps from the root to the deepest leaf
    left: NDArray[np.int32]  # (N,) child counted from the tree's first node, -1 in leaves
    right: NDArray[np.int32]  # (N,) likewise
    feature: NDArray[np.int32]  # (N,) index of the feature asked; not read in leaves
    threshold: NDArray[np.float64]  # (N,) finite; not read in leaves
    missing_left: NDArray[np.uint8]  # (N,) 1 = NaN goes left
    count: NDArray[np.int32]  # (N,) training rows that passed here
    value: NDArray[np.float64]  # (N, C) their weighted share in each class, rows sum to 1

    def __post_init__(self) -> None:
        for name, dtype in DTYPES.items():
            array = np.ascontiguousarray(getattr(self, name))
            if array.dtype != np.dtype(dtype):
                raise ModelError(f"forest: {name} should be {np.dtype(dtype)}, is {array.dtype}")
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        check_forest(self)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], n_features: int) -> Forest:
        """The forest of arrays named as in DTYPES. Raises ModelError where they are not a sound forest."""
        if set(arrays) != set(DTYPES):
            raise ModelError(f"forest: expected the arrays {sorted(DTYPES)}, found {sorted(arrays)}")
        return cls(n_features=n_features, **arrays)

    @classmethod
    def from_sklearn(cls, fitted: Any, real: Any = 1) -> Forest:
        """The forest of a fitted scikit-learn RandomForestClassifier or ExtraTreesClassifier.

        `real` is the label of the class whose share is the score.
        """
        labels = list(fitted.classes_)
        if real not in labels:
            raise ModelError(f"the forest knows the classes {labels}, not {real!r}")
        order = [*(i for i, label in enumerate(labels) if label != real), labels.index(real)]
        return cls(
            n_features=int(fitted.n_features_in_), **_flatten([tree.tree_ for tree in fitted.estimators_], order)
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, as `from_arrays` takes them."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in DTYPES}

    @property
    def trees(self) -> int:
        """Number of trees."""
        return len(self.depth)

    @property
    def nodes(self) -> int:
        """Number of nodes in all trees."""
        return len(self.left)

    @cached_property
    def base(self) -> float:
        """The score of an alert of which nothing is known: the mean of the roots."""
        return _sum_in_order(self.value[self.offset[:-1], -1]) / self.trees

    @cached_property
    def layout(self) -> Layout:
        """The same nodes laid out for the compiled walk. The first call compiles the kernels, or loads them."""
        from realbogus.forest_layout import Layout

        return Layout.of(self)

    def score(self, X: Matrix) -> Column:
        """Share of "real" in the leaf that each row of X (N, n_features) reaches, mean over trees: (N,) in [0, 1].

        A row's score does not depend on the other rows, nor on how many they are.
        """
        return self.layout.score(self._rows(X))

    def spread(self, X: Matrix) -> Column:
        """Standard deviation over trees of the share of "real" that each gives, (N,) in [0, 0.5].

        How far the trees disagree. Costs as much as the score.
        """
        rows = self._rows(X)
        mean, squares = self.layout.score(rows), self.layout.squares(rows)
        return np.sqrt(np.maximum(squares - mean * mean, 0.0))

    def contributions(self, X: Matrix) -> NDArray[np.float64]:
        """Share of each feature in score - base, (N, n_features).

        On a row's way down a tree each step changes the share of "real" among the training rows; the change belongs to
        the feature that was asked. After Saabas (2014); exact: the row's sum plus `base` is its score.
        """
        return self.layout.contributions(self._rows(X))

    def _rows(self, X: Matrix) -> Matrix:
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"the forest takes (N, {self.n_features}) features, not {X.shape}")
        return np.ascontiguousarray(X, dtype=np.float32)


def plain_score(forest: Forest, X: Matrix) -> Column:
    """What `Forest.score` is defined as: numpy, tree by tree, over the arrays as they are stored."""
    total = np.zeros(len(X))
    for tree in range(forest.trees):
        for node in _way_down(forest, tree, X):
            leaf = node
        total += forest.value[leaf, -1]
    return total / forest.trees


def plain_contributions(forest: Forest, X: Matrix) -> NDArray[np.float64]:
    """What `Forest.contributions` is defined as: numpy, tree by tree, step by step."""
    total, rows = np.zeros((len(X), forest.n_features)), np.arange(len(X))
    for tree in range(forest.trees):
        way = _way_down(forest, tree, X)
        here = next(way)
        for there in way:
            gain = np.where(here == there, 0.0, forest.value[there, -1] - forest.value[here, -1])
            total[rows, np.where(here == there, 0, forest.feature[here])] += gain
            here = there
    return total / forest.trees


def _way_down(forest: Forest, tree: int, X: Matrix) -> Iterator[NDArray[np.int64]]:
    """The node of each row at depth 0, 1, ...; rows that reached their leaf stay there."""
    first = forest.offset[tree]
    node, rows = np.full(len(X), first), np.arange(len(X))
    yield node
    for _ in range(forest.depth[tree]):
        inner = forest.left[node] >= 0
        x = X[rows, np.where(inner, forest.feature[node], 0)].astype(np.float32)
        goes_left = np.where(np.isnan(x), forest.missing_left[node] == 1, x <= forest.threshold[node])
        node = np.where(inner, first + np.where(goes_left, forest.left[node], forest.right[node]), node)
        yield node


def _flatten(trees: list[Any], order: list[int]) -> dict[str, NDArray[Any]]:
    """The arrays of scikit-learn's fitted trees, classes in the given order.

    scikit-learn says "only NaN goes right" by the threshold +inf. Ours are finite: for finite numbers, the largest
    float32 says the same.
    """
    columns = {
        "offset": np.cumsum([0] + [tree.node_count for tree in trees]),
        "depth": np.array([tree.max_depth for tree in trees]),
        "left": np.concatenate([tree.children_left for tree in trees]),
        "right": np.concatenate([tree.children_right for tree in trees]),
        "feature": np.concatenate([tree.feature for tree in trees]),
        "threshold": np.minimum(np.concatenate([tree.threshold for tree in trees]), LARGEST),
        "missing_left": np.concatenate([tree.missing_go_to_left for tree in trees]),
        "count": np.concatenate([tree.n_node_samples for tree in trees]),
        "value": np.concatenate([tree.value[:, 0, :] for tree in trees])[:, order],
    }
    leaf = columns["left"] < 0
    for name, blank in (
        ("feature", -1),
        ("threshold", 0),
        ("missing_left", 0),
    ):  # so that equal forests are equal bytes
        columns[name] = np.where(leaf, blank, columns[name])
    return {name: np.ascontiguousarray(column, dtype=DTYPES[name]) for name, column in columns.items()}


def _sum_in_order(values: NDArray[np.float64]) -> float:
    """The sum, left to right: numpy's own sums in pairs, and would differ from the walk in the last bit."""
    total = 0.0
    for value in values.tolist():
        total += value
    return total
