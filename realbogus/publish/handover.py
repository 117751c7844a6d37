"""What other commands hand to the publisher: drafts, by way of the outbox, like those of the worker.

Only the publisher decides what is published, and in which place; so it need not be stopped for it, and whatever is
handed over twice is published once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from realbogus.errors import ConfigError
from realbogus.publish.ledger import Ledger
from realbogus.publish.sinks import SENT, Delivery
from realbogus.stream.protocols import Record, Sink
from realbogus.voevent import lifecycle
from realbogus.voevent.lifecycle import Published
from realbogus.voevent.style import EventStyle
from realbogus.voevent.validate import Event

_REVISION = re.compile(r"_r(\d+)(-retraction)?$")


class Handover:
    """A sink that lays drafts into the outbox."""

    name = "outbox"

    def __init__(self, sink: Sink, topic: str) -> None:
        self._sink, self._topic = sink, topic
        sink.prepare([topic])

    def send(self, events: Sequence[Event]) -> list[Delivery]:
        """Lay them there and wait until they are safe; StreamError where that cannot be."""
        for event in events:
            self._sink.send(record(event, self._topic))
        self._sink.flush()
        return [SENT] * len(events)

    def close(self) -> None:
        """Let go."""
        self._sink.close()


def record(draft: Event, topic: str) -> Record:
    """A draft as a record of the outbox, keyed by its object so that its events stay in order."""
    headers = (("ivorn", draft.ivorn.encode()), ("content-type", b"application/xml"), ("role", draft.role.encode()))
    return Record(topic, draft.object_id.encode(), draft.xml, headers)


def withdrawals(ledger: Ledger, name: str, reason: str) -> list[Event]:
    """Drafts that withdraw what is in force: of the candidate of an IVORN, or of all candidates of an object.

    Raises ConfigError where nothing of this name is in force.
    """
    if name.startswith("ivo://"):
        standing = _in_force(ledger, name)
    else:
        standing = [one.ivorn for thread in ledger.threads(name).values() for one in lifecycle.standing(thread)]
        if not standing:
            raise ConfigError([f"no event of an object {name!r} is in force; withdrawn ones cannot be withdrawn again"])
    events = [event for ivorn in standing if (event := ledger.event(ivorn)) is not None]
    return [lifecycle.withdrawal(event, reason) for event in events]


def _in_force(ledger: Ledger, ivorn: str) -> list[str]:
    event = ledger.event(ivorn)
    if event is None:
        raise ConfigError([f"{ivorn} was never published"])
    thread = ledger.threads(event.object_id).get((event.role, event.survey, event.object_id), ())
    last = lifecycle.in_force(thread, event.candid)
    if last is None or last.is_retraction:
        raise ConfigError([f"{ivorn} is withdrawn already" + (f" by {last.ivorn}" if last else "")])
    return [last.ivorn]


def revisions(
    ledger: Ledger, style: EventStyle, judges: Mapping[str, tuple[str, str]], *, restore: bool = False
) -> dict[tuple[str, str], int]:
    """Which published candidates are to be judged again: (object, candidate) -> revision of the packet to be made.

    judges: survey as printed -> model as "name/version" and its threshold as printed. Left alone are candidates whose
    packet in force is by this model at this threshold, and, without restore, those that a person withdrew.
    """
    lives: dict[tuple[str, str, str], list[Published]] = {}
    for (_, survey, object_id), one in ledger.published(style.role):
        if survey in judges and one.ivorn.lower().startswith(style.prefix.lower()):
            lives.setdefault((survey, object_id, one.candid), []).append(one)
    return {
        (object_id, candid): revision
        for (survey, object_id, candid), life in lives.items()
        if (revision := _revision(life, *judges[survey], restore=restore)) is not None
    }


def _revision(life: Sequence[Published], model: str, threshold: str, *, restore: bool) -> int | None:
    """The next free revision of a candidate by a model; None = leave it alone."""
    last = life[-1]
    if not restore if last.is_by_hand else (last.model, last.raw_threshold) == (model, threshold):
        return None
    used = [int(found[1]) for one in life if one.model == model and (found := _REVISION.search(one.ivorn))]
    return max(used, default=-1) + 1
