"""The tables of the publisher's ledger: made, or brought up to date."""

from __future__ import annotations

import logging
from dataclasses import astuple, fields
from hashlib import sha256

from realbogus.errors import StreamError
from realbogus.publish.database import Database, Row
from realbogus.publish.desk import event_id, object_of
from realbogus.voevent import lifecycle, validate
from realbogus.voevent.lifecycle import Published
from realbogus.voevent.validate import Event

log = logging.getLogger(__name__)

VERSION = 2  # of the tables; 1 knew no life cycle
_EVENTS = """
CREATE TABLE {name} (
    number INTEGER PRIMARY KEY,   -- in the order of entry
    id TEXT NOT NULL UNIQUE,      -- the IVORN, authority and path in small letters
    sha256 TEXT NOT NULL,         -- of the bytes
    draft_sha256 TEXT NOT NULL,   -- of the bytes in the outbox
    xml BLOB NOT NULL,            -- the bytes that are sent, always the same
    entered REAL NOT NULL,        -- Unix time, s
    role TEXT NOT NULL,
    survey TEXT NOT NULL,
    object_id TEXT NOT NULL,
    ivorn TEXT NOT NULL,          -- from here on the fields of Published
    candid TEXT NOT NULL,
    alert_type TEXT NOT NULL,
    decision TEXT NOT NULL,
    model TEXT NOT NULL,
    score TEXT NOT NULL,
    threshold TEXT NOT NULL,
    raw_threshold TEXT NOT NULL
) STRICT;
"""
_TABLES = (
    _EVENTS.format(name="events")
    + """
CREATE TABLE deliveries (
    id TEXT NOT NULL REFERENCES events (id),
    sink TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'parked')),
    attempts INTEGER NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT '',  -- why the last attempt failed
    refusal TEXT NOT NULL DEFAULT '', -- why the sink refused it for good, kept when it may wait again
    changed REAL NOT NULL,            -- Unix time, s
    PRIMARY KEY (id, sink)
) STRICT, WITHOUT ROWID;
CREATE INDEX unsent ON deliveries (sink) WHERE state = 'pending';
CREATE TABLE set_aside (
    sha256 TEXT PRIMARY KEY,  -- of the bytes
    reason TEXT NOT NULL,     -- 'conflict: ...' or what the check said
    data BLOB NOT NULL,       -- the bytes, at most 100 kB of them
    seen INTEGER NOT NULL,    -- how often they came
    first_seen REAL NOT NULL  -- Unix time, s
) STRICT;
"""
)
_VERSION = "CREATE TABLE ledger (version INTEGER NOT NULL) STRICT;"
_INDEX = "CREATE INDEX threads ON events (object_id);"
REMEMBERED = ", ".join(field.name for field in fields(Published))  # columns
NEW_EVENT = (
    f"INSERT INTO {{name}} (id, sha256, draft_sha256, xml, entered, role, survey, object_id, {REMEMBERED}) "
    f"VALUES ({', '.join('?' * (8 + len(fields(Published))))})"
)


def version(db: Database) -> int:
    """Of the tables; 0 = there are none."""
    if db.columns("ledger"):
        return int(db.run("SELECT version FROM ledger")[0][0])
    return 1 if db.columns("events") else 0


def prepare(db: Database) -> None:
    """Make the tables, or bring those of an earlier version up to date."""
    found = version(db)
    if found > VERSION:
        raise StreamError(f"{db.place} is a ledger of version {found}; this realbogus knows {VERSION}", 1)
    if found == VERSION:
        return
    with db.transaction():
        if found == 1:
            _bring_up_to_date(db)
        else:
            db.define(_TABLES)
        db.define(_VERSION + _INDEX)
        db.run("INSERT INTO ledger VALUES (?)", (VERSION,))


def _bring_up_to_date(db: Database) -> None:
    """Version 1 was a SQLite file whose events were all first packets, kept as they came from the outbox."""
    log.info("bringing %s up to date", db.place)
    db.define(_EVENTS.format(name="events_2"))
    for xml, entered in db.run("SELECT xml, entered FROM events ORDER BY rowid"):
        event = validate.read(xml)
        db.run(NEW_EVENT.format(name="events_2"), row(event, event, entered))
    db.define("DROP TABLE events; ALTER TABLE events_2 RENAME TO events;")


def row(draft: Event, event: Event, entered: float) -> Row:
    """An event as it stands in its table."""
    digests = sha256(event.xml).hexdigest(), sha256(draft.xml).hexdigest()
    return (
        event_id(event.ivorn),
        *digests,
        event.xml,
        entered,
        *object_of(event),
        *astuple(lifecycle.published(event)),
    )
