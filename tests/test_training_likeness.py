"""Simulated alerts beside packets: which are drawn, that they help to fit, and that none of them is judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from model_cases import FEATURE_SET, QUICK, examples
from sklearn.metrics import roc_auc_score

from realbogus.cli import main
from realbogus.errors import LabelError
from realbogus.model import model_from
from realbogus.training import likeness, studies
from realbogus.training.examples import joined
from realbogus.training.fit import Recipe, fit, out_of_fold, train
from realbogus.training.held_out import held_out
from realbogus.training.likeness import alike, odds
from realbogus.training.noise import with_wrong_labels
from realbogus.training.package import package
from realbogus.training.report import report
from realbogus.training.splits import SPLITS, UNTESTED, can_split, folds

MIXED = replace(QUICK, alike=120, simulated_weight=0.3)


def mixed(strange=2.0):
    """240 packets and 600 simulated alerts, half of which lie far off in features that tell nothing else."""
    made = examples(600, source="simulated", seed=1)
    X = made.X.copy()
    X[::2, 10:20] += strange
    return joined([examples(240), replace(made, X=X)])


def test_the_odds_are_the_ratio_of_the_densities():
    random = np.random.default_rng(3)
    packets, made = random.normal(1.0, 1.0, (3000, 1)), random.normal(0.0, 1.0, (3000, 1))
    found = np.log(odds(packets.astype(np.float32), made.astype(np.float32), 1))
    true = made[:, 0] - 0.5  # of two normal distributions of width 1
    middle = np.abs(true) < 1.5
    assert np.corrcoef(found[middle], true[middle])[0, 1] > 0.7
    assert abs(np.mean(found[middle] - true[middle])) < 0.15


def test_packets_stay_and_the_strange_are_hardly_drawn():
    table = mixed()
    strange = table.simulated() & (np.nanmean(table.X[:, 10:20], axis=1) > 1)
    chosen = alike(table, 120, seed=1)
    assert (~chosen.simulated()).sum() == 240
    assert chosen.simulated().sum() == 120
    assert chosen.is_real[chosen.simulated()].sum() == 60
    drawn = np.isin(table.candid, chosen.candid)
    assert strange.sum() > 250
    assert drawn[strange].sum() < 40  # 60 by an even draw


def test_where_all_look_alike_the_draw_is_even():
    table = mixed(strange=0.0)
    half = np.arange(600) % 2 == 0
    drawn = np.isin(table.candid, alike(table, 200, seed=1).candid)[table.simulated()]
    order = np.argsort(np.argsort(table.candid[table.simulated()]))
    assert 70 < drawn[half[order]].sum() < 130


def test_fewer_than_asked_for_are_all_taken_and_a_table_of_one_sort_stays():
    table = mixed()
    assert len(alike(table, 10**6, seed=1)) == len(table)
    for alone in (examples(240), examples(240, source="simulated")):
        assert alike(alone, 100, seed=1) is alone


def test_more_than_can_be_looked_at_are_thinned_first(monkeypatch):
    monkeypatch.setattr(likeness, "MOST", 50)
    assert alike(mixed(), 400, seed=1).simulated().sum() == 100


def test_the_same_draw_whatever_the_threads_and_another_by_another_seed():
    table = mixed()
    drawn = [set(alike(table, 120, seed, threads).candid.tolist()) for seed, threads in ((1, 1), (1, 2), (2, 1))]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_forest_is_that_of_the_drawn_rows():
    table = mixed()
    whole, drawn = fit(table, MIXED), fit(alike(table, 120, MIXED.seed), replace(MIXED, alike=0))
    np.testing.assert_array_equal(whole.threshold, drawn.threshold)
    assert not np.array_equal(whole.threshold, fit(table, replace(MIXED, alike=0)).threshold)


@pytest.mark.parametrize("split", SPLITS)
def test_simulated_rows_beside_packets_are_tested_in_no_split(split):
    table = mixed()
    fold = folds(table, split, 3, seed=1)
    assert (fold[table.simulated()] == UNTESTED).all()
    np.testing.assert_array_equal(fold[~table.simulated()], folds(joined([examples(240)]), split, 3, seed=1))
    assert can_split(table, split) == can_split(examples(240), split)


def test_wrong_labels_are_those_of_packets():
    table = mixed()
    turned = with_wrong_labels(table, 0.1, seed=1).is_real != table.is_real
    assert turned[~table.simulated()].sum() == 24
    assert not turned[table.simulated()].any()


def test_a_model_of_both_is_judged_on_packets_by_training_and_evaluation_alike(monkeypatch):
    monkeypatch.setattr(likeness, "TREES", 4)
    table = mixed()
    result = train(table, MIXED, threads=1)
    files = package("both", "1", FEATURE_SET, table, result)
    model = model_from(files)
    assert set(result.metrics) == {"judged_on", "splits", "baselines", "best_single_feature"}
    assert "For each forest 120 simulated alerts are drawn" in files["card.md"].decode()
    judged = held_out(model, table)
    assert judged.warnings == ()
    assert "600 simulated alerts helped to fit them" in judged.how
    assert len(judged.examples) == 240
    told = report(model, judged, quick=True)
    assert told["data"]["rows"] == 240
    assert told["figures"]["auc"] == result.metrics["splits"]["exposures"]["overall"]["auc"]


def test_studies_fit_with_the_simulated_rows_and_judge_packets(monkeypatch):
    monkeypatch.setattr(likeness, "TREES", 4)
    monkeypatch.setattr(studies, "SHARES", (0.5, 1.0))
    table = mixed()
    counted, fold = ~table.simulated(), folds(table, "exposures", 3, seed=1)
    grouped = out_of_fold(table, fold, MIXED)[counted]
    assert np.isfinite(grouped).all()
    curve = studies.learning_curve(table, fold, MIXED)
    assert curve[-1]["rows"] == 160 > curve[0]["rows"]
    assert curve[-1]["auc"] == pytest.approx(roc_auc_score(table.is_real[counted], grouped), abs=1e-6)
    leak = studies.leakage(table, grouped, MIXED)["random_minus_grouped"]["auc"]
    assert leak["low"] < leak["value"] < leak["high"]


def test_without_its_simulated_alerts_the_evaluation_warns(monkeypatch):
    monkeypatch.setattr(likeness, "TREES", 4)
    table = mixed()
    model = model_from(package("both", "1", FEATURE_SET, table, train(table, MIXED, threads=1)))
    assert "840 rows there, 240 here" in held_out(model, examples(240)).warnings[0]


def test_a_model_of_packets_alone_is_not_helped_by_simulated_alerts():
    alone = joined([examples(240)])
    model = model_from(package("alone", "1", FEATURE_SET, alone, train(alone, QUICK, threads=1)))
    found = held_out(model, mixed())
    np.testing.assert_array_equal(found.score, held_out(model, alone).score)
    assert found.warnings == ("600 simulated alerts beside packets had no part in this",)


def test_a_negative_number_is_refused():
    with pytest.raises(LabelError, match="alike should be at least 0"):
        Recipe(alike=-1)


@pytest.mark.parametrize("given", [["--packets", "x", "--manifest", "y"], ["--simulated", "x"]])
def test_the_command_wants_both_sorts_to_draw(given, capsys):
    assert main(["train", *given, "--alike", "100", "--name", "mine", "--version", "1"]) == 2
    assert "--alike draws simulated alerts" in capsys.readouterr().err
