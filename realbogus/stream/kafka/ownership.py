"""Whether every partition has somebody who reads it.

Cooperative groups hand partitions over in two steps: who has them gives them up and joins again, and with that the
others get them. A member with a fixed name that is killed between the two gets its old assignment back when it
returns, without a new distribution: what it had given up belongs to nobody, until the group changes for another
reason. One member has to join anew then.
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from realbogus.config.sections import KafkaSettings
from realbogus.stream.kafka.settings import client_settings, quiet, reason
from realbogus.stream.protocols import Clock, Partition

log = logging.getLogger(__name__)

EVERY_S = 10.0  # s between two looks; what has no owner in two of them in a row is nobody's
ANSWER_S = 1.0  # s; longest wait for an answer, which takes some ms


class Ownership:
    """Looks now and then which partitions of a group have no owner."""

    def __init__(self, kafka: KafkaSettings, group_id: str, clock: Clock) -> None:
        self._admin = AdminClient(client_settings(kafka, quiet()))
        self._group_id, self._clock = group_id, clock
        self._due = clock.monotonic() + EVERY_S
        self._missing: frozenset[Partition] = frozenset()

    def to_mend(self, topics: Sequence[str], member_id: str) -> frozenset[Partition]:
        """The partitions that lastingly have no owner, if it is this member that should join anew; else none."""
        now = self._clock.monotonic()
        if now < self._due:
            return frozenset()
        self._due = now + EVERY_S
        try:
            group, there = self._group(), self._partitions(topics)
        except KafkaException as error:
            log.debug("cannot see who reads which partition: %s", reason(error))
            return frozenset()
        if group is None or group.state != "Stable":
            self._missing = frozenset()
            return frozenset()
        owned = {member.id: set(partitions_in(member.assignment)) for member in group.members}
        before, self._missing = self._missing, frozenset(there.difference(*owned.values()))
        return before & self._missing if member_id == mender(owned) else frozenset()

    def _group(self) -> Any:
        """The group as its coordinator sees it.

        By the older call: that which the client recommends in its place ends the whole process where a broker goes
        away in the middle of it (librdkafka, issue 4605; seen with 2.16 as a broker was restarted).
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return next(iter(self._admin.list_groups(self._group_id, timeout=ANSWER_S)), None)

    def _partitions(self, topics: Sequence[str]) -> set[Partition]:
        known = self._admin.list_topics(timeout=ANSWER_S).topics
        return {(topic, number) for topic in topics if topic in known for number in known[topic].partitions}


def mender(owned: dict[str, set[Partition]]) -> str:
    """The member that joins anew: the first that owns something, since only what it gives up moves the group."""
    return min((member for member, partitions in owned.items() if partitions), default="")


def partitions_in(assignment: bytes) -> Iterator[Partition]:
    """What a member's assignment holds, in the consumer protocol's encoding; nothing from where it is damaged on."""
    try:
        (topics,), at = struct.unpack_from(">2xi", assignment), 6
        for _ in range(topics):
            (length,) = struct.unpack_from(">H", assignment, at)
            topic, at = assignment[at + 2 : at + 2 + length].decode(), at + 2 + length
            (count,) = struct.unpack_from(">I", assignment, at)
            yield from ((topic, number) for number in struct.unpack_from(f">{count}i", assignment, at + 4))
            at += 4 + 4 * count
    except (struct.error, UnicodeDecodeError):
        return
