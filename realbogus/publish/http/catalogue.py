"""The catalogue: published events as a page and a search need them, in SQLite, each once and for good.

Numbered as they are entered: the number is the cursor of paging and of following, and never given twice. The bytes are
those of the ledger. Whether an event still stands follows from what cites it, whichever came first.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from realbogus.errors import RealbogusError
from realbogus.publish import evidence
from realbogus.publish.evidence import Evidence
from realbogus.publish.http.search import Search, separation_deg
from realbogus.surveys.history import Point
from realbogus.voevent.reading import tell
from realbogus.voevent.twin import twin
from realbogus.voevent.validate import Event

_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    ivorn TEXT NOT NULL UNIQUE,
    local TEXT NOT NULL,            -- what follows '#' in the IVORN: its name here
    role TEXT NOT NULL, type TEXT NOT NULL, survey TEXT NOT NULL, object TEXT NOT NULL, candid TEXT NOT NULL,
    band TEXT NOT NULL, mag REAL, score REAL NOT NULL, ra REAL NOT NULL, dec REAL NOT NULL,
    published REAL NOT NULL         -- Unix time, s
) STRICT;
CREATE INDEX IF NOT EXISTS by_name ON events (local, number);
CREATE INDEX IF NOT EXISTS of_object ON events (object, number);
CREATE INDEX IF NOT EXISTS at_dec ON events (dec);
CREATE INDEX IF NOT EXISTS when_published ON events (published);
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY REFERENCES events,
    xml BLOB NOT NULL,
    json TEXT NOT NULL              -- the twin
) STRICT;
CREATE TABLE IF NOT EXISTS citations (
    cited TEXT NOT NULL,            -- IVORN
    kind TEXT NOT NULL, number INTEGER NOT NULL REFERENCES events,
    PRIMARY KEY (cited, kind, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alerts (  -- as they came, until somebody has looked at them
    object TEXT NOT NULL, candid TEXT NOT NULL, alert BLOB NOT NULL,
    PRIMARY KEY (object, candid)
) STRICT;
CREATE TABLE IF NOT EXISTS evidence (
    object TEXT NOT NULL, candid TEXT NOT NULL,
    science BLOB NOT NULL, template BLOB NOT NULL, difference BLOB NOT NULL, -- PNG
    side_arcsec REAL NOT NULL, history TEXT NOT NULL,
    PRIMARY KEY (object, candid)
) STRICT;
"""
_STATE = """CASE
    WHEN EXISTS (SELECT 1 FROM citations WHERE cited = ivorn AND kind = 'retraction') THEN 'retracted'
    WHEN EXISTS (SELECT 1 FROM citations WHERE cited = ivorn AND kind = 'supersedes') THEN 'superseded'
    ELSE 'current' END"""
_OF_CANDIDATE = "FROM evidence WHERE object = ? AND candid = ?"
_HAS_EVIDENCE = "EXISTS (SELECT 1 FROM evidence AS e WHERE e.object = events.object AND e.candid = events.candid)"
_ENTRIES = (  # in the order of the fields of Entry
    f"SELECT number, local, ivorn, object, candid, published, {_STATE}, json, {_HAS_EVIDENCE} "
    "FROM events JOIN documents USING (number)"
)
STAMPS = ("science", "template", "difference")
PATIENCE_S = 2.0  # s that one look-up may take
_CHECK_EVERY = 20_000  # steps of SQLite's machine


class TooMuch(RealbogusError):
    """A search that takes too long."""


@dataclass(frozen=True)
class Entry:
    """An event in the catalogue."""

    number: int  # its cursor
    local: str
    ivorn: str
    object_id: str
    candid: str
    published: float  # Unix time, s
    state: str  # "current", "superseded" or "retracted"
    document: str  # its JSON twin, see `voevent.twin`
    has_evidence: bool

    @cached_property
    def twin(self) -> dict[str, Any]:
        """The JSON twin, read."""
        told: dict[str, Any] = json.loads(self.document)
        return told


class Catalogue:
    """The catalogue in one file. One writer; readers in any thread, which never wait for it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._local = path, threading.local()
        self._writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = FULL")  # what is entered outlives a power failure
        self._writer.executescript(_TABLES)
        self._lock = threading.Lock()
        self._readers: list[sqlite3.Connection] = []

    def close(self) -> None:
        """Close the file."""
        for connection in (*self._readers, self._writer):
            connection.close()

    # Writing

    def enter(self, events: Sequence[Event], now: float) -> list[int]:
        """Enter events, all in one transaction; gives the numbers of those that are new. A known one is left alone."""
        with self._writing():
            return [number for event in events if (number := self._enter(event, now)) is not None]

    def lay(self, event: Event, alert: bytes) -> None:
        """Keep the alert that an event was made of until it is looked at; nothing if that has been done."""
        query = (
            "INSERT OR IGNORE INTO alerts SELECT ?, ?, ? "
            "WHERE NOT EXISTS (SELECT 1 FROM evidence WHERE object = ? AND candid = ?)"
        )
        with self._writing():
            self._writer.execute(query, (event.object_id, event.candid, alert, event.object_id, event.candid))

    def laid(self, most: int) -> list[tuple[str, str, bytes]]:
        """Alerts to look at: object, candid, bytes."""
        with self._lock:
            rows = self._writer.execute("SELECT object, candid, alert FROM alerts LIMIT ?", (most,))
            return [(object_id, candid, bytes(alert)) for object_id, candid, alert in rows]

    def keep(self, object_id: str, candid: str, found: Evidence | None) -> None:
        """Keep what was found in an alert (None = nothing), and the alert itself no longer."""
        with self._writing():
            self._writer.execute("DELETE FROM alerts WHERE object = ? AND candid = ?", (object_id, candid))
            if found is not None:
                values = (object_id, candid, *found.stamps, found.side_arcsec, evidence.to_json(found.history))
                self._writer.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def is_empty(self) -> bool:
        """Whether nothing was ever entered."""
        return self.last() == 0

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, all or nothing, of one thread at a time."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    def _enter(self, event: Event, now: float) -> int | None:
        told = tell(event)
        magnitude = told.number("photometry", "mag_psf")
        row = (
            event.ivorn, event.ivorn.partition("#")[2], event.role, told.alert_type, told.text("identity", "survey"),
            event.object_id, event.candid, told.band, None if math.isnan(magnitude) else magnitude, told.score,
            told.ra_deg, told.dec_deg, now,
        )  # fmt: skip
        query = (
            "INSERT INTO events "
            "(ivorn, local, role, type, survey, object, candid, band, mag, score, ra, dec, published) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING number"
        )
        found = self._writer.execute(query, row).fetchone()
        if found is None:
            return None
        number = int(found[0])
        self._writer.execute("INSERT INTO documents VALUES (?, ?, ?)", (number, event.xml, json.dumps(twin(told))))
        self._writer.executemany(
            "INSERT OR IGNORE INTO citations VALUES (?, ?, ?)",
            [(citation.ivorn, citation.kind, number) for citation in told.citations],
        )
        return number

    # Reading

    def search(self, search: Search) -> list[Entry]:
        """The events asked for, at most search.limit; the newest first, or the oldest where that is asked."""
        where, values = _conditions(search)
        order = "ASC" if search.is_forward else "DESC"
        found = (
            f"SELECT number FROM events {where} ORDER BY number {order} LIMIT ?"  # documents of these alone are read
        )
        query = f"{_ENTRIES} WHERE number IN ({found}) ORDER BY number {order}"
        with self._reading() as db:
            return [Entry(*row) for row in db.execute(query, (*values, search.limit))]

    def last(self) -> int:
        """The highest number; 0 where there is no event."""
        with self._reading() as db:
            return int(db.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])

    def count(self) -> int:
        """How many events there are."""
        with self._reading() as db:
            return int(db.execute("SELECT count(*) FROM events").fetchone()[0])

    def entry(self, name: str) -> Entry | None:
        """The event of this name: an IVORN, or what follows '#' in it; of several streams the newest."""
        column = "ivorn" if "#" in name else "local"
        query = f"{_ENTRIES} WHERE {column} = ? ORDER BY number DESC LIMIT 1"
        with self._reading() as db:
            row = db.execute(query, (name,)).fetchone()
            return None if row is None else Entry(*row)

    def entries(self, numbers: Sequence[int]) -> list[Entry]:
        """The events of these numbers, in their order."""
        with self._reading() as db:
            return [Entry(*db.execute(f"{_ENTRIES} WHERE number = ?", (number,)).fetchone()) for number in numbers]

    def xml(self, number: int) -> bytes:
        """The bytes of an event that is here."""
        with self._reading() as db:
            return bytes(db.execute("SELECT xml FROM documents WHERE number = ?", (number,)).fetchone()[0])

    def citing(self, ivorn: str) -> list[tuple[str, Entry]]:
        """The events that cite this one, each with how: followup, supersedes, retraction."""
        with self._reading() as db:
            query = "SELECT kind, number FROM citations WHERE cited = ? ORDER BY number LIMIT 100"
            found = db.execute(query, (ivorn,)).fetchall()
            entry = f"{_ENTRIES} WHERE number = ?"
            return [(kind, Entry(*db.execute(entry, (number,)).fetchone())) for kind, number in found]

    def stamp(self, object_id: str, candid: str, stamp: str) -> bytes | None:
        """A stamp of a candidate as PNG; stamp is one of `STAMPS`."""
        assert stamp in STAMPS
        with self._reading() as db:
            row = db.execute(f"SELECT {stamp} {_OF_CANDIDATE}", (object_id, candid)).fetchone()
        return None if row is None else bytes(row[0])

    def history(self, entries: Iterable[Entry]) -> tuple[tuple[Point, ...], float]:
        """The light curves of these events in one, by time, and the side of their stamps, arcsec (0 = unknown)."""
        points: dict[tuple[int, str, bool], Point] = {}
        side = 0.0
        with self._reading() as db:
            for one in {(entry.object_id, entry.candid) for entry in entries}:
                row = db.execute(f"SELECT history, side_arcsec {_OF_CANDIDATE}", one).fetchone()
                if row is not None:
                    side = float(row[1])
                    points |= {_moment(point): point for point in evidence.from_json(row[0])}
        return tuple(sorted(points.values(), key=lambda point: (point.mjd, point.band))), side

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection for reading, which gives up after a while: TooMuch."""
        db = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, check_same_thread=False)
            db.create_function("separation_deg", 4, separation_deg, deterministic=True)
            self._readers.append(db)
        end = time.monotonic() + PATIENCE_S
        db.set_progress_handler(lambda: time.monotonic() > end, _CHECK_EVERY)
        try:
            yield db
        except sqlite3.OperationalError as error:
            if str(error) != "interrupted":
                raise
            raise TooMuch(f"the search took more than {PATIENCE_S:.0f} s; ask for less") from None


def _moment(point: Point) -> tuple[int, str, bool]:
    """What two packets tell alike of one measurement: the time to 10 s, the band, whether it is a limit."""
    return round(point.mjd * 8640), point.band, point.sign == 0


def _conditions(search: Search) -> tuple[str, list[Any]]:
    """WHERE ... and its values. Names of columns are ours, values are bound."""
    parts: list[str] = []
    values: list[Any] = []

    def need(condition: str, *bound: Any) -> None:
        parts.append(condition)
        values.extend(bound)

    for column in ("score", "mag"):
        if (low := getattr(search, f"min_{column}")) is not None:
            need(f"{column} >= ?", low)
        if (high := getattr(search, f"max_{column}")) is not None:
            need(f"{column} <= ?", high)
    for column in ("band", "type"):
        if wanted := getattr(search, column):
            need(f"{column} IN ({','.join('?' * len(wanted))})", *wanted)
    for column in ("role", "object", "survey"):
        if (text := getattr(search, column)) is not None:
            need(f"{column} = ?", text)
    if search.state is not None:
        need(f"{_STATE} = ?", search.state)
    if search.ra is not None and search.dec is not None and search.radius is not None:
        need("dec BETWEEN ? AND ?", search.dec - search.radius, search.dec + search.radius)
        need("separation_deg(ra, dec, ?, ?) <= ?", search.ra, search.dec, search.radius)
    if search.since is not None:
        need("published >= ?", search.since)
    if search.after is not None:
        need("number > ?", search.after)
    if search.before is not None:
        need("number < ?", search.before)
    return ("WHERE " + " AND ".join(parts) if parts else ""), values
