"""The archive: a file an event in a tree of dates, and an index a day. Source of truth for replay.

    voevents/2026/11/22/ZTF26abcdefg_2879123451015015003_forest_1.0.0_r0.xml
    voevents/2026/11/22/index.jsonl

The date is that of the event, not of its writing, so that every run puts an event in the same place. A file is
written under another name, synced and renamed: it is there whole or not at all. Its line in the index follows; where
a crash came between, the line is added when the event comes again.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

from realbogus.errors import VOEventError
from realbogus.publish.sinks import SENT, Answer, Delivery
from realbogus.voevent.validate import Event

log = logging.getLogger(__name__)

INDEX = "index.jsonl"
TOGETHER = 16  # files synced at the same time: the disk's journal takes them in one go, 14 times as fast as in a row


class Archive:
    """A folder of events. One writer at a time. A name once given to some bytes is never given to others."""

    name = "archive"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._days: dict[Path, set[str]] = {}  # folder of a day -> ids in its index
        self._pool = ThreadPoolExecutor(TOGETHER, "archive")

    def path(self, event: Event) -> Path:
        """Where the file of this event lies. Ids are of a-z A-Z 0-9 . _ - only, so the name is safe."""
        return self.folder / event.date[:10].replace("-", "/") / f"{event.ivorn.partition('#')[2]}.xml"

    def keep(self, event: Event) -> Path:
        """Put one event there, at once and for good; VOEventError where other bytes have its name."""
        (delivery,) = self.send([event])
        if delivery.answer is Answer.REFUSED:
            raise VOEventError(delivery.detail)
        if delivery.answer is Answer.FAILED:
            raise OSError(delivery.detail)
        return self.path(event)

    def send(self, events: Sequence[Event]) -> list[Delivery]:
        """Write the files, then the indexes; see `sinks.EventSink`."""
        answers = self._put_all(events)
        stored = [event for event, answer in zip(events, answers, strict=True) if answer is SENT]
        try:
            self._note(stored)
        except OSError as error:
            failed = Delivery(Answer.FAILED, f"index: {error}")
            return [failed if answer is SENT else answer for answer in answers]
        return answers

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()

    def _put_all(self, events: Sequence[Event]) -> list[Delivery]:
        """Those of different names at the same time; what comes twice under a name waits for the first."""
        first = {self.path(event): number for number, event in reversed(list(enumerate(events)))}
        alone = [number for number, event in enumerate(events) if first[self.path(event)] == number]
        answers = dict(zip(alone, self._pool.map(self._put, [events[number] for number in alone]), strict=True))
        return [answers[number] if number in answers else self._put(event) for number, event in enumerate(events)]

    def _put(self, event: Event) -> Delivery:
        path = self.path(event)
        try:
            if path.exists():
                same = path.read_bytes() == event.xml
                return SENT if same else Delivery(Answer.REFUSED, f"{path} holds another event under the same name")
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(path, event.xml)
        except OSError as error:
            return Delivery(Answer.FAILED, str(error))
        return SENT

    def _note(self, events: Sequence[Event]) -> None:
        """Add the events to the index of their day, those that are not there yet."""
        by_day: dict[Path, list[Event]] = {}
        for event in events:
            by_day.setdefault(self.path(event).parent, []).append(event)
        for day, those in by_day.items():
            known = self._known(day)
            lines = [_line(event) for event in {one.ivorn: one for one in those}.values() if event.ivorn not in known]
            tasks = [partial(_append, day / INDEX, "".join(lines))] if lines else []
            for done in [self._pool.submit(task) for task in (*tasks, partial(_sync_folder, day))]:
                done.result()
            known.update(event.ivorn for event in those)

    def _known(self, day: Path) -> set[str]:
        """The ids in the index of a day; the two days used last are kept in memory."""
        if day not in self._days:
            while len(self._days) > 1:
                self._days.pop(next(iter(self._days)))
            self._days[day] = {str(entry["ivorn"]) for entry in read_index(day)}
        return self._days[day]


def read_index(day: Path) -> Iterator[dict[str, object]]:
    """The entries of a day's index: ivorn, file, sha256, role, object_id, candid, model. A torn line is left out."""
    index = day / INDEX
    if not index.exists():
        return
    with index.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                log.warning("a line of %s is damaged and left out: %.80s", index, line)
            else:
                yield entry


def _line(event: Event) -> str:
    entry = {
        "ivorn": event.ivorn,
        "file": f"{event.ivorn.partition('#')[2]}.xml",
        "sha256": sha256(event.xml).hexdigest(),
        "role": event.role,
        "object_id": event.object_id,
        "candid": event.candid,
        "model": event.model,
    }
    return json.dumps(entry) + "\n"


def _append(index: Path, text: str) -> None:
    """Add lines; a last line that a crash left without its end gets one first."""
    with index.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            text = text if file.read(1) == b"\n" else f"\n{text}"
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def _write_whole(path: Path, data: bytes) -> None:
    """Write under another name, sync, rename."""
    draft = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder outlive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
