"""A model: feature names, forest, calibration, threshold, and where all that came from.

It lives in a folder `<name>/<version>` of plain files, none of which can run code:

    forest.npz      the trees, see `forest.Forest`
    golden.npz      feature rows with the scores they must give, checked at every load
    novelty.npz     the trees of `novelty.Novelty`; older models have none
    trained_on.npz  ids of the alerts it was trained on, so that nobody judges it on them unawares; older models lack it
    manifest.json   everything else: see `manifest`
    card.md         the same for people
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus import manifest as manifests
from realbogus import npz
from realbogus.alerts import Column, Matrix, ModelId
from realbogus.calibration import Calibration
from realbogus.errors import FeatureMismatch, ModelError
from realbogus.features import check, definitions, digest
from realbogus.forest import DTYPES, Boosting, Forest
from realbogus.novelty import Novelty

GOLDEN_DTYPES = {"X": "<f4", "score": "<f8", "p_real": "<f8"}
TRAINED_ON_DTYPES = {"candid": "<i8"}
GOLDEN_TOLERANCE = 1e-12  # bit-equal is expected; the worst difference is kept in Model.golden_difference
MAX_GOLDEN_ROWS = 4096
MAX_FILE_BYTES = 2**28
STAMP_RULE = {"side_px": 63, "missing": "NaN", "order": "science, template, difference; candidate positive"}


@dataclass(frozen=True, eq=False)
class Model:
    """What turns features into scores. Make one with `load_model`, or with `new_model` after training."""

    forest: Forest
    calibration: Calibration
    manifest: Mapping[str, Any]
    golden_difference: float = field(default=0.0)  # largest |score - expected| over the golden rows, at load
    novelty: Novelty | None = None  # how unlike its training rows an alert is; None = it cannot tell
    trained_on: NDArray[np.int64] | None = None  # (M,) candids it was trained on, rising; None = it does not tell

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the columns of X."""
        return tuple(self.manifest["features"]["names"])

    @property
    def surveys(self) -> tuple[str, ...]:
        """Surveys it was made for."""
        return tuple(self.manifest["surveys"])

    @property
    def id(self) -> ModelId:
        """Who judges, as annotations and events name it."""
        features = self.manifest["features"]
        return ModelId(
            name=self.manifest["name"],
            version=self.manifest["version"],
            sha256=self.manifest["content_sha256"],
            feature_set=f"{features['set']}:{features['digest']}",
            threshold=round(float(self.manifest["threshold"]["score"]), 6),
            calibrated=True,
            training_set=str(self.manifest["training"].get("sha256", "")),
        )

    def score(self, X: Matrix) -> Column:
        """Score of each row of X (N, F): 0 bogus to 1 real, (N,), not rounded. Rows do not depend on each other."""
        return self.forest.score(X)

    def p_real(self, score: Column) -> Column:
        """Calibrated probability that each is real, at the training prior."""
        return self.calibration(score)

    def contributions(self, X: Matrix) -> NDArray[np.float64]:
        """Each feature's share of score - forest.base, (N, F)."""
        return self.forest.contributions(X)

    def warm_up(self) -> None:
        """Compile or load what scoring needs, so that the first alert does not wait for it."""
        blank = np.full((1, self.forest.n_features), np.nan, dtype=np.float32)
        self.p_real(self.score(blank))
        self.contributions(blank)


def describe_features(names: Sequence[str], feature_set: str) -> dict[str, Any]:
    """The manifest's entry on features: names in order, and which definition of each."""
    return {"set": feature_set, "names": list(names), "digest": digest(names), "versions": definitions(names)}


def check_features(features: Mapping[str, Any]) -> None:
    """Raise FeatureMismatch, naming each that differs, unless this code measures what the model was trained on."""
    check(features["versions"])
    if digest(features["names"]) != features["digest"]:
        raise FeatureMismatch(changed=["the order of the list"])


def model_files(
    forest: Forest,
    calibration: Calibration,
    manifest: Mapping[str, Any],
    golden: Matrix,
    card: str,
    *,
    novelty: Novelty | None = None,
    trained_on: NDArray[np.int64] | None = None,
) -> dict[str, bytes]:
    """The files of a new model's folder. The same arguments give the same bytes.

    manifest holds the entries that only training knows; those on calibration, files and content are written here.
    golden (G, F) are rows whose scores every later load must reproduce.
    """
    score = forest.score(golden)
    files = {
        "forest.npz": npz.to_bytes(forest.arrays()),
        "golden.npz": npz.to_bytes({"X": golden.astype("<f4"), "score": score, "p_real": calibration(score)}),
        "card.md": card.encode(),
    }
    full = {**manifest, "format": manifests.FORMAT, "calibration": calibration.to_json()}
    if forest.boosting.trees:
        full["boosting"] = forest.boosting.to_json()
    if novelty is not None:
        arrays = novelty.forest.arrays()
        files["novelty.npz"] = npz.to_bytes(arrays)
        full["novelty"] = {**novelty.to_json(), "sha256": npz.content_sha256(arrays)}
    if trained_on is not None:
        files["trained_on.npz"] = npz.to_bytes({"candid": np.unique(trained_on).astype("<i8")})
    full["content_sha256"] = npz.content_sha256(forest.arrays(), manifests.identity_bytes(full))
    full["files"] = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    manifests.check_manifest(full)
    return {**files, "manifest.json": manifests.to_bytes(full)}


def load_model(folder: Path) -> Model:
    """Load a model, believing nothing: hashes, structure, features and golden scores are all checked.

    Raises ModelError, or FeatureMismatch where the features at hand are others than those it was trained on.
    """
    files = {"manifest.json": _read(folder, "manifest.json")}
    manifest = manifests.from_bytes(files["manifest.json"])
    for name in manifest["files"]:
        files[name] = _read(folder, name)
    return model_from(files, str(folder))


def model_from(files: Mapping[str, bytes], where: str = "model") -> Model:
    """The model of these files, checked as `load_model` does."""
    try:
        return _model_from(files)
    except FeatureMismatch:
        raise
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error


def _model_from(files: Mapping[str, bytes]) -> Model:
    manifest = manifests.from_bytes(files["manifest.json"])
    for name in ("forest.npz", "golden.npz"):
        if name not in manifest["files"]:
            raise ModelError(f"manifest.json: files does not name {name}")
    for name, expected in manifest["files"].items():
        if (found := hashlib.sha256(files[name]).hexdigest()) != expected:
            raise ModelError(f"{name} is damaged or of another model: sha256 should be {expected}, is {found}")
    check_features(manifest["features"])
    arrays = npz.from_bytes(files["forest.npz"], DTYPES)
    content = npz.content_sha256(arrays, manifests.identity_bytes(manifest))
    if content != manifest["content_sha256"]:
        raise ModelError(f"its content is another than the manifest says: {manifest['content_sha256']}, is {content}")
    boosting = Boosting.from_json(manifest["boosting"]) if "boosting" in manifest else Boosting()
    forest = Forest.from_arrays(arrays, len(manifest["features"]["names"]), boosting)
    if forest.value.shape[1] != len(manifest["classes"]):
        raise ModelError(f"forest: {forest.value.shape[1]} classes, the manifest names {len(manifest['classes'])}")
    calibration = Calibration.from_json(manifest["calibration"])
    return Model(
        forest,
        calibration,
        manifest,
        _check_golden(files["golden.npz"], forest, calibration),
        novelty=_novelty(files, manifest),
        trained_on=_trained_on(files),
    )


def _novelty(files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> Novelty | None:
    """The novelty that the manifest tells of, its arrays checked as those of the forest."""
    entry = manifest.get("novelty")
    if ("novelty.npz" in manifest["files"]) != (entry is not None):
        raise ModelError("manifest.json: novelty and novelty.npz go together")
    if entry is None:
        return None
    arrays = npz.from_bytes(files["novelty.npz"], DTYPES)
    novelty = Novelty.from_json(entry, Forest.from_arrays(arrays, len(manifest["features"]["names"])))
    if npz.content_sha256(arrays) != entry.get("sha256"):
        raise ModelError("novelty.npz is another than the manifest says")
    return novelty


def _trained_on(files: Mapping[str, bytes]) -> NDArray[np.int64] | None:
    if "trained_on.npz" not in files:
        return None
    candid = npz.from_bytes(files["trained_on.npz"], TRAINED_ON_DTYPES)["candid"]
    if candid.ndim != 1 or (np.diff(candid) <= 0).any():
        raise ModelError("trained_on.npz: its candids do not rise")
    return candid


def _check_golden(raw: bytes, forest: Forest, calibration: Calibration) -> float:
    """Score the golden rows here and now; give the worst difference, or refuse the model."""
    golden = npz.from_bytes(raw, GOLDEN_DTYPES)
    rows = len(golden["X"])
    if golden["X"].shape != (rows, forest.n_features) or not 1 <= rows <= MAX_GOLDEN_ROWS:
        raise ModelError(f"golden.npz: expected (1 to {MAX_GOLDEN_ROWS}, {forest.n_features}) features")
    score = forest.score(golden["X"])
    difference = 0.0
    for name, found in (("score", score), ("p_real", calibration(score))):
        if golden[name].shape != (rows,) or not np.isfinite(golden[name]).all():
            raise ModelError(f"golden.npz: {name} is not {rows} numbers")
        difference = max(difference, float(np.abs(found - golden[name]).max()))
    if difference > GOLDEN_TOLERANCE:
        raise ModelError(f"it does not reproduce its golden scores here: they differ by up to {difference:.3g}")
    return difference


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ModelError(f"{path}: more than {MAX_FILE_BYTES} bytes")
    return raw
