"""Priors and cuts without labels: on made-up nights whose truth is known, they keep what they promise."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cases import files, write

from realbogus import tables
from realbogus.budget import ScoredNights, for_budget, for_fpr, for_purity
from realbogus.calibration import at_prior, estimated_prior, fit_calibration
from realbogus.cli import main
from realbogus.errors import ConfigError, LabelError
from realbogus.model import model_from
from realbogus.training.evaluate import ece


def drawn(n, share, seed):
    """Scores of alerts of which this share is real, and which are."""
    random = np.random.default_rng(seed)
    is_real = random.random(n) < share
    return np.where(is_real, random.beta(5, 1.3, n), random.beta(1.2, 6, n)).round(6), is_real


@pytest.fixture(scope="module")
def calibration():
    """Fitted where real and bogus are as many."""
    return fit_calibration(*drawn(200_000, 0.5, 0))


def nights(calibration, count, alerts, share, seed):
    score, is_real = drawn(count * alerts, share, seed)
    number = np.arange(count * alerts)
    found = ScoredNights(score, calibration(score), calibration.prior, number // alerts, number // 50)
    return found, is_real


# the prior


def test_a_prior_of_one_in_a_hundred_is_found_and_restores_the_calibration(calibration):
    score, is_real = drawn(200_000, 0.01, 1)
    p_real = calibration(score)
    assert ece(p_real, is_real) > 0.01  # at the training prior it promises far too much
    prior = estimated_prior(p_real, calibration.prior)
    assert abs(prior - 0.01) < 0.0015
    assert ece(at_prior(p_real, calibration.prior, prior), is_real) < 0.002


@pytest.mark.parametrize("share", [0.003, 0.05, 0.5, 0.8])
def test_the_share_of_real_is_estimated_without_labels(calibration, share):
    score, is_real = drawn(60_000, share, 2)
    assert abs(estimated_prior(calibration(score), calibration.prior) - is_real.mean()) < 0.1 * share + 0.002


def test_an_empty_night_and_one_without_real_alerts_stay_within_bounds(calibration):
    assert estimated_prior(np.array([]), 0.5) == 0.5
    assert estimated_prior(np.array([np.nan]), 0.5) == 0.5
    assert estimated_prior(np.full(1000, 1e-6), 0.5) == 1e-4
    assert estimated_prior(np.full(1000, 1 - 1e-6), 0.5) == 0.9


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=60), st.floats(0.05, 0.95))
@settings(max_examples=60)
def test_the_estimate_is_a_fixed_point_within_bounds(p_real, trained_at):
    p_real = np.array(p_real)
    prior = estimated_prior(p_real, trained_at, steps=20_000)
    assert 1e-4 <= prior <= 0.9
    again = np.clip(at_prior(p_real, trained_at, prior).mean(), 1e-4, 0.9)
    assert abs(again - prior) < 1e-4


# the cut


@pytest.mark.parametrize("budget", [10, 50, 400])
def test_a_budget_is_met_within_poisson_error_and_purity_within_its_interval(calibration, budget):
    past, _ = nights(calibration, 10, 20_000, 0.02, 3)
    cut = for_budget(past, budget)
    future, is_real = nights(calibration, 40, 20_000, 0.02, 4)
    passed = future.score >= cut.threshold
    counts = np.bincount(future.night, passed)
    error = np.sqrt(budget / 10 + budget / 40)  # of the mean of ten nights, and of forty
    assert abs(counts.mean() - budget) < 3.5 * error
    inside = (counts >= cut.per_night.low) & (counts <= cut.per_night.high)
    assert inside.mean() > 0.85
    real, both = np.bincount(future.night, is_real), np.bincount(future.night, is_real & passed)
    found = {"purity": both / counts, "completeness": both / real, "fpr": (counts - both) / (20_000 - real)}
    for name, of_nights in found.items():
        told = getattr(cut, name)
        inside = (of_nights >= told.low) & (of_nights <= told.high)
        assert inside.mean() > 0.85, name
        assert told.high - told.low <= max(8 * of_nights.std(), 1e-6), name  # and no wider than it has to be


def test_never_more_than_the_budget_passes_on_the_nights_themselves(calibration):
    past, _ = nights(calibration, 4, 2_000, 0.05, 5)
    for budget in (1, 7, 33, 1999, 5000):
        passed = (past.score >= for_budget(past, budget).threshold).sum()
        assert passed <= 4 * budget
        assert passed >= min(4 * budget, 8000) - 3  # ties alone may cost some


def test_ties_at_the_cut_are_all_refused():
    score = np.repeat([0.9, 0.5, 0.1], 10)
    past = ScoredNights(score, score, 0.5, np.zeros(30, int), np.arange(30))
    assert (score >= for_budget(past, 15).threshold).sum() == 10


def test_purity_and_false_positive_rate_are_what_was_asked_for(calibration):
    past, is_real = nights(calibration, 5, 20_000, 0.03, 6)
    cut = for_purity(past, 0.8)
    assert abs(is_real[past.score >= cut.threshold].mean() - 0.8) < 0.04
    assert cut.purity.value >= 0.8
    cut = for_fpr(past, 0.01)
    assert abs((past.score[~is_real] >= cut.threshold).mean() - 0.01) < 0.002


def test_what_no_cut_reaches_is_said():
    past = ScoredNights(np.full(50, 0.5), np.full(50, 0.01), 0.5, np.zeros(50, int), np.arange(50))
    with pytest.raises(LabelError, match=r"no cut reaches purity 0\.9"):
        for_purity(past, 0.9)
    with pytest.raises(LabelError, match="at least one alert a night"):
        for_budget(past, 0.2)
    with pytest.raises(LabelError, match="no scored alerts"):
        replace(past, score=np.array([]))


def test_nights_that_differ_widen_the_interval_of_the_next(calibration):
    even, _ = nights(calibration, 10, 2_000, 0.05, 7)
    uneven = replace(even, night=np.where(even.night < 5, 0, even.night))
    assert for_budget(even, 60).per_night.high < for_budget(uneven, 60).per_night.high


def in_parties(count, seed):
    """One in ten exposures fails, and all of its ten stars are alerts of a high score; 400 exposures a night."""
    random = np.random.default_rng(seed)
    exposure = np.repeat(np.arange(400 * count), 10)
    failed = random.random(400 * count)[exposure] < 0.1
    score = np.where(failed, 0.9, 0.1) + 0.05 * random.random(len(exposure))
    return ScoredNights(score, score, 0.5, exposure // 400, exposure)


@pytest.mark.parametrize("known", [1, 40])
def test_what_comes_by_the_exposure_scatters_by_the_exposure(known):
    past, future = in_parties(known, 1), in_parties(200, 2)
    counts = np.bincount(future.night, future.score >= 0.5)
    told = for_budget(past, 400).per_night
    assert ((counts >= told.low) & (counts <= told.high)).mean() > 0.93
    if known == 1:
        alone = for_budget(replace(past, exposure=np.arange(len(past))), 400).per_night  # as if each came by itself
        assert ((counts >= alone.low) & (counts <= alone.high)).mean() < 0.7


def test_alerts_that_all_have_the_highest_score_cannot_be_cut_down():
    """The cut would have been 1, and passed them all: 1 691 where 482 were asked for."""
    score = np.append(np.ones(30), np.linspace(0.1, 0.9, 30))
    past = ScoredNights(score, score.clip(0.01, 0.99), 0.5, np.arange(60) % 2, np.arange(60))
    with pytest.raises(LabelError, match=r"15 alerts a night have the score 1 .* at least 15"):
        for_budget(past, 14)
    assert (score >= for_budget(past, 15).threshold).sum() == 30


def test_the_same_nights_give_the_same_cut(calibration):
    past, _ = nights(calibration, 3, 3_000, 0.05, 8)
    assert for_budget(past, 20) == for_budget(past, 20)


# the command


@pytest.fixture
def scored(tmp_path):
    """A table of scores by a model that lies beside it."""
    write(tmp_path / "models" / "small" / "1", files())
    model = model_from(files())
    score, _ = drawn(4000, 0.3, 9)
    columns = {name: [None] * 4002 for name in tables.COLUMNS.names}
    columns["candid"] = list(range(4002))
    columns["survey"] = ["ztf"] * 4002
    columns["jd"] = [2460000.6 + 0.001 * (i % 40) + (i % 4) for i in range(4002)]
    columns["score"] = [*score.tolist(), None, None]
    columns["p_real"] = [*np.round(model.p_real(score), 6).tolist(), None, None]
    columns["model"] = ["small/1"] * 4000 + [None] * 2
    columns["reason"] = [None] * 4000 + ["malformed"] * 2
    columns["path"] = ["a"] * 4002
    table = pa.Table.from_pydict(columns, schema=tables.COLUMNS)
    for ending in (".parquet", ".csv", ".jsonl"):
        tables.write([table], tables.COLUMNS, tmp_path / f"scores{ending}", kind=ending)
    return tmp_path


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_the_command_tells_nights_and_the_cut_from_any_format(scored, capsys, ending):
    told = ["nights", str(scored / f"scores{ending}"), "--budget", "50", "--models", str(scored / "models")]
    assert main(told) == 0
    out = capsys.readouterr()
    lines = [json.loads(line) for line in out.out.splitlines()]
    assert [line["alerts"] for line in lines[:4]] == [1000] * 4
    assert lines[-1]["nights"] == 4
    assert abs(lines[-1]["per_night"]["value"] - 50) <= 1
    assert f"threshold = {lines[-1]['threshold']:.6f}" in out.err


def test_the_restated_table_has_two_columns_more(scored):
    told = ["nights", str(scored / "scores.parquet"), "--out", str(scored / "more.parquet")]
    assert main([*told, "--models", str(scored / "models")]) == 0
    table = tables.read(scored / "more.parquet")
    assert table.column_names == [*tables.COLUMNS.names, "prior_night", "p_real_night"]
    assert table["p_real_night"].null_count == 2
    assert len(set(table["prior_night"].to_pylist()) - {None}) == 4


@pytest.mark.parametrize(
    ("told", "code", "message"),
    [
        (["--purity", "1.5"], 2, "expected 0 to 1"),
        (["--survey", "rubin"], 1, "no scored alert of rubin, but of ztf"),
        (["--budget", "0.1"], 2, "at least one alert"),
    ],
)
def test_a_wrong_call_is_explained(scored, capsys, told, code, message):
    call = ["nights", str(scored / "scores.parquet"), "--models", str(scored / "models"), *told]
    assert main(call) == code
    assert message in capsys.readouterr().err


def test_a_file_that_is_no_table_is_refused(tmp_path, capsys):
    for name, text in (("a.parquet", "junk"), ("a.jsonl", "{"), ("a.txt", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError):
            tables.read(tmp_path / name)
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    assert main(["nights", str(tmp_path / "b.csv")]) == 1
    assert "no column score" in capsys.readouterr().err


def test_a_prior_is_found_whatever_the_share_of_real_that_calibrated():
    """Calibrated where one in five is real, used where one in fifty is."""
    calibration = fit_calibration(*drawn(100_000, 0.2, 10))
    score, is_real = drawn(100_000, 0.02, 11)
    prior = estimated_prior(calibration(score), calibration.prior)
    assert abs(prior - 0.02) < 0.003
    assert ece(at_prior(calibration(score), calibration.prior, prior), is_real) < 0.003
