"""The ledger of the publisher: which event was sent where, kept in SQLite so that a crash loses nothing.

An event is entered with its bytes before it is first sent, and marked after a sink has it. What is sent are always
these bytes. The same id with other bytes is a conflict: kept aside, counted and never sent.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from realbogus.errors import StreamError
from realbogus.publish.sinks import Answer, Delivery
from realbogus.voevent.validate import Event

_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY,      -- the IVORN, authority and path in small letters
    sha256 TEXT NOT NULL,     -- of the bytes
    xml BLOB NOT NULL,        -- the bytes that are sent, always the same
    entered REAL NOT NULL     -- Unix time, s
) STRICT;
CREATE TABLE IF NOT EXISTS deliveries (
    id TEXT NOT NULL REFERENCES events,
    sink TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'parked')),
    attempts INTEGER NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT '',  -- why the last attempt failed
    refusal TEXT NOT NULL DEFAULT '', -- why the sink refused it for good, kept when it may wait again
    changed REAL NOT NULL,            -- Unix time, s
    PRIMARY KEY (id, sink)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unsent ON deliveries (sink) WHERE state = 'pending';
CREATE TABLE IF NOT EXISTS set_aside (
    sha256 TEXT PRIMARY KEY,  -- of the bytes
    reason TEXT NOT NULL,     -- 'conflict: ...' or what the check said
    data BLOB NOT NULL,       -- the bytes, at most 100 kB of them
    seen INTEGER NOT NULL,    -- how often they came
    first_seen REAL NOT NULL  -- Unix time, s
) STRICT;
"""
_KEPT = 100_000  # bytes of what is set aside
_SAID = 500  # characters of a reason
_PAGE = 500  # ids asked for in one query


class Entry(StrEnum):
    """What the ledger found when an event was entered."""

    NEW = "new"
    KNOWN = "known"  # the same id with the same bytes
    CONFLICT = "conflict"  # the same id with other bytes; not entered


class Ledger:
    """The ledger in one file. One process at a time: another is refused with StreamError."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path.with_name(path.name + ".lock"))
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # what is entered outlives a power failure
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Close the file and let another process have it."""
        self._db.close()
        os.close(self._lock)

    def enter(self, events: Sequence[Event], sinks: Iterable[str], now: float) -> list[Entry]:
        """Enter events as pending for these sinks, all in one transaction; tells what was known of each."""
        sinks = tuple(sinks)
        with _Transaction(self._db):
            return [self._enter(event, sinks, now) for event in events]

    def set_aside(self, data: bytes, reason: str, now: float) -> None:
        """Keep bytes that will not be sent, and why."""
        self._db.execute(
            "INSERT INTO set_aside VALUES (?, ?, ?, 1, ?) ON CONFLICT (sha256) DO UPDATE SET seen = seen + 1",
            (sha256(data).hexdigest(), reason[:_SAID], data[:_KEPT], now),
        )

    def pending(self, sink: str, most: int = -1) -> list[bytes]:
        """The bytes of events that wait for this sink, the oldest first."""
        rows = self._db.execute(
            "SELECT xml FROM deliveries JOIN events USING (id) WHERE state = 'pending' AND sink = ? "
            "ORDER BY events.rowid LIMIT ?",
            (sink, most),
        )
        return [xml for (xml,) in rows]

    def still_pending(self, events: Sequence[Event], sink: str) -> list[Event]:
        """Those of these events that wait for this sink, each once."""
        by_id = {event_id(event.ivorn): event for event in events}
        ids, waiting = list(by_id), set[str]()
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]
            marks = ",".join("?" * len(page))
            query = f"SELECT id FROM deliveries WHERE state = 'pending' AND sink = ? AND id IN ({marks})"
            waiting.update(found for (found,) in self._db.execute(query, (sink, *page)))
        return [event for one, event in by_id.items() if one in waiting]

    def settle(
        self, sink: str, answers: Iterable[tuple[Event, Delivery]], *, attempts: int, now: float
    ) -> list[tuple[Event, str]]:
        """Note a sink's answers, all in one transaction. What was refused, or failed this many times, is parked.

        Gives what was parked, with the reason.
        """
        parked = []
        with _Transaction(self._db):
            for event, delivery in answers:
                if self._settle(sink, event, delivery, attempts, now) == "parked":
                    parked.append((event, delivery.detail))
        return parked

    def unpark(self, now: float) -> int:
        """Let everything parked wait again, with its attempts forgotten; tells how many deliveries."""
        query = "UPDATE deliveries SET state = 'pending', attempts = 0, changed = ? WHERE state = 'parked'"
        return self._db.execute(query, (now,)).rowcount

    def refusal(self, event: Event, sink: str) -> str:
        """Why a sink has refused an event for good, before it was let wait again; "" = it has not."""
        query = "SELECT refusal FROM deliveries WHERE id = ? AND sink = ?"
        row = self._db.execute(query, (event_id(event.ivorn), sink)).fetchone()
        return str(row[0]) if row else ""

    def states(self) -> Mapping[tuple[str, str], int]:
        """(sink, state) -> number of events."""
        rows = self._db.execute("SELECT sink, state, count(*) FROM deliveries GROUP BY sink, state")
        return {(sink, state): count for sink, state, count in rows}

    def _enter(self, event: Event, sinks: Sequence[str], now: float) -> Entry:
        key, digest = event_id(event.ivorn), sha256(event.xml).hexdigest()
        found = self._db.execute("SELECT sha256 FROM events WHERE id = ?", (key,)).fetchone()
        if found is not None and found[0] != digest:
            self.set_aside(event.xml, f"conflict: {event.ivorn} is known with other bytes", now)
            return Entry.CONFLICT
        if found is None:
            self._db.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (key, digest, event.xml, now))
        self._db.executemany(
            "INSERT INTO deliveries (id, sink, state, changed) VALUES (?, ?, 'pending', ?) ON CONFLICT DO NOTHING",
            [(key, sink, now) for sink in sinks],
        )
        return Entry.NEW if found is None else Entry.KNOWN

    def _settle(self, sink: str, event: Event, delivery: Delivery, attempts: int, now: float) -> str:
        refused = delivery.answer is Answer.REFUSED
        query = """
            UPDATE deliveries SET attempts = attempts + 1, detail = ?, changed = ?, refusal = iif(?, ?, refusal),
                state = CASE WHEN ? THEN 'sent' WHEN ? OR attempts + 1 >= ? THEN 'parked' ELSE 'pending' END
            WHERE id = ? AND sink = ? AND state = 'pending' RETURNING state
        """
        sent = delivery.answer is Answer.SENT
        detail = delivery.detail[:_SAID]
        values = (detail, now, refused, detail, sent, refused, attempts, event_id(event.ivorn), sink)
        row = self._db.execute(query, values).fetchone()
        return str(row[0]) if row else "sent"


def event_id(ivorn: str) -> str:
    """The IVORN as the ledger compares it: authority and path without regard to case, the local part with."""
    stream, mark, local = ivorn.partition("#")
    return f"{stream.lower()}{mark}{local}"


class _Transaction:
    """All or nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _locked(path: Path) -> int:
    """A handle that holds the lock of this file until it is closed; the kernel lets go of it if we die."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StreamError(f"another publisher is at work on {path.with_suffix('')}; only one may be", 1) from None
    return handle
