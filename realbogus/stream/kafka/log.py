"""Topics of Kafka as logs: read by assignment, outside any group, up to where they ended when that was asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from realbogus.config.sections import KafkaSettings
from realbogus.errors import StreamError
from realbogus.stream.kafka.admin import partitions_of
from realbogus.stream.kafka.positions import committed, from_end, watermarks
from realbogus.stream.kafka.settings import CALL_S, consumer_settings, quiet, reason
from realbogus.stream.log import Extent
from realbogus.stream.protocols import NO_TIME, Message, Partition, Positions

NOBODY = "realbogus-reader"  # a group that is never joined and never commits
AT_ONCE = 500  # messages
SILENT_S = 60.0  # s without any message or end, after which a read is given up


class KafkaLog:
    """See `stream.log.Log`. Raises StreamError where no broker answers."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._consumer = self._new(NOBODY)

    def answers(self, within_s: float) -> bool:
        """Whether a broker is there."""
        try:
            self._consumer.list_topics(timeout=within_s)
        except KafkaException:
            return False
        return True

    def topics(self) -> list[str]:
        """The names of all topics."""
        try:
            return sorted(self._consumer.list_topics(timeout=CALL_S).topics)
        except KafkaException as error:
            raise StreamError(f"no broker answers at {self._kafka.bootstrap}: {reason(error)}") from error

    def extent(self, topics: Iterable[str]) -> dict[Partition, tuple[int, int]]:
        """Where partitions begin and end now."""
        try:
            return {one: watermarks(self._consumer, one) for one in partitions_of(self._consumer, topics)}
        except KafkaException as error:
            raise StreamError(f"cannot see how far the topics go: {reason(error)}") from error

    def since(self, partitions: Iterable[Partition], time_s: float) -> Positions:
        """Offsets by time."""
        wanted = [TopicPartition(*one, round(time_s * 1000)) for one in partitions]
        try:
            found = self._consumer.offsets_for_times(wanted, timeout=CALL_S) if wanted else []
            return {(one.topic, one.partition): from_end(self._consumer, one).offset for one in found}
        except KafkaException as error:
            raise StreamError(f"cannot look up offsets by time: {reason(error)}") from error

    def committed(self, group_id: str, partitions: Iterable[Partition]) -> Positions:
        """How far a group is; it is not joined for that."""
        consumer = self._new(group_id)
        try:
            return committed(consumer, partitions)
        except KafkaException as error:
            raise StreamError(f"cannot see how far the group {group_id} is: {reason(error)}") from error
        finally:
            consumer.close()

    def read(self, extent: Extent) -> Iterator[Message]:
        """The messages of these stretches."""
        there = self.extent({topic for topic, _ in extent})
        inside = {one: self._within(extent[one], there[one]) for one in extent if one in there}
        stops = {one: stop for one, (first, stop) in inside.items() if stop > first}
        self._consumer.assign([TopicPartition(*one, inside[one][0]) for one in stops])
        silent = 0.0
        while stops:
            found = self._consumer.consume(AT_ONCE, 1.0)
            silent = 0.0 if found else silent + 1.0
            if silent > SILENT_S:
                raise StreamError(
                    f"nothing came for {SILENT_S:.0f} s, while {len(stops)} partitions are not at their end"
                )
            yield from self._wanted(found, stops)
        self._consumer.unassign()

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def _new(self, group_id: str) -> Consumer:
        ours = {"group.id": group_id, "enable.partition.eof": True}
        return Consumer(consumer_settings(self._kafka, ours, quiet()))

    @staticmethod
    def _within(wanted: tuple[int, int], there: tuple[int, int]) -> tuple[int, int]:
        """A stretch without what is not there: the client would begin elsewhere."""
        return max(wanted[0], there[0]), min(wanted[1], there[1])

    def _wanted(self, found: Iterable[Any], stops: dict[Partition, int]) -> Iterator[Message]:
        """The messages before their partition's stop; partitions that have reached it are taken out of stops."""
        for one in found:
            partition, error = (one.topic(), one.partition()), one.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                if error.fatal() or not error.retriable():
                    raise StreamError(f"cannot read {one.topic()}: {error.str()}")
                continue
            at_end = error is not None or one.offset() >= stops.get(partition, 0) - 1
            if error is None and one.offset() < stops.get(partition, 0):
                yield message_of(one)
            if at_end and stops.pop(partition, None) is not None:
                self._consumer.incremental_unassign([TopicPartition(*partition)])


def message_of(one: Any) -> Message:
    """A message of the client as ours."""
    kind, time_ms = one.timestamp()
    headers = tuple((name, value or b"") for name, value in one.headers() or ())
    value = one.value()
    stamp = time_ms if kind else NO_TIME
    place = one.topic(), one.partition(), one.offset()
    return Message(*place, stamp, one.key(), value or b"", headers, null_value=value is None)
