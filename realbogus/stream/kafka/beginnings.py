"""Where a group begins in partitions that have come to it: where it ended, or where auto.offset.reset says."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Set

from confluent_kafka import Consumer, KafkaException, TopicPartition

from realbogus.stream.kafka.positions import committed
from realbogus.stream.kafka.settings import Complaints
from realbogus.stream.protocols import Partition
from realbogus.telemetry import Metrics

log = logging.getLogger(__name__)

ANSWER_S = 2.0  # s; longest wait for each answer of a broker


class Beginnings:
    """Tells of each partition that comes to us whether we begin elsewhere than where the group ended."""

    def __init__(self, consumer: Consumer, metrics: Metrics, complaints: Complaints) -> None:
        self._consumer, self._metrics, self._complaints = consumer, metrics, complaints
        self.untold: set[Partition] = set()  # partitions of which nobody has told yet where we begin
        for kind in ("new", "gone"):  # from 0 on: a counter that begins with its first event rings no alarm for it
            metrics.offset_resets.labels(kind)

    def tell(self, assigned: Set[Partition]) -> None:
        """Log and count where we do not begin where the group ended; tried again where no broker answers."""
        if not self.untold or self._complaints.silent:
            return
        came, self.untold = self.untold & assigned, set()
        try:
            for kind, about in list(resets(self._consumer, came)):
                self._metrics.offset_resets.labels(kind).inc()
                log.log(logging.ERROR if kind == "gone" else logging.INFO, "begins anew in %s", about)
        except KafkaException as error:
            self._complaints(error.args[0])
            self.untold |= came


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
