"""The manifest of a model: what it is, what it was made of, how good it is. JSON in one canonical form."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from realbogus.errors import ModelError

FORMAT = 1  # of the model folder
MAX_BYTES = 2**22  # of a manifest
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # of a model, and of a version
SHA256 = re.compile(r"[0-9a-f]{64}")

# What decides a score, and so is part of the model's identity together with the forest's arrays.
IDENTITY = ("format", "kind", "classes", "surveys", "features", "stamps", "threshold", "calibration")

# The same, of those that a model may lack.
IDENTITY_IF_THERE = ("boosting", "novelty")

# Other entries that every manifest holds: name -> what it tells.
PROVENANCE = {
    "training": "data, hash, counts, label rule, split, hyper-parameters, seed",
    "metrics": "out-of-fold results with intervals",
    "thresholds": "the score at stated rates, with what it loses and passes",
    "libraries": "versions that fitted it",
    "limits": "what it is not valid for, sentences",
}


def to_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The canonical form: sorted keys, no NaN, one trailing newline."""
    return (json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def identity_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The canonical form of what decides a score, or another column that the model gives."""
    names = [*IDENTITY, *(name for name in IDENTITY_IF_THERE if name in manifest)]
    return to_bytes({name: manifest[name] for name in names})


def from_bytes(raw: bytes) -> dict[str, Any]:
    """Parse and check a manifest. Raises ModelError naming the entry that is wrong."""
    if len(raw) > MAX_BYTES:
        raise ModelError(f"manifest.json: {len(raw)} bytes, more than {MAX_BYTES}")
    try:
        manifest = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, ModelError) else ModelError(f"manifest.json: {error}") from error
    check_manifest(manifest)
    return dict(manifest)


def check_manifest(manifest: Any) -> None:
    """Raise ModelError unless every entry that loading and scoring rely on is there and of its kind."""
    _need(isinstance(manifest, dict), "is not an object")
    _need(manifest.get("format") == FORMAT, f"format should be {FORMAT}, is {manifest.get('format')!r}")
    for name in ("name", "version"):
        _need(isinstance(manifest.get(name), str) and NAME.fullmatch(manifest[name]), f"{name} is not a plain name")
    for name in ("kind", "content_sha256"):
        _need(isinstance(manifest.get(name), str), f"{name} is not a text")
    _need(_texts(manifest.get("classes")) and manifest["classes"][-1:] == ["real"], "the last of classes is not 'real'")
    _need(_texts(manifest.get("surveys")), "surveys is not a list of names")
    for name in ("features", "stamps", "threshold", "calibration", "files", "training", "metrics", "libraries"):
        _need(isinstance(manifest.get(name), dict), f"{name} is not an object")
    _need(isinstance(manifest.get("thresholds"), list), "thresholds is not a list")
    _need(isinstance(manifest.get("limits"), list), "limits is not a list")
    _check_features(manifest["features"])
    threshold = manifest["threshold"].get("score")
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    _need(is_number and math.isfinite(threshold) and 0 <= threshold <= 1, "threshold.score is not in 0 to 1")
    for name, sha in manifest["files"].items():
        _need(NAME.fullmatch(name), f"files: {name!r} is not a plain file name")
        _need(isinstance(sha, str) and SHA256.fullmatch(sha), f"files: {name} has no sha256")


def _check_features(features: Mapping[str, Any]) -> None:
    names = features.get("names", [])
    _need(_texts(names) and len(set(names)) == len(names), "features.names is not a list of different names")
    _need(isinstance(features.get("set"), str) and NAME.fullmatch(features["set"]), "features.set is not a plain name")
    _need(isinstance(features.get("digest"), str) and features["digest"], "features.digest is missing")
    versions = features.get("versions", {})
    _need(isinstance(versions, dict) and sorted(versions) == sorted(names), "features.versions is not one a feature")


def _texts(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(text, str) for text in found)


def _need(fulfilled: object, otherwise: str) -> None:
    if not fulfilled:
        raise ModelError(f"manifest.json: {otherwise}")


def _refuse_constant(constant: str) -> Any:
    raise ModelError(f"manifest.json: {constant} is not JSON")
