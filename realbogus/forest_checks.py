"""What makes arrays a sound forest. A walk down a damaged tree reads foreign memory or never ends, so all is checked.

Every check is vectorised and raises `ModelError` saying what was expected, what was found and at which node.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from realbogus.errors import ModelError

if TYPE_CHECKING:
    from realbogus.forest import Boosting, Forest

MAX_TREES = 5_000
MAX_NODES = 10_000_000  # of all trees; 0.5 GB of arrays
MAX_TREE_NODES = 2**19  # what the compiled walk can address
MAX_FEATURES = 2**11  # likewise
MAX_DEPTH = 512  # steps; the walk costs this much for every row
MAX_CLASSES = 64
MAX_ADDED = 1.0  # to the score by one boosted tree
SUM_TOLERANCE = 1e-9  # of class shares, which are float64 fractions of weighted counts


def check_forest(forest: Forest) -> None:
    """Raise ModelError unless a walk from every root ends in a leaf, within the arrays, with a sound number."""
    check_sizes(forest)
    check_boosting(forest.boosting, len(forest.depth))
    check_offsets(forest.offset)
    inner = check_children(forest)
    check_questions(forest, inner)
    check_values(forest.value, int(forest.offset[forest.votes]))
    check_depth(forest)


def check_sizes(forest: Forest) -> None:
    """All node arrays are as long as each other, and nothing is larger than the caps."""
    nodes, trees = len(forest.left), len(forest.depth)
    if not 1 <= forest.n_features <= MAX_FEATURES:
        raise ModelError(f"forest: {forest.n_features} features, not between 1 and {MAX_FEATURES}")
    if not 1 <= trees <= MAX_TREES:
        raise ModelError(f"forest: {trees} trees, not between 1 and {MAX_TREES}")
    if nodes > MAX_NODES:
        raise ModelError(f"forest: {nodes} nodes, more than {MAX_NODES}")
    shapes = {name: (nodes,) for name in ("left", "right", "feature", "threshold", "missing_left", "count")}
    shapes |= {"offset": (trees + 1,), "depth": (trees,)}
    for name, shape in shapes.items():
        if getattr(forest, name).shape != shape:
            raise ModelError(f"forest: {name} should have shape {shape}, has {getattr(forest, name).shape}")
    if forest.value.ndim != 2 or len(forest.value) != nodes or not 2 <= forest.value.shape[1] <= MAX_CLASSES:
        raise ModelError(f"forest: value should have shape ({nodes}, 2 or more classes), has {forest.value.shape}")
    if forest.offset[0] != 0 or forest.offset[-1] != nodes:
        raise ModelError(f"forest: offset should run from 0 to {nodes}")


def check_boosting(boosting: Boosting, trees: int) -> None:
    """Some trees vote, and the others have a share of the score."""
    if not 0 <= boosting.trees < trees:
        raise ModelError(f"forest: {boosting.trees} boosted trees among {trees}; at least one has to vote")
    if not (0 <= boosting.share < 1 and (boosting.share > 0) == (boosting.trees > 0)):
        raise ModelError(f"forest: {boosting.trees} boosted trees cannot have the share {boosting.share} of the score")
    if not abs(boosting.start) <= MAX_ADDED or (boosting.start and not boosting.trees):
        raise ModelError(f"forest: {boosting.trees} boosted trees cannot start from {boosting.start}")


def check_offsets(offset: NDArray[np.int64]) -> None:
    """Every tree has at least one node and not more than can be addressed."""
    sizes = np.diff(offset)
    if len(bad := np.flatnonzero((sizes < 1) | (sizes > MAX_TREE_NODES))):
        raise ModelError(f"forest: tree {bad[0]} has {sizes[bad[0]]} nodes, not between 1 and {MAX_TREE_NODES}")


def check_children(forest: Forest) -> NDArray[np.bool_]:
    """Each node has two children or none; each but the roots has one parent, of the same tree, stored before it.

    Gives which nodes are inner ones.
    """
    sizes = np.diff(forest.offset)
    tree = np.repeat(np.arange(len(sizes)), sizes)
    own = np.arange(len(tree)) - forest.offset[tree]
    inner = np.asarray(forest.left != -1)
    _refuse(inner != (forest.right != -1), "has one child; a node has two or none")
    for side in (forest.left, forest.right):
        _refuse(inner & (side >= sizes[tree]), "has a child outside its tree")
        _refuse(inner & (side <= own), "has a child that is not after it, so a walk might never end")
    children = np.concatenate([forest.left[inner], forest.right[inner]]) + np.tile(forest.offset[tree[inner]], 2)
    parents = np.bincount(children, minlength=len(tree))
    wanted = np.ones(len(tree), dtype=np.int64)
    wanted[forest.offset[:-1]] = 0
    _refuse(parents != wanted, "is reached twice or never")
    return inner


def check_questions(forest: Forest, inner: NDArray[np.bool_]) -> None:
    """Inner nodes ask about a feature that exists, against a finite threshold, and know where NaN goes."""
    _refuse(
        inner & ((forest.feature < 0) | (forest.feature >= forest.n_features)), "asks for a feature that is not there"
    )
    _refuse(inner & ~np.isfinite(forest.threshold), "has a threshold that is not finite")
    _refuse(forest.missing_left > 1, "does not say left or right for missing values")
    _refuse(forest.count < 0, "counts less than no rows")


def check_values(value: NDArray[np.float64], votes: int) -> None:
    """The first rows are class shares, which are probabilities; from row `votes` on stands what boosted trees add."""
    shares, added = value[:votes], value[votes:]
    with np.errstate(invalid="ignore", over="ignore"):
        outside = np.asarray(((shares < 0) | ~(shares <= 1 + SUM_TOLERANCE)).any(axis=1))
        _refuse(outside, "has a class share outside 0 to 1")
        _refuse(~(np.abs(shares.sum(axis=1) - 1) <= SUM_TOLERANCE), "has class shares that do not sum to 1")
        beyond = np.asarray((~(np.abs(added) <= MAX_ADDED)).any(axis=1))
        _refuse(beyond, f"adds more than {MAX_ADDED:g} to a class", votes)
        _refuse(~(np.abs(added.sum(axis=1)) <= SUM_TOLERANCE), "adds to classes what does not sum to 0", votes)


def check_depth(forest: Forest) -> None:
    """The depth stated of each tree is its depth."""
    deepest = np.zeros(len(forest.depth), dtype=np.int64)
    for depth, nodes in enumerate(levels(forest)):
        if depth > MAX_DEPTH:
            raise ModelError(f"forest: a tree is deeper than {MAX_DEPTH} steps")
        deepest[np.searchsorted(forest.offset, nodes, side="right") - 1] = depth
    if len(bad := np.flatnonzero(deepest != forest.depth)):
        raise ModelError(f"forest: tree {bad[0]} says depth {forest.depth[bad[0]]}, has {deepest[bad[0]]}")


def levels(forest: Forest) -> Iterator[NDArray[np.int64]]:
    """The nodes of all trees at depth 0, 1, ..., counted over the whole forest; siblings side by side, left first."""
    nodes = forest.offset[:-1]
    while len(nodes):
        yield nodes
        inner = nodes[forest.left[nodes] >= 0]
        first = forest.offset[np.searchsorted(forest.offset, inner, side="right") - 1]
        nodes = np.column_stack([first + forest.left[inner], first + forest.right[inner]]).ravel()


def _refuse(bad: NDArray[np.bool_], what: str, first: int = 0) -> None:
    if len(where := np.flatnonzero(bad)):
        raise ModelError(f"forest: node {first + where[0]} {what}")
