"""Where a group begins in partitions that have come to it: where it ended, or where auto.offset.reset says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from confluent_kafka import Consumer, TopicPartition

from realbogus.stream.kafka.positions import committed
from realbogus.stream.protocols import Partition

ANSWER_S = 2.0  # s; longest wait for each answer of a broker


def resets(consumer: Consumer, partitions: Iterable[Partition]) -> Iterator[tuple[str, str]]:
    """The partitions where auto.offset.reset decides: "new" or "gone", and what to tell about it.

    "new": the group has committed nothing there. "gone": what it would read next is not there any more, and alerts may
    be lost. Raises KafkaException where no broker answers.
    """
    wanted = sorted(partitions)
    done = committed(consumer, wanted, ANSWER_S)
    for partition in wanted:
        low, high = consumer.get_watermark_offsets(TopicPartition(*partition), timeout=ANSWER_S)
        place, next_one = "{}/{}".format(*partition), done.get(partition)
        if next_one is None:
            yield "new", f"{place}: the group has committed nothing yet; there are {high - low} messages"
        elif next_one < low:
            yield "gone", f"{place}: {low - next_one} messages were deleted before the group had read them"
        elif next_one > high:
            yield "gone", f"{place}: the group was at {next_one}, the topic ends at {high}: was it made anew?"
