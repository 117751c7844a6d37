"""Model folders: what is saved is what is loaded, and whatever was changed since is refused."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cases import FEATURE_SET, examples, files, write

from realbogus import features, npz
from realbogus import manifest as manifests
from realbogus.errors import FeatureMismatch, ModelError
from realbogus.forest import DTYPES, plain_score
from realbogus.model import load_model, model_from


@pytest.fixture
def sound():
    return dict(files())


def rehashed(contents, **changes):
    """The files with a changed manifest, its hashes made to fit again."""
    manifest = json.loads(contents["manifest.json"]) | changes
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256(contents[name]).hexdigest()
    arrays = npz.from_bytes(contents["forest.npz"], DTYPES)
    manifest["content_sha256"] = npz.content_sha256(arrays, manifests.identity_bytes(manifest))
    return contents | {"manifest.json": manifests.to_bytes(manifest)}


def test_a_model_scores_alike_before_and_after(sound, tmp_path):
    write(tmp_path / "small" / "1", sound)
    model = load_model(tmp_path / "small" / "1")
    X = examples(200, seed=9).X
    np.testing.assert_array_equal(model.score(X), plain_score(model.forest, X))
    assert ((model.score(X) >= 0) & (model.score(X) <= 1)).all()
    assert ((model.p_real(model.score(X)) > 0) & (model.p_real(model.score(X)) < 1)).all()
    assert model.golden_difference == 0


def test_it_says_who_it_is(sound):
    model = model_from(sound)
    assert (model.id.name, model.id.version, model.id.calibrated) == ("small", "1", True)
    assert model.id.sha256 == json.loads(sound["manifest.json"])["content_sha256"]
    assert model.id.feature_set == f"{FEATURE_SET}:{features.digest(features.FEATURE_SETS[FEATURE_SET])}"
    assert model.id.threshold == round(model.id.threshold, 6)
    assert model.id.training_set == json.loads(sound["manifest.json"])["training"]["sha256"]
    assert model.feature_names == features.FEATURE_SETS[FEATURE_SET]
    assert model.surveys == ("ztf",)


def test_contributions_add_up_to_the_score(sound):
    model = model_from(sound)
    X = examples(50, seed=3).X
    np.testing.assert_allclose(model.forest.base + model.contributions(X).sum(axis=1), model.score(X), atol=1e-12)


def test_warming_up_changes_nothing(sound):
    model = model_from(sound)
    X = examples(50, seed=3).X
    before = model.score(X)
    model.warm_up()
    np.testing.assert_array_equal(model.score(X), before)


def test_golden_rows_try_missing_values_extremes_and_splits(sound):
    golden = npz.from_bytes(sound["golden.npz"], {"X": "<f4", "score": "<f8", "p_real": "<f8"})["X"]
    forest = model_from(sound).forest
    assert np.isnan(golden[0]).all()
    assert np.isnan(golden).any(axis=1).sum() > 40
    assert (np.abs(golden) > 1e29).any()
    inner = np.flatnonzero(forest.left >= 0)
    at_splits = np.isin(golden[128:192], forest.threshold[inner].astype(np.float32)).sum()
    assert at_splits > 300


def test_golden_rows_are_of_no_alert(sound):
    golden = npz.from_bytes(sound["golden.npz"], {"X": "<f4", "score": "<f8", "p_real": "<f8"})["X"]
    for row in examples().X:
        assert not (golden == row).all(axis=1).any()


def test_the_manifest_is_in_its_one_form(sound):
    raw = sound["manifest.json"]
    assert manifests.to_bytes(manifests.from_bytes(raw)) == raw
    assert raw.endswith(b"}\n")


@pytest.mark.parametrize("name", ["forest.npz", "golden.npz", "card.md"])
def test_a_file_that_was_changed_is_refused(sound, name):
    sound[name] = sound[name][:-1] + bytes([sound[name][-1] ^ 1])
    with pytest.raises(ModelError, match=f"{name} is damaged"):
        model_from(sound)


@pytest.mark.parametrize("name", ["manifest.json", "forest.npz", "golden.npz", "card.md"])
def test_a_file_that_is_missing_is_named(sound, tmp_path, name):
    del sound[name]
    write(tmp_path, sound)
    with pytest.raises(ModelError, match=name):
        load_model(tmp_path)


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        load_model(tmp_path / "nothing")


def test_another_models_forest_is_refused_though_its_file_hash_fits(sound):
    other = files(seed=6)
    sound["forest.npz"] = other["forest.npz"]
    manifest = json.loads(sound["manifest.json"])
    manifest["files"]["forest.npz"] = hashlib.sha256(sound["forest.npz"]).hexdigest()
    sound["manifest.json"] = manifests.to_bytes(manifest)
    with pytest.raises(ModelError, match="content is another"):
        model_from(sound)


def test_a_changed_threshold_is_refused_without_its_content_hash(sound):
    manifest = json.loads(sound["manifest.json"])
    manifest["threshold"]["score"] = 0.001
    with pytest.raises(ModelError, match="content is another"):
        model_from(sound | {"manifest.json": manifests.to_bytes(manifest)})


def test_golden_scores_that_are_not_reproduced_refuse_the_model(sound):
    golden = npz.from_bytes(sound["golden.npz"], {"X": "<f4", "score": "<f8", "p_real": "<f8"})
    sound["golden.npz"] = npz.to_bytes({**golden, "score": golden["score"] + 1e-9})
    with pytest.raises(ModelError, match="does not reproduce its golden scores"):
        model_from(rehashed(sound))


@pytest.mark.parametrize("rows", [0, 5000])
def test_golden_rows_are_a_sane_number(sound, rows):
    width = len(features.FEATURE_SETS[FEATURE_SET])
    blank = {"X": np.zeros((rows, width), "<f4"), "score": np.zeros(rows), "p_real": np.zeros(rows)}
    with pytest.raises(ModelError, match=r"golden\.npz"):
        model_from(rehashed(sound | {"golden.npz": npz.to_bytes(blank)}))


def test_a_damaged_forest_is_refused_though_all_hashes_fit(sound):
    arrays = {name: array.copy() for name, array in npz.from_bytes(sound["forest.npz"], DTYPES).items()}
    arrays["left"][0] = 10**9
    with pytest.raises(ModelError, match="outside its tree"):
        model_from(rehashed(sound | {"forest.npz": npz.to_bytes(arrays)}))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_flipped_forest_bytes_under_fresh_hashes_are_refused_or_harmless(data):
    contents = dict(files())
    arrays = {name: array.copy() for name, array in npz.from_bytes(contents["forest.npz"], DTYPES).items()}
    raw = arrays[data.draw(st.sampled_from(sorted(arrays)))].reshape(-1).view(np.uint8)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        model = model_from(rehashed(contents | {"forest.npz": npz.to_bytes(arrays)}))
    except ModelError:
        return
    X = examples(70, seed=2).X
    np.testing.assert_array_equal(model.score(X), plain_score(model.forest, X))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_bytes_in_any_file_give_our_own_errors(data):
    contents = dict(files())
    name = data.draw(st.sampled_from(sorted(contents)))
    raw = bytearray(contents[name])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    contents[name] = bytes(raw if data.draw(st.booleans()) else raw[:cut])
    try:
        model_from(contents)
    except (ModelError, FeatureMismatch):
        return


def test_other_features_are_refused_and_named(sound, monkeypatch):
    first, second = features.FEATURE_SETS[FEATURE_SET][:2]
    changed = {**features.CATALOGUE, first: replace(features.CATALOGUE[first], version=99)}
    del changed[second]
    monkeypatch.setattr(features, "CATALOGUE", changed)
    with pytest.raises(FeatureMismatch) as caught:
        model_from(sound)
    assert caught.value.changed == (first,)
    assert caught.value.missing == (second,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format should be 1"),
        ({"name": "../../etc"}, "name is not a plain name"),
        ({"version": ""}, "version is not a plain name"),
        ({"classes": ["real", "bogus"]}, "last of classes"),
        ({"classes": ["bogus", "star", "real"]}, "2 classes, the manifest names 3"),
        ({"surveys": []}, "surveys"),
        ({"surveys": "ztf"}, "surveys"),
        ({"features": {}}, "features.names"),
        ({"features": {"names": ["a", "a"], "set": "x", "digest": "d", "versions": {"a": 1}}}, "different names"),
        ({"threshold": {"score": 1.5}}, "threshold.score"),
        ({"threshold": {"score": True}}, "threshold.score"),
        ({"threshold": {}}, "threshold.score"),
        ({"calibration": {}}, "calibration"),
        ({"calibration": []}, "calibration is not an object"),
        ({"thresholds": {}}, "thresholds is not a list"),
        ({"limits": None}, "limits is not a list"),
        ({"metrics": 3}, "metrics is not an object"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(sound, change, message):
    with pytest.raises(ModelError, match=message):
        model_from(rehashed(sound, **change))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "Expecting value"),
        (b"[]", "not an object"),
        (b'{"format": NaN}', "NaN is not JSON"),
        (b"\xff\xfe{", "manifest"),
        (b"[" * 100_000, "manifest"),
        (b" " * 5_000_000, "more than"),
    ],
)
def test_bytes_that_are_no_manifest_are_refused(raw, message):
    with pytest.raises(ModelError, match=message):
        manifests.from_bytes(raw)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", ""])
def test_a_manifest_cannot_name_files_outside_its_folder(sound, name):
    manifest = json.loads(sound["manifest.json"])
    manifest["files"][name] = "0" * 64
    with pytest.raises(ModelError, match="plain file name"):
        model_from(sound | {"manifest.json": manifests.to_bytes(manifest)})


def test_a_manifest_must_name_the_files_that_are_read(sound):
    manifest = json.loads(sound["manifest.json"])
    del manifest["files"]["golden.npz"]
    with pytest.raises(ModelError, match=r"does not name golden\.npz"):
        model_from(sound | {"manifest.json": manifests.to_bytes(manifest)})


# arrays in .npz files

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(0, "<i4"), "c": np.array(7, "<i8")}
TYPES = {"a": "<f8", "b": "<i4", "c": "<i8"}


def zipped(entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in entries:
            archive.writestr(name, raw)
    return file.getvalue()


def entry(array, **how):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **how)
    return file.getvalue()


def test_arrays_round_trip_and_plain_numpy_reads_them():
    raw = npz.to_bytes(ARRAYS)
    ours, theirs = npz.from_bytes(raw, TYPES), np.load(io.BytesIO(raw), allow_pickle=False)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(ours[name], array)
        np.testing.assert_array_equal(theirs[name], array)


def test_the_same_arrays_give_the_same_bytes_in_any_order():
    assert npz.to_bytes(ARRAYS) == npz.to_bytes(dict(reversed(ARRAYS.items())))


def test_the_content_digest_sees_names_types_shapes_and_numbers():
    variants = [
        ARRAYS,
        {**ARRAYS, "a": ARRAYS["a"].T},
        {**ARRAYS, "a": ARRAYS["a"] + 1},
        {**ARRAYS, "b": np.zeros(0, "<i8")},
        {"d": ARRAYS["a"], "b": ARRAYS["b"], "c": ARRAYS["c"]},
    ]
    digests = {npz.content_sha256(arrays) for arrays in variants} | {npz.content_sha256(ARRAYS, b"more")}
    assert len(digests) == 6
    assert npz.content_sha256(ARRAYS) == npz.content_sha256({**ARRAYS, "a": np.asfortranarray(ARRAYS["a"])})


def test_a_bomb_is_refused_before_it_is_inflated():
    raw = npz.to_bytes({"a": np.zeros(10_000_000)})
    assert len(raw) < 100_000
    with pytest.raises(ModelError, match="would inflate to 80000128 bytes"):
        npz.from_bytes(raw, {"a": "<f8"}, max_bytes=10_000_000)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "expected the entries"),
        ([("a.npy", entry(ARRAYS["a"])), ("more.npy", b"")], "expected the entries"),
        ([("../a.npy", entry(ARRAYS["a"]))], "expected the entries"),
        ([("a.npy", entry(np.arange(3)))], "expected float64, found int64"),
        ([("a.npy", entry(np.array([{}], dtype=object), allow_pickle=True))], "not the arrays|expected float64"),
        ([("a.npy", entry(np.zeros(3, dtype=[("x", "<f8")])))], "expected float64"),
        ([("a.npy", entry(np.asfortranarray(ARRAYS["a"])))], "not an array of shape"),
        ([("a.npy", entry(ARRAYS["a"])[:-1])], "not an array of shape"),
        ([("a.npy", entry(ARRAYS["a"]) + b"x")], "not an array of shape"),
        ([("a.npy", entry(ARRAYS["a"]).replace(b"(2, 3)", b"(2,-3)"))], "not the arrays|not an array of shape"),
        ([("a.npy", entry(ARRAYS["a"]).replace(b"(2, 3)", b"(9**9)"))], "not the arrays"),
        ([("a.npy", entry(ARRAYS["a"], version=(2, 0)))], "version 1.0"),
        ([("a.npy", b"\x93NUMPY")], "not the arrays"),
        ([("a.npy", b"")], "not the arrays"),
    ],
)
def test_what_is_not_the_expected_arrays_is_refused(entries, message):
    with pytest.raises(ModelError, match=message):
        npz.from_bytes(zipped(entries), {"a": "<f8"})


def test_pickles_are_never_loaded():
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    raw = zipped([("a.npy", entry(np.array([Trap()], dtype=object), allow_pickle=True))])
    with pytest.raises(ModelError):
        npz.from_bytes(raw, {"a": "<f8"})
