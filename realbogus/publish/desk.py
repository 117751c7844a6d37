"""The desk at which drafts from the outbox get their place: what is new, known, in conflict, or moot. Pure.

When a draft is entered, it gets its place beside what was published of its object (`voevent.lifecycle`), once and for
all. The same id with another draft is a conflict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import TypeAlias

from realbogus.errors import VOEventError
from realbogus.voevent import lifecycle, validate
from realbogus.voevent.lifecycle import Published
from realbogus.voevent.validate import Event

Object: TypeAlias = tuple[str, str, str]  # role, survey, object
Known: TypeAlias = tuple[str, str, bytes]  # digests of packet and draft, bytes of the packet


class Entry(StrEnum):
    """What became of a draft that was entered."""

    NEW = "new"
    KNOWN = "known"  # the same draft came before
    CONFLICT = "conflict"  # the same id with another draft; not entered
    MOOT = "moot"  # withdraws what was never published, or was withdrawn before; not entered
    INVALID = "invalid"  # cannot be completed; not entered


@dataclass(frozen=True)
class Entered:
    """A draft's way into the ledger."""

    entry: Entry
    event: Event | None = None  # to be sent, where the entry is new or known


class Desk:
    """A batch of drafts on its way in: each may meet those before it."""

    def __init__(self, known: Mapping[str, Known], threads: Mapping[Object, list[Published]]) -> None:
        self._known, self._threads = dict(known), dict(threads)
        self.new: list[tuple[Event, Event]] = []  # draft and packet
        self.refused: list[tuple[bytes, str]] = []  # bytes and reason

    def enter(self, draft: Event) -> Entered:
        """Place one draft, or say why not."""
        key, digest = event_id(draft.ivorn), sha256(draft.xml).hexdigest()
        if key in self._known:
            published, drafted, xml = self._known[key]
            if digest in (drafted, published):
                return Entered(Entry.KNOWN, validate.read(xml))
            self.refused.append((draft.xml, f"conflict: {draft.ivorn} is known with other bytes"))
            return Entered(Entry.CONFLICT)
        thread = self._threads.setdefault(object_of(draft), [])
        try:
            event = lifecycle.place(draft, thread)
        except VOEventError as problem:
            self.refused.append((draft.xml, str(problem)))
            return Entered(Entry.INVALID)
        if event is None:
            return Entered(Entry.MOOT)
        thread.append(lifecycle.published(event))
        self.new.append((draft, event))
        self._known[key] = (sha256(event.xml).hexdigest(), digest, event.xml)
        return Entered(Entry.NEW, event)


def object_of(event: Event) -> Object:
    """Whose thread it belongs to. Objects without a name are each alone."""
    name = event.object_id if event.object_id != "unknown" else f"unknown {event.candid}"
    return event.role, event.survey, name


def event_id(ivorn: str) -> str:
    """The IVORN as the ledger compares it: authority and path without regard to case, the local part with."""
    stream, mark, local = ivorn.partition("#")
    return f"{stream.lower()}{mark}{local}"
