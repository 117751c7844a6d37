"""Who tests whom: folds that never part what hangs together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realbogus.errors import LabelError
from realbogus.training.examples import Examples, Texts

Folds = NDArray[np.int64]  # (N,) the fold in which each row is tested

SPLITS = {  # name -> what it answers
    "exposures": "no exposure and no object on both sides: a new exposure of known nights",
    "nights": "no night on both sides: a new night",
    "random": "rows at random, which leaks: its gain over 'exposures' measures the leak",
}


def can_split(examples: Examples, split: str) -> bool:
    """Whether there are two groups at least: one night alone cannot be split by night."""
    return split == "random" or len(np.unique(_groups(examples, split))) > 1


def folds(examples: Examples, split: str, count: int, seed: int) -> Folds:
    """The fold of each row, classes spread as evenly as groups allow. Raises LabelError if there are too few groups."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # here, so that help stays instant

    blank = np.zeros(len(examples))
    if split == "random":
        parts = StratifiedKFold(count, shuffle=True, random_state=seed).split(blank, examples.is_real)
        return _numbered(parts, len(examples))
    groups = _groups(examples, split)
    numbered = np.unique(groups, return_inverse=True)[1]
    count = min(count, int(numbered.max()) + 1)
    if count < 2:
        raise LabelError(f"all examples are of one group ({groups[0]}); nothing is left to test on")
    if split == "nights":
        return _largest_first(numbered, count)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    return _numbered(splitter.split(blank, examples.is_real, numbered), len(examples))


def _groups(examples: Examples, split: str) -> Texts:
    return examples.group if split == "exposures" else examples.night


def _largest_first(groups: NDArray[np.int64], count: int) -> Folds:
    """Each large group a fold of its own, the small ones together: nights differ in size by hundreds."""
    sizes = np.bincount(groups)
    fold_of, filled = np.zeros(len(sizes), dtype=np.int64), np.zeros(count)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return np.asarray(fold_of[groups])


def _numbered(parts: object, rows: int) -> Folds:
    fold = np.full(rows, -1, dtype=np.int64)
    for number, (_, tested) in enumerate(parts):  # type: ignore[arg-type, var-annotated]
        fold[tested] = number
    return fold
