"""Nights that are over are let go, so that each worker gets its part of tonight's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import OFFSET_END, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka_cases import new_topic, produce

from realbogus.config.sections import KafkaSettings
from realbogus.stream.kafka import KafkaSource, nights
from realbogus.stream.kafka.nights import EVERY_S, Nights, nights_over
from realbogus.stream.kafka.positions import NO_COORDINATOR, patiently
from realbogus.stream.protocols import positions_after
from realbogus.testing import ManualClock

MON, TUE, WED = ("mon", 0), ("tue", 0), ("wed", 0)


@pytest.mark.parametrize(
    ("ends", "read", "over"),
    [
        ({MON: 5, TUE: 5}, {MON: 5, TUE: 0}, ["mon"]),
        ({MON: 5, TUE: 5}, {MON: 4, TUE: 0}, []),  # the last one of Monday is not read
        ({MON: 5, TUE: 0}, {MON: 5}, []),  # Tuesday has not begun
        ({MON: 5, TUE: 5}, {MON: 5, TUE: 5}, ["mon"]),  # the latest one stays
        ({MON: 5, ("mon", 1): 3, TUE: 5}, {MON: 5}, []),  # one partition is unread
        ({MON: 5, ("mon", 1): 0, TUE: 5}, {MON: 5}, ["mon"]),  # one had never anything
        ({MON: 5, TUE: 5, WED: 1}, {MON: 5, TUE: 5}, ["mon", "tue"]),
        ({MON: 5, TUE: 5, WED: 1}, {MON: 5, TUE: 3}, ["mon"]),
        ({TUE: 5}, {TUE: 5}, []),
        ({}, {}, []),
    ],
)
def test_a_night_is_over_when_all_of_it_is_read_and_a_later_one_has_begun(ends, read, over):
    assert nights_over(["mon", "tue", "wed"], ends, read) == over


class Pair:
    """Members of a group that read a window of nights."""

    def __init__(self, kafka: str, window: list[str]) -> None:
        self.kafka, self.window, self.group = KafkaSettings(bootstrap=kafka), window, f"group-{window[0]}"
        self.members: list[KafkaSource] = []
        self.read: list[tuple[str, bytes]] = []

    def join(self) -> KafkaSource:
        self.members.append(KafkaSource(self.kafka, group_id=self.group, topics=lambda: self.window, always=()))
        return self.members[-1]

    def turn_until(self, wanted: Callable[[], bool], within_s: float = 60) -> None:
        deadline = time.monotonic() + within_s
        while not wanted():
            assert time.monotonic() < deadline, [sorted(one.assigned) for one in self.members]
            for member in self.members:
                found = member.take(100, 0.1)
                self.read += [(one.topic, one.value) for one in found]
                member.commit(positions_after(found))

    def has(self, member: KafkaSource, topic: str) -> int:
        return sum(1 for name, _ in member.assigned if name == topic)

    def close(self) -> None:
        for member in self.members:
            member.close()


@pytest.mark.kafka
def test_a_worker_that_is_added_gets_its_part_of_tonight_and_what_comes_late_is_read(kafka, monkeypatch):
    monkeypatch.setattr(nights, "EVERY_S", 1.0)
    yesterday, tonight = new_topic(kafka, 4), new_topic(kafka, 4)
    pair = Pair(kafka, [yesterday, tonight, "a-night-to-come"])
    produce(kafka, yesterday, [b"%d" % at for at in range(40)])
    first = pair.join()
    pair.turn_until(lambda: len(pair.read) == 40)
    assert pair.has(first, yesterday) == 4  # nothing later has begun
    produce(kafka, tonight, [b"%d" % at for at in range(40)])
    pair.turn_until(lambda: len(pair.read) == 80)
    second = pair.join()
    pair.turn_until(lambda: [pair.has(one, tonight) for one in (first, second)] == [2, 2])
    pair.turn_until(lambda: not any(pair.has(one, yesterday) for one in (first, second)))
    produce(kafka, yesterday, [b"late"])
    pair.turn_until(lambda: (yesterday, b"late") in pair.read)
    pair.close()
    assert len(pair.read) == len(set(pair.read)) == 81


class Looked:
    """Yesterday's and tonight's topic, and who looks at them now and then; yesterday's is read to its end."""

    def __init__(self, kafka: str) -> None:
        self.kafka, self.clock = kafka, ManualClock()
        self.window = self.yesterday, self.tonight = new_topic(kafka, 1), new_topic(kafka, 1)
        self.reader = Consumer({"bootstrap.servers": kafka, "group.id": f"group-{self.tonight}"})
        for topic in self.window:
            produce(kafka, topic, [b"0", b"1", b"2"])
        self.read_up_to(3)

    def read_up_to(self, offset: int) -> None:
        positions = [TopicPartition(self.yesterday, 0, offset)]
        patiently(lambda: self.reader.commit(offsets=positions, asynchronous=False), NO_COORDINATOR, within_s=60)


@pytest.fixture
def looked(kafka: str) -> Iterator[Looked]:
    looked = Looked(kafka)
    yield looked
    looked.reader.close()


@pytest.mark.kafka
def test_a_night_that_something_came_late_for_stays_so_that_nothing_goes_to_and_fro(looked):
    seen = Nights(looked.reader, looked.clock)
    assert seen.current(looked.window) == (looked.tonight,)
    produce(looked.kafka, looked.yesterday, [b"late"])
    assert seen.current(looked.window) == (looked.tonight,)  # it is looked at now and then only
    looked.clock.advance(EVERY_S)
    assert seen.current(looked.window) == looked.window
    looked.read_up_to(4)
    looked.clock.advance(EVERY_S)
    assert seen.current(looked.window) == looked.window


@pytest.mark.kafka
def test_a_topic_that_is_no_night_is_never_let_go(looked):
    assert Nights(looked.reader, looked.clock, [looked.yesterday]).current(looked.window) == looked.window


@pytest.mark.kafka
def test_a_night_of_which_nothing_was_read_and_nothing_is_left_is_over(looked):
    emptied = new_topic(looked.kafka, 1)
    produce(looked.kafka, emptied, [b"0"])
    admin, all_of_it = AdminClient({"bootstrap.servers": looked.kafka}), TopicPartition(emptied, 0, OFFSET_END)
    admin.delete_records([all_of_it])[all_of_it].result(20)
    assert Nights(looked.reader, looked.clock).current((emptied, *looked.window)) == (looked.tonight,)


@pytest.mark.kafka
def test_nothing_is_let_go_where_the_broker_cannot_tell_what_is_read(looked, monkeypatch):
    monkeypatch.setattr(nights, "ANSWER_S", 0.0)
    assert Nights(looked.reader, looked.clock).current(looked.window) == looked.window
