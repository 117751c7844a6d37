"""Exactly-once delivery on Apache Kafka itself."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from kafka_cases import committed, new_topic, produce, read_all

from realbogus.config.sections import KafkaSettings
from realbogus.errors import StreamError
from realbogus.stream.delivery import ExactlyOnce
from realbogus.stream.kafka import KafkaSource, KafkaTransactions
from realbogus.stream.protocols import Message, Record, positions_after

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "chaos.d"))

import churn

pytestmark = pytest.mark.kafka

N = 60
COMMITTED, EVERYTHING = {"isolation.level": "read_committed"}, {"isolation.level": "read_uncommitted"}


@pytest.fixture
def cluster(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=kafka)


class Copier:
    """A member that copies a topic, batch by batch."""

    def __init__(self, cluster: KafkaSettings, topic: str, out: str, name: str = "a", **options) -> None:
        self.out = out
        self.sink = KafkaTransactions(cluster, transactional_id=f"rb-{topic}-{name}", timeout_s=6, create=False)
        self.source = KafkaSource(cluster, group_id=f"group-{topic}", topics=lambda: [topic], **options)
        self.delivery = ExactlyOnce(self.source, self.sink)

    def take(self, count: int = 25, within_s: float = 30) -> list[Message]:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if messages := self.source.take(count, 0.2):
                return messages
        return []

    def deliver(self, messages: list[Message]) -> bool:
        self.delivery.begin([Record(self.out, one.key, one.value) for one in messages], positions_after(messages))
        while (done := self.delivery.finish(1)) is None:
            pass
        return done

    def copy(self, count: int) -> list[Message]:
        """Copy so many at least."""
        done: list[Message] = []
        while len(done) < count and (messages := self.take()):
            assert self.deliver(messages)
            done += messages
        return done

    def told(self, metric: str) -> float:
        return self.source._metrics.registry.get_sample_value(f"realbogus_{metric}")

    def close(self) -> None:
        self.source.close()
        self.sink.close()


@pytest.fixture
def topics(kafka: str) -> tuple[str, str]:
    topic, out = new_topic(kafka), new_topic(kafka)
    produce(kafka, topic, [b"%d" % at for at in range(N)])
    return topic, out


def numbers(messages) -> list[int]:
    return sorted(int(one.value if isinstance(one, Message) else one.value()) for one in messages)


def test_results_and_offsets_are_visible_together(cluster, kafka, topics):
    topic, out = topics
    copier = Copier(cluster, topic, out)
    copier.copy(N)
    copier.close()
    assert numbers(read_all(kafka, out, **COMMITTED)) == list(range(N))
    assert sum(committed(kafka, f"group-{topic}", topic, 3)) == N


def test_what_is_taken_back_nobody_sees_and_it_comes_again_from_the_first_message_on(cluster, kafka, topics):
    topic, out = topics
    copier = Copier(cluster, topic, out)
    first = copier.take(10)
    copier.sink.begin()
    for one in first:
        copier.sink.send(Record(out, one.key, one.value))
    copier.sink.flush()
    assert copier.sink.commit(positions_after(first), None) is False  # as somebody whom the group does not know
    later = copier.take(10)
    copier.source.rewind()
    copier.copy(N)
    copier.close()
    assert later
    assert numbers(read_all(kafka, out, **COMMITTED)) == list(range(N))
    assert len(read_all(kafka, out, **EVERYTHING)) == N + len(first)


class Renamed:
    """The client when the group has put it out and it has joined again unasked: it has another id and tells nobody."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def memberid(self) -> str:
        return f"{self._client.memberid()}-again"


def test_who_was_put_out_and_let_in_again_commits_nothing_of_before_and_begins_where_others_ended(
    cluster, kafka, topics
):
    """Frozen while the group changes, librdkafka may join anew and tell of its partitions as if it had kept them."""
    topic, out = topics
    one = Copier(cluster, topic, out, "one")
    before = one.take(5)
    one.source._consumer = Renamed(one.source._consumer)
    assert not one.deliver(before)
    one.source.pause(True)
    two, done, deadline = Copier(cluster, topic, out, "two"), 0, time.monotonic() + 60
    while done < N and time.monotonic() < deadline:
        for member in (one, two):
            if messages := member.source.take(5, 0.2):
                assert member.deliver(messages)
                done += len(messages)
        one.source.pause(not one.source._id.endswith("-again"))  # until it is told of its partitions
    one.close()
    two.close()
    assert sorted(numbers(read_all(kafka, out, **COMMITTED))) == list(range(N))


def test_who_comes_after_us_in_our_place_fences_us_off(cluster, kafka, topics):
    topic, out = topics
    first = Copier(cluster, topic, out)
    messages = first.take()
    first.sink.begin()
    second = Copier(cluster, topic, out)
    first.sink.send(Record(out, None, b"x"))
    with pytest.raises(StreamError, match="taken our place") as caught:
        first.sink.commit(positions_after(messages), first.source.member())
    assert caught.value.exit_code == 3
    first.close()
    second.close()
    assert read_all(kafka, out, **COMMITTED) == []


def test_while_paused_nothing_is_handed_out_and_nothing_is_lost_by_it(cluster, kafka, topics):
    topic, out = topics
    copier = Copier(cluster, topic, out)
    done = copier.copy(10)
    copier.source.pause(True)
    produce(kafka, topic, [b"%d" % at for at in range(N, N + 5)])
    assert copier.take(within_s=2) == []
    assert copier.told("paused_partitions") == 3
    copier.source.pause(False)
    assert copier.told("paused_partitions") == 0
    done += copier.copy(N + 5 - len(done))
    copier.close()
    assert numbers(read_all(kafka, out, **COMMITTED)) == list(range(N + 5))


def test_partitions_that_come_during_a_pause_are_paused_too(cluster, kafka, topics):
    topic, out = topics
    copier = Copier(cluster, topic, out)
    copier.source.pause(True)  # before it has any
    assert copier.take(within_s=6) == []
    assert len(copier.source.assigned) == copier.told("paused_partitions") == 3
    copier.source.pause(False)
    copier.copy(N)
    copier.close()
    assert numbers(read_all(kafka, out, **COMMITTED)) == list(range(N))


def test_a_batch_ends_at_its_limit_of_bytes(cluster, kafka):
    topic = new_topic(kafka, 1)
    produce(kafka, topic, [bytes(50_000)] * 200)
    copier = Copier(cluster, topic, topic, batch_bytes=500_000)
    copier.take(1)
    time.sleep(1)  # let the prefetch fill
    sizes = [len(copier.take(256)) for _ in range(3)]
    copier.close()
    assert max(sizes) * 50_000 <= 500_000 + churn_portion() * 50_000


def churn_portion() -> int:
    from realbogus.stream.kafka.portions import PORTION

    return PORTION


def test_memory_stays_within_bounds_with_a_backlog_ten_times_as_large(kafka):
    """8 MB of prefetch and batch before 80 MB that wait; what the process grows by is neither."""
    topic = new_topic(kafka)
    produce(kafka, topic, [bytes([at % 256]) * 80_000 for at in range(1000)])
    bounded = KafkaSettings(bootstrap=kafka, consumer={"queued.max.messages.kbytes": "4096"})
    copier = Copier(bounded, topic, topic, batch_bytes=4_000_000)
    copier.take(1)
    before, most, read = resident_mb(), 0.0, 1
    while not copier.told("prefetch_bytes") and read < 100:  # the client looks every 5 s
        time.sleep(0.2)
        read += len(copier.take(1))
    assert 1e6 < copier.told("prefetch_bytes") < 4096 * 1024 + 3 * 1.2e6  # and a fetch a partition
    while read < 1000 and (messages := copier.take(256)):
        time.sleep(0.05)  # slower than the broker
        read, most = read + len(messages), max(most, resident_mb())
    copier.close()
    assert read == 1000
    assert most - before < 40


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def test_the_newer_protocol_of_groups_works_too(kafka, topics):
    topic, out = topics
    newer = KafkaSettings(bootstrap=kafka, consumer={"group.protocol": "consumer"})
    copier = Copier(newer, topic, out, instance="a")
    copier.copy(N)
    copier.close()
    assert numbers(read_all(kafka, out, **COMMITTED)) == list(range(N))
    assert sum(committed(kafka, f"group-{topic}", topic, 3)) == N


def test_members_that_join_and_leave_all_the_time_lose_and_repeat_nothing(kafka):
    topic, out = new_topic(kafka, 6), new_topic(kafka, 2)
    found = churn.churn(kafka, topic, out, seconds=8, rate=400)
    assert found.faults == []
    assert (found.missing, found.twice) == (0, 0)
    assert found.changes >= 5
