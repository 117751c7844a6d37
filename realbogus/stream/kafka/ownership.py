"""Whether every partition has somebody who reads it.

Cooperative groups hand partitions over in two steps: who has them gives them up and joins again, and with that the
others get them. A member with a fixed name that is killed between the two gets its old assignment back when it
returns, without a new distribution: what it had given up belongs to nobody, until the group changes for another
reason. One member has to join anew then.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import ConsumerGroupState, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from realbogus.config.sections import KafkaSettings
from realbogus.stream.kafka.settings import CALL_S, client_settings, quiet, reason
from realbogus.stream.protocols import Clock, Partition

log = logging.getLogger(__name__)

EVERY_S = 5.0  # s between two looks; what is missing in two of them in a row is nobody's


class Ownership:
    """Looks now and then which partitions of a group have no owner; no call of it waits for a broker."""

    def __init__(self, kafka: KafkaSettings, group_id: str, clock: Clock) -> None:
        self._admin = AdminClient(client_settings(kafka, quiet()))
        self._group_id, self._clock = group_id, clock
        self._due = clock.monotonic() + EVERY_S
        self._asked: tuple[Future[Any], ...] = ()
        self._missing: frozenset[Partition] = frozenset()

    def is_for_us_to_mend(self, topics: Sequence[str], member_id: str) -> frozenset[Partition]:
        """The partitions without an owner, if this member is the one that should join anew; else none."""
        now = self._clock.monotonic()
        if not self._asked and now >= self._due:
            self._ask(topics)
        if not self._asked or not all(future.done() for future in self._asked):
            return frozenset()
        asked, self._asked, self._due = self._asked, (), now + EVERY_S
        try:
            group = asked[0].result()
            described = [topic.result() for topic in asked[1:] if topic.exception() is None]  # others do not exist yet
        except KafkaException as error:  # also where a broker does not know these calls
            log.debug("cannot see who reads which partition: %s", reason(error))
            return frozenset()
        return self._lasting(group, described) if _first(group) in ("", member_id) else frozenset()

    def _ask(self, topics: Sequence[str]) -> None:
        groups = self._admin.describe_consumer_groups([self._group_id], request_timeout=CALL_S)
        found = self._admin.describe_topics(TopicCollection(list(topics)), request_timeout=CALL_S)
        self._asked = (groups[self._group_id], *found.values())

    def _lasting(self, group: Any, topics: Sequence[Any]) -> frozenset[Partition]:
        """What had no owner at the last look either."""
        owned = {(one.topic, one.partition) for member in group.members for one in member.assignment.topic_partitions}
        there = {(topic.name, partition.id) for topic in topics for partition in topic.partitions}
        settled = group.state == ConsumerGroupState.STABLE
        before, self._missing = self._missing, frozenset(there - owned) if settled else frozenset()
        lasting = before & self._missing
        if lasting:
            self._missing = frozenset()  # what is mended now is seen again only if it did not help
        return lasting


def _first(group: Any) -> str:
    """The member that mends: of those that own something the first, since only what it gives up moves the group."""
    return min((member.member_id for member in group.members if member.assignment.topic_partitions), default="")
