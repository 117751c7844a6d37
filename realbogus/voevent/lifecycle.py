"""The life of a candidate in packets: which place one takes beside those published before, and whom it cites.

====================================== ============ =========== ===================================================
situation                              alert_type   cite        cites
====================================== ============ =========== ===================================================
first candidate of an object           initial      none
another candidate of it                subsequent   followup    the object's first packet, and the last one in force
a candidate judged again, still real   update       supersedes  the packet in force for the candidate
judged again and bogus, or withdrawn   retraction   retraction  the packet in force for the candidate
a withdrawn candidate real again       update       supersedes  the retraction
====================================== ============ =========== ===================================================

Pure: a draft and what was published of its object give the packet, byte for byte. The publisher's ledger knows what
was published. In force is the last packet of a candidate; nothing is in force where that is a retraction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from realbogus.errors import VOEventError
from realbogus.voevent import validate, what
from realbogus.voevent.text import clean, escape
from realbogus.voevent.validate import RETRACTED, Event

REASON_LIMIT = 512  # characters of what a person says
BY_HAND = "withdrawn by a person"

Thread: TypeAlias = Sequence["Published"]  # what was published of one object in one role, in the order of publication

_CITATIONS = re.compile(rb"<Citations>.*?</Citations>\n", re.DOTALL)
_TOP = re.compile(rb'<What>\n<Param name="schema_version".*?(?=<Group )', re.DOTALL)
_IMPORTANCE = re.compile(rb'<Why importance="[0-9.]+"')


@dataclass(frozen=True)
class Published:
    """What later packets must know of one that was published."""

    ivorn: str
    candid: str
    alert_type: str
    decision: str
    model: str  # "name/version"
    score: str
    threshold: str
    raw_threshold: str

    @property
    def is_retraction(self) -> bool:
        """Whether it withdraws its candidate."""
        return self.alert_type == "retraction"

    @property
    def is_by_hand(self) -> bool:
        """Whether a person withdrew what a model had found real."""
        return self.is_retraction and self.decision == "real"


def published(event: Event) -> Published:
    """What is to be remembered of an event."""
    return Published(
        event.ivorn,
        event.candid,
        event.alert_type,
        event.decision,
        event.model,
        event.score,
        event.threshold,
        event.raw_threshold,
    )


def place(draft: Event, thread: Thread) -> Event | None:
    """The packet to publish, given what was published of its object; None = there is nothing to withdraw.

    Raises VOEventError where the draft is of a form that cannot be completed.
    """
    own = in_force(thread, draft.candid)
    if draft.alert_type == "retraction":
        return None if own is None or own.is_retraction else _told(draft, "retraction", [own], _judged(own, draft))
    if own is not None:
        return _told(draft, "update", [own], _judged(own, draft))
    if not thread:
        return draft
    cited = [thread[0]] + [one for one in standing(thread)[-1:] if one is not thread[0]]
    return _told(draft, "subsequent", cited, "Another detection of an object published before")


def in_force(thread: Thread, candid: str) -> Published | None:
    """The last packet of a candidate, perhaps a retraction; None = nothing was published of it."""
    return next((one for one in reversed(thread) if one.candid == candid), None)


def standing(thread: Thread) -> list[Published]:
    """The packets that say of a candidate of this object that it is real, as things are."""
    return [one for one in _last_packets(thread) if not one.is_retraction]


def withdrawal(event: Event, reason: str) -> Event:
    """The draft by which a person withdraws an event: all that it said, so that filters that let it pass do so again.

    Raises VOEventError without a reason.
    """
    told = clean(" ".join(reason.split()), REASON_LIMIT)
    if not told:
        raise VOEventError("whoever withdraws an event says why")
    xml = _CITATIONS.sub(b"", event.xml)
    xml = xml.replace(event.ivorn.encode(), f"{event.ivorn}{RETRACTED}".encode(), 1)
    xml = _with_type(xml, "retraction")
    xml = _IMPORTANCE.sub(b'<Why importance="0.000000"', xml)
    about = f"{event.object_id}, candidate {event.candid}: {BY_HAND}. {told}"
    head, mark, _ = xml.rpartition(b"<Description>")
    return validate.read(head + mark + f"{escape(about)}</Description>\n</voe:VOEvent>\n".encode("ascii"), draft=True)


def _last_packets(thread: Thread) -> list[Published]:
    """The last packet of each candidate, in the order of their publication."""
    last = {one.candid: number for number, one in enumerate(thread)}
    return [thread[number] for number in sorted(last.values())]


def _told(draft: Event, alert_type: str, cited: Sequence[Published], words: str) -> Event:
    """The draft with its place: alert_type and Citations."""
    cite = validate.CITES[alert_type]
    lines = "".join(f'<EventIVORN cite="{cite}">{one.ivorn}</EventIVORN>\n' for one in cited)
    citations = f"<Citations>\n{lines}<Description>{escape(words)}</Description>\n</Citations>\n".encode("ascii")
    head, mark, summary = _with_type(draft.xml, alert_type).rpartition(b"<Description>")
    return validate.read(head + citations + mark + summary)


def _with_type(xml: bytes, alert_type: str) -> bytes:
    return _TOP.sub(f"<What>\n{what.top(alert_type)}".encode("ascii"), xml, count=1)


def _judged(before: Published, now: Event) -> str:
    """Both scores and both models."""
    if now.alert_type == "retraction" and now.decision == "real":
        return f"{now.ivorn.removesuffix(RETRACTED)} was {BY_HAND}"
    return (
        f"{before.model} gave {before.score} at threshold {before.threshold}, "
        f"{now.model} gives {now.score} at threshold {now.threshold}"
    )
