"""Who tests whom: folds that never part what hangs together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from realbogus.errors import LabelError
from realbogus.training.examples import Examples, Texts

Folds = NDArray[np.int64]  # (N,) the fold in which each row is tested; UNTESTED = it only helps to fit

UNTESTED = -1
LATER = 0.15  # share of each class that the latest nights hold at least, where they alone are tested
SPLITS = {  # name -> what it answers
    "exposures": "no exposure and no object on both sides: a new exposure of known nights",
    "nights": "no night on both sides: a new night",
    "fields": "no part of the sky on both sides: a field never seen",
    "later": "fitted on the earlier nights, tested on the latest and on whatever shares a group with them",
    "random": "rows at random, which leaks: its gain over 'exposures' measures the leak",
}


def can_split(examples: Examples, split: str) -> bool:
    """Whether the split says anything: there are two groups at least, and both classes on both sides of 'later'."""
    examples = examples.rows(~examples.helping())
    if split == "later":
        tested = _later(examples) == 0
        return all(len(set(examples.is_real[side].tolist())) == 2 for side in (tested, ~tested))
    told = split != "fields" or bool((examples.field != "").any())
    return split == "random" or (told and len(np.unique(_groups(examples, split))) > 1)


def folds(examples: Examples, split: str, count: int, seed: int) -> Folds:
    """The fold of each row, classes spread as evenly as groups allow. Raises LabelError if there are too few groups.

    Simulated rows beside packets are tested in none.
    """
    if (helping := examples.helping()).any():
        fold = np.full(len(examples), UNTESTED, dtype=np.int64)
        fold[~helping] = folds(examples.rows(~helping), split, count, seed)
        return fold
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # here, so that help stays instant

    blank = np.zeros(len(examples))
    if split == "random":
        parts = StratifiedKFold(count, shuffle=True, random_state=seed).split(blank, examples.is_real)
        return _numbered(parts, len(examples))
    if split == "later":
        return _later(examples)
    groups = _groups(examples, split)
    numbered = np.unique(groups, return_inverse=True)[1]
    count = min(count, int(numbered.max()) + 1)
    if count < 2:
        raise LabelError(f"all examples are of one group ({groups[0]}); nothing is left to test on")
    if split in ("nights", "fields"):
        return _largest_first(numbered, count)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    return _numbered(splitter.split(blank, examples.is_real, numbered), len(examples))


def joined_groups(keys: Iterable[Sequence[str]]) -> list[str]:
    """A group for each item, so that items which share any key are in one group, also through others.

    A group is named after the smallest of its keys: the names do not depend on the order of the items.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    items = [tuple(key) for key in keys]
    for first, *others in items:
        for other in others:
            a, b = sorted((root(first), root(other)))
            parent[b] = a
    return [root(first) for first, *_ in items]


def _groups(examples: Examples, split: str) -> Texts:
    if split == "fields":  # an exposure on the border of two parts of the sky joins them
        shared = zip(examples.field.tolist(), examples.group.tolist(), strict=True)
        return np.array(joined_groups((f"field {field}", f"group {group}") for field, group in shared))
    return examples.group if split == "exposures" else examples.night


def _later(examples: Examples) -> Folds:
    """Fold 0 holds the latest nights, until they make up LATER of either class, and what shares a group with them."""
    nights, of = np.unique(examples.night, return_inverse=True)
    begun = np.full(len(nights), np.inf)
    np.minimum.at(begun, of, examples.mjd)
    tested = np.zeros(len(examples), dtype=np.bool_)
    for night in np.argsort(-begun, kind="stable"):
        tested |= of == night
        if all(tested[examples.is_real == real].mean() >= LATER for real in (True, False)):
            break
    tested = np.isin(examples.group, examples.group[tested])
    return np.where(tested, 0, UNTESTED).astype(np.int64)


def _largest_first(groups: NDArray[np.int64], count: int) -> Folds:
    """Each large group a fold of its own, the small ones together: nights differ in size by hundreds."""
    sizes = np.bincount(groups)
    fold_of, filled = np.zeros(len(sizes), dtype=np.int64), np.zeros(count)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return np.asarray(fold_of[groups])


def _numbered(parts: object, rows: int) -> Folds:
    fold = np.full(rows, UNTESTED, dtype=np.int64)
    for number, (_, tested) in enumerate(parts):  # type: ignore[arg-type, var-annotated]
        fold[tested] = number
    return fold
