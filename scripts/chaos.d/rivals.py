"""Two models to promote in turns: the shipped one, and a small one of the same features that judges otherwise."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from realbogus.calibration import Calibration
from realbogus.forest import Forest
from realbogus.model import STAMP_RULE, describe_features, model_files
from realbogus.registry import Registry
from realbogus.resources import shipped


def registry(folder: Path) -> tuple[Registry, list[str]]:
    """A registry of its own with both models, and their names; the shipped one is current."""
    theirs = Registry(shipped("models"))
    name = theirs.current()
    shutil.copytree(theirs.path(name), folder / name)
    ours = Registry(folder)
    model = theirs.load(name)
    random = np.random.default_rng(1)
    X = random.normal(0, 3, (400, len(model.feature_names))).astype(np.float32)
    fitted = ExtraTreesClassifier(50, max_depth=6, random_state=1, n_jobs=1).fit(X, X[:, 0] + X[:, 1] > 0)
    knots = np.array([0.0, 1.0])
    manifest = {
        "kind": "forest",
        "name": "chaos",
        "version": "2",
        "classes": ["bogus", "real"],
        "surveys": ["ztf"],
        "features": describe_features(model.feature_names, model.id.feature_set.split(":")[0]),
        "stamps": STAMP_RULE,
        "threshold": {"score": 0.5},
        "thresholds": [],
        "training": {},
        "metrics": {},
        "libraries": {},
        "limits": [],
    }
    calibration = Calibration("logistic", 0.5, 400, knots, knots)
    ours.add("chaos/2", model_files(Forest.from_sklearn(fitted), calibration, manifest, X[:8], "# chaos\n"))
    promote(ours, name)
    return ours, [name, "chaos/2"]


def promote(models: Registry, spec: str) -> None:
    models.promote(spec, who="chaos", when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), why="a campaign")
