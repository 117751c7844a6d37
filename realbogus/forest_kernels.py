"""The compiled walk over a `Layout`. Explicit signatures: importing this compiles it, or loads it from numba's cache.

64 rows go down a tree together, level by level, so that the loads of one row hide behind those of the others; four
such blocks share a tree while it is in cache. Each row adds up its trees in their order, as scikit-learn does with one
job, so sums are the same to the last bit whatever rows surround it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int32, njit, types
from numpy.typing import NDArray

ROWS = 64  # that go down together
BLOCKS = 4  # of ROWS that share a tree while it is in cache
FEATURE_BITS = 12  # of a step: copy and feature; the rest is the left child

_MATRIX = types.Array(types.float32, 2, "C", readonly=True)
_LONGS = types.Array(types.int64, 1, "C", readonly=True)
_INTS = types.Array(types.int32, 1, "C", readonly=True)
_FLOATS = types.Array(types.float32, 1, "C", readonly=True)
_DOUBLES = types.Array(types.float64, 1, "C", readonly=True)
_WALK = (_MATRIX, _LONGS, _INTS, _FLOATS, _INTS)  # X, roots, depth, threshold, step

_Array = NDArray[Any]


@njit(inline="always")
def _copies(X: _Array, start: int, rows: int, block: _Array) -> None:
    """Write rows of X, transposed, twice: NaN as +inf, then NaN as -inf. block is (2 F, ROWS)."""
    n_features = X.shape[1]
    for row in range(rows):
        for feature in range(n_features):
            x = X[start + row, feature]
            missing = np.isnan(x)
            block[feature, row] = np.inf if missing else x
            block[n_features + feature, row] = -np.inf if missing else x


@njit(inline="always")
def _step_down(block: _Array, threshold: _Array, step: _Array, here: _Array, there: _Array) -> None:
    """Move ROWS rows one level down a tree; those in leaves stay. here and there may be the same array."""
    flat = block.reshape(-1)
    mask = int32((1 << FEATURE_BITS) - 1)
    for row in range(ROWS):
        node = here[row]
        word = step[node]
        x = flat[(word & mask) * int32(ROWS) + row]
        there[row] = (word >> int32(FEATURE_BITS)) + (x > threshold[node])


@njit(types.void(*_WALK, _DOUBLES, types.float64[::1]), cache=True, nogil=True)
def add_values(
    X: _Array, roots: _Array, depth: _Array, threshold: _Array, step: _Array, value: _Array, out: _Array
) -> None:
    """Add to out (N,), tree after tree, the value of the leaf that each row reaches."""
    blocks = np.zeros((BLOCKS, 2 * X.shape[1], ROWS), dtype=np.float32)
    node = np.zeros(ROWS, dtype=np.int32)
    for batch in range(0, len(X), BLOCKS * ROWS):
        used = min(BLOCKS, (len(X) - batch + ROWS - 1) // ROWS)
        for b in range(used):
            start = batch + b * ROWS
            _copies(X, start, min(ROWS, len(X) - start), blocks[b])
        for tree in range(len(roots)):
            root = roots[tree]
            for b in range(used):
                node[:] = 0
                for _ in range(depth[tree]):
                    _step_down(blocks[b], threshold[root:], step[root:], node, node)
                start = batch + b * ROWS
                for row in range(min(ROWS, len(X) - start)):
                    out[start + row] += value[root + node[row]]


@njit(types.void(*_WALK, _DOUBLES, _INTS, types.float64[:, ::1]), cache=True, nogil=True)
def add_gains(
    X: _Array,
    roots: _Array,
    depth: _Array,
    threshold: _Array,
    step: _Array,
    gain: _Array,
    asked: _Array,
    out: _Array,
) -> None:
    """Add to out (N, F), tree after tree, the gains on each row's way, by the feature asked."""
    blocks = np.zeros((BLOCKS, 2 * X.shape[1], ROWS), dtype=np.float32)
    way = np.zeros((depth.max() + 1, ROWS), dtype=np.int32)  # way[0] stays 0, the root
    for batch in range(0, len(X), BLOCKS * ROWS):
        used = min(BLOCKS, (len(X) - batch + ROWS - 1) // ROWS)
        for b in range(used):
            start = batch + b * ROWS
            _copies(X, start, min(ROWS, len(X) - start), blocks[b])
        for tree in range(len(roots)):
            root = roots[tree]
            for b in range(used):
                for level in range(depth[tree]):
                    _step_down(blocks[b], threshold[root:], step[root:], way[level], way[level + 1])
                start = batch + b * ROWS
                for row in range(min(ROWS, len(X) - start)):
                    for level in range(1, depth[tree] + 1):
                        node = way[level, row]
                        if node == way[level - 1, row]:
                            break
                        out[start + row, asked[root + node]] += gain[root + node]
