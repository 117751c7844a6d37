"""The evaluation: never on what the model has learnt from, every figure told, one page that needs nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pytest
from model_cases import QUICK, examples, files, simulate, write
from sklearn.metrics import roc_curve

from realbogus.cli import main
from realbogus.errors import LabelError
from realbogus.model import model_from
from realbogus.training import curves, evaluate, noise, studies
from realbogus.training.comparison import compared, verdict
from realbogus.training.fit import out_of_fold
from realbogus.training.held_out import KEEP, LEAVE_OUT, held_out, seen
from realbogus.training.pages.charts import Axis, Plot, bars
from realbogus.training.pages.report import page
from realbogus.training.report import fpr_at_mdr, report, steps
from realbogus.training.splits import UNTESTED, folds


@cache
def model():
    return model_from(files())


@cache
def judged():
    return held_out(model(), examples())


TOLD: list[str] = []  # while the whole report was made


@cache
def whole_report():
    rivals = {"noise": np.random.default_rng(0).random(len(examples()))}
    return report(model(), judged(), rivals=rivals, tell=TOLD.append)


def fresh(n=240):
    """Rows of which the model has seen nothing."""
    return replace(examples(n, seed=9), group=np.char.add("fresh ", np.arange(n).astype(str)))


# never on its own training rows


def test_rows_that_trained_the_model_are_scored_by_forests_that_did_not_see_them():
    table = examples()
    assert seen(model(), table).all()
    fold = folds(table, "exposures", QUICK.folds, QUICK.seed)
    np.testing.assert_array_equal(judged().score, out_of_fold(table, fold, QUICK, threads=1))
    assert judged().refitted
    assert judged().warnings == ()


def test_the_figures_are_those_of_the_manifest():
    told = model().manifest["metrics"]["splits"]["exposures"]["overall"]
    assert whole_report()["figures"]["auc"] == told["auc"]
    assert whole_report()["figures"]["mdr_at_fpr_5"] == told["mdr_at_fpr_5"]


def test_unseen_rows_are_scored_by_the_model_itself():
    table = fresh()
    found = held_out(model(), table)
    np.testing.assert_array_equal(found.score, model().score(table.X))
    assert set(found.fold.tolist()) == {UNTESTED}
    assert "saw none of them" in found.how


def test_an_alert_of_a_seen_exposure_counts_as_seen():
    table = fresh()
    neighbour = replace(table, group=np.where(np.arange(len(table)) == 5, examples().group[0], table.group))
    both = replace(neighbour, candid=np.where(np.arange(len(table)) == 6, examples().candid[0], neighbour.candid))
    assert seen(model(), neighbour).sum() == 0  # the group's name alone proves nothing
    together = replace(both, group=np.where(np.arange(len(table)) == 6, examples().group[0], both.group))
    assert set(np.flatnonzero(seen(model(), together))) == {5, 6}


def test_seen_and_unseen_rows_together_are_each_judged_their_way():
    table = examples()
    half = np.isin(table.group, np.unique(table.group)[::2])
    mixed = replace(table, candid=np.where(half, table.candid, table.candid + 10**15))
    found = held_out(model(), mixed)
    assert set(np.flatnonzero(found.fold == UNTESTED)) == set(np.flatnonzero(~half))
    np.testing.assert_array_equal(found.score[~half], model().score(mixed.X[~half]))
    assert not np.array_equal(found.score[half], model().score(mixed.X[half]))
    assert "trained on another table" in found.warnings[0]


def test_seen_rows_can_be_left_out_but_then_something_must_be_left():
    with pytest.raises(LabelError, match="has seen all 360 rows"):
        held_out(model(), examples(), treat_seen=LEAVE_OUT)
    mixed = replace(examples(), candid=examples().candid + np.where(examples().snr > 15, 10**15, 0))
    mixed = replace(mixed, group=np.arange(len(mixed)).astype(str))
    found = held_out(model(), mixed, treat_seen=LEAVE_OUT)
    assert len(found.examples) == (mixed.snr > 15).sum()


def test_rows_kept_although_seen_carry_a_warning_onto_the_page():
    found = held_out(model(), examples(), treat_seen=KEEP)
    assert evaluate.auc(found.score, examples().is_real) > evaluate.auc(judged().score, examples().is_real)
    assert "the figures flatter it" in page(report(model(), found, quick=True), {})


def test_a_model_that_does_not_tell_its_rows_is_taken_to_have_seen_its_time():
    silent = replace(model(), trained_on=None)
    assert seen(silent, examples()).all()
    later = replace(fresh(), mjd=fresh().mjd + 1000)
    assert not seen(silent, later).any()
    assert not seen(silent, replace(fresh(), source=np.full(240, "vetting"))).any()


def test_other_features_are_refused():
    table = examples()
    with pytest.raises(LabelError, match="other features"):
        held_out(model(), table.with_features(table.names[::-1]))


# the figures


def test_the_curve_is_that_of_scikit_learn():
    random = np.random.default_rng(1)
    is_real = random.random(500) < 0.5
    score = (random.normal(size=500) + is_real).round(1)
    fpr, tpr, _ = roc_curve(is_real, score, drop_intermediate=False)
    for at, missed in curves.roc(score, is_real):
        best = tpr[fpr <= at + 1e-6].max()
        assert missed >= 1 - best - 1e-6
    assert curves.roc(score, is_real)[-1] == [1.0, 0.0]


def test_a_curve_and_a_cut_say_the_same():
    score, is_real = judged().score, examples().is_real
    points = dict(map(tuple, curves.roc(score, is_real)))
    allowed = round(np.floor(0.05 * (~is_real).sum()) / (~is_real).sum(), 6)
    assert points[allowed] == round(evaluate.mdr_at(0.05, score, is_real), 6)


def test_fpr_at_one_per_cent_missed():
    score, is_real = np.arange(200) / 200, np.arange(200) % 2 == 1
    assert fpr_at_mdr(0.01, score, is_real) == (score[~is_real] >= score[is_real][1]).mean()


@pytest.mark.parametrize(("hits", "of"), [(0, 10), (3, 10), (10, 10), (500, 1000)])
def test_wilson_holds_the_share_and_stays_within_0_and_1(hits, of):
    low, high = curves.wilson(hits, of)
    assert 0 <= low <= hits / of <= high <= 1


def test_every_class_and_slice_is_told_and_no_alert_is_lost():
    found = whole_report()
    assert sum(row["rows"] for row in found["classes"]) == len(examples())
    for axis in ("S/N", "filter", "seeing, FWHM in pixels"):
        assert sum(row["rows"] for row in found["slices"][axis]) == len(examples())
    assert sum(part["rows"] for part in found["calibration"]["bins"]) == len(examples())


def test_recall_that_falls_with_snr_is_noticed():
    def bin_(low, high):
        return {"mdr": {"value": (low + high) / 2, "low": low, "high": high}}

    assert curves.monotonic_in_snr([bin_(0.2, 0.4), bin_(0.1, 0.3), {"rows": 3}])
    assert not curves.monotonic_in_snr([bin_(0.1, 0.2), bin_(0.3, 0.4)])


def test_the_family_that_carries_the_signal_is_the_most_important():
    table = examples()
    strongest = whole_report()["importance"][0]
    families = {studies.CATALOGUE[name].family for name in table.names[:4]}
    assert strongest["family"] in families
    assert strongest["auc_lost"] > 0.05
    np.testing.assert_allclose(sum(one["share"] for one in whole_report()["importance"]), 1, atol=1e-4)


def test_a_planted_leak_sounds_the_alarm():
    table = examples(600)
    exposure = np.unique(table.group, return_inverse=True)[1]
    random = np.random.default_rng(3)
    looks, luck = random.normal(size=(exposure.max() + 1, table.X.shape[1])), random.random(exposure.max() + 1)
    table = replace(table, X=looks[exposure].astype(np.float32), is_real=luck[exposure] < 0.5)
    grouped = out_of_fold(table, folds(table, "exposures", 3, 1), QUICK, threads=1)
    assert studies.leakage(table, grouped, QUICK)["alarm"]
    assert not whole_report()["leakage"]["alarm"]


def test_wrong_labels_are_found_reported_and_left_alone():
    table = examples(600)
    wrong = np.zeros(600, dtype=bool)
    wrong[np.random.default_rng(4).choice(600, 20, replace=False)] = True
    p_real = np.clip(np.where(table.is_real, 0.93, 0.07) + np.random.default_rng(5).normal(0, 0.004, 600), 0, 1)
    spoilt = replace(table, is_real=table.is_real ^ wrong)
    found = noise.noise_report(spoilt, p_real)
    assert {one["candid"] for one in found["suspects"]} == set(table.candid[wrong].tolist())
    assert found["share"] <= noise.MOST
    assert len(spoilt) == 600


def test_no_more_than_a_twentieth_is_ever_called_suspect():
    table = examples(200)
    found = noise.noise_report(table, np.where(table.is_real, 0.1, 0.9))
    assert len(found["suspects"]) == 10
    assert found["capped"]


def test_wrong_labels_are_mostly_real_ones_called_bogus():
    table = examples(1000)
    spoilt = noise.with_wrong_labels(table, 0.1, seed=1)
    assert (spoilt.is_real != table.is_real).sum() == 100
    assert (table.is_real & ~spoilt.is_real).sum() == 80


def test_ten_per_cent_wrong_labels_cost_little_and_the_curve_says_how_much():
    curve = {entry["share"]: entry for entry in whole_report()["noise_curve"]}
    assert list(curve) == list(noise.SHARES)
    assert curve[0.1]["auc"] > curve[0.0]["auc"] - 0.1  # twelve trees on 300 rows; the page tells it of real ones
    assert curve[0.3]["auc"] < curve[0.0]["auc"]


def test_trees_disagree_where_they_are_wrong():
    parts = whole_report()["disagreement"]
    assert [part["spread"] for part in parts] == sorted(part["spread"] for part in parts)
    assert parts[-1]["wrong"] > parts[0]["wrong"]


def test_the_spread_is_the_deviation_of_the_trees_votes():
    forest, X = model().forest, examples().X[:40]
    votes = np.array([plain_votes(forest, tree, X) for tree in range(forest.votes)])
    np.testing.assert_allclose(forest.spread(X), votes.std(axis=0), atol=1e-7)


def plain_votes(forest, tree, X):
    from realbogus.forest import _way_down

    for node in _way_down(forest, tree, X):
        leaf = node
    return forest.value[leaf, -1]


def test_one_class_alone_cannot_be_judged():
    table = fresh()
    with pytest.raises(LabelError, match="both real and bogus"):
        report(model(), held_out(model(), table.rows(table.is_real)))


def test_the_tale_of_work_done_never_outruns_its_total():
    assert whole_report()
    assert steps(judged(), quick=False) / 2 < len(TOLD) <= steps(judged(), quick=False)


def test_a_quick_report_tells_less_work_and_leaves_out_what_needs_fits():
    told: list[str] = []
    found = report(model(), judged(), quick=True, tell=told.append)
    assert 0 < len(told) <= steps(judged(), quick=True) < steps(judged(), quick=False)
    assert set(whole_report()) - set(found) >= {"splits", "leakage", "baselines", "learning_curve", "noise_curve"}


def test_the_same_rows_give_the_same_report():
    assert report(model(), judged(), quick=True) == report(model(), judged(), quick=True)


# other methods


def test_other_methods_stand_beside_the_forest_in_manifest_card_and_report():
    manifest = model().manifest
    for found in (manifest["metrics"]["baselines"], whole_report()["baselines"]):
        assert {"logistic regression", "k nearest neighbours", "gradient boosting", "best single feature"} <= set(found)
        for figures in found.values():
            assert 0.5 < figures["auc_theirs"]["value"] < 1
            assert figures["rows"] == len(examples())
    assert "| gradient boosting |" in files()["card.md"].decode()
    assert manifest["metrics"]["best_single_feature"] in examples().names[:4]


def test_other_methods_see_no_row_of_their_fold():
    """Labels that mean nothing cannot be foretold, by whatever method."""
    from realbogus.training.baselines import baselines

    table = examples(300)
    luck = replace(table, is_real=np.random.default_rng(2).random(300) < 0.5)
    found = baselines(luck, np.ones(300), folds(luck, "exposures", 3, 1), 1)
    for name, score in found.scores.items():
        assert abs(evaluate.auc(score, luck.is_real) - 0.5) < 0.12, name


# comparisons


def test_a_model_compared_with_itself_differs_in_nothing():
    found = compared(judged(), judged())
    assert found["figures"]["auc_difference"] == {"value": 0, "low": 0, "high": 0}
    assert (found["only_first"], found["only_second"], found["rank_correlation"]) == (0, 0, 1)
    assert verdict("auc", found["figures"]["auc_difference"]) == ""


def test_a_better_model_is_called_better_on_identical_rows():
    table = examples()
    poor = replace(judged(), score=np.random.default_rng(1).random(len(table)))
    found = compared(judged(), poor)
    assert verdict("auc", found["figures"]["auc_difference"]) == "better"
    assert verdict("mdr_at_fpr_5", compared(poor, judged())["figures"]["mdr_at_fpr_5_difference"]) == "worse"
    some = replace(poor, examples=table.rows(np.arange(100)), score=poor.score[:100], p_real=poor.p_real[:100])
    assert compared(judged(), some)["rows"] == 100


def test_models_without_common_rows_cannot_be_compared():
    with pytest.raises(LabelError, match="share no rows"):
        compared(judged(), held_out(model(), fresh()))


# the page


class Page(HTMLParser):
    """Tags, links and images of a page; whether every tag is closed."""

    VOID = ("meta", "img", "br", "line", "circle", "rect", "polyline")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.loaded, self.data = [], set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self.ids |= {told["id"]} if "id" in told else set()
        self.links += [told["href"]] if "href" in told else []
        self.loaded += [told["src"]] if "src" in told else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.data.append(data)


def triplets(count=3):
    return np.random.default_rng(1).normal(size=(count, 3, 63, 63)).astype(np.float32)


@pytest.fixture(scope="module")
def text():
    misses = whole_report()["worst"]["misses"]
    return page(whole_report(), {misses[0]["candid"]: triplets(1)[0]})


def test_the_page_is_whole_and_loads_nothing(text):
    found = Page(text)
    assert found.open == []
    assert all(link.startswith("#") and link[1:] in found.ids for link in found.links)
    assert len(found.links) > 10
    assert len(found.loaded) == 3
    assert all(source.startswith("data:image/png;base64,") for source in found.loaded)
    assert "http" not in text.replace("http-equiv", "")
    assert re.findall(r"<script[^>]*>", text) == ['<script type="application/json" id="report">']


def test_the_page_holds_its_own_json(text):
    raw = re.search(r'<script type="application/json" id="report">(.*?)</script>', text, re.DOTALL)
    assert raw is not None
    assert json.loads(raw[1]) == json.loads(json.dumps(whole_report()))


def test_the_page_tells_every_section(text):
    for words in ("MDR at 0.1 % FPR", "MDR at 10 % FPR", "new fields", "later nights", "logistic regression", "noise",
                  "dipole", "ECE", "purity at 1:100", "AUC lost", "Learning curve", "Wrong labels", "novelty",
                  "passes"):  # fmt: skip
        assert words in text, words


def test_names_and_labels_cannot_become_markup():
    table = replace(examples(), kind=np.where(examples().is_real, "", "<b onload=x>"))
    found = report(model(), held_out(model(), table), quick=True)
    assert "<b onload" not in page(found, {})
    Page(page(found, {}))


def test_a_small_table_draws_too():
    table = fresh(40)
    Page(page(report(model(), held_out(model(), table), quick=True), {}))


@pytest.mark.parametrize(
    "axis", [Axis("x", 0.001, 1, log=True), Axis("x", 0, 1), Axis("x", -3, 17.5), Axis("x", 0, 0.07)]
)
def test_ticks_lie_on_the_axis_and_are_few(axis):
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 12
    assert all(-0.01 <= axis.share(tick) <= 1.01 for tick in ticks)


def test_values_beyond_an_axis_are_drawn_on_its_edge():
    plot = Plot(Axis("x", 0, 1), Axis("y", 0, 1))
    plot.line([(-5, 0.5), (9, 0.5)])
    assert 'points="54.0,' in plot.svg()
    assert "nan" not in bars([("<none>", 0, 0, 0, "0 %")], "title")


# the commands


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another simulated night, and two models that were trained on it."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "night").mkdir()
    simulate(folder / "night", seed=4, pointings=5)
    common = ["--models", str(folder / "models"), "--feature-set", "pixel-1", "--folds", "3", "--threads", "1"]
    for version, trees in (("1", "20"), ("2", "8")):
        told = ["train", "--simulated", str(folder / "night"), "--name", "sim", "--version", version, "--trees", trees]
        assert main([*told, *common]) == 0
    return folder


def test_evaluate_writes_a_page_and_its_json(simulated, other, tmp_path, capsys):
    out = tmp_path / "report.html"
    told = ["evaluate", "--simulated", str(simulated), "--model", "sim/1", "--against", "sim/2"]
    assert main([*told, "--models", str(other / "models"), "--out", str(out), "--quick", "--threads", "1"]) == 0
    line = json.loads(capsys.readouterr().out)
    found = json.loads(out.with_suffix(".json").read_text())
    assert line["auc"] == found["figures"]["auc"]["value"] > 0.6
    assert found["judged"]["how"] == "scored by sim/1 itself, which saw none of them"
    assert "sim/2" in found["paired"]
    assert out.read_text().count("<img") > 30


def test_evaluate_on_the_rows_of_training_fits_anew_unasked(other, tmp_path, capsys):
    out = tmp_path / "report.html"
    told = ["evaluate", "--simulated", str(other / "night"), "--model", "sim/2", "--quick", "--threads", "1"]
    assert main([*told, "--models", str(other / "models"), "--out", str(out)]) == 0
    assert "3 forests of its recipe" in json.loads(out.with_suffix(".json").read_text())["judged"]["how"]
    manifest = json.loads((other / "models" / "sim" / "2" / "manifest.json").read_text())
    figure = manifest["metrics"]["splits"]["exposures"]["overall"]["auc"]["value"]
    assert json.loads(capsys.readouterr().out)["auc"] == figure


def test_compare_tells_differences_with_intervals(simulated, other, capsys):
    told = ["compare", "sim/1", "sim/2", "--simulated", str(simulated), "--models", str(other / "models")]
    assert main([*told, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    difference = found["figures"]["auc_difference"]
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert main(told) == 0
    assert "A minus B" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["evaluate", "--out", "report.html"], "no labelled alerts"),
        (["evaluate", "--simulated", "nowhere", "--out", "report.html"], "--simulated nowhere: there is no"),
        (["evaluate", "--simulated", "nowhere", "--out", "no/such/report.html"], "there is no folder"),
        (["compare", "a/1", "b/1"], "no labelled alerts"),
    ],
)
def test_a_wrong_call_says_what_is_missing(told, message, capsys):
    assert main(told) == 2
    assert message in capsys.readouterr().err


def test_a_model_tells_which_alerts_trained_it():
    assert model().trained_on.tolist() == sorted(examples().candid.tolist())


def test_a_model_from_disk_can_be_judged_as_well(tmp_path):
    write(tmp_path / "small", files())
    from realbogus.model import load_model

    assert held_out(load_model(tmp_path / "small"), examples()).refitted
