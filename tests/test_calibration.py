"""Calibration: rising, between 0 and 1, and close to the truth on rows it has not seen."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from realbogus.calibration import Calibration, at_prior, fit_calibration, fit_isotonic, fit_logistic
from realbogus.errors import ModelError

FITS = {"isotonic": fit_isotonic, "logistic": fit_logistic}


def drawn(n, seed=0):
    """Scores whose true probability is known, and what they turned out to be."""
    random = np.random.default_rng(seed)
    score = random.beta(1.5, 1.5, n).round(4)
    truth = 1 / (1 + np.exp(-(3 * np.log((score + 1e-3) / (1.001 - score)) - 0.7)))
    return score, random.random(n) < truth, truth


@pytest.fixture(params=FITS)
def fit(request):
    return FITS[request.param]


def test_probabilities_come_near_the_truth(fit):
    score, is_real, _ = drawn(8000)
    fresh, _, truth = drawn(3000, seed=1)
    assert np.abs(fit(score, is_real)(fresh) - truth).mean() < 0.03


def test_the_curve_rises_and_stays_inside_0_and_1(fit):
    score, is_real, _ = drawn(500)
    p = fit(score, is_real)(np.linspace(0, 1, 1001))
    assert (np.diff(p) >= 0).all()
    assert p[0] > 0
    assert p[-1] < 1


def test_the_order_of_rows_does_not_matter(fit):
    score, is_real, _ = drawn(600)
    shuffled = np.random.default_rng(2).permutation(600)
    grid = np.linspace(0, 1, 101)
    np.testing.assert_allclose(
        fit(score, is_real)(grid), fit(score[shuffled], is_real[shuffled])(grid), rtol=0, atol=1e-12
    )


def test_weights_count_as_copies(fit):
    score, is_real, _ = drawn(300)
    copies = np.random.default_rng(3).integers(1, 4, 300)
    weighted = fit(score, is_real, copies.astype(float))
    copied = fit(np.repeat(score, copies), np.repeat(is_real, copies))
    np.testing.assert_allclose(weighted.prior, copied.prior)
    np.testing.assert_allclose(weighted(score), copied(score), atol=1e-9)


def test_isotonic_is_that_of_scikit_learn_where_its_steps_are():
    score, is_real, _ = drawn(2000)
    ours = fit_isotonic(score, is_real)
    theirs = IsotonicRegression().fit(score, is_real)
    inside = (score > 0.2) & (score < 0.8)
    assert np.abs(ours(score[inside]) - theirs.predict(score[inside])).mean() < 0.02  # ours has slopes, not steps


def test_logistic_is_the_maximum_of_its_likelihood():
    score, is_real, _ = drawn(400)
    x = np.log(np.clip(score, 5e-4, 1 - 5e-4) / (1 - np.clip(score, 5e-4, 1 - 5e-4)))
    target = np.where(is_real, (is_real.sum() + 1) / (is_real.sum() + 2), 1 / ((~is_real).sum() + 2))

    def loss(ab):
        z = ab[0] * x + ab[1]
        return (np.logaddexp(0, z) - target * z).sum()

    a, b = minimize(loss, [1, 0]).x
    knots = fit_logistic(score, is_real)
    middle = knots.score[64:193]
    np.testing.assert_allclose(knots(middle), 1 / (1 + np.exp(-(a * np.log(middle / (1 - middle)) + b))), atol=1e-4)


def test_few_rows_get_a_logistic_curve_and_many_an_isotonic_one():
    assert fit_calibration(*drawn(4999)[:2]).kind == "logistic"
    assert fit_calibration(*drawn(5000)[:2]).kind == "isotonic"


def test_a_ranking_that_is_upside_down_is_not_turned_round():
    score, is_real, _ = drawn(500)
    p = fit_logistic(1 - score, is_real)(np.array([0.1, 0.9]))
    assert p[0] == p[1]


def test_one_class_alone_cannot_be_calibrated():
    with pytest.raises(ModelError, match="both classes"):
        fit_logistic(np.array([0.2, 0.4]), np.array([True, True]))


def test_perfectly_parted_classes_do_not_break_the_fit(fit):
    score = np.concatenate([np.full(50, 0.0), np.full(50, 1.0)])
    p = fit(score, score > 0.5)(np.array([0.0, 0.5, 1.0]))
    assert 0 < p[0] <= p[1] <= p[2] < 1


def test_it_round_trips_through_json(fit):
    before = fit(*drawn(700)[:2])
    after = Calibration.from_json(json.loads(json.dumps(before.to_json())))
    grid = np.linspace(0, 1, 333)
    np.testing.assert_array_equal(after(grid), before(grid))
    assert (after.kind, after.prior, after.rows) == (before.kind, before.prior, before.rows)


def test_missing_scores_stay_missing(fit):
    assert np.isnan(fit(*drawn(700)[:2])(np.array([np.nan]))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [0.0, 0.5, 0.9]}, "from 0 to 1"),
        ({"score": [0.0, 0.0, 1.0]}, "from 0 to 1"),
        ({"score": [0.0, 0.7]}, "knots"),
        ({"score": 3.0}, "knots"),
        ({"p_real": [0.5, 0.4, 0.6]}, "fall"),
        ({"p_real": [-0.1, 0.4, 0.6]}, "leave"),
        ({"p_real": [0.1, 0.4, 1.6]}, "leave"),
        ({"p_real": [0.1, float("nan"), 0.6]}, "not finite"),
        ({"p_real": ["a", "b", "c"]}, "calibration"),
        ({"prior": "x"}, "calibration"),
        ({"rows": None}, "calibration"),
    ],
)
def test_what_is_not_a_calibration_is_refused(change, message):
    sound = {"kind": "logistic", "prior": 0.5, "rows": 9, "score": [0.0, 0.5, 1.0], "p_real": [0.1, 0.4, 0.9]}
    Calibration.from_json(sound)
    with pytest.raises(ModelError, match=message):
        Calibration.from_json(sound | change)
    with pytest.raises(ModelError):
        Calibration.from_json({name: value for name, value in sound.items() if name not in change})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=40).filter(
        lambda rows: len({is_real for _, is_real in rows}) == 2
    )
)
def test_any_scores_give_a_sound_curve(rows):
    score, is_real = np.array([s for s, _ in rows]), np.array([r for _, r in rows])
    for fit in FITS.values():
        p = fit(score, is_real)(np.linspace(0, 1, 11))
        assert ((p > 0) & (p < 1)).all()


def test_the_prior_correction_restores_calibration_at_another_base_rate():
    score, is_real, _ = drawn(40_000)
    calibration = fit_logistic(score, is_real)
    random = np.random.default_rng(4)
    keep = ~is_real | (random.random(len(score)) < 0.05)
    rare = at_prior(calibration(score[keep]), calibration.prior, is_real[keep].mean())
    assert abs(rare.mean() - is_real[keep].mean()) < 0.005
    assert abs(calibration(score[keep]).mean() - is_real[keep].mean()) > 0.05
    np.testing.assert_allclose(at_prior(rare, is_real[keep].mean(), calibration.prior), calibration(score[keep]))
