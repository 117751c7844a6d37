"""A promoted model takes over between two batches, or does not take over at all."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import rescore_cases
from rescore_cases import FIRST, packets
from stream_cases import Night, candids, header

from realbogus.errors import ModelError, StreamError
from realbogus.packets import annotation
from realbogus.policy import Policy
from realbogus.registry import Registry
from realbogus.scoring import Scorer
from realbogus.stream.duplicates import Window
from realbogus.stream.hot_swap import RETRY_S, HotSwap
from realbogus.testing import ManualClock

ALERTS = packets(12)
ENTRY = {"who": "me", "when": "2026-11-22"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of different trees, small/1 and small/2."""
    folder = tmp_path_factory.mktemp("models")
    for version, seed in (("1", 1), ("2", 2)):
        rescore_cases.model(folder, version, seed)
    return folder


@pytest.fixture
def registry(shelf: Path, tmp_path: Path) -> Registry:
    registry = Registry(shutil.copytree(shelf, tmp_path / "models"))
    registry.promote("small/1", **ENTRY)
    return registry


def swap_of(registry: Registry) -> HotSwap:
    scorer = Scorer(models={"ztf": registry.load()}, policy=Policy(threshold=0.35))
    swap = HotSwap(scorer, registry, ["ztf"], clock=ManualClock())
    swap.look()
    return swap


def swaps(swap: HotSwap, result: str) -> float:
    return swap.metrics.registry.get_sample_value("realbogus_model_swaps_total", {"result": result}) or 0.0


def models_of(night: Night) -> list[str]:
    return [header(message, "model") for message in night.annotated()]


def test_a_promotion_takes_effect_between_two_batches_and_no_alert_is_lost(registry):
    swap, night = swap_of(registry), Night()
    night.send(*ALERTS)
    worker = night.worker(score=swap)
    worker.turn()
    registry.promote("small/2", **ENTRY)
    swap.look()
    worker.run(lambda: False)
    assert candids(night.annotated()) == [FIRST + at for at in range(12)]
    assert models_of(night) == ["small/1"] * 4 + ["small/2"] * 8
    assert swaps(swap, "swapped") == 1
    for version, at in (("1", slice(0, 4)), ("2", slice(4, 12))):
        offline = Scorer(models={"ztf": registry.load(f"small/{version}")}, policy=Policy(threshold=0.35))
        found = [annotation.decode(message.value)["score"] for message in night.annotated()[at]]
        assert found == offline.outcomes(ALERTS[at]).scored[0].score.tolist()


def test_the_model_in_force_is_told_and_the_old_one_no_longer(registry):
    swap = swap_of(registry)
    registry.promote("small/2", **ENTRY)
    swap.look()
    assert swap.status() == {"in_force": {"ztf": "small/1"}, "ready": {"ztf": "small/2"}, "refused": ""}
    swap()
    text = swap.metrics.text().decode()
    assert 'model="small/2"' in text
    assert 'model="small/1"' not in text


def test_a_damaged_model_is_refused_and_the_old_one_goes_on(registry, caplog):
    swap, night = swap_of(registry), Night()
    registry.promote("small/2", **ENTRY)
    forest = registry.path("small/2") / "forest.npz"
    forest.write_bytes(forest.read_bytes()[:-20] + bytes(20))
    swap.look()
    night.send(*ALERTS)
    night.run(score=swap)
    assert models_of(night) == ["small/1"] * 12
    assert "forest.npz is damaged" in swap.status()["refused"]
    assert swaps(swap, "refused") == 1
    assert "small/1 goes on" in caplog.text


def test_a_refused_model_is_tried_again_later_and_complained_about_once(registry, caplog):
    swap = swap_of(registry)
    registry.promote("small/2", **ENTRY)
    golden = registry.path("small/2") / "golden.npz"
    whole = golden.read_bytes()
    golden.unlink()
    for _ in range(5):
        swap.look()
    assert swaps(swap, "refused") == 1  # not with every look
    for _ in range(3):
        swap.look()
        swap.clock.advance(RETRY_S)
    assert swaps(swap, "refused") == 3
    assert caplog.text.count("is refused") == 1
    golden.write_bytes(whole)
    swap.look()
    swap()
    assert swap.status()["in_force"] == {"ztf": "small/2"}
    assert swap.refused == ""


@pytest.mark.parametrize("line", ["", "small/9\n", "../../etc/passwd\n", "\x00\xff"])
def test_nonsense_in_the_line_of_the_promoted_model_changes_nothing(registry, line):
    swap = swap_of(registry)
    (registry.folder / "current").write_bytes(line.encode("latin-1"))
    swap.look()
    swap()
    assert swap.status()["in_force"] == {"ztf": "small/1"}
    assert swap.refused


def test_a_model_made_for_another_survey_is_refused(registry):
    swap = swap_of(registry)
    foreign = replace(registry.load("small/2"), manifest={**registry.load("small/2").manifest, "surveys": ["rubin"]})
    swap.registry = Shelf(registry.folder, foreign)
    registry.promote("small/2", **ENTRY)
    swap.look()
    assert "was not made for ztf" in swap.refused


class Shelf(Registry):
    """A registry that has one model only."""

    def __init__(self, folder: Path, model) -> None:
        super().__init__(folder)
        object.__setattr__(self, "model", model)

    def load(self, spec=None):
        return self.model


def test_a_model_that_fails_on_its_first_batch_is_taken_back_and_no_alert_notices(registry):
    swap, night = swap_of(registry), Night()
    broken = replace(registry.load("small/2"), forest=Broken())
    swap.registry = Shelf(registry.folder, broken)
    registry.promote("small/2", **ENTRY)
    swap.look()
    night.send(*ALERTS)
    night.run(score=swap)
    assert models_of(night) == ["small/1"] * 12
    assert "failed on its first batch" in swap.refused
    assert 'model="small/1"' in swap.metrics.text().decode()


class Broken:
    """A forest that fails."""

    n_features = 12

    def score(self, X):
        if len(X) > 1:
            raise ZeroDivisionError("a bug")
        return X[:, 0].astype(float) * 0

    def contributions(self, X):
        return X


def test_a_batch_on_which_the_old_model_fails_too_does_not_condemn_the_new_one(registry):
    swap = swap_of(registry)
    registry.promote("small/2", **ENTRY)
    swap.look()
    score = swap()
    with pytest.raises(TypeError):
        score(None)  # a bug of the caller
    assert swap.status()["in_force"] == {"ztf": "small/2"}


def test_a_rollback_is_followed_as_a_promotion_is(registry):
    swap = swap_of(registry)
    registry.promote("small/2", **ENTRY)
    swap.look()
    swap()
    registry.rollback(**ENTRY)
    swap.look()
    swap()
    assert swap.status()["in_force"] == {"ztf": "small/1"}


def test_a_survey_with_a_model_of_its_own_does_not_follow(registry):
    scorer = Scorer(models={"ztf": registry.load("small/1")})
    swap = HotSwap(scorer, registry, [])
    registry.promote("small/2", **ENTRY)
    with swap.watching():
        assert swap() == scorer.outcomes


def test_promotions_five_times_a_second_under_load_lose_nothing_and_mix_nothing(registry):
    swap, night = swap_of(registry), Night(batch_size=16)
    night.send(*ALERTS * 40)
    worker, began, turns = night.worker(score=swap, window=Window(0)), time.monotonic(), 0
    while worker.turn():
        turns += 1
        registry.promote(f"small/{1 + turns % 2}", **ENTRY)
        swap.look()
    worker.settle()
    assert len(night.annotated()) == 480
    by_batch = [set(models_of(night)[at : at + 16]) for at in range(0, 480, 16)]
    assert all(len(models) == 1 for models in by_batch)
    assert len(set.union(*by_batch)) == 2
    assert swaps(swap, "swapped") == turns - 1
    assert time.monotonic() - began < 60


def test_a_fault_of_the_stream_is_not_blamed_on_the_model(registry):
    swap = swap_of(registry)
    registry.promote("small/2", **ENTRY)
    swap.look()
    swap()

    def away(schema_id: int) -> bytes | None:
        raise StreamError("no registry")

    swap.scorer.store.fetch = away
    with pytest.raises(StreamError):
        swap()([b"\x00\x00\x00\x00\x07abc"])
    assert swap.status()["in_force"] == {"ztf": "small/2"}


def test_the_stamp_of_an_empty_registry_is_nothing(tmp_path):
    assert Registry(tmp_path).stamp() == ()
    with pytest.raises(ModelError):
        Registry(tmp_path).current()
