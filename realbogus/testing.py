"""A broker in memory and a clock set by hand: for stories about streams that wait for nothing and patch nothing.

    broker = MemoryBroker()
    broker.produce("ztf", packet)
    worker = Worker(source=broker.source("group", "ztf"), delivery=AtLeastOnce(source, broker.sink()), ...)

The broker keeps what Kafka keeps: topics of partitions of messages, and the committed positions of groups. What a
sink was given is visible once flushed, or once its transaction is committed: `MemoryTransactions`, which ExactlyOnce
takes. A crash is a source that is dropped: the next one begins at what was committed.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from realbogus.stream.protocols import NO_TIME, Headers, Message, Partition, Positions, Record


@dataclass
class ManualClock:
    """A clock that moves when told to."""

    time_s: float = 1_700_000_000.0  # Unix time

    def now(self) -> float:
        """Unix time, s."""
        return self.time_s

    def monotonic(self) -> float:
        """Seconds; the same hand moves both."""
        return self.time_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time_s += seconds


@dataclass
class MemoryBroker:
    """Topics, and the committed positions of groups."""

    partitions: int = 1  # of every topic
    room_bytes: int = 1 << 20  # largest record
    clock: ManualClock = field(default_factory=ManualClock)
    topics: dict[str, list[list[Message]]] = field(default_factory=dict)
    committed: dict[tuple[str, Partition], int] = field(default_factory=dict)
    aborted: list[Record] = field(default_factory=list)  # written in transactions that were taken back

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp_ms: int = NO_TIME,
    ) -> Message:
        """Append a message to the partition of its key."""
        logs = self.topics.setdefault(topic, [[] for _ in range(self.partitions)])
        number = zlib.crc32(key) % self.partitions if key else sum(map(len, logs)) % self.partitions
        stamp = timestamp_ms if timestamp_ms >= 0 else round(self.clock.now() * 1000)
        at = len(logs[number])
        message = Message(topic, number, at, stamp, key, value or b"", headers, null_value=value is None)
        logs[number].append(message)
        return message

    def messages(self, topic: str) -> list[Message]:
        """All messages of a topic, partition by partition."""
        return [message for log in self.topics.get(topic, ()) for message in log]

    def source(self, group: str, *topics: str) -> MemorySource:
        """A reader in a group, the only one; it begins at the committed positions."""
        return MemorySource(self, group, topics)

    def sink(self) -> MemorySink:
        """A writer."""
        return MemorySink(self)

    def log(self) -> MemoryLog:
        """All topics, to look back on."""
        return MemoryLog(self)

    def transactions(self) -> MemoryTransactions:
        """A writer in transactions."""
        return MemoryTransactions(self)


@dataclass
class MemoryLog:
    """The topics as they are now; see `stream.log.Log`."""

    broker: MemoryBroker

    def topics(self) -> list[str]:
        """All of them."""
        return sorted(self.broker.topics)

    def extent(self, topics: Iterable[str]) -> dict[Partition, tuple[int, int]]:
        """From the first to the last message."""
        known = self.broker.topics
        return {(topic, at): (0, len(log)) for topic in topics if topic in known for at, log in enumerate(known[topic])}

    def since(self, partitions: Iterable[Partition], time_s: float) -> Positions:
        """Offsets by time."""
        logs = {one: self.broker.topics[one[0]][one[1]] for one in partitions}
        return {one: sum(message.timestamp_ms < 1000 * time_s for message in log) for one, log in logs.items()}

    def committed(self, group_id: str, partitions: Iterable[Partition]) -> Positions:
        """How far a group is."""
        known = self.broker.committed
        return {one: known[group_id, one] for one in partitions if (group_id, one) in known}

    def read(self, extent: Mapping[Partition, tuple[int, int]]) -> Iterator[Message]:
        """The messages of these stretches."""
        for (topic, number), (first, stop) in extent.items():
            yield from self.broker.topics[topic][number][first:stop]


@dataclass
class MemorySource:
    """The messages of some topics, in turns over their partitions; see `stream.protocols.Source`."""

    broker: MemoryBroker
    group: str
    topics: Sequence[str]
    before_commit: Callable[[], None] = lambda: None  # raise here to crash between writing and committing
    owns_partitions: bool = True  # False = the group has moved on: commits are refused
    before_revoke: Callable[[], None] = lambda: None  # called by `take` where a change of the group is announced
    group_changes: bool = False  # set it to announce a change: all partitions go, and come back
    ends: bool = False  # whether it counts as finished once everything was taken
    paused: bool = False
    polls: int = 0  # calls of `take`
    _taken: dict[Partition, int] = field(default_factory=dict)

    def take(self, count: int, wait_s: float) -> list[Message]:
        """Up to this many messages. Where none is left the clock moves on by wait_s, and nobody sleeps."""
        self.polls += 1
        if self.group_changes:
            self.group_changes = False
            self.before_revoke()
            self.rewind()
        found: list[Message] = []
        for partition, log in self._logs() if self.owns_partitions and not self.paused else ():
            start = self._position(partition)
            some = log[start : start + count - len(found)]
            self._taken[partition] = start + len(some)
            found += some
        if not found:
            self.broker.clock.advance(wait_s)
        return found

    def commit(self, positions: Positions) -> bool:
        """Note positions in the broker."""
        self.before_commit()
        if self.owns_partitions:
            self.broker.committed |= {(self.group, partition): at for partition, at in positions.items()}
        return self.owns_partitions

    def rewind(self) -> None:
        """Go back to what is committed."""
        self._taken.clear()

    def pause(self, wanted: bool) -> None:
        """Give nothing, or go on."""
        self.paused = wanted

    def member(self) -> object:
        """Us, as long as the partitions are ours."""
        return self if self.owns_partitions else None

    def is_finished(self) -> bool:
        """Whether everything was taken, for a source that ends."""
        return self.ends and not (self.owns_partitions and any(self.lag().values()))

    def waiting_for(self) -> str:
        """Nothing, ever."""
        return ""

    def lag(self) -> dict[Partition, int]:
        """Messages not yet taken."""
        return {partition: len(log) - self._position(partition) for partition, log in self._logs()}

    def close(self) -> None:
        """Nothing to let go of."""

    def _logs(self) -> list[tuple[Partition, list[Message]]]:
        topics = self.broker.topics
        return [((topic, at), log) for topic in self.topics for at, log in enumerate(topics.get(topic, ()))]

    def _position(self, partition: Partition) -> int:
        return self._taken.get(partition, self.broker.committed.get((self.group, partition), 0))


@dataclass
class MemorySink:
    """Writes to a MemoryBroker; see `stream.protocols.Sink`."""

    broker: MemoryBroker
    before_flush: Callable[[], None] = lambda: None  # raise here to fail a delivery
    waiting: list[Record] = field(default_factory=list)

    def prepare(self, topics: Sequence[str]) -> None:
        """Topics make themselves."""

    def room(self, topic: str) -> int:
        """The broker's limit."""
        return self.broker.room_bytes

    def send(self, record: Record) -> None:
        """Queue a record."""
        self.waiting.append(record)

    def flush(self, wait_s: float = math.inf) -> bool:
        """Make everything queued visible."""
        self.before_flush()
        self._show()
        return True

    def close(self) -> None:
        """Forget what was not flushed."""
        self.waiting.clear()

    def _show(self) -> None:
        for record in self.waiting:
            self.broker.produce(record.topic, record.value, record.key, record.headers, record.timestamp_ms)
        self.waiting.clear()


@dataclass
class MemoryTransactions(MemorySink):
    """Writes to a MemoryBroker in transactions; see `stream.protocols.TransactionalSink`.

    Abort raised in before_flush takes the transaction back.
    """

    def begin(self) -> None:
        """Open a transaction; what a dead one left open is taken back."""
        self._take_back()

    def commit(self, positions: Positions, member: object) -> bool:
        """Show the records and note the positions, both or neither."""
        try:
            self.before_flush()
            good = not positions or (isinstance(member, MemorySource) and member.commit(positions))
        except Abort:
            good = False
        if not good:
            self._take_back()
            return False
        self._show()
        return True

    def _take_back(self) -> None:
        self.broker.aborted += self.waiting
        self.waiting.clear()


class Abort(Exception):
    """The broker asks to take a transaction back."""
