"""Drafts for the outbox, and what must become of them: worked out here without a publisher."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from voevent_cases import MODEL, STYLE, scored

from realbogus.voevent import Event, build
from realbogus.voevent.lifecycle import place, published

LATER = replace(MODEL, version="1.3.0", sha256="f" * 64)
A_LIFE = 4  # packets an object


def life(number: int) -> Iterator[Event]:
    """An object: found, seen again, its first candidate judged again, its second one withdrawn."""
    name, first = f"ZTF26{number:07d}", 10_000_000_000 + 2 * number
    for candid, model, chance in (
        (first, MODEL, 0.95),
        (first + 1, MODEL, 0.9),
        (first, LATER, 0.8),
        (first + 1, LATER, 0.1),
    ):
        yield build(scored(candid=candid, object_id=name, model=model, score=chance, p_real=chance), 0, STYLE)


def conflict(number: int) -> Event:
    """The first draft of an object with another magnitude: the same name, other bytes."""
    name, first = f"ZTF26{number:07d}", 10_000_000_000 + 2 * number
    return build(scored(candid=first, object_id=name, score=0.95, p_real=0.95, mag_psf=17.0), 0, STYLE)


def outbox(events: int) -> list[Event]:
    """So many drafts to be published, objects interleaved; one in ten comes twice, one in fifty with other bytes."""
    objects = events // A_LIFE
    lives = [list(life(number)) for number in range(objects)]
    drafts: list[Event] = []
    for start in range(0, objects, 50):  # fifty objects live at a time
        for step in range(A_LIFE):
            for number in range(start, min(start + 50, objects)):
                drafts.append(lives[number][step])
                if number % 10 == 3:
                    drafts.append(lives[number][step])
                if number % 50 == 7 and step == 1:
                    drafts.append(conflict(number))
    return drafts


def expected(events: int) -> dict[str, bytes]:
    """Name -> bytes of all that must be published."""
    told: dict[str, bytes] = {}
    for number in range(events // A_LIFE):
        thread: list[Event] = []
        for draft in life(number):
            event = place(draft, [published(one) for one in thread])
            assert event is not None
            thread.append(event)
        told |= {event.ivorn: event.xml for event in thread}
    return told
