"""Forests of scikit-learn's from elsewhere: unpickled in a process of their own, believed nothing."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier

from realbogus.cli import main
from realbogus.errors import LabelError
from realbogus.features import FEATURE_SETS
from realbogus.model import load_model
from realbogus.training.held_out import KEEP, held_out
from realbogus.training.labelled import examples

SET = "pixel-1"


def pickled(path, fitted):
    path.write_bytes(pickle.dumps(fitted))
    return path


WIDTH = len(FEATURE_SETS[SET])


def rows(n=300, columns=WIDTH):
    random = np.random.default_rng(1)
    X = random.normal(size=(n, columns)).astype(np.float32)
    return X, np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")


def call(path, simulated, models, *more):
    told = ["models", "--models", str(models), "import", str(path), "--feature-set", SET, "--name", "theirs"]
    return main([*told, "--version", "1", "--simulated", str(simulated), *more])


def test_an_imported_forest_gives_the_scores_of_scikit_learn_and_says_that_it_was_imported(simulated, tmp_path, capsys):
    X, y = rows()
    fitted = ExtraTreesClassifier(15, random_state=1).fit(X, y)
    assert call(pickled(tmp_path / "a.joblib", fitted), simulated, tmp_path / "models", "--i-trust-this-pickle") == 0
    assert json.loads(capsys.readouterr().out)["real"] == "yes"
    model = load_model(tmp_path / "models" / "theirs" / "1")
    np.testing.assert_array_equal(model.score(X), fitted.predict_proba(X)[:, 1])
    card = (tmp_path / "models" / "theirs" / "1" / "card.md").read_text()
    assert "it was fitted elsewhere" in card
    table = examples(
        (path.read_bytes() for path in sorted(simulated.glob("*.avro"))), labels(simulated), FEATURE_SETS[SET]
    )
    with pytest.raises(LabelError, match="cannot be fitted anew"):
        held_out(model, table)
    assert "flatter" in held_out(model, table, treat_seen=KEEP).warnings[0]


def labels(folder):
    from realbogus.labels import read_truth

    return read_truth(folder / "truth.csv")


class Trap:
    """A pickle that does something when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_without_trust_nothing_is_read(simulated, tmp_path, capsys):
    path = pickled(tmp_path / "trap.pkl", Trap(tmp_path / "sprung"))
    assert call(path, simulated, tmp_path / "models") == 2
    assert "would run whatever it holds" in capsys.readouterr().err
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_forest_is_refused_by_name(simulated, tmp_path, capsys):
    X, y = rows()
    path = pickled(tmp_path / "boosted.pkl", GradientBoostingClassifier(n_estimators=2).fit(X, y))
    assert call(path, simulated, tmp_path / "models", "--i-trust-this-pickle") == 1
    assert "holds a GradientBoostingClassifier" in capsys.readouterr().err
    (tmp_path / "junk.pkl").write_bytes(b"junk")
    assert call(tmp_path / "junk.pkl", simulated, tmp_path / "models", "--i-trust-this-pickle") == 1
    assert "could not be read" in capsys.readouterr().err
    assert not (tmp_path / "models" / "theirs" / "1").exists()


def test_a_forest_of_other_features_is_refused(simulated, tmp_path, capsys):
    path = pickled(tmp_path / "a.pkl", ExtraTreesClassifier(3).fit(*rows(columns=5)))
    assert call(path, simulated, tmp_path / "models", "--i-trust-this-pickle") == 1
    assert "was fitted on 5 features" in capsys.readouterr().err
