"""What the publisher needs of a place that events go to, and what such a place answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from realbogus.stream.protocols import Headers
from realbogus.voevent.validate import Event


class Answer(StrEnum):
    """What became of sending one event."""

    SENT = "sent"  # it is there for good
    FAILED = "failed"  # not this time; worth another try
    REFUSED = "refused"  # never; another try would end the same way


@dataclass(frozen=True)
class Delivery:
    """The answer of a sink for one event."""

    answer: Answer
    detail: str = ""  # why not


SENT = Delivery(Answer.SENT)


class EventSink(Protocol):
    """A place for events. Sending the same event twice must do no harm; what is sent are the bytes of the ledger."""

    name: str  # in the ledger and in the counts; it must not change between runs

    def send(self, events: Sequence[Event]) -> Sequence[Delivery]:
        """Send them and wait for the answers, one an event, in their order. Raises nothing that a retry can mend."""

    def close(self) -> None:
        """Let go."""


@runtime_checkable
class TakesAlerts(Protocol):
    """A sink that also wants the alert that an event was made of."""

    def lay(self, draft: Event, headers: Headers) -> None:
        """Keep what lies beside a draft in the outbox; called before the event is sent, perhaps more than once."""
