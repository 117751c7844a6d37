"""What happens to alerts when things go wrong around them. A broker in memory, a clock set by hand, no sleeping."""

from __future__ import annotations

import io
from dataclasses import replace

import fastavro
import pytest
from rescore_cases import FIRST, packets
from stream_cases import ANNOTATIONS, DEAD, OUTBOX, Night, candids, destinations, header, scorer

from realbogus.alerts import Outcomes
from realbogus.errors import StreamError
from realbogus.packets import annotation
from realbogus.telemetry import Metrics
from realbogus.testing import MemoryBroker

ALERTS = packets(10)
GARBAGE = b"Obj\x01 this is no packet"


both = pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])


class Crash(BaseException):
    """The process dies here."""


def crash() -> None:
    raise Crash


def test_every_alert_ends_exactly_once():
    night = Night()
    night.send(*ALERTS[:5], GARBAGE, *ALERTS[5:], b"", ALERTS[0][:1000])
    total = night.run().ledger.total()
    assert candids(night.annotated()) == [FIRST + at for at in range(10)]
    assert len(night.dead()) == 3
    assert (total.consumed, total.scored, total.rejected) == (13, 10, 3)
    assert len(night.events()) == total.forwarded == total.events > 0


def test_the_stream_gives_the_scores_that_the_archive_gives():
    night = Night(batch_size=3)
    night.send(*ALERTS)
    night.run()
    offline = scorer().outcomes(ALERTS).scored[0]
    online = [annotation.decode(message.value) for message in night.annotated()]
    assert [one["score"] for one in online] == offline.score.tolist()
    assert [one["decision"] == "forward" for one in online] == offline.forward.tolist()


@pytest.mark.parametrize("size", [1, 3, 256])
def test_results_do_not_depend_on_how_alerts_are_batched(size):
    expected, night = Night(), Night(batch_size=size)
    for one in (expected, night):
        one.send(*ALERTS, GARBAGE)
        one.run()
    for topic in (ANNOTATIONS, DEAD, OUTBOX):
        assert night.broker.messages(topic) == expected.broker.messages(topic)


def test_at_least_once_a_crash_between_writing_and_committing_repeats_alerts_with_the_same_bytes():
    night = Night(delivery="at_least_once")
    night.send(*ALERTS)
    worker = night.worker()
    worker.source.before_commit = crash
    with pytest.raises(Crash):
        worker.run(lambda: False)
    night.run()
    first, again = night.annotated()[:4], night.annotated()[4:8]
    assert [m.value for m in first] == [m.value for m in again]
    assert [(m.key, m.headers, m.timestamp_ms) for m in first] == [(m.key, m.headers, m.timestamp_ms) for m in again]
    assert set(candids(night.annotated())) == {FIRST + at for at in range(10)}


def test_a_crash_before_everything_is_written_loses_nothing():
    night = Night()
    night.send(*ALERTS)
    worker = night.worker()
    worker.delivery.sink.before_flush = crash
    with pytest.raises(Crash):
        worker.run(lambda: False)
    assert not night.broker.committed
    night.run()
    assert candids(night.annotated()) == [FIRST + at for at in range(10)]


def test_a_result_that_cannot_be_written_stops_the_worker_and_commits_nothing():
    def refuse() -> None:
        raise StreamError("1 results could not be written")

    night = Night()
    night.send(*ALERTS)
    worker = night.worker()
    worker.delivery.sink.before_flush = refuse
    with pytest.raises(StreamError):
        worker.run(lambda: False)
    assert not night.broker.committed


def test_a_restart_goes_on_where_the_last_one_committed():
    night = Night()
    night.send(*ALERTS[:6])
    night.run()
    night.send(*ALERTS[6:])
    assert night.run().ledger.total().consumed == 4
    assert candids(night.annotated()) == [FIRST + at for at in range(10)]


def test_a_packet_on_which_we_fail_costs_itself_and_not_its_batch():
    def fails(values) -> Outcomes:
        if ALERTS[2] in values:
            raise ZeroDivisionError("a bug")
        return scorer().outcomes(values)

    night = Night(score=fails)
    night.send(*ALERTS)
    total = night.run().ledger.total()
    assert (total.scored, total.rejected) == (9, 1)
    assert header(night.dead()[0], "__rb.errors.reason") == "internal"
    assert "ZeroDivisionError" in header(night.dead()[0], "__rb.errors.message")
    assert night.dead()[0].value == ALERTS[2]
    assert [m.key for m in night.annotated()] == [b"%d" % (FIRST + at) for at in range(10) if at != 2]


@pytest.mark.parametrize("fails_alone", [True, False])
def test_a_fault_that_is_not_of_single_packets_stops_the_worker_and_drains_nothing(fails_alone):
    def fails(values) -> Outcomes:
        if fails_alone or len(values) > 1:
            raise ZeroDivisionError("a bug")
        return scorer().outcomes(values)

    night = Night(score=fails)
    night.send(*ALERTS)
    with pytest.raises(StreamError, match="scoring fails on"):
        night.run()
    assert not night.dead()
    assert not night.broker.committed


def test_a_schema_registry_that_is_down_stops_the_worker_and_blames_no_packet():
    def fails(values) -> Outcomes:
        raise StreamError("schema registry: no answer")

    night = Night(score=fails)
    night.send(*ALERTS)
    with pytest.raises(StreamError, match="schema registry"):
        night.run()
    assert not night.dead()


def test_an_outcome_too_few_stops_the_worker():
    night = Night(score=lambda values: scorer().outcomes(values[:-1]))
    night.send(*ALERTS)
    with pytest.raises(StreamError, match="does not balance"):
        night.run()
    assert not night.annotated()


@both
def test_partitions_that_moved_away_are_somebody_elses_to_do(delivery):
    night = Night(delivery=delivery)
    night.send(*ALERTS)
    worker = night.worker()
    worker.source.before_commit = lambda: setattr(worker.source, "owns_partitions", False)
    worker.run(lambda: False)
    assert not night.broker.committed
    assert worker.ledger.total().consumed == 0
    assert worker.metrics.registry.get_sample_value("realbogus_batches_total", {"result": "repeated"}) == 1
    night.run()
    assert set(candids(night.annotated())) == {FIRST + at for at in range(10)}


def test_told_to_stop_the_worker_finishes_its_batch():
    night = Night()
    night.send(*ALERTS)
    worker = night.worker()
    asked = iter([False, True])
    worker.run(lambda: next(asked))
    assert len(night.annotated()) == 4
    assert list(night.broker.committed.values()) == [4]


def test_an_idle_stream_is_no_reason_to_leave():
    night, turns = Night(), iter(range(1000))
    worker = night.worker()
    worker.source.ends = False
    worker.run(lambda: next(turns) == 500)
    assert night.broker.clock.now() > 1_700_000_000 + 49
    assert worker.health.stuck() == ""


def test_a_worker_told_to_leave_when_idle_leaves_when_nothing_came_for_so_long():
    night = Night()
    night.send(*ALERTS)
    worker = night.worker()
    worker.source.ends = False
    worker.run(lambda: False, until_idle_s=30)
    assert worker.ledger.total().consumed == 10
    assert 30 <= night.broker.clock.now() - 1_700_000_000 < 31


def test_why_nothing_can_come_is_told_by_readiness_and_in_the_log(monkeypatch, caplog):
    caplog.set_level("INFO", "realbogus.stream.waiting")
    night, seen = Night(), []
    worker, why = night.worker(), "there is no topic alerts yet"
    worker.source.ends = False
    monkeypatch.setattr(worker.source, "waiting_for", lambda: why if 0 < len(seen) <= 100 else "")

    def stop() -> bool:
        seen.append(worker.health.not_ready)
        return len(seen) > 110

    worker.run(stop)
    assert seen == ["starting", *[why] * 100, *[""] * 10]
    assert caplog.messages == [f"waiting: {why}", "no longer waiting"]


def test_a_batch_never_mixes_models():
    asked = []

    def current():
        asked.append(len(asked))
        return scorer(threshold=0.1 * len(asked)).outcomes

    night = Night()
    night.send(*ALERTS)
    night.run(score=current)
    thresholds = [annotation.decode(message.value)["threshold"] for message in night.annotated()]
    assert thresholds == pytest.approx([0.1] * 4 + [0.2] * 4 + [0.3] * 2)


def test_more_partitions_than_one_are_all_read_and_committed():
    night = Night(broker=MemoryBroker(partitions=3), batch_size=7)
    night.send(*ALERTS)
    night.run()
    assert sorted(candids(night.annotated())) == [FIRST + at for at in range(10)]
    assert sum(night.broker.committed.values()) == 10


# What the results look like


def test_a_dead_letter_keeps_key_bytes_and_time_and_says_why():
    night = Night()
    night.send(ALERTS[0], GARBAGE)
    night.run()
    (letter,) = night.dead()
    (_, original) = night.broker.messages("alerts")
    assert (letter.key, letter.value, letter.timestamp_ms) == (original.key, GARBAGE, original.timestamp_ms)
    assert header(letter, "__rb.errors.reason") == header(letter, "__rb.errors.disposition") == "malformed"
    place = [header(letter, f"__rb.errors.{name}") for name in ("topic", "partition", "offset", "attempt")]
    assert place == ["alerts", "0", "1", "1"]


def test_a_replayed_dead_letter_counts_its_attempts():
    night = Night()
    night.send(GARBAGE)
    night.run()
    letter = night.dead()[0]
    night.broker.produce("alerts", letter.value, letter.key, letter.headers)
    night.run()
    assert header(night.dead()[1], "__rb.errors.attempt") == "2"
    assert len(night.dead()[1].headers) == len(letter.headers)


def test_a_dead_letter_larger_than_its_topic_takes_keeps_its_beginning_and_its_digest():
    night = Night(broker=MemoryBroker(room_bytes=100_000))
    night.send(GARBAGE * 20_000)
    night.run()
    (letter,) = night.dead()
    assert letter.value == (GARBAGE * 20_000)[: 64 * 1024]
    assert header(letter, "__rb.errors.length") == str(len(GARBAGE) * 20_000)
    assert len(header(letter, "__rb.errors.sha256")) == 64


def test_annotations_are_keyed_by_candid_and_say_where_they_come_from():
    night = Night()
    night.send(*ALERTS[:2])
    night.run()
    last = night.annotated()[1]
    assert last.timestamp_ms == night.broker.messages("alerts")[1].timestamp_ms
    assert dict(last.headers) == {
        "schema": b"realbogus/1.0/annotation",
        "model": b"small/1",
        "survey": b"ztf",
        "source": b"alerts/0/1",
        "source_key": b"key 1",
    }


def test_a_whole_packet_carries_its_annotation_for_any_reader():
    night = Night(to=destinations(format="packet"))
    night.send(*ALERTS[:3], GARBAGE)
    night.run()
    (first, *_) = night.annotated()
    (record,) = fastavro.reader(io.BytesIO(first.value))
    (before,) = fastavro.reader(io.BytesIO(ALERTS[0]))
    assert record.pop("realbogus")["candid"] == record["candid"]
    assert record == before


def test_a_packet_that_grows_too_large_for_its_topic_is_rejected_as_oversize():
    room = len(ALERTS[0]) + 1000
    night = Night(broker=MemoryBroker(room_bytes=room), to=destinations(format="packet"))
    night.send(ALERTS[0])
    total = night.run().ledger.total()
    assert (total.scored, total.rejected, total.forwarded, total.events) == (0, 1, 0, 0)
    assert header(night.dead()[0], "__rb.errors.reason") == "oversize"


def test_an_unknown_schema_is_parked_and_not_rejected():
    night = Night()
    unknown = b"\x00\x00\x00\x03\x85" + bytes(100)
    night.send(ALERTS[0], unknown, GARBAGE)
    worker = night.run()
    total = worker.ledger.total()
    assert (total.consumed, total.scored, total.rejected, total.parked) == (3, 1, 1, 1)
    assert [message.value for message in night.parked()] == [unknown]
    assert header(night.parked()[0], "__rb.errors.disposition") == "schema_unknown"
    value = worker.metrics.registry.get_sample_value
    assert value("realbogus_parked_total", {"reason": "unknown_schema", "stage": "decode"}) == 1
    assert value("realbogus_rejected_total", {"reason": "malformed", "stage": "decode"}) == 1


def test_a_message_without_a_value_is_told_from_an_empty_one():
    night = Night()
    night.send(None, b"")
    night.run()
    nothing, empty = night.dead()
    assert header(nothing, "__rb.errors.null_value") == "true"
    assert "__rb.errors.null_value" not in dict(empty.headers)


def test_a_survey_without_a_model_is_parked_and_says_so():
    night = Night(score=scorer().__class__(models={}).outcomes)
    night.send(ALERTS[0])
    night.run()
    assert header(night.parked()[0], "__rb.errors.reason") == "no_model"
    assert header(night.parked()[0], "__rb.errors.candid") == str(FIRST)


def test_every_refusal_is_counted_from_0_on_so_that_the_first_one_rings():
    """Prometheus sees no increase in a counter that is first there with its first event."""
    found = Night().worker().metrics.registry.get_sample_value
    counted = {name: found(name, {"reason": reason, "stage": stage}) for name, reason, stage in (
        ("realbogus_rejected_total", "internal", "score"), ("realbogus_parked_total", "unknown_schema", "decode"),
    )}  # fmt: skip
    assert counted == {"realbogus_rejected_total": 0, "realbogus_parked_total": 0}


def test_metrics_agree_with_the_ledger():
    night = Night()
    night.send(*ALERTS, GARBAGE)
    worker = night.run()
    value = worker.metrics.registry.get_sample_value
    total = worker.ledger.total()
    assert value("realbogus_alerts_consumed_total", {"topic": "alerts", "partition": "0"}) == total.consumed == 11
    assert value("realbogus_rejected_total", {"reason": "malformed", "stage": "decode"}) == total.rejected == 1
    forwarded = value("realbogus_annotations_total", {"survey": "ztf", "action": "forward"})
    held = value("realbogus_annotations_total", {"survey": "ztf", "action": "hold"})
    assert (forwarded, forwarded + held) == (total.forwarded, total.scored)
    assert value("realbogus_latency_seconds_count") == 11
    assert value("realbogus_score_count", {"survey": "ztf"}) == 10


def test_what_was_read_is_counted_by_partition():
    night = Night(broker=MemoryBroker(partitions=3))
    night.send(*ALERTS)
    value = night.run().metrics.registry.get_sample_value
    read = [len(log) for log in night.broker.topics["alerts"]]
    assert len(set(read)) > 1
    assert [
        value("realbogus_alerts_consumed_total", {"topic": "alerts", "partition": str(at)}) for at in range(3)
    ] == read


def test_a_batch_is_on_its_way_while_the_next_is_scored_and_settled_before_that_is_written():
    night = Night(delivery="at_least_once")
    night.send(*ALERTS)
    worker = night.worker()
    assert worker.turn()
    assert not night.broker.committed
    assert worker.turn()
    assert len(night.annotated()) == 4
    assert list(night.broker.committed.values()) == [4]
    worker.settle()
    assert list(night.broker.committed.values()) == [8]


def test_before_partitions_move_away_the_batch_on_its_way_is_settled():
    night = Night()
    night.send(*ALERTS)
    worker = night.worker()
    worker.turn()
    worker.source.before_revoke()
    assert len(night.annotated()) == 4
    assert list(night.broker.committed.values()) == [4]


def test_the_stages_of_scoring_are_timed_and_nothing_else_changes():
    plain, timed, metrics = Night(), Night(), Metrics()
    timed.score = replace(scorer(), timed=metrics.timed).outcomes
    for night in (plain, timed):
        night.send(*ALERTS)
        night.run()
    assert timed.annotated() == plain.annotated()
    counted = metrics.registry.get_sample_value
    assert {counted("realbogus_stage_seconds_count", {"stage": s}) for s in ("decode", "stamps", "classify")} == {3}
