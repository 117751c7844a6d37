"""Which topics of a window of nights are still to be read.

The assignor evens out how many partitions each member has, over all topics together. With yesterday's topic still in
the window one worker may own its idle partitions and another all of tonight's: half of the workers stand still, and
one that is added gets nothing to do. So a night that is read to its end is let go as soon as a later one has messages;
it is looked at all the same, and taken up again if something comes late.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from realbogus.stream.kafka.admin import partitions_of
from realbogus.stream.kafka.positions import committed
from realbogus.stream.kafka.settings import reason
from realbogus.stream.protocols import Clock, Partition, Positions

log = logging.getLogger(__name__)

EVERY_S = 30.0  # s between two looks, each a few calls to a broker
ANSWER_S = 2.0  # s; longest wait for each answer


class Nights:
    """Leaves out the nights of a window that are over for the group. Topics in `always` are never left out."""

    def __init__(self, consumer: Consumer, clock: Clock, always: Collection[str] = ()) -> None:
        self._consumer, self._clock, self._always = consumer, clock, frozenset(always)
        self._window: tuple[str, ...] = ()
        self._over: frozenset[str] = frozenset()
        self._back: set[str] = set()  # nights that something came late for: they stay, so that nothing goes to and fro
        self._due = 0.0

    def current(self, window: Sequence[str]) -> tuple[str, ...]:
        """The topics to subscribe to, in their order; all of them where the broker cannot tell which are over."""
        now = self._clock.monotonic()
        if tuple(window) != self._window or now >= self._due:
            self._window, self._due = tuple(window), now + EVERY_S
            self._look([topic for topic in window if topic not in self._always])
        return tuple(topic for topic in window if topic not in self._over)

    def _look(self, nights: Sequence[str]) -> None:
        try:
            there = partitions_of(self._consumer, nights)
            ends, read = self._offsets(there, OFFSET_END), dict(committed(self._consumer, there, ANSWER_S))
            read |= self._offsets([one for one in there if one not in read], OFFSET_BEGINNING)
        except KafkaException as error:
            log.debug("cannot see which nights are over: %s", reason(error))
            return
        over = frozenset(nights_over(nights, ends, read))
        self._back |= self._over - over
        over -= self._back
        for topic in sorted(over - self._over):
            log.info("%s is read to its end, and a later one has messages: it is let go", topic)
        self._over = over

    def _offsets(self, partitions: Sequence[Partition], which: int) -> Positions:
        asked = [TopicPartition(*one, which) for one in partitions]  # brokers take these two for times as well
        found = self._consumer.offsets_for_times(asked, timeout=ANSWER_S) if asked else []
        for error in (one.error for one in found if one.error):
            raise KafkaException(error)
        return {(one.topic, one.partition): one.offset for one in found}


def nights_over(nights: Sequence[str], ends: Positions, read: Positions) -> list[str]:
    """The nights, oldest first, of which all partitions are read to their ends while a later one has messages."""
    begun = [night for night in nights if any(end for (topic, _), end in ends.items() if topic == night)]
    unread = {one[0] for one, end in ends.items() if end > read.get(one, 0)}
    return [night for night in begun[:-1] if night not in unread]
