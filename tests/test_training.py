"""Training: nothing leaks, nothing is hidden, and the same input gives the same bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from model_cases import FEATURE_SET, QUICK, examples, files, trained
from sklearn.metrics import brier_score_loss, roc_auc_score

from realbogus.alerts import COLUMNS
from realbogus.cli.train import _trials
from realbogus.drift import counted, psi, reference_of, shares
from realbogus.errors import ConfigError, LabelError
from realbogus.features import CATALOGUE, FEATURE_SETS
from realbogus.model import model_from
from realbogus.training import evaluate, fit
from realbogus.training.baselines import baselines
from realbogus.training.examples import check_closure, joined
from realbogus.training.fit import Recipe, out_of_fold, train, transferred, weights
from realbogus.training.package import package
from realbogus.training.search import SPACE, candidates, search, steps
from realbogus.training.splits import LATER, SPLITS, UNTESTED, folds

# the same input gives the same bytes


def test_training_twice_gives_the_same_bytes_whatever_the_threads():
    table = examples()
    again = package("small", "1", FEATURE_SET, table, train(table, QUICK, threads=2))
    assert again == files()


def test_the_order_in_which_alerts_were_read_does_not_matter():
    table = examples()
    shuffled = table.rows(np.random.default_rng(1).permutation(len(table)))
    assert joined([table]).sha256() == joined([shuffled]).sha256()
    half = np.arange(len(table)) < 100
    assert joined([table.rows(half), table.rows(~half)]).sha256() == joined([table]).sha256()


@pytest.mark.parametrize("changed", ["seed", "label", "weight", "value"])
def test_another_seed_or_table_gives_another_model(changed):
    table, recipe = examples(), QUICK
    if changed == "seed":
        recipe = replace(recipe, seed=9)
    elif changed == "label":
        table = replace(table, is_real=np.where(np.arange(len(table)) == 3, ~table.is_real, table.is_real))
    elif changed == "weight":
        table = replace(table, weight=np.where(np.arange(len(table)) == 3, 0.5, 1.0))
    else:
        X = table.X.copy()
        X[3, 0] = 9
        table = replace(table, X=X)
    assert changed == "seed" or table.sha256() != examples().sha256()
    other = package("small", "1", FEATURE_SET, table, train(table, recipe, threads=1))
    assert model_from(other).id.sha256 != model_from(files()).id.sha256


# nothing leaks


@pytest.mark.parametrize("split", ["exposures", "nights"])
def test_no_group_is_on_both_sides_of_a_split(split):
    table = examples(600)
    fold = folds(table, split, 5, seed=1)
    groups = table.group if split == "exposures" else table.night
    assert set(fold.tolist()) == set(range(5 if split == "exposures" else 4))
    for group in np.unique(groups):
        assert len(np.unique(fold[groups == group])) == 1


@pytest.mark.parametrize("split", [name for name in SPLITS if name != "later"])
def test_every_row_is_tested_once_and_classes_are_spread(split):
    table = examples(600)
    fold = folds(table, split, 3, seed=1)
    assert (fold >= 0).all()
    for number in range(3):
        assert 0.45 < table.is_real[fold == number].mean() < 0.75


def test_one_group_alone_cannot_be_split():
    table = replace(examples(60), night=np.full(60, "the only night"))
    with pytest.raises(LabelError, match="one group"):
        folds(table, "nights", 3, seed=1)


def test_the_latest_nights_are_tested_by_what_came_before_and_shares_nothing_with_them():
    table = examples(600)
    fold = folds(table, "later", 5, seed=1)
    tested = fold == 0
    assert set(fold.tolist()) == {0, UNTESTED}
    assert not set(table.group[tested]) & set(table.group[~tested])
    begun = {night: table.mjd[table.night == night].min() for night in set(table.night.tolist())}
    latest = max(begun, key=begun.__getitem__)
    assert tested[table.night == latest].all()
    assert min(tested[table.is_real].mean(), tested[~table.is_real].mean()) >= LATER


def test_no_part_of_the_sky_is_on_both_sides_of_a_split_by_field():
    table = examples(600)
    fold = folds(table, "fields", 4, seed=1)
    assert len(set(fold.tolist())) == 4
    for key in (table.field, table.group):
        assert all(len(set(fold[key == one].tolist())) == 1 for one in np.unique(key))


def test_one_night_alone_is_not_judged_by_night_nor_without_fields_by_field():
    table = replace(examples(240), night=np.full(240, "the only night"), field=np.full(240, ""))
    assert set(train(table, QUICK, threads=1).metrics["splits"]) == {"exposures", "random"}


def test_scores_out_of_fold_come_from_forests_that_did_not_see_the_row():
    """Labels that mean nothing are learnt by heart, but cannot be foretold."""
    table = examples(400)
    noise = replace(table, is_real=np.random.default_rng(2).random(400) < 0.5)
    score = out_of_fold(noise, folds(noise, "exposures", 4, seed=1), QUICK, threads=1)
    assert abs(evaluate.auc(score, noise.is_real) - 0.5) < 0.1
    assert evaluate.auc(fit.fit(noise, QUICK, 1).score(noise.X), noise.is_real) > 0.99


def test_a_label_that_rides_on_the_exposure_shows_as_a_leak():
    """Random splits reward memory of the exposure; splits by exposure do not."""
    table = examples(600)
    exposure = np.unique(table.group, return_inverse=True)[1]
    random = np.random.default_rng(3)
    looks, luck = random.normal(size=(exposure.max() + 1, table.X.shape[1])), random.random(exposure.max() + 1)
    table = replace(table, X=looks[exposure].astype(np.float32), is_real=luck[exposure] < 0.5)
    scores = {
        split: out_of_fold(table, folds(table, split, 4, seed=1), QUICK, threads=1) for split in ("random", "exposures")
    }
    assert evaluate.auc(scores["random"], table.is_real) > 0.9
    assert evaluate.auc(scores["exposures"], table.is_real) < 0.7


def test_features_may_not_read_what_made_the_labels():
    reader = next(name for name in FEATURE_SETS[FEATURE_SET] if "mag_psf" in CATALOGUE[name].columns)
    check_closure([reader], ())
    with pytest.raises(LabelError, match=f"{reader} reads mag_psf, from which labels were made"):
        check_closure([reader], ("mag_psf",))


def test_no_feature_of_any_set_reads_a_denied_column():
    for names in FEATURE_SETS.values():
        check_closure(names, ())


def test_a_feature_that_reads_a_denied_column_stops_training(monkeypatch):
    denied = next(name for name, meaning in COLUMNS.items() if meaning.denied)
    bad = replace(next(iter(CATALOGUE.values())), name="bad", columns=(denied,))
    monkeypatch.setattr("realbogus.training.examples.CATALOGUE", {**CATALOGUE, "bad": bad})
    with pytest.raises(LabelError, match=f"bad reads {denied}"):
        check_closure(["bad"], ())


# weights


def test_real_and_bogus_weigh_alike_and_simulated_as_the_recipe_says():
    table = joined([examples(200), examples(300, source="simulated", seed=1)])
    weight = weights(table, replace(QUICK, simulated_weight=0.25))
    simulated = table.simulated()
    np.testing.assert_allclose(weight[table.is_real].sum(), weight[~table.is_real].sum())
    np.testing.assert_allclose(weight[simulated].sum(), 0.25 * weight[~simulated].sum())
    np.testing.assert_allclose(weight.mean(), 1)


def test_simulated_alerts_alone_weigh_one_each_on_average():
    weight = weights(examples(200, source="simulated"), replace(QUICK, simulated_weight=0.25))
    np.testing.assert_allclose(weight.mean(), 1)


# what is judged


def test_with_packets_everything_is_judged_on_packets_alone():
    table = joined([examples(240), examples(300, source="simulated", seed=1)])
    metrics = train(table, QUICK, threads=1).metrics
    assert metrics["judged_on"] == "packets"
    assert {found["rows"] for name, found in metrics["splits"].items() if name != "later"} == {240}
    assert 0 < metrics["splits"]["later"]["rows"] < 240


def test_without_packets_simulated_alerts_are_judged():
    metrics = train(examples(240, source="simulated"), QUICK, threads=1).metrics
    assert metrics["judged_on"] == "simulated"


def test_a_model_of_simulated_alerts_tells_that_it_saw_no_packet_and_how_it_does_on_them():
    made, packets = examples(240, source="simulated", seed=1), examples(240, seed=2)
    result = train(made, QUICK, threads=1)
    untried = package("made", "1", FEATURE_SET, made, result)["card.md"].decode()
    result.metrics["transfer"] = transferred(result, packets)
    tried = package("made", "1", FEATURE_SET, made, result)["card.md"].decode()
    assert "It has seen no real packet" in untried
    assert "Nothing is known of how it does on real alerts" in untried
    assert "## On real packets" in tried
    assert "Nothing is known" not in tried
    told = result.metrics["transfer"]
    score = result.forest.score(packets.X)
    assert told["overall"]["auc"]["value"] == pytest.approx(roc_auc_score(packets.is_real, score), abs=1e-6)
    passed = (score[~packets.is_real] >= result.threshold).mean()
    assert told["at_threshold"]["fpr"]["value"] == pytest.approx(passed, abs=1e-6)
    assert f"AUC {told['overall']['auc']['value']:.3f}" in tried


def test_a_boosted_model_is_told_as_such_and_is_the_forest_alone_without():
    assert f"{QUICK.trees} extra trees and {QUICK.boosted} boosted trees on" in files()["card.md"].decode()
    table = examples()
    alone, whole = (fit.fit(table, replace(QUICK, boosted=n), 1) for n in (0, QUICK.boosted))
    assert (whole.votes, whole.trees) == (QUICK.trees, QUICK.trees + QUICK.boosted)
    np.testing.assert_array_equal(whole.value[: alone.nodes], alone.value)
    assert auc_of(whole, table) > auc_of(alone, table) - 0.02


def test_a_feature_that_no_alert_has_does_not_stop_training():
    table = examples(120)
    table.X[:, 9] = np.nan
    forest = fit.fit(table, QUICK, 1)
    assert 9 not in forest.feature[forest.left >= 0]
    fold = folds(table, "exposures", 2, 1)
    assert np.isfinite(baselines(table, table.weight, fold, 1).scores["gradient boosting"]).all()


def auc_of(forest, table):
    return roc_auc_score(table.is_real, forest.score(table.X))


def test_the_model_brings_the_scores_that_it_expects_held_out():
    reference = model_from(files()).manifest["reference"]["score"]
    table = examples()
    score = out_of_fold(table, folds(table, "exposures", QUICK.folds, QUICK.seed), QUICK, threads=1)
    assert reference == shares(score, table.is_real)
    assert psi(reference_of(model_from(files()).manifest), counted(score)) < 0.01


def test_the_model_carries_its_evidence():
    manifest = model_from(files()).manifest
    overall = manifest["metrics"]["splits"]["exposures"]["overall"]
    assert 0.7 < overall["auc"]["low"] <= overall["auc"]["value"] <= overall["auc"]["high"] <= 1
    assert manifest["training"]["sha256"] == examples().sha256()
    assert manifest["training"]["counts"]["panel"]["real"] == examples().is_real.sum()
    assert manifest["training"]["label_rules"] == ["rule of panel"]
    assert manifest["training"]["recipe"]["seed"] == QUICK.seed
    assert set(manifest["libraries"]) == {"numpy", "python", "realbogus", "scikit-learn"}


def test_the_threshold_passes_no_more_bogus_than_stated():
    result = trained()
    table = examples()
    score = out_of_fold(table, folds(table, "exposures", QUICK.folds, QUICK.seed), QUICK, threads=1)
    bogus = score[~table.is_real]
    assert (bogus >= result.threshold).mean() <= 0.05
    assert (bogus >= bogus[bogus < result.threshold].max()).mean() > 0.05
    assert [entry["stated_fpr"] for entry in result.thresholds] == list(evaluate.FPRS)
    scores = [entry["score"]["value"] for entry in result.thresholds]
    assert scores == sorted(scores, reverse=True)


def test_the_card_tells_data_results_limits_and_licence():
    card = files()["card.md"].decode()
    for words in ("rule of panel", "new nights", "| rb |", "known asteroids", "95 % intervals", "## Limits", "BSD-3"):
        assert words in card
    assert "MDR at 1 % FPR" not in card  # too few packets for that claim


def test_the_tale_of_work_done_never_outruns_its_total():
    told = []
    train(examples(), QUICK, told.append, threads=1)
    assert len(told) <= QUICK.steps()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trees": 0}, "trees"),
        ({"kind": "pine"}, "kind"),
        ({"least_leaf": 0}, "least_leaf"),
        ({"folds": 1}, "folds"),
        ({"fpr": 0.0}, "fpr"),
        ({"simulated_weight": 0.0}, "simulated_weight"),
        ({"boosted": -1}, "boosted"),
        ({"trees": 4990, "boosted": 11}, "boosted"),
        ({"boosted": 5, "boosted_leaves": 1}, "boosted_leaves"),
        ({"boosted": 5, "boosted_share": 1.0}, "boosted_share"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(LabelError, match=message):
        Recipe(**change)


def test_one_class_alone_is_refused():
    table = examples(60)
    with pytest.raises(LabelError, match="at least as many real and as many bogus"):
        train(table.rows(table.is_real), QUICK)
    with pytest.raises(LabelError, match="no labelled alerts"):
        joined([])


# figures of merit


def scored(n=500, seed=0):
    random = np.random.default_rng(seed)
    is_real = random.random(n) < 0.4
    return (random.normal(size=n) + 1.5 * is_real).round(1), is_real


def test_auc_is_that_of_scikit_learn_ties_included():
    score, is_real = scored()
    np.testing.assert_allclose(evaluate.auc(score, is_real), roc_auc_score(is_real, score))


def test_brier_is_that_of_scikit_learn():
    p, is_real = 1 / (1 + np.exp(-scored()[0])), scored()[1]
    np.testing.assert_allclose(evaluate.brier(p, is_real), brier_score_loss(is_real, p))


@pytest.mark.parametrize("fpr", [0.0, 0.01, 0.05, 0.3, 1.0])
def test_a_cut_passes_as_much_bogus_as_allowed_and_no_more(fpr):
    random = np.random.default_rng(1)
    score, is_real = random.random(800), random.random(800) < 0.5
    cut = evaluate.cut_at(fpr, score, is_real)
    passed, bogus = (score[~is_real] >= cut).sum(), (~is_real).sum()
    assert passed == int(np.floor(fpr * bogus + 1e-9))
    assert cut == round(cut, 6)
    np.testing.assert_allclose(evaluate.mdr_at(fpr, score, is_real), (score[is_real] < cut).mean())


def test_calibration_error_is_nil_for_the_truth_and_the_gap_for_a_constant():
    random = np.random.default_rng(2)
    p = random.random(20_000)
    is_real = random.random(20_000) < p
    assert evaluate.ece(p, is_real) < 0.015
    np.testing.assert_allclose(evaluate.ece(np.full(20_000, 0.9), is_real), 0.4, atol=0.02)


def test_intervals_grow_when_alerts_come_in_clumps():
    """Ten copies of each alert are not ten alerts: the interval over groups knows, one over rows would not."""
    score, is_real = scored(200)
    rows = np.repeat(np.arange(200), 10)
    score, is_real = score[rows], is_real[rows]

    def compute(i):
        return {"auc": evaluate.auc(score[i], is_real[i])}

    clumped = evaluate.with_intervals(compute, rows.astype(str), seed=1)["auc"]
    alone = evaluate.with_intervals(compute, np.arange(2000).astype(str), seed=1)["auc"]
    assert clumped["high"] - clumped["low"] > 2 * (alone["high"] - alone["low"])
    assert clumped["low"] < clumped["value"] < clumped["high"]


def test_paired_differences_are_of_identical_rows():
    table = examples()
    rb = table.references["rb"]
    found = evaluate.evaluate(table, np.nan_to_num(rb), np.full(len(table), 0.5), seed=1)["paired"]["rb"]
    assert found["rows"] == np.isfinite(rb).sum()
    assert found["auc_difference"] == {"value": 0, "low": 0, "high": 0}


# the search


def test_a_search_chooses_the_same_recipe_again_and_starts_with_the_one_given():
    table = examples(240)
    tried = candidates(QUICK, 6, seed=1)
    assert tried[0] == QUICK
    assert len(set(tried)) == 6
    assert tried == candidates(QUICK, 6, seed=1) != candidates(QUICK, 6, seed=2)
    told = []
    found = search(table, QUICK, 3, told.append)
    assert len(told) == steps(3)
    assert found == search(table, QUICK, 3)
    assert found.told["trials"] == len(found.told["table"]) == 3
    assert found.told["objective_of_the_chosen"] <= found.told["objective_of_the_first"]


def test_more_trials_than_recipes_try_each_once():
    tried = candidates(QUICK, 10**6, seed=1)
    assert len(set(tried)) == len(tried) == np.prod([len(values) for values in SPACE.values()])


def test_nested_figures_are_not_flattered_by_the_choice():
    """Labels that mean nothing: the best of several recipes looks better than chance, nested it does not."""
    table = examples(300)
    luck = replace(table, is_real=np.random.default_rng(2).random(300) < 0.5)
    told = search(luck, QUICK, 4).told
    assert abs(told["nested"]["auc"]["value"] - 0.5) < 0.12
    assert told["objective_of_the_chosen"] < told["objective_nested"] + 0.05


def test_the_search_is_told_in_manifest_and_card():
    metrics = dict(trained().metrics, search=search(examples(), QUICK, 1).told)
    files_ = package("small", "1", FEATURE_SET, examples(), replace(trained(), metrics=metrics))
    assert "chosen among 1" in files_["card.md"].decode()


@pytest.mark.parametrize(("budget", "trials"), [("40", 40), ("300s", 150), ("1s", 1), (None, 0)])
def test_a_budget_is_a_number_of_recipes_or_seconds(budget, trials):
    assert _trials(budget, seconds_each=2.0) == trials


@pytest.mark.parametrize("budget", ["0", "much", "-3", "3m"])
def test_a_budget_that_makes_no_sense_is_refused(budget):
    with pytest.raises(ConfigError, match="expected a number of recipes"):
        _trials(budget, 1.0)


def test_bogus_and_faint_alerts_weigh_as_the_recipe_says():
    table = examples(400)
    weight = weights(table, replace(QUICK, bogus_weight=3.0, faint_weight=5.0))
    np.testing.assert_allclose(weight[~table.is_real].sum(), 3 * weight[table.is_real].sum())
    faint = table.snr < fit.FAINT
    for side in (table.is_real, ~table.is_real):
        np.testing.assert_allclose(weight[side & faint].mean(), 5 * weight[side & ~faint].mean())
