"""What exactly once means when things go wrong, told with a broker in memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rescore_cases import FIRST, packets
from stream_cases import ANNOTATIONS, Night, candids, scorer

from realbogus.stream.duplicates import Window
from realbogus.stream.protocols import Positions, Record
from realbogus.stream.worker import Worker
from realbogus.testing import Abort, MemoryBroker

ALERTS = packets(10)
ALL = [FIRST + at for at in range(10)]
GARBAGE = b"Obj\x01 this is no packet"


class Crash(BaseException):
    """The process dies here."""


def crash() -> None:
    raise Crash


def balanced(worker: Worker) -> bool:
    total = worker.ledger.total()
    return total.consumed == total.scored + total.rejected + total.parked + total.duplicates


def times(number: int, problem: type[BaseException] = Abort):
    """A hook that raises so many times, and then lets everything through."""
    left = [number]

    def hook() -> None:
        if left[0]:
            left[0] -= 1
            raise problem

    return hook


# All or nothing


@pytest.mark.parametrize("hook", ["before_flush", "before_commit"])
def test_a_crash_before_the_commit_shows_nothing_and_loses_nothing(hook):
    night = Night()
    night.send(*ALERTS)
    worker = night.worker()
    setattr(worker.delivery.sink if hook == "before_flush" else worker.source, hook, crash)
    with pytest.raises(Crash):
        worker.run(lambda: False)
    assert not night.annotated()
    night.run()
    assert candids(night.annotated()) == ALL


@pytest.mark.parametrize("aborts", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 4, 256])
def test_a_batch_that_is_taken_back_comes_again_with_all_that_follows_it(aborts, size):
    night = Night(batch_size=size)
    night.send(*ALERTS[:5], GARBAGE, *ALERTS[5:])
    worker = night.worker()
    worker.delivery.sink.before_flush = times(aborts)
    worker.run(lambda: False)
    assert candids(night.annotated()) == ALL
    assert len(night.dead()) == 1
    assert night.broker.aborted
    total = worker.ledger.total()
    assert (total.consumed, total.scored, total.rejected, total.duplicates) == (11, 10, 1, 0)
    assert worker.metrics.registry.get_sample_value("realbogus_batches_total", {"result": "repeated"}) == aborts


def test_events_and_dead_letters_are_taken_back_with_their_batch():
    night = Night(batch_size=256)
    night.send(*ALERTS, GARBAGE)
    worker = night.worker()
    worker.delivery.sink.before_flush = times(1)
    worker.run(lambda: False)
    assert len(night.events()) == worker.ledger.total().events > 0
    assert len(night.dead()) == 1
    assert len(night.broker.aborted) == 11 + len(night.events())


@settings(max_examples=30, deadline=None)  # each is a night of its own
@given(st.lists(st.booleans(), max_size=12), st.integers(1, 5), st.integers(1, 4))
def test_whatever_is_taken_back_and_whenever_the_group_changes_each_alert_ends_once(strikes, size, partitions):
    night = Night(broker=MemoryBroker(partitions=partitions), batch_size=size)
    night.send(*ALERTS)
    worker = night.worker()
    left = list(strikes)

    def strike() -> None:
        if left and left.pop():
            worker.source.group_changes = True
            raise Abort

    worker.delivery.sink.before_flush = strike
    worker.run(lambda: False)
    assert sorted(candids(night.annotated())) == ALL
    assert sum(night.broker.committed.values()) == worker.ledger.total().consumed == 10
    assert worker.ledger.total().duplicates == 0


def test_a_group_that_changes_while_a_batch_is_under_way_waits_for_it():
    night = Night()
    night.send(*ALERTS)
    worker = night.worker()
    worker.turn()
    worker.source.group_changes = True
    worker.turn()
    worker.settle()
    assert candids(night.annotated()) == ALL[:8]
    assert list(night.broker.committed.values()) == [8]


# The same alert sent twice


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("size", [1, 2, 5, 256])
def test_an_alert_sent_again_is_a_duplicate_in_any_batch(size, delivery):
    night = Night(batch_size=size, delivery=delivery)
    night.send(*ALERTS, ALERTS[3], ALERTS[9], ALERTS[3])
    worker = night.run()
    assert candids(night.annotated()) == ALL
    total = worker.ledger.total()
    assert (total.consumed, total.scored, total.duplicates) == (13, 10, 3)
    assert balanced(worker)
    value = worker.metrics.registry.get_sample_value
    assert value("realbogus_duplicates_total", {"survey": "ztf"}) == 3
    assert value("realbogus_score_count", {"survey": "ztf"}) == 10


def test_an_alert_sent_again_after_the_window_is_annotated_again_with_the_same_bytes():
    night = Night(batch_size=1)
    night.send(*ALERTS, ALERTS[0])
    worker = night.run(window=Window(2))
    assert worker.ledger.total().duplicates == 0
    first, *_, last = night.annotated()
    assert (first.key, first.value) == (last.key, last.value)


def test_a_window_of_nothing_recognises_nothing():
    night = Night()
    night.send(ALERTS[0], ALERTS[0])
    assert night.run(window=Window(0)).ledger.total().scored == 2


def test_after_a_restart_the_window_is_empty_and_the_repeat_has_the_same_bytes():
    night = Night()
    night.send(ALERTS[0])
    night.run()
    night.send(ALERTS[0])
    assert night.run().ledger.total().duplicates == 0
    first, again = night.annotated()
    assert first.value == again.value


def test_a_damaged_alert_sent_twice_is_kept_twice_and_its_good_copy_is_scored():
    stamp = ALERTS[0].rfind(b"\x1f\x8b")
    damaged = ALERTS[0][: stamp + 40] + bytes(60) + ALERTS[0][stamp + 100 :]
    night = Night()
    night.send(damaged, damaged, ALERTS[0])
    worker = night.run()
    assert len(night.dead()) == 2
    assert candids(night.annotated()) == [FIRST]
    assert balanced(worker)


def test_an_alert_of_a_batch_that_was_taken_back_is_no_duplicate():
    night = Night(batch_size=2)
    night.send(ALERTS[0], ALERTS[1], ALERTS[0], ALERTS[2])
    worker = night.worker()
    worker.delivery.sink.before_flush = times(1)
    worker.run(lambda: False)
    assert candids(night.annotated()) == ALL[:3]
    assert worker.ledger.total().duplicates == 1


@given(st.lists(st.integers(0, 30), max_size=300), st.integers(1, 20))
def test_a_window_remembers_at_least_its_size_and_holds_at_most_twice_as_many(sent, size):
    window, distinct = Window(size), []
    for candid in sent:
        window.add([("ztf", candid)])
        distinct = [*(one for one in distinct if one != candid), candid]
        assert len(window) <= 2 * size + 1
    assert all(("ztf", candid) in window for candid in sent[-size:])
    assert ("rubin", sent[-1] if sent else 0) not in window


# An output that stalls


class Stalled:
    """A delivery that does not know for a while how a batch ended."""

    def __init__(self, inner, turns: int) -> None:
        self.inner, self.turns, self.left = inner, turns, turns

    def begin(self, records: Sequence[Record], positions: Positions) -> None:
        self.left = self.turns
        self.inner.begin(records, positions)

    def finish(self, wait_s: float) -> bool | None:
        self.left -= 1
        return self.inner.finish(wait_s) if self.left < 0 else None


def test_while_an_output_stalls_the_source_is_asked_on_and_gives_nothing():
    night = Night()
    night.send(*ALERTS)
    worker = night.worker()
    worker.delivery = Stalled(worker.delivery, 5)
    worker.turn()
    before = worker.source.polls
    worker.turn()
    assert worker.source.polls == before + 6  # the turn's own, and five while it waited
    assert worker.source.paused
    worker.run(lambda: False)  # which is to say that it was let go on
    assert candids(night.annotated()) == ALL
    assert not night.broker.aborted


def test_a_change_of_the_group_while_an_output_stalls_settles_and_forgets_what_is_in_hand():
    night = Night()
    night.send(*ALERTS)
    worker = night.worker()
    worker.delivery = Stalled(worker.delivery, 3)
    worker.turn()
    take = worker.source.take

    def changed(count, wait_s):
        worker.source.group_changes = worker.source.paused  # the first time that it is asked while it is paused
        return take(count, wait_s)

    worker.source.take = changed
    worker.turn()
    assert candids(night.annotated()) == ALL[:4]
    worker.source.take = take
    worker.run(lambda: False)
    assert candids(night.annotated()) == ALL
    assert worker.ledger.total().duplicates == 0


def test_told_to_hold_the_worker_takes_nothing_says_why_and_goes_on_afterwards():
    night, why = Night(), ["a model is loading"]
    night.send(*ALERTS)
    worker = night.worker(hold=lambda: why[0])
    turns = iter(range(5))
    worker.run(lambda: next(turns) == 4)
    assert worker.health.not_ready == "a model is loading"
    assert not night.broker.messages(ANNOTATIONS)
    why[0] = ""
    worker.run(lambda: False)
    assert candids(night.annotated()) == ALL


def test_scores_do_not_depend_on_what_was_taken_back():
    calm, rough = Night(), Night()
    for night in (calm, rough):
        night.send(*ALERTS)
    calm.run()
    worker = rough.worker(score=lambda: scorer().outcomes)
    worker.delivery.sink.before_flush = times(2)
    worker.run(lambda: False)
    assert calm.annotated() == rough.annotated()
