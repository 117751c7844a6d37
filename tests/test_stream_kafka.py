"""Source and sink on Apache Kafka itself."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import OFFSET_END, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka_cases import committed, new_topic, produce, read_all

from realbogus.config.sections import KafkaSettings
from realbogus.errors import ConfigError, StreamError
from realbogus.stream.kafka import KafkaSink, KafkaSource, move_group, ownership
from realbogus.stream.kafka.admin import missing_topics
from realbogus.stream.protocols import Message, Record, positions_after
from realbogus.telemetry import Metrics

pytestmark = pytest.mark.kafka

START_S = 1_700_000_000
N = 60


@pytest.fixture
def cluster(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=kafka)


@pytest.fixture
def topic(kafka: str) -> str:
    """A topic of 60 messages, one a second from START_S on."""
    name = new_topic(kafka)
    produce(kafka, name, [b"%d" % at for at in range(N)], timestamps_ms=[(START_S + at) * 1000 for at in range(N)])
    return name


@pytest.fixture
def sink(cluster: KafkaSettings) -> Iterator[KafkaSink]:
    made = KafkaSink(cluster, partitions=2)
    yield made
    made.close()


def drain(source: KafkaSource, *, count: int = N, commit: bool = True, within_s: float = 30) -> list[Message]:
    """Read until so many came or the source ended."""
    found: list[Message] = []
    deadline = time.monotonic() + within_s
    while len(found) < count and not source.is_finished() and time.monotonic() < deadline:
        some = source.take(25, 0.2)
        found += some
        if some and commit:
            assert source.commit(positions_after(some))
    return found


def numbers(messages: list[Message]) -> list[int]:
    return sorted(int(message.value) for message in messages)


def source_of(cluster: KafkaSettings, topic: str, group: str = "", **options) -> KafkaSource:
    return KafkaSource(cluster, group_id=group or f"group-{topic}", topics=lambda: [topic], **options)


def test_messages_come_with_key_time_and_place(cluster, topic):
    source = source_of(cluster, topic)
    found = drain(source)
    source.close()
    assert numbers(found) == list(range(N))
    assert all(int(one.key or b"") == int(one.value) for one in found)
    assert all(one.timestamp_ms == (START_S + int(one.value)) * 1000 for one in found)
    assert {one.partition for one in found} == {0, 1, 2}


def test_a_restart_resumes_after_what_was_committed(cluster, kafka, topic):
    first = source_of(cluster, topic)
    some = drain(first, count=25)
    first.close()
    second = source_of(cluster, topic)
    rest = drain(second, count=N - len(some))
    second.close()
    assert numbers(some + rest) == list(range(N))
    assert sum(committed(kafka, f"group-{topic}", topic, 3)) == N


def test_what_was_taken_and_not_committed_comes_again(cluster, topic):
    first = source_of(cluster, topic)
    drain(first, commit=False)
    first.close()
    second = source_of(cluster, topic)
    assert numbers(drain(second)) == list(range(N))
    second.close()


def test_what_was_deleted_before_it_was_read_is_told_and_counted(cluster, kafka, topic, caplog):
    caplog.set_level(logging.INFO)
    metrics = Metrics()
    first = source_of(cluster, topic, metrics=metrics)
    drain(first)
    first.close()
    count = metrics.registry.get_sample_value
    assert count("realbogus_offset_resets_total", {"kind": "new"}) == 3
    produce(kafka, topic, [b"%d" % at for at in range(300)])
    admin = AdminClient({"bootstrap.servers": kafka})
    gone = [TopicPartition(topic, number, OFFSET_END) for number in range(3)]
    for deleted in admin.delete_records(gone).values():
        deleted.result(20)
    second = source_of(cluster, topic, metrics=metrics)
    deadline = time.monotonic() + 60
    while (count("realbogus_offset_resets_total", {"kind": "gone"}) or 0) < 3 and time.monotonic() < deadline:
        assert second.take(10, 0.1) == []
    second.close()
    assert count("realbogus_offset_resets_total", {"kind": "gone"}) == 3
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    lost = [int(re.search(r": (\d+) messages were deleted", line)[1]) for line in told]
    assert sum(lost) == 300


def test_members_of_a_group_share_the_partitions_and_take_over_from_one_another(cluster, topic):
    first, second = source_of(cluster, topic), source_of(cluster, topic)
    found: list[Message] = []
    deadline = time.monotonic() + 40
    while not (first.assigned and second.assigned) and time.monotonic() < deadline:
        for source in (first, second):
            some = source.take(5, 0.1)
            found += some
            if some:
                source.commit(positions_after(some))
    assert first.assigned
    assert second.assigned
    assert not first.assigned & second.assigned
    first.close()
    deadline = time.monotonic() + 40
    while len(second.assigned) < 3 and time.monotonic() < deadline:
        some = second.take(5, 0.1)
        found += some
        if some:
            second.commit(positions_after(some))
    found += drain(second, count=N - len({int(one.value) for one in found}))
    second.close()
    assert {int(one.value) for one in found} == set(range(N))


@pytest.mark.parametrize(("begin", "end"), [(0, 20), (20, 60), (15, 15), (50, 999)])
def test_a_span_of_time_is_read_to_its_end_and_not_beyond(cluster, topic, begin, end):
    move_group(cluster, f"group-{topic}", [topic], START_S + begin)
    source = source_of(cluster, topic, until_s=START_S + end)
    found = drain(source, count=N + 1)
    assert source.is_finished()
    source.close()
    assert numbers(found) == list(range(begin, min(end, N)))


def test_an_end_in_the_future_is_waited_for(cluster, kafka, topic):
    source = source_of(cluster, topic, until_s=time.time() + 4)
    found = drain(source)
    assert not source.is_finished()
    produce(kafka, topic, [b"60"])
    found += drain(source, count=10)
    assert source.is_finished()
    produce(kafka, topic, [b"61"])
    assert source._consumer.consume(1, 0.5) == []  # nothing is fetched any more
    source.close()
    assert numbers(found) == list(range(N + 1))


def test_partitions_that_went_during_a_pause_are_read_when_they_come_back_after_it(cluster, kafka, topic):
    window = [topic]
    source = KafkaSource(cluster, group_id=f"group-{topic}", topics=lambda: window)
    assert len(drain(source, commit=False)) == N
    source.pause(True)
    change_to(new_topic(kafka), window, source)
    source.pause(False)
    found = change_to(topic, window, source)
    found += drain(source, count=N - len(found), commit=False)
    source.close()
    assert numbers(found) == list(range(N))


def change_to(wanted: str, window: list[str], source: KafkaSource) -> list[Message]:
    """Read until all that is assigned is of another topic; what came meanwhile."""
    window[:], deadline, found = [wanted], time.monotonic() + 60, []
    while {name for name, _ in source.assigned} != {wanted}:
        assert time.monotonic() < deadline
        found += source.take(25, 0.2)
    return found


def test_partitions_that_come_back_uncommitted_are_read_again_and_up_to_their_ends(cluster, kafka, topic):
    window = [topic]
    source = KafkaSource(cluster, group_id=f"group-{topic}", topics=lambda: window, until_s=START_S + 20)
    assert numbers(drain(source, count=N, commit=False)) == list(range(20))
    found = change_to(new_topic(kafka), window, source) + change_to(topic, window, source)
    found += drain(source, count=N, commit=False)
    source.close()
    assert numbers(found) == list(range(20))


def test_a_group_that_is_in_use_is_not_moved(cluster, topic):
    source = source_of(cluster, topic)
    drain(source, count=1)
    with pytest.raises(StreamError, match="is in use"):
        move_group(cluster, f"group-{topic}", [topic], START_S)
    source.close()


def test_a_topic_that_is_not_there_yet_is_waited_for(cluster, kafka):
    wanted = new_topic(kafka) + "-later"
    metrics = Metrics()
    hasty = KafkaSettings(bootstrap=kafka, consumer={"topic.metadata.refresh.interval.ms": "500"})
    source = source_of(hasty, wanted, metrics=metrics)
    assert drain(source, within_s=3) == []
    assert source.waiting_for() == f"there is no topic {wanted} yet"
    sink = KafkaSink(cluster, partitions=1)
    sink.send(Record(wanted, None, b"0"))
    sink.flush()
    assert numbers(drain(source, count=1)) == [0]
    assert source.waiting_for() == ""
    source.close()
    sink.close()


def test_topics_change_while_reading(cluster, kafka, topic):
    tomorrow = new_topic(kafka)
    produce(kafka, tomorrow, [b"100"])
    window = [[topic]]
    source = KafkaSource(cluster, group_id=f"group-{topic}", topics=lambda: window[0])
    assert len(drain(source)) == N
    window[0] = [topic, tomorrow]
    assert numbers(drain(source, count=1)) == [100]
    source.close()


def test_lag_is_what_lies_between_the_last_message_taken_and_the_end(cluster, topic):
    source = source_of(cluster, topic)
    taken = len(drain(source, count=1))
    drain(source, count=N - taken)
    assert sum(source.lag().values()) == 0
    source.close()


def test_a_broker_that_does_not_answer_is_told_apart_from_an_idle_topic():
    nowhere = KafkaSettings(bootstrap="127.0.0.1:1")
    source = source_of(nowhere, "alerts", group="g")
    drain(source, within_s=3)
    assert source.waiting_for() == "no broker answers"
    source.close()


# Writing


def test_what_was_flushed_is_there_with_key_headers_and_time(cluster, kafka, sink):
    name = new_topic(kafka) + "-out"
    sink.send(Record(name, b"k", b"v", (("a", b"1"), ("a", b"2")), 1_700_000_000_123))
    sink.flush()
    (message,) = read_all(kafka, name)
    assert (message.key(), message.value(), message.timestamp()[1]) == (b"k", b"v", 1_700_000_000_123)
    assert message.headers() == [("a", b"1"), ("a", b"2")]


def test_missing_topics_are_made_with_the_partitions_told(kafka, sink, cluster):
    name = new_topic(kafka) + "-made"
    sink.prepare([name, name])
    assert sink.room(name) > 1_000_000
    moved = move_group(cluster, f"group-{name}", [name], 0)
    assert len(moved) == 2


def test_missing_topics_are_a_problem_where_they_must_not_be_made(cluster, kafka):
    sink = KafkaSink(cluster, create=False)
    with pytest.raises(StreamError, match="are missing") as caught:
        sink.prepare([new_topic(kafka), "surely-not-there"])
    assert caught.value.exit_code == 2
    sink.close()


def test_a_record_that_the_broker_refuses_is_an_error_at_flush(cluster, kafka, sink):
    name = new_topic(kafka)
    sink.send(Record(name, None, os.urandom(6_000_000)))
    sink.send(Record(name, None, b"small"))
    with pytest.raises(StreamError, match="could not be written"):
        sink.flush()


def test_no_broker_is_an_error_that_says_so():
    nobody = AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0, "error_cb": lambda error: None})
    with pytest.raises(StreamError, match="no broker answers"):
        missing_topics(nobody, ["x"], wait_s=1)


def test_a_secret_file_that_is_missing_is_a_problem_of_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        KafkaSink(KafkaSettings(bootstrap="127.0.0.1:1", secret_files={"sasl.password": tmp_path / "none"}))


DIES = """
import os, sys
from confluent_kafka import Consumer

bootstrap, topic = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": bootstrap, "group.id": f"group-{topic}", "group.instance.id": "one",
    "partition.assignment.strategy": "cooperative-sticky", "heartbeat.interval.ms": 500,
})
consumer.subscribe([topic], on_assign=lambda _, have: print(len(have), flush=True), on_revoke=lambda *_: os._exit(9))
while True:
    consumer.poll(0.1)
"""


def test_partitions_that_a_killed_member_left_to_nobody_find_an_owner(cluster, kafka, monkeypatch):
    """It dies between giving some up and joining again; when it returns the broker hands it only what it had kept."""
    monkeypatch.setattr(ownership, "EVERY_S", 1.0)
    topic = new_topic(kafka, partitions=6)
    with subprocess.Popen([sys.executable, "-c", DIES, kafka, topic], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "6\n"
        two, deadline = source_of(cluster, topic, instance="two"), time.monotonic() + 60
        while first.poll() is None and time.monotonic() < deadline:
            two.take(1, 0.1)
        assert first.returncode == 9
    one = source_of(cluster, topic, instance="one")
    most = 0
    while len(one.assigned | two.assigned) < 6 and time.monotonic() < deadline:
        one.take(1, 0.1)
        two.take(1, 0.1)
        most = max(most, len(one.assigned))
    shared = len(one.assigned), len(two.assigned)
    one.close()
    two.close()
    assert most == 3, "the member did not get its old assignment back: this is not what is to be mended"
    assert shared == (3, 3)


def test_a_member_without_partitions_says_that_it_leaves(cluster, kafka):
    """Closed like any other it would be waited for until its session is over; here nobody needs to."""
    long = KafkaSettings(bootstrap=kafka, consumer={"session.timeout.ms": "120000", "heartbeat.interval.ms": "300"})
    name = new_topic(kafka, partitions=1)
    first, idle = source_of(long, name), source_of(long, name)
    deadline = time.monotonic() + 60
    while not first.assigned and time.monotonic() < deadline:
        first.take(1, 0.1)
    while idle.waiting_for().startswith("the group") and time.monotonic() < deadline:
        first.take(1, 0.1)
        idle.take(1, 0.1)
    assert (len(first.assigned), len(idle.assigned)) == (1, 0)
    idle.close()
    admin, group, members = AdminClient({"bootstrap.servers": kafka}), f"group-{name}", 2
    while members != 1 and time.monotonic() < deadline:
        first.take(1, 0.1)
        members = len(admin.describe_consumer_groups([group])[group].result(20).members)
    first.close()
    assert members == 1


def test_who_is_fenced_off_says_so_and_can_still_be_closed(cluster, topic):
    """Another worker has taken the place of a static member: the client cannot go on, nor leave the group."""
    first = source_of(cluster, topic, instance="one")
    assert drain(first, count=1)
    second, told, deadline = source_of(cluster, topic, instance="one"), "", time.monotonic() + 60
    while not told and time.monotonic() < deadline:
        second.take(10, 0.1)
        told = fault_of(lambda: first.take(10, 0.1))
    assert told == fault_of(lambda: first.take(10, 0.1))  # the client tells it once; it is remembered
    assert told.startswith("the group has no place for this worker")
    first.close()
    second.close()


def fault_of(call: Callable[[], object]) -> str:
    try:
        call()
    except StreamError as fault:
        return str(fault)
    return ""
