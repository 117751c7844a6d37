"""How long each stage takes; off by default, as in: pytest --benchmark-enable --benchmark-only tests/benchmarks

scripts/bench compares them with other people's ways in one run; these are for looking at one stage while working on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rescore_cases as cases

from realbogus import __version__, archives, features, packets
from realbogus.alerts import AlertBatch, ScoredBatch
from realbogus.features import FEATURE_SETS
from realbogus.model import Model, load_model
from realbogus.packets import Decoded, Limits, SchemaStore, annotation
from realbogus.policy import Policy
from realbogus.rescoring import Plan, rescore
from realbogus.scoring import WANTED, Scorer, score_batch
from realbogus.surveys import SURVEYS, recognise

ALERTS = 256
LIMITS, STORE = Limits(), SchemaStore()


@pytest.fixture(scope="module")
def messages() -> list[bytes]:
    return cases.packets(ALERTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cases.model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder)


@pytest.fixture(scope="module")
def decoded(messages: list[bytes]) -> Decoded:
    return decode(messages)


@pytest.fixture(scope="module")
def alerts(decoded: Decoded) -> AlertBatch:
    return SURVEYS["ztf"].to_batch(decoded, LIMITS)[0]


@pytest.fixture(scope="module")
def scored(alerts: AlertBatch, model: Model) -> ScoredBatch:
    return score_batch(alerts, model, Policy(threshold=0.0))


def decode(messages: list[bytes]) -> Decoded:
    found, rejected = packets.read(messages, wanted=WANTED, recognise=recognise, store=STORE, limits=LIMITS)
    assert not rejected
    return found[0]


def test_decode(benchmark: Any, messages: list[bytes]) -> None:
    assert len(benchmark(decode, messages).index) == ALERTS


def test_columns_and_stamps(benchmark: Any, decoded: Decoded) -> None:
    assert len(benchmark(SURVEYS["ztf"].to_batch, decoded, LIMITS)[0]) == ALERTS


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_features(benchmark: Any, alerts: AlertBatch, name: str) -> None:
    names = FEATURE_SETS[name]
    assert benchmark(features.extract, alerts, names).shape == (ALERTS, len(names))


def test_forest(benchmark: Any, scored: ScoredBatch, model: Model) -> None:
    assert len(benchmark(model.score, scored.features)) == ALERTS


def test_contributions(benchmark: Any, scored: ScoredBatch, model: Model) -> None:
    assert benchmark(model.contributions, scored.features).shape == scored.features.shape


def test_annotation(benchmark: Any, scored: ScoredBatch) -> None:
    assert len(benchmark(annotation.encode, scored, __version__)) == ALERTS


def test_the_whole_way_from_bytes_to_outcomes(benchmark: Any, messages: list[bytes], model: Model) -> None:
    scorer = Scorer(models={"ztf": model})
    assert benchmark(scorer.outcomes, messages).counts()["scored"] == ALERTS


def test_finding_packets_in_a_tar(benchmark: Any, messages: list[bytes], tmp_path: Path) -> None:
    night = cases.night(tmp_path / "night.tar", {f"{number}.avro": data for number, data in enumerate(messages)})
    assert sum(1 for _ in benchmark(lambda: list(archives.messages([night])))) == ALERTS


def test_rescoring_a_tar(benchmark: Any, messages: list[bytes], folder: Path, tmp_path: Path) -> None:
    night = cases.night(tmp_path / "night.tar", {f"{number}.avro": data for number, data in enumerate(messages)})
    plan = Plan(models={"ztf": folder})
    summary = benchmark(lambda: rescore([night], tmp_path / "scores.parquet", plan, processes=1))
    assert summary.scored == ALERTS


def test_stages_together_are_the_whole(messages: list[bytes], scored: ScoredBatch, model: Model) -> None:
    (whole,) = Scorer(models={"ztf": model}).outcomes(messages)
    np.testing.assert_array_equal(whole.score, scored.score)
