"""A world for the publisher: an outbox in memory, sinks that fail as told, a clock turned by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from realbogus.publish.sinks import SENT, Delivery
from realbogus.stream.protocols import Message
from realbogus.voevent.validate import Event


@dataclass
class Outbox:
    """A topic of one partition. `committed` outlives the reader."""

    values: list[bytes] = field(default_factory=list)
    committed: int = 0
    read: int = 0
    not_ready: list[str] = field(default_factory=list)  # answers of waiting_for, one a call

    def take(self, count: int, wait_s: float) -> Sequence[Message]:
        start, self.read = self.read, min(self.read + count, len(self.values))
        return [Message("outbox", 0, at, -1, None, self.values[at]) for at in range(start, self.read)]

    def commit(self, positions: Mapping[tuple[str, int], int]) -> bool:
        self.committed = positions["outbox", 0]
        return True

    def is_finished(self) -> bool:
        return False

    def waiting_for(self) -> str:
        return self.not_ready.pop() if self.not_ready else ""

    def lag(self) -> Mapping[tuple[str, int], int]:
        return {("outbox", 0): len(self.values) - self.read}

    def close(self) -> None:
        self.read = self.committed


@dataclass
class Place:
    """A sink that keeps what it gets and answers as its rule says."""

    name: str = "place"
    rule: Callable[[Event], Delivery] = lambda _: SENT
    got: list[Event] = field(default_factory=list)

    def send(self, events: Sequence[Event]) -> list[Delivery]:
        answers = [self.rule(event) for event in events]
        self.got += [event for event, answer in zip(events, answers, strict=True) if answer is SENT]
        return answers

    def close(self) -> None:
        pass


@dataclass
class Clock:
    """Time passes while somebody pauses; stops the world after so many pauses."""

    time: float = 1_700_000_000.0
    pauses: list[float] = field(default_factory=list)
    most: int = 1000

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        self.time += 0.25
        return self.time

    def pause(self, seconds: float) -> bool:
        if seconds:
            self.pauses.append(seconds)
        self.time += seconds
        return len(self.pauses) > self.most
