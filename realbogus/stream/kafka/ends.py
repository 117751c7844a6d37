"""Where to stop in each partition, for those who read up to a time."""

from __future__ import annotations

from collections.abc import Set

from confluent_kafka import Consumer, TopicPartition

from realbogus.stream.kafka.positions import begin, from_end
from realbogus.stream.kafka.settings import CALL_S
from realbogus.stream.protocols import Clock, Partition, Positions


class Ends:
    """Each partition ends before its first message at or after until_s (Unix time, s); never where that is None.

    A partition whose end is reached is paused. Times yet to come have no place in a partition: it is looked up then.
    """

    def __init__(self, consumer: Consumer, clock: Clock, until_s: float | None) -> None:
        self._consumer, self._clock, self._until_s = consumer, clock, until_s
        self._ends: dict[Partition, int] = {}
        self.reached: set[Partition] = set()

    def due(self) -> bool:
        """Whether the time to stop at is past."""
        return self._until_s is not None and self._clock.now() >= self._until_s

    def find(self, assigned: Set[Partition], positions: Positions) -> None:
        """Look up what is not known yet; positions are the next messages to take. Raises KafkaException."""
        unknown = sorted(assigned - self._ends.keys())
        if self._until_s is None or not unknown or not self.due():
            return
        wanted = [TopicPartition(*partition, int(self._until_s * 1000)) for partition in unknown]
        for one in [from_end(self._consumer, one) for one in self._consumer.offsets_for_times(wanted, timeout=CALL_S)]:
            partition = (one.topic, one.partition)
            self._ends[partition] = one.offset
            if one.offset <= max(positions.get(partition, 0), begin(self._consumer, one)):
                self.is_before(partition, one.offset)  # nothing left: no event would ever tell

    def is_before(self, partition: Partition, offset: int) -> bool:
        """Whether a message is to be taken; the first one that is not ends its partition."""
        if partition not in self._ends or offset < self._ends[partition]:
            return True
        if partition not in self.reached:
            self.reached.add(partition)
            self._consumer.pause([TopicPartition(*partition)])
        return False

    def forget(self, gone: Set[Partition]) -> None:
        """Partitions that are not ours any more."""
        self.reached -= gone
        for partition in gone & self._ends.keys():
            del self._ends[partition]
