"""A pickled scikit-learn forest as plain arrays. Meant to be a process of its own: unpickling runs whatever it holds.

    python -m realbogus.training.foreign forest.joblib arrays.npz

Nothing else in realbogus unpickles, and nothing that serves imports this module. What comes out is data, and is checked
like any other model by whoever reads it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from realbogus import npz
from realbogus.errors import ModelError
from realbogus.forest import Forest

KINDS = {"ExtraTreesClassifier": "extra trees", "RandomForestClassifier": "random forest"}


def convert(path: Path, out: Path) -> dict[str, Any]:
    """Unpickle the forest of path, write its arrays to out, and give what else is known of it."""
    import joblib

    fitted = joblib.load(path)
    kind = KINDS.get(type(fitted).__name__)
    if kind is None or type(fitted).__module__.split(".")[0] != "sklearn":
        raise ModelError(f"{path} holds a {type(fitted).__name__}; expected one of scikit-learn's {', '.join(KINDS)}")
    if len(fitted.classes_) != 2:
        raise ModelError(f"{path} knows {len(fitted.classes_)} classes; expected two, the larger of which is real")
    forest = Forest.from_sklearn(fitted, real=fitted.classes_[-1])
    out.write_bytes(npz.to_bytes(forest.arrays()))
    names = getattr(fitted, "feature_names_in_", None)
    return {
        "kind": kind,
        "features": int(fitted.n_features_in_),
        "names": None if names is None else [str(name) for name in names],
        "real": str(fitted.classes_[-1]),
    }


if __name__ == "__main__":
    try:
        print(json.dumps(convert(Path(sys.argv[1]), Path(sys.argv[2]))))  # noqa: T201 (its answer to the parent)
    except Exception as error:  # whatever a pickle does wrong, in one line
        sys.exit(f"{type(error).__name__}: {error}")
