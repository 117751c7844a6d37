"""The forest: equal to scikit-learn to the last bit, and safe whatever its arrays say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingRegressor, RandomForestClassifier

from realbogus.errors import ModelError
from realbogus.forest import Boosting, Forest, plain_contributions, plain_score
from realbogus.forest_layout import rounded_down

N_FEATURES = 12


def rows(n, seed=0, missing=0.1):
    """Feature rows with missing values, ties and extremes."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, N_FEATURES)).astype(np.float32)
    X[:, 3] = X[:, 3].round()
    X[random.random(X.shape) < missing] = np.nan
    X[:1, 5] = np.finfo(np.float32).max
    X[:1, 6] = np.finfo(np.float32).min
    return X


def labels(X, seed=1):
    """Labels that depend on several features and on what is missing, with noise."""
    noise = np.random.default_rng(seed).normal(size=len(X))
    return (np.nan_to_num(X[:, :4]).clip(-9, 9).sum(axis=1) + np.isnan(X[:, 0]) + 0.5 * noise > 0.3).astype(int)


def fitted(kind=RandomForestClassifier, missing=0.1, **settings):
    X = rows(400, missing=missing)
    return kind(**{"n_estimators": 40, "random_state": 3, "n_jobs": 1} | settings).fit(X, labels(X))


def just_above(x):
    return np.nextafter(x, np.float32(9), where=x < 9, out=x.copy())


KINDS = {
    "random forest": lambda: fitted(),
    "extra trees": lambda: fitted(ExtraTreesClassifier),
    "trained without missing values": lambda: fitted(missing=0.0),
    "weighted classes": lambda: fitted(class_weight="balanced", min_samples_leaf=3),
    "bootstrap weights": lambda: fitted(class_weight="balanced_subsample", max_features=0.5),
    "stumps": lambda: fitted(max_depth=1),
    "one tree": lambda: fitted(n_estimators=1),
}


@pytest.fixture(scope="module", params=KINDS, ids=str)
def both(request):
    """A fitted scikit-learn forest and ours made of it."""
    theirs = KINDS[request.param]()
    return theirs, Forest.from_sklearn(theirs)


@pytest.fixture(scope="module")
def forest():
    return Forest.from_sklearn(fitted(n_estimators=8))


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 256, 257, 700])
def test_scores_are_those_of_scikit_learn_to_the_last_bit(both, n):
    theirs, ours = both
    X = rows(n, seed=n)
    np.testing.assert_array_equal(ours.score(X), theirs.predict_proba(X)[:, 1])


def test_the_plain_walk_gives_the_same_bits(both):
    theirs, ours = both
    X = rows(150, seed=5)
    np.testing.assert_array_equal(plain_score(ours, X), theirs.predict_proba(X)[:, 1])
    np.testing.assert_array_equal(plain_contributions(ours, X), ours.contributions(X))


def test_a_batch_gives_what_single_rows_give(both):
    _, ours = both
    X = rows(300, seed=6)
    one_by_one = [ours.score(X[i : i + 1]) for i in range(len(X))]
    np.testing.assert_array_equal(ours.score(X), np.concatenate(one_by_one))
    shares = [ours.contributions(X[i : i + 1]) for i in range(len(X))]
    np.testing.assert_array_equal(ours.contributions(X), np.concatenate(shares))


def test_base_and_contributions_add_up_to_the_score(both):
    _, ours = both
    X = rows(300, seed=7)
    np.testing.assert_allclose(ours.base + ours.contributions(X).sum(axis=1), ours.score(X), atol=1e-12)


def test_values_at_and_beside_every_threshold_go_where_scikit_learn_sends_them():
    theirs = fitted(n_estimators=5)
    ours = Forest.from_sklearn(theirs)
    inner = ours.left >= 0
    near = rounded_down(ours.threshold[inner])
    X = rows(3 * len(near), seed=8)
    X[np.arange(len(near)), ours.feature[inner]] = near
    X[len(near) + np.arange(len(near)), ours.feature[inner]] = just_above(near)
    np.testing.assert_array_equal(ours.score(X), theirs.predict_proba(X)[:, 1])


def test_only_missing_goes_right_is_kept_without_an_infinite_threshold():
    X = rows(400, missing=0.5)
    theirs = RandomForestClassifier(20, random_state=0).fit(X, np.isnan(X[:, 0]) ^ np.isnan(X[:, 1]))
    assert any(np.isinf(tree.tree_.threshold).any() for tree in theirs.estimators_)
    ours = Forest.from_sklearn(theirs, real=True)
    assert np.isfinite(ours.threshold).all()
    np.testing.assert_array_equal(ours.score(X), theirs.predict_proba(X)[:, 1])


def test_a_row_of_nothing_but_missing_values_is_scored(both):
    theirs, ours = both
    X = np.full((3, N_FEATURES), np.nan, dtype=np.float32)
    np.testing.assert_array_equal(ours.score(X), theirs.predict_proba(X)[:, 1])


def test_infinities_compare_like_numbers(forest):
    X = np.full((2, N_FEATURES), np.inf, dtype=np.float32)
    X[1] = -np.inf
    large = np.nan_to_num(X)
    np.testing.assert_array_equal(forest.score(X), plain_score(forest, X))
    np.testing.assert_array_equal(forest.score(X[1:]), forest.score(large[1:]))


def test_input_is_not_changed_and_may_be_read_only_or_of_any_order(forest):
    X = rows(100, seed=9)
    want, before = forest.score(X), X.copy()
    X.flags.writeable = False
    np.testing.assert_array_equal(forest.score(X), want)
    np.testing.assert_array_equal(forest.score(np.asfortranarray(X)), want)
    np.testing.assert_array_equal(forest.score(X.astype(np.float64)), want)
    np.testing.assert_array_equal(X, before)


def test_no_rows_give_no_scores(forest):
    X = np.empty((0, N_FEATURES), dtype=np.float32)
    assert forest.score(X).shape == (0,)
    assert forest.contributions(X).shape == (0, N_FEATURES)


def test_rows_of_another_width_are_a_mistake(forest):
    with pytest.raises(ValueError, match=r"takes \(N, 12\) features, not \(5, 11\)"):
        forest.score(np.zeros((5, 11), dtype=np.float32))


def test_the_class_that_counts_is_named_and_comes_last():
    X = rows(300)
    named = np.array(["bogus", "real", "variable"])[labels(X) + (X[:, 7] > 1)]
    theirs = RandomForestClassifier(10, random_state=0).fit(X, named)
    ours = Forest.from_sklearn(theirs, real="real")
    np.testing.assert_array_equal(ours.score(X), theirs.predict_proba(X)[:, 1])
    with pytest.raises(ModelError, match="knows the classes"):
        Forest.from_sklearn(theirs, real="star")


def test_thresholds_are_rounded_down_to_float32():
    threshold = np.array([0.1, -0.1, 1.0, 1 / 3, -1 / 3, 0.0, 1e-60, -1e-60])
    rounded = rounded_down(threshold)
    assert (rounded.astype(np.float64) <= threshold).all()
    assert (just_above(rounded).astype(np.float64) > threshold).all()
    np.testing.assert_array_equal(rounded_down(np.array([1e300, -1e300])), [np.finfo(np.float32).max, -np.inf])


def test_its_arrays_cannot_be_written(forest):
    with pytest.raises(ValueError, match="read-only"):
        forest.value[0, 0] = 1


def test_a_forest_round_trips_through_its_arrays(forest):
    again = Forest.from_arrays(forest.arrays(), forest.n_features)
    X = rows(50)
    np.testing.assert_array_equal(again.score(X), forest.score(X))


def boosting(missing=0.1, **settings):
    """Gradient boosting by squared loss of the rows that `fitted` learns from."""
    X = rows(400, missing=missing)
    chosen = {"max_iter": 30, "max_leaf_nodes": 8, "early_stopping": False} | settings
    return HistGradientBoostingRegressor(**chosen).fit(X, labels(X).astype(float))


def both_scores(votes, added, X, share):
    """What scikit-learn's own predictions make of a score with boosted trees."""
    return np.clip((1 - share) * votes.predict_proba(X)[:, 1] + share * added.predict(X), 0, 1)


BOOSTED = {
    "boosted": lambda: (fitted(ExtraTreesClassifier), boosting(), 0.5),
    "boosted without missing values": lambda: (fitted(missing=0.0), boosting(missing=0.0), 0.5),
    "boosted stumps with a quarter": lambda: (fitted(n_estimators=3), boosting(max_leaf_nodes=2), 0.25),
    "one leaf": lambda: (fitted(n_estimators=3), boosting(max_iter=1, min_samples_leaf=300), 0.5),
}


@pytest.fixture(scope="module", params=BOOSTED, ids=str)
def ensemble(request):
    """What scikit-learn fitted, the boosted trees' share, and the forest of both."""
    votes, added, share = BOOSTED[request.param]()
    return votes, added, share, Forest.from_sklearn(votes).boosted(added, share)


@pytest.mark.parametrize("n", [1, 64, 65, 700])
def test_boosted_trees_add_what_scikit_learn_predicts_to_the_last_bit(ensemble, n):
    votes, added, share, ours = ensemble
    X = rows(n, seed=n)
    X[-1] = np.nan
    want = both_scores(votes, added, X, share)
    np.testing.assert_array_equal(ours.score(X), want)


def test_boosted_scores_do_not_depend_on_the_batch_and_are_those_of_the_plain_walk(ensemble):
    ours = ensemble[-1]
    X = rows(300, seed=5)
    np.testing.assert_array_equal(ours.score(X), plain_score(ours, X))
    np.testing.assert_array_equal(ours.contributions(X), plain_contributions(ours, X))
    np.testing.assert_array_equal(ours.score(X), np.concatenate([ours.score(X[i : i + 7]) for i in range(0, 300, 7)]))


def test_values_at_and_beside_thresholds_of_boosted_trees_go_where_scikit_learn_sends_them():
    votes, added = fitted(n_estimators=2), boosting(max_iter=10)
    ours = Forest.from_sklearn(votes).boosted(added, 0.5)
    inner = np.flatnonzero(ours.left[ours.offset[ours.votes] :] >= 0) + ours.offset[ours.votes]
    near = rounded_down(ours.threshold[inner])
    X = rows(2 * len(near), seed=8)
    X[np.arange(len(near)), ours.feature[inner]] = near
    X[len(near) + np.arange(len(near)), ours.feature[inner]] = just_above(near)
    np.testing.assert_array_equal(ours.score(X), both_scores(votes, added, X, 0.5))


def test_base_and_contributions_add_up_to_the_boosted_score_before_its_ends_are_cut(ensemble):
    ours = ensemble[-1]
    X = rows(300, seed=7)
    told = ours.base + ours.contributions(X).sum(axis=1)
    np.testing.assert_allclose(np.clip(told, 0, 1), ours.score(X), atol=1e-12)


def test_the_spread_is_that_of_the_trees_that_vote(ensemble):
    votes, _, _, ours = ensemble
    X = rows(50, seed=4)
    np.testing.assert_array_equal(ours.spread(X), Forest.from_sklearn(votes).spread(X))


def test_a_boosted_forest_round_trips_through_arrays_and_json(ensemble):
    ours = ensemble[-1]
    again = Forest.from_arrays(ours.arrays(), ours.n_features, Boosting.from_json(ours.boosting.to_json()))
    np.testing.assert_array_equal(again.score(rows(50)), ours.score(rows(50)))


@pytest.fixture(scope="module")
def mixed():
    return Forest.from_sklearn(fitted(n_estimators=4)).boosted(boosting(max_iter=4), 0.5)


@pytest.mark.parametrize(
    ("claimed", "message"),
    [
        (Boosting(), "a class share outside 0 to 1"),
        (Boosting(5, 0.5, 0.2), "adds to classes what does not sum to 0"),
        (Boosting(8, 0.5, 0.2), "at least one has to vote"),
        (Boosting(-4, 0.5, 0.2), "at least one has to vote"),
        (Boosting(4, 0.0, 0.2), "cannot have the share"),
        (Boosting(4, 1.0, 0.2), "cannot have the share"),
        (Boosting(4, np.nan, 0.2), "cannot have the share"),
        (Boosting(4, 0.5, np.nan), "cannot start from"),
        (Boosting(4, 0.5, 1e300), "cannot start from"),
    ],
)
def test_boosting_that_does_not_fit_its_trees_is_refused(mixed, claimed, message):
    with pytest.raises(ModelError, match=message):
        Forest.from_arrays(mixed.arrays(), mixed.n_features, claimed)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([-np.nan, np.nan], r"node \d+ adds more than 1 to a class"),
        ([np.inf, -np.inf], "adds more than 1 to a class"),
        ([-1.5, 1.5], "adds more than 1 to a class"),
        ([0.25, 0.75], "adds to classes what does not sum to 0"),
    ],
)
def test_what_no_boosted_tree_adds_is_refused(mixed, row, message):
    arrays = {key: array.copy() for key, array in mixed.arrays().items()}
    arrays["value"][-1] = row
    with pytest.raises(ModelError, match=message):
        Forest.from_arrays(arrays, mixed.n_features, mixed.boosting)


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        [],
        {"trees": 4, "share": 0.5},
        {"trees": 4.0, "share": 0.5, "start": 0},
        {"trees": 0, "share": 0.5, "start": 0},
        {"trees": True, "share": 0.5, "start": 0},
        {"trees": 4, "share": "half", "start": 0},
    ],
)
def test_an_entry_that_is_not_of_boosted_trees_is_refused(told):
    with pytest.raises(ModelError, match="boosting"):
        Boosting.from_json(told)


# What a damaged file might hold: name, where, what it is set to, what the message says.
INNER, LEAF = "first inner node", "first leaf"
DAMAGE = [
    ("left", INNER, 10**9, "a child outside its tree"),
    ("right", INNER, 10**9, "a child outside its tree"),
    ("left", INNER, 0, "a child that is not after it"),
    ("right", INNER, 0, "a child that is not after it"),
    ("left", INNER, -1, "one child"),
    ("right", INNER, -1, "one child"),
    ("left", INNER, -7, "a child that is not after it"),
    ("left", LEAF, 5, "one child"),
    ("feature", INNER, -1, "a feature that is not there"),
    ("feature", INNER, N_FEATURES, "a feature that is not there"),
    ("threshold", INNER, np.nan, "a threshold that is not finite"),
    ("threshold", INNER, np.inf, "a threshold that is not finite"),
    ("missing_left", INNER, 2, "left or right for missing values"),
    ("count", LEAF, -1, "counts less than no rows"),
    ("value", LEAF, np.nan, "a class share outside 0 to 1"),
    ("value", LEAF, -0.5, "a class share outside 0 to 1"),
    ("value", LEAF, 7.0, "a class share outside 0 to 1"),
    ("value", LEAF, 0.25, "class shares that do not sum to 1"),
]


@pytest.mark.parametrize(("name", "where", "what", "message"), DAMAGE)
def test_a_damaged_node_is_refused(forest, name, where, what, message):
    arrays = {key: array.copy() for key, array in forest.arrays().items()}
    node = int(np.argmax((arrays["left"] >= 0) == (where == INNER)))
    arrays[name][node] = what
    with pytest.raises(ModelError, match=message):
        Forest.from_arrays(arrays, forest.n_features)


def test_a_node_that_is_reached_twice_is_refused(forest):
    arrays = {key: array.copy() for key, array in forest.arrays().items()}
    arrays["right"][0] = arrays["left"][0]
    with pytest.raises(ModelError, match="reached twice or never"):
        Forest.from_arrays(arrays, forest.n_features)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offset": lambda a: a[::-1].copy()}, "offset should run"),
        ({"offset": lambda a: np.concatenate([a[:1], a[:1], a[2:]])}, "nodes, not between"),
        ({"offset": lambda a: a[:-1]}, "offset should have shape"),
        ({"depth": lambda a: a + 1}, "says depth"),
        ({"depth": lambda a: a[:0]}, "0 trees"),
        ({"left": lambda a: a[:-1]}, "should have shape"),
        ({"value": lambda a: a[:, 0]}, "value should have shape"),
        ({"value": lambda a: a[:, :1]}, "value should have shape"),
        ({"value": lambda a: a.astype(np.float32)}, "value should be float64"),
        ({"left": lambda a: a.astype(object)}, "left should be int32"),
    ],
)
def test_arrays_of_wrong_shape_type_or_order_are_refused(forest, change, message):
    arrays = dict(forest.arrays())
    for name, how in change.items():
        arrays[name] = how(arrays[name])
    with pytest.raises(ModelError, match=message):
        Forest.from_arrays(arrays, forest.n_features)


def test_missing_and_unknown_arrays_are_refused(forest):
    arrays = forest.arrays()
    with pytest.raises(ModelError, match="expected the arrays"):
        Forest.from_arrays({**arrays, "extra": arrays["left"]}, N_FEATURES)
    with pytest.raises(ModelError, match="expected the arrays"):
        Forest.from_arrays({"left": arrays["left"]}, N_FEATURES)


@pytest.mark.parametrize("n_features", [0, 10**6])
def test_absurd_numbers_of_features_are_refused(forest, n_features):
    with pytest.raises(ModelError, match="features, not between"):
        Forest.from_arrays(forest.arrays(), n_features)


def chain(steps):
    """The arrays of one tree of this depth, as lean as can be."""
    nodes = 2 * steps + 1
    left, right = np.full(nodes, -1, "<i4"), np.full(nodes, -1, "<i4")
    inner = np.arange(steps) * 2
    left[inner], right[inner] = inner + 1, inner + 2
    return {
        "offset": np.array([0, nodes], "<i8"),
        "depth": np.array([steps], "<i4"),
        "left": left,
        "right": right,
        "feature": np.where(left < 0, -1, 0).astype("<i4"),
        "threshold": np.zeros(nodes),
        "missing_left": np.zeros(nodes, "u1"),
        "count": np.ones(nodes, "<i4"),
        "value": np.tile([0.5, 0.5], (nodes, 1)),
    }


def test_a_tree_too_deep_to_be_honest_is_refused():
    Forest.from_arrays(chain(512), 1)
    with pytest.raises(ModelError, match="deeper than 512"):
        Forest.from_arrays(chain(513), 1)


def test_too_many_trees_are_refused():
    n = 5001
    lone = {name: np.repeat(array, n, axis=0) for name, array in chain(0).items() if name != "offset"}
    with pytest.raises(ModelError, match="5001 trees"):
        Forest.from_arrays({**lone, "offset": np.arange(n + 1)}, 1)


FLIP = st.tuples(st.integers(0, 8), st.floats(0, 1, exclude_max=True), st.integers(0, 7))  # array, place, bit


@settings(max_examples=150, deadline=None)
@given(boosted=st.booleans(), flips=st.lists(FLIP, min_size=1, max_size=3))
def test_flipped_bytes_are_refused_or_harmless(forest, mixed, boosted, flips):
    sound = mixed if boosted else forest
    arrays = {key: array.copy() for key, array in sound.arrays().items()}
    for which, place, bit in flips:
        raw = arrays[sorted(arrays)[which]].reshape(-1).view(np.uint8)
        raw[int(place * len(raw))] ^= 1 << bit
    try:
        damaged = Forest.from_arrays(arrays, sound.n_features, sound.boosting)
    except ModelError:
        return
    X = rows(70)
    np.testing.assert_array_equal(damaged.score(X), plain_score(damaged, X))


SURVIVES = """
import sys
import numpy as np
from realbogus.errors import ModelError
from realbogus.forest import Forest, plain_score
with np.load(sys.argv[1]) as file:
    sound = dict(file)
random, refused = np.random.default_rng(11), 0
X = random.normal(size=(70, 12)).astype(np.float32)
for _ in range(400):
    arrays = {name: array.copy() for name, array in sound.items()}
    raw = arrays[random.choice(sorted(arrays))].reshape(-1).view(np.uint8)
    raw[random.integers(len(raw), size=random.integers(1, 20))] = random.integers(256)
    try:
        forest = Forest.from_arrays(arrays, 12)
        assert np.array_equal(forest.score(X), plain_score(forest, X))
    except ModelError:
        refused += 1
print(refused)
"""


def test_a_process_survives_hundreds_of_damaged_forests(forest, tmp_path: Path):
    np.savez(tmp_path / "sound.npz", **forest.arrays())
    done = subprocess.run([sys.executable, "-c", SURVIVES, tmp_path / "sound.npz"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 200


def test_serving_does_not_import_scikit_learn():
    code = "import sys, realbogus.model, realbogus.registry, realbogus.forest_layout; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
