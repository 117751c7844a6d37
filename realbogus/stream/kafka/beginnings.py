"""Where a group begins in partitions that have come to it: where it ended, or where auto.offset.reset says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from confluent_kafka import Consumer, KafkaException, TopicPartition

from realbogus.stream.protocols import Partition

ANSWER_S = 2.0  # s; longest wait for each answer of a broker


def resets(consumer: Consumer, partitions: Iterable[Partition]) -> Iterator[tuple[str, str]]:
    """The partitions where auto.offset.reset decides: "new" or "gone", and what to tell about it.

    "new": the group has committed nothing there. "gone": what it would read next is not there any more, and alerts may
    be lost. Raises KafkaException where no broker answers.
    """
    for one in consumer.committed([TopicPartition(*partition) for partition in sorted(partitions)], timeout=ANSWER_S):
        if one.error:
            raise KafkaException(one.error)
        low, high = consumer.get_watermark_offsets(one, timeout=ANSWER_S)
        place = f"{one.topic}/{one.partition}"
        if one.offset < 0:
            yield "new", f"{place}: the group has committed nothing yet; there are {high - low} messages"
        elif one.offset < low:
            yield "gone", f"{place}: {low - one.offset} messages were deleted before the group had read them"
        elif one.offset > high:
            yield "gone", f"{place}: the group was at {one.offset}, the topic ends at {high}: was it made anew?"
