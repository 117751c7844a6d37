"""What the worker needs of the world: a source, a sink, a way to deliver, a clock.

Kafka is one form of it (`stream.kafka`), memory another (`realbogus.testing`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Headers: TypeAlias = tuple[tuple[str, bytes], ...]
Partition: TypeAlias = tuple[str, int]  # topic, number
Positions: TypeAlias = Mapping[Partition, int]  # offset of the next message to read: the last one done, plus one

NO_TIME = -1  # timestamp_ms of a message or record without one


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was read."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int  # Unix time, ms, of the producer or the broker as the topic is set; NO_TIME = none
    key: bytes | None
    value: bytes  # b"" where the message had none
    headers: Headers = ()
    null_value: bool = False  # it had no value at all: value is b""


@dataclass(frozen=True, slots=True)
class Record:
    """A message to be written."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = ()
    timestamp_ms: int = NO_TIME  # NO_TIME = the moment of writing


class Source(Protocol):
    """Where messages come from. All its methods are called from one thread."""

    before_revoke: Callable[[], None]  # called, within `take`, before partitions of ours become somebody else's

    def take(self, count: int, wait_s: float) -> Sequence[Message]:
        """Up to this many messages, as soon as they are there, after wait_s at the latest; perhaps none."""

    def commit(self, positions: Positions) -> bool:
        """Note, now or soon, that everything before these positions is done; False where some are no longer ours."""

    def rewind(self) -> None:
        """Forget what was taken and not committed: it comes again."""

    def pause(self, wanted: bool) -> None:
        """Whether `take` gives nothing for now; it must still be called, so that the group does not think us dead."""

    def member(self) -> object:
        """Who we are in the group at this moment, for a transaction; None where the group does not know us."""

    def is_finished(self) -> bool:
        """Whether a source with an end has reached it."""

    def waiting_for(self) -> str:
        """Why no messages can come now, "" if they can: "no broker answers", "no such topic yet: ..."."""

    def lag(self) -> Mapping[Partition, int]:
        """Messages not yet taken, by partition, as far as known."""

    def close(self) -> None:
        """Leave. What was taken and not committed will come again, here or elsewhere."""


class Sink(Protocol):
    """Where records go. All its methods are called from one thread."""

    def prepare(self, topics: Sequence[str]) -> None:
        """Make sure that these topics are there; StreamError where they are not and cannot be made."""

    def room(self, topic: str) -> int:
        """The largest record that a topic takes, bytes of key, value and headers."""

    def send(self, record: Record) -> None:
        """Queue a record."""

    def flush(self, wait_s: float = math.inf) -> bool:
        """Whether every record sent is safely written, after this time at most; StreamError where one is refused."""

    def close(self) -> None:
        """Let go of what was not flushed."""


class TransactionalSink(Sink, Protocol):
    """A sink that makes records visible together with the positions of the messages they came from."""

    def begin(self) -> None:
        """Open a transaction: what is sent from here on belongs to it."""

    def commit(self, positions: Positions, member: object) -> bool:
        """Make all of it visible and the positions known; False where none of it is, and none of it ever will be.

        member is what `Source.member` told when the batch was taken. Without positions it is not asked for.
        """


class Delivery(Protocol):
    """How results and the note that their messages are done belong together. One batch at a time."""

    def begin(self, records: Sequence[Record], positions: Positions) -> None:
        """Start to write the results of a batch, read up to these positions; returns as soon as they are queued."""

    def finish(self, wait_s: float) -> bool | None:
        """How that ended: True = written and committed, False = the batch must come again, None = not known yet.

        Waits for this time at most.
        """


class Clock(Protocol):
    """The time."""

    def now(self) -> float:
        """Unix time, s."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary moment, never backwards."""


class SystemClock:
    """The computer's clock."""

    def now(self) -> float:
        """Unix time, s."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an arbitrary moment, never backwards."""
        return time.monotonic()


def positions_after(messages: Sequence[Message]) -> dict[Partition, int]:
    """For each partition of these messages the offset after its last one, and nothing for other partitions."""
    positions: dict[Partition, int] = {}
    for message in messages:
        partition = (message.topic, message.partition)
        positions[partition] = max(positions.get(partition, 0), message.offset + 1)
    return positions
