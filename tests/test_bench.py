"""The benchmark compares like with like: its baselines do our work, its alerts are sound, its sums are right."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rescore_cases as cases

from realbogus.features import FEATURE_SETS
from realbogus.model import load_model
from realbogus.registry import Registry
from realbogus.scoring import Scorer

PROJECT = Path(__file__).resolve().parent.parent
BENCH = PROJECT / "scripts" / "bench.d"
MODULES = (
    "corpus", "measure", "baselines", "stages", "broker", "live", "throughput", "latency", "rescoring", "starts",
    "report",
)  # fmt: skip


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The modules of scripts/bench, which live outside the package."""
    sys.path.insert(0, str(BENCH))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(BENCH))
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def corpus(bench: SimpleNamespace) -> Any:
    messages = cases.packets(12)
    decoded, alerts = bench.corpus.read(messages)
    return bench.corpus.Corpus("a dozen made here", messages, decoded, alerts)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_model(cases.model(tmp_path_factory.mktemp("models")))


def test_baselines_come_to_our_scores(bench: SimpleNamespace, corpus: Any, model: Any) -> None:
    (ours,) = Scorer(models={"ztf": model}).outcomes(corpus.messages)
    rows = range(len(corpus))
    competent = bench.baselines.Competent(corpus, model)
    batched = bench.baselines.Competent(corpus, model, together=64)
    for baseline in (bench.baselines.Naive(corpus, model), competent, batched):
        np.testing.assert_allclose(baseline.score(rows), ours.score, atol=bench.report.SAME_SCORE)


@pytest.mark.parametrize("name", ["2", "3"])
def test_the_rebuilt_forest_is_scikit_learns_own_to_the_last_bit(bench: SimpleNamespace, name: str) -> None:
    forest = Registry(PROJECT / "models").load(f"realbogus-ztf/{name}").forest
    X = np.random.default_rng(1).normal(0, 3, (200, forest.n_features)).astype(np.float32)
    X[::7, ::3] = np.nan
    np.testing.assert_array_equal(bench.baselines.Rebuilt(forest).score(X), forest.score(X))


def test_stages_have_a_twin_in_the_competent_path(bench: SimpleNamespace, model: Any) -> None:
    assert {"decode", "columns and stamps", "features", "forest"} <= set(stage_names(bench, model))


def stage_names(bench: SimpleNamespace, model: Any) -> list[str]:
    messages = cases.packets(12)
    decoded, alerts = bench.corpus.read(messages)
    return list(bench.stages.Ours(bench.corpus.Corpus("", messages, decoded, alerts), model).stages())


def test_alerts_of_later_rounds_have_candids_of_their_own_and_are_scored_alike(
    bench: SimpleNamespace, corpus: Any, model: Any
) -> None:
    messages = list(bench.corpus.renumbered(corpus, 30))
    (ours,) = Scorer(models={"ztf": model}).outcomes(messages)
    assert len(set(ours.alerts.candid.tolist())) == 30
    np.testing.assert_array_equal(ours.score[12:24], ours.score[:12])
    told = [candid for candid, _ in bench.latency.renumbered_with_candids(corpus, 12, 18)]
    assert told == ours.alerts.candid[12:].tolist()


def test_candidates_take_turns_and_the_median_counts(bench: SimpleNamespace) -> None:
    order: list[str] = []
    timed = {name: bench.measure.Timed(lambda name=name: order.append(name), 1) for name in "abc"}
    found = bench.measure.interleaved(timed, 3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"
    assert found.keys() == timed.keys()


def found_in(bench: SimpleNamespace, full_us: float) -> Any:
    full = bench.broker.Drained(1000, full_us, 1e6 / full_us, 400.0)
    return bench.report.Found(
        "", 7e4, "small/1", 20, 500, 12,
        paths_us={"naive": 60_000.0, "competent": 3600.0, bench.report.BATCHED: 2400.0, "realbogus, in memory": 300.0},
        stages_us={"decode": 20.0, "floor: libdeflate": 130.0},
        throughput=bench.throughput.Throughput(full, 200.0, 60.0, 1000, 30),
    )  # fmt: skip


def test_the_numbers_that_others_rely_on_are_there(bench: SimpleNamespace) -> None:
    told = found_in(bench, 400.0).json()
    assert told["full_path_alerts_per_s_core"] == 2500
    assert told["full_path_over_competent"] == 9
    assert told["full_path_over_competent_in_batches"] == 6
    assert told["floor_fraction"] == 0.5
    assert told["stages_us"]["decode"] == 20


def test_a_run_far_below_what_we_state_is_told_as_such(bench: SimpleNamespace) -> None:
    assert found_in(bench, 400.0).shortfalls() == []
    assert len(found_in(bench, 1000.0).shortfalls()) == 2
    found = found_in(bench, 400.0)
    found.differences = {"competent": 0.5}
    assert "other work" in found.shortfalls()[0]


def test_two_runs_of_help_name_every_option() -> None:
    done = subprocess.run([sys.executable, str(BENCH), "--help"], capture_output=True, text=True, check=True)
    assert all(option in done.stdout for option in ("--json", "--short", "--soak", "--model"))


@pytest.mark.packets
def test_the_corpus_has_three_in_a_hundred_that_are_forwarded(bench: SimpleNamespace, real_packets: Path) -> None:
    from realbogus.registry import Registry
    from realbogus.resources import shipped

    judge = Registry(shipped("models")).load()
    alerts = bench.corpus.load(judge)
    (scored,) = Scorer(models={"ztf": judge}).outcomes(alerts.messages)
    assert len(alerts) > 200
    assert scored.forward.mean() == pytest.approx(bench.corpus.FORWARDED, abs=0.005)


def test_the_features_of_the_test_model_are_known() -> None:
    assert set(cases.FEATURES) <= set(FEATURE_SETS["pixel-1"])
