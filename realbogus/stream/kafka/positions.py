"""Looking up offsets: what a group has committed, where partitions begin and end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from confluent_kafka import OFFSET_END, OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from realbogus.stream.kafka.settings import CALL_S
from realbogus.stream.protocols import Partition, Positions

Answer = TypeVar("Answer")
SOON_S = 0.1  # s; between two tries of what will do soon
NO_LEADER = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError._UNKNOWN_PARTITION}
NO_COORDINATOR = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


def committed(consumer: Consumer, partitions: Iterable[Partition], within_s: float = CALL_S) -> Positions:
    """The next offsets that a consumer's group has committed; partitions where it has none are left out.

    A group's coordinator may only just be coming up: that is waited for. Raises KafkaException.
    """
    asked = [TopicPartition(*one) for one in partitions]

    def ask() -> list[TopicPartition]:
        found = consumer.committed(asked, timeout=within_s) if asked else []
        for error in (one.error for one in found if one.error):
            raise KafkaException(error)
        return found

    found = patiently(ask, NO_COORDINATOR, within_s)
    return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}


def from_end(consumer: Consumer, one: TopicPartition) -> TopicPartition:
    """The partition with the offset looked up; its end where no message is as late as asked."""
    if one.error:
        raise KafkaException(one.error)
    if one.offset in (OFFSET_END, OFFSET_INVALID) or one.offset < 0:
        one.offset = consumer.get_watermark_offsets(one, timeout=CALL_S)[1]
    return one


def begin(consumer: Consumer, one: TopicPartition) -> int:
    """The first offset that is still there."""
    return int(consumer.get_watermark_offsets(one, timeout=CALL_S)[0])


def watermarks(consumer: Consumer, one: Partition) -> tuple[int, int]:
    """First and next offset; a topic that was only just made may not have a leader yet: that is waited for."""
    low, high = patiently(lambda: consumer.get_watermark_offsets(TopicPartition(*one), timeout=CALL_S), NO_LEADER)
    return int(low), int(high)


def patiently(ask: Callable[[], Answer], passing: Collection[int], within_s: float = CALL_S) -> Answer:
    """The answer, asked for again and again while the error is one of those that pass by themselves."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in passing or time.monotonic() > deadline:
                raise
        time.sleep(SOON_S)
