"""Which simulated alerts pass for packets: a draw of them, spread over the features as packets are.

Simulation teaches what the packets at hand do not hold, other nights above all, and besides what no telescope gives. So
its alerts are drawn by odds. A forest learns to tell them from packets of the same class; the odds by which it takes
one for a packet estimate the ratio of the two densities there (Bickel, Brückner & Scheffer 2009). What packets never
look like is hardly drawn, and of what simulation has too much, little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Matrix
from realbogus.training.examples import Examples

TREES = 50
FOLDS = 3
LEAST_LEAF = 5
MOST = 8000  # simulated alerts of a class that are looked at: more make the draw slower, and hardly better
SUREST = 1e-3  # the probability from which on the forest is not believed


def alike(examples: Examples, count: int, seed: int, threads: int = 1) -> Examples:
    """The packets of a table, and of its simulated alerts this many, half of each class, drawn for how they look.

    Where a class has fewer, all of them. Nothing is drawn where the table holds packets or simulated alerts alone. The
    same arguments draw the same rows, whatever the number of threads.
    """
    helping = examples.helping()
    if not helping.any():
        return examples
    random = np.random.default_rng([seed, 21])
    kept = [np.flatnonzero(~helping)]
    for is_real in (True, False):
        packets, made = (np.flatnonzero(side & (examples.is_real == is_real)) for side in (~helping, helping))
        made = random.choice(made, MOST, replace=False) if len(made) > MOST else made
        if len(made) and len(packets):
            chance = odds(examples.X[packets], examples.X[made], seed, threads)
            many = min(count // 2, len(made))
            kept.append(random.choice(made, many, replace=False, p=chance / chance.sum()))
    return examples.rows(np.sort(np.concatenate(kept)))


def odds(packets: Matrix, made: Matrix, seed: int, threads: int = 1) -> NDArray[np.float64]:
    """For each of M made rows (M, F) the odds that it is one of the packets (N, F), both weighing alike: (M,), above 0.

    Each row is judged by a forest that did not see it. All are alike where there are fewer of either than folds.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # a second, which only fitting should cost
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    if min(len(packets), len(made)) < FOLDS:
        return np.ones(len(made))
    forest = ExtraTreesClassifier(
        TREES, min_samples_leaf=LEAST_LEAF, class_weight="balanced", random_state=seed, n_jobs=threads
    )
    parts = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    X, is_packet = np.concatenate([made, packets]), np.repeat([0, 1], [len(made), len(packets)])
    share = cross_val_predict(forest, X, is_packet, cv=parts, method="predict_proba")[: len(made), 1]
    share = np.clip(share, SUREST, 1 - SUREST)
    return np.asarray(share / (1 - share), dtype=np.float64)
