"""Features: numbers measured on an alert, each named, documented, and defined in plain numpy.

`extract` measures a batch; `CATALOGUE` says what each number means; `FEATURE_SETS` are the ordered lists that models
are trained on; `definitions` and `digest` pin a list down, so that a model refuses features defined differently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from realbogus.alerts import AlertBatch, Matrix
from realbogus.errors import FeatureMismatch
from realbogus.features.columns import J, K
from realbogus.features.compiled import NAMES, kernels, stamp_features
from realbogus.features.defects import G
from realbogus.features.feature import FAMILIES, NAN_RULES, Feature
from realbogus.features.fits import B
from realbogus.features.moments import D
from realbogus.features.morphology import F
from realbogus.features.noise import A
from realbogus.features.photometry import C
from realbogus.features.relations import H
from realbogus.features.sets import FEATURE_SETS
from realbogus.features.stars import L
from realbogus.features.surroundings import I
from realbogus.features.symmetry import E
from realbogus.features.view import View

__all__ = [
    "CATALOGUE", "COMPILED", "FAMILIES", "FEATURE_SETS", "NAN_RULES", "Feature", "check", "definitions", "digest",
    "extract", "warm_up",
]  # fmt: skip

CHUNK = 64  # alerts measured together: larger batches leave the processor's cache

CATALOGUE: Mapping[str, Feature] = MappingProxyType(
    {feature.name: feature for family in (A, B, C, D, E, F, G, H, I, J, K, L) for feature in family.features}
)

_PLACES = {name: place for place, name in enumerate(NAMES)}
COMPILED = frozenset(NAMES) | {name for name, feature in CATALOGUE.items() if not feature.stamps}  # fit for a stream


def extract(batch: AlertBatch, names: Sequence[str], *, compiled: bool = True) -> Matrix:
    """Measure a batch: (N, F) float32, NaN = undefined, columns in the order of names.

    compiled uses the compiled twins where they exist; else every value comes from its plain definition. Raises
    FeatureMismatch for names that are not in the catalogue.
    """
    unknown = [name for name in names if name not in CATALOGUE]
    if unknown:
        raise FeatureMismatch(missing=unknown)
    out = np.empty((len(batch), len(names)), np.float32)
    left = _extract_compiled(batch, names, out) if compiled else range(len(names))
    for rows, part in _chunks(batch) if left else ():
        view = View(part)
        for j in left:
            out[rows, j] = _narrow(CATALOGUE[names[j]](view))
    return out


def _extract_compiled(batch: AlertBatch, names: Sequence[str], out: Matrix) -> Sequence[int]:
    """Fill the columns of what is compiled or needs no pixels; the places that are left."""
    view = View(batch)
    wanted = frozenset(names).intersection(_PLACES)
    if wanted:
        measured = stamp_features(batch.triplets, view.psf, view.disk_radius, view.sign, wanted)
        there = [j for j, name in enumerate(names) if name in wanted]
        out[:, there] = _narrow(measured[:, [_PLACES[names[j]] for j in there]])
    for j, name in enumerate(names):
        if not CATALOGUE[name].stamps:
            out[:, j] = _narrow(CATALOGUE[name](view))
    return [j for j, name in enumerate(names) if name not in COMPILED]


def _narrow(values: np.ndarray) -> np.ndarray:
    """float32, with what would overflow it as NaN."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return np.where(np.isfinite(narrow), narrow, np.float32(np.nan))


def _chunks(batch: AlertBatch) -> Iterator[tuple[slice, AlertBatch]]:
    for start in range(0, len(batch), CHUNK):
        rows = slice(start, min(start + CHUNK, len(batch)))
        yield rows, _rows(batch, rows)


def _rows(batch: AlertBatch, rows: slice) -> AlertBatch:
    return replace(
        batch,
        index=batch.index[rows],
        candid=batch.candid[rows],
        object_id=batch.object_id[rows],
        band=batch.band[rows],
        schema=batch.schema[rows],
        columns={name: values[rows] for name, values in batch.columns.items()},
        triplets=batch.triplets[rows],
    )


def definitions(names: Sequence[str]) -> dict[str, int]:
    """The version of each feature's definition, for a model to keep beside its list."""
    return {name: CATALOGUE[name].version for name in names}


def check(trained: Mapping[str, int]) -> None:
    """Raise FeatureMismatch if the features at hand are not those that a model was trained on, listing what differs."""
    missing = [name for name in trained if name not in CATALOGUE]
    changed = [name for name in trained if name in CATALOGUE and CATALOGUE[name].version != trained[name]]
    if missing or changed:
        raise FeatureMismatch(missing, changed)


def digest(names: Sequence[str]) -> str:
    """16 hex digits over the ordered names and the versions of their definitions. Raises FeatureMismatch."""
    unknown = [name for name in names if name not in CATALOGUE]
    if unknown:
        raise FeatureMismatch(missing=unknown)
    text = "\n".join(f"{name} {CATALOGUE[name].version}" for name in names)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def warm_up() -> None:
    """Compile or load the kernels, so that the first alert of a night does not wait for it."""
    kernels()
