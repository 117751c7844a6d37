"""What an alert costs in the forest: scikit-learn with one job beside our walk and our contributions.

    python scripts/design/forest_walk.py [--trees 300] [--rounds 15]

CPU microseconds an alert, medians of interleaved rounds on one core; the ratio is what carries over to other machines.
All scores are compared to the last bit before anything is timed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from realbogus.forest import Forest

FEATURES = 78
SIZES = {"small": 1_400, "large": 14_000}  # training rows
BATCHES = (1, 64, 128, 256, 1024)


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Feature rows with missing values, and labels that eight of the features tell with noise."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, FEATURES)).astype(np.float32)
    labels = X[:, :8].sum(axis=1) + 1.2 * random.normal(size=n) > 0
    X[random.random(X.shape) < 0.05] = np.nan
    return X, labels


def cost(work: Callable[[], object], repeat: int) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    for _ in range(repeat):
        work()
    return (time.process_time() - began) / repeat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"{'nodes':>9} {'batch':>6} {'scikit-learn':>13} {'score':>8} {'ratio':>6} {'contributions':>14}")
    for size in SIZES.values():
        theirs = ExtraTreesClassifier(options.trees, random_state=1, n_jobs=2).fit(*rows(size, 0))
        theirs.n_jobs = 1
        ours = Forest.from_sklearn(theirs, real=True)
        for batch in BATCHES:
            X, _ = rows(batch, 1)
            np.testing.assert_array_equal(ours.score(X), theirs.predict_proba(X)[:, 1])
            ours.contributions(X)
            calls = partial(theirs.predict_proba, X), partial(ours.score, X), partial(ours.contributions, X)
            times = [[cost(call, 1 if call is calls[0] else 8) for call in calls] for _ in range(options.rounds)]
            slow, fast, shares = (1e6 * median(column) / batch for column in zip(*times, strict=True))
            print(f"{ours.nodes:>9} {batch:>6} {slow:>13.1f} {fast:>8.1f} {slow / fast:>6.1f} {shares:>14.1f}")


if __name__ == "__main__":
    main()
