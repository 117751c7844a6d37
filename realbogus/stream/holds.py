"""Events on hold: finished, in a topic of their own, until an operator releases their exposure.

All events of an exposure lie in one partition, as they have its name as key. A release copies them to the outbox, some
hundreds in a transaction, each with a note in the same partition of how far it came: an event leaves once, whatever
dies meanwhile, and a release that was cut short goes on where it ended. A candidate of a released exposure that comes
in later is held anew, and is listed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from realbogus.errors import StreamError
from realbogus.stream.log import Log
from realbogus.stream.protocols import Message, Partition, Record, TransactionalSink

HELD_BY, HELD_WHY, KEY, RELEASED, UPTO, IVORN = "held_by", "held_why", "key", "released", "upto", "ivorn"
AT_ONCE = 500  # events in a transaction


@dataclass
class Hold:
    """An exposure, or one detector of it, and its events that wait."""

    exposure: str  # "ztf/61000.25123", "ztf/61000.25123/42"
    partition: Partition = ("", 0)
    why: str = ""
    waiting: dict[str, int] = field(default_factory=dict)  # IVORN -> offset
    released: int = 0  # events, earlier

    def as_dict(self) -> dict[str, Any]:
        """For tables and JSON."""
        return {"exposure": self.exposure, "waiting": len(self.waiting), "released": self.released, "why": self.why}


def holds(messages: Iterable[Message]) -> dict[str, Hold]:
    """The exposures that were ever held, with what of them still waits; messages are all of the topic."""
    found: dict[str, Hold] = {}
    for message in messages:
        headers = dict(message.headers)
        key = (headers.get(HELD_BY) or headers.get(RELEASED, b"")).decode("utf-8", "replace")
        if not key:
            continue
        hold = found.setdefault(key, Hold(key, (message.topic, message.partition)))
        if RELEASED in headers:
            upto = int(headers.get(UPTO, b"0"))
            before = len(hold.waiting)
            hold.waiting = {ivorn: offset for ivorn, offset in hold.waiting.items() if offset > upto}
            hold.released += before - len(hold.waiting)
        else:
            hold.why = headers.get(HELD_WHY, b"").decode("utf-8", "replace")
            hold.waiting.setdefault(headers.get(IVORN, b"").decode("utf-8", "replace"), message.offset)
    return found


def release(
    log: Log, sink: TransactionalSink, hold: Hold, outbox: str, who: str, *, at_once: int = AT_ONCE
) -> Iterator[int]:
    """Hand the events of a hold to the publisher; gives how many with each transaction.

    StreamError where a transaction cannot be committed: then its events still wait, and those before are out.
    """
    offsets = set(hold.waiting.values())
    some: list[Message] = []
    for message in log.read({hold.partition: (min(offsets, default=0), max(offsets, default=-1) + 1)}):
        if message.offset in offsets:
            some.append(message)
        if len(some) == at_once:
            yield _hand_over(sink, hold, some, outbox, who)
            some = []
    if some:
        yield _hand_over(sink, hold, some, outbox, who)


def _hand_over(sink: TransactionalSink, hold: Hold, some: list[Message], outbox: str, who: str) -> int:
    note = ((RELEASED, hold.exposure.encode()), (UPTO, b"%d" % some[-1].offset), ("who", who.encode()))
    sink.begin()
    for message in some:
        sink.send(_event(message, outbox))
    sink.send(Record(hold.partition[0], hold.exposure.encode(), b"", note))
    if not sink.commit({}, None):
        raise StreamError(f"the events of {hold.exposure} could not be handed over; the rest still waits", 1)
    return len(some)


def _event(message: Message, outbox: str) -> Record:
    """The event as it would have been in the outbox at once."""
    own = tuple((name, value) for name, value in message.headers if name not in (HELD_BY, HELD_WHY, KEY))
    return Record(outbox, dict(message.headers).get(KEY), message.value, own, message.timestamp_ms)
