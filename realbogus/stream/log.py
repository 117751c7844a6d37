"""Topics as logs to look back on: what tools of the operator read, outside any consumer group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeAlias

from realbogus.config.sections import InputSettings
from realbogus.stream.protocols import NO_TIME, Message, Partition, Positions

Extent: TypeAlias = Mapping[Partition, tuple[int, int]]  # first offset, and the offset after the last one

HALF_A_DAY = timedelta(hours=12)


class Log(Protocol):
    """The topics of a broker. Only what is committed is seen."""

    def topics(self) -> Sequence[str]:
        """The names of all topics, sorted."""

    def extent(self, topics: Iterable[str]) -> dict[Partition, tuple[int, int]]:
        """Where the partitions of these topics begin and end now. Topics that do not exist are left out."""

    def since(self, partitions: Iterable[Partition], time_s: float) -> Positions:
        """Offset of the first message at or after a time (Unix, s), in each partition; its end where there is none."""

    def committed(self, group_id: str, partitions: Iterable[Partition]) -> Positions:
        """How far a group is; partitions where it has committed nothing are left out."""

    def read(self, extent: Extent) -> Iterator[Message]:
        """The messages of these stretches; in order within a partition."""


def from_time(log: Log, extent: Extent, since_s: float | None) -> dict[Partition, tuple[int, int]]:
    """The part of the stretches at or after a time; all of it where that is None."""
    if since_s is None:
        return dict(extent)
    begins = log.since([one for one, (first, stop) in extent.items() if stop > first], since_s)
    return {one: (max(first, begins.get(one, first)), stop) for one, (first, stop) in extent.items()}


def inputs_behind(known: Iterable[str], template: str, given: InputSettings) -> dict[str, str]:
    """The topics that are outputs made by a template such as "{topic}.dlq", with the input topic each belongs to.

    A template without "{topic}" is one topic for all inputs, which are then not told apart: "".
    """
    if "{topic}" not in template:
        return {topic: "" for topic in known if topic == template}
    before, after = (re.escape(part) for part in template.split("{topic}", 1))
    found = ((topic, re.fullmatch(f"{before}(.+){after}", topic)) for topic in known)
    return {topic: match[1] for topic, match in found if match and is_input(match[1], given)}


def is_input(topic: str, given: InputSettings) -> bool:
    """Whether a topic is one that these settings read, on any night."""
    if topic in given.topics:
        return True
    if not given.pattern:
        return False
    try:
        night = datetime.strptime(topic, given.pattern).replace(tzinfo=UTC)
    except ValueError:
        return False
    return night.strftime(given.pattern) == topic


def night_of(timestamp_ms: int) -> str:
    """The night of a time, from noon to noon UTC, by the date of its evening: "2026-11-20"; "" without a time."""
    if timestamp_ms == NO_TIME:
        return ""
    return (datetime.fromtimestamp(timestamp_ms / 1000, UTC) - HALF_A_DAY).date().isoformat()
