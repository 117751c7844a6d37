"""Novelty: the numbers of scikit-learn's isolation forest, from plain arrays, beside the score and never in it."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from model_cases import FEATURE_SET, examples, files, write
from rescore_cases import FIRST, packet, packets
from sklearn.ensemble import IsolationForest

from realbogus import npz, tables
from realbogus.cli import main
from realbogus.errors import ModelError
from realbogus.features import FEATURE_SETS
from realbogus.forest import DTYPES
from realbogus.manifest import identity_bytes
from realbogus.model import load_model, model_from
from realbogus.novelty import Novelty
from realbogus.training.isolation import fit_novelty, of_sklearn

COLUMNS = 9


def rows(n=600, seed=0):
    return np.random.default_rng(seed).normal(size=(n, COLUMNS)).astype(np.float32)


@pytest.fixture(scope="module")
def novelty():
    return fit_novelty(rows(), seed=1, trees=60)


@pytest.mark.parametrize("sample", [256, 40, 3])
def test_novelty_is_that_of_scikit_learn(sample):
    X, fresh = rows(), 3 * rows(200, seed=1)
    fitted = IsolationForest(n_estimators=40, max_samples=sample, random_state=2).fit(X)
    ours = of_sklearn([tree.tree_ for tree in fitted.estimators_], np.zeros(COLUMNS, np.float32), sample)
    np.testing.assert_allclose(ours(fresh), -fitted.score_samples(fresh), rtol=1e-12)


def test_what_is_far_from_all_others_is_novel(novelty):
    usual, odd = rows(100, seed=2), rows(100, seed=2)
    odd[:, 3:8] += 12
    assert (novelty(odd) > novelty(usual)).all()
    assert np.median(novelty(odd)) > novelty.quantiles["0.99"]


def test_contributions_name_what_is_odd(novelty):
    odd = rows(50, seed=3)
    odd[:, 5] -= 15
    assert (novelty.contributions(odd).argmax(axis=1) == 5).mean() > 0.8


def test_a_missing_value_counts_as_the_median(novelty):
    X = rows(50, seed=4)
    filled, holed = X.copy(), X.copy()
    filled[:, 2], holed[:, 2] = np.median(rows()[:, 2]), np.nan
    np.testing.assert_array_equal(novelty(holed), novelty(filled))


def test_a_row_does_not_depend_on_its_neighbours(novelty):
    X = rows(130, seed=5)
    np.testing.assert_array_equal(novelty(X), np.concatenate([novelty(X[i : i + 1]) for i in range(len(X))]))


def test_fitting_twice_gives_the_same_arrays():
    one, other = (fit_novelty(rows(), seed=4, trees=10) for _ in range(2))
    assert npz.to_bytes(one.forest.arrays()) == npz.to_bytes(other.forest.arrays())
    assert one.to_json() == other.to_json()


def test_it_travels_with_the_model_and_is_not_in_the_score(tmp_path):
    model = model_from(files())
    X = examples().X
    assert model.novelty is not None
    told = model.novelty(X)
    assert told.min() > 0.3
    assert abs(np.median(told) - model.novelty.quantiles["0.5"]) < 1e-6
    assert model.feature_names == FEATURE_SETS[FEATURE_SET]
    again = Novelty.from_json(json.loads(json.dumps(model.novelty.to_json())), model.novelty.forest)
    np.testing.assert_array_equal(again(X), told)


def damaged(change):
    """The files of a small model with one thing about its novelty changed, and the hashes kept true."""
    contents = dict(files())
    manifest = json.loads(contents["manifest.json"])
    arrays = {name: array.copy() for name, array in npz.from_bytes(contents["novelty.npz"], DTYPES).items()}
    change(arrays, manifest["novelty"])
    contents["novelty.npz"] = npz.to_bytes(arrays)
    manifest["files"]["novelty.npz"] = hashlib.sha256(contents["novelty.npz"]).hexdigest()
    arrays = npz.from_bytes(contents["forest.npz"], DTYPES)
    manifest["content_sha256"] = npz.content_sha256(arrays, identity_bytes(manifest))
    contents["manifest.json"] = json.dumps(manifest).encode()
    return contents


def loop(arrays, entry):
    arrays["left"][0] = 0


def other_tree(arrays, entry):
    arrays["threshold"][0] += 1


def endless(arrays, entry):
    entry["longest"] = 0


def wordy(arrays, entry):
    entry["expected"] = "some"


@pytest.mark.parametrize(
    ("change", "message"),
    [(loop, "not after it"), (other_tree, "novelty.npz is another"), (endless, "make no sense"), (wordy, "novelty")],
)
def test_a_damaged_novelty_is_refused(change, message):
    with pytest.raises(ModelError, match=message):
        model_from(damaged(change))


def test_a_model_without_novelty_has_none(tmp_path):
    from realbogus.resources import shipped

    folder = shipped("models") / "realbogus-ztf" / "1"
    assert load_model(folder).novelty is None


def test_rescoring_tells_spread_and_novelty_where_asked_and_nothing_else_changes(tmp_path):
    for number, raw in enumerate(packets(40)):
        (tmp_path / f"{number}.avro").write_bytes(raw)
    write(tmp_path / "models" / "small" / "1", files())
    told = ["rescore", str(tmp_path), "--model", "small/1", "--models", str(tmp_path / "models"), "--features", "--out"]
    assert main([*told, str(tmp_path / "plain.parquet")]) == 0
    assert main([*told, str(tmp_path / "more.parquet"), "--also", "novelty", "spread"]) == 0
    plain, more = (tables.read(tmp_path / name) for name in ("plain.parquet", "more.parquet"))
    assert more.drop_columns(["spread", "novelty"]).equals(plain)
    model = model_from(files())
    X = np.array([more[f"feature_{name}"].to_pylist() for name in model.feature_names], dtype=np.float32).T
    np.testing.assert_array_equal(more["novelty"].to_numpy(), model.novelty(X).round(6))
    np.testing.assert_array_equal(more["spread"].to_numpy(), model.forest.spread(X).round(6))


def test_a_model_that_cannot_tell_novelty_leaves_it_null(tmp_path):
    (tmp_path / "one.avro").write_bytes(packet(FIRST))
    told = ["rescore", str(tmp_path), "--model", "realbogus-ztf/1", "--also", "novelty"]
    assert main([*told, "--out", str(tmp_path / "scores.csv")]) == 0
    assert tables.read(tmp_path / "scores.csv")["novelty"].null_count == 1
