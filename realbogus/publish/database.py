"""Where the ledger keeps its tables: a small door that SQLite and PostgreSQL both fit.

Queries are of the SQL that both speak, with `?` where values go.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from realbogus.errors import StreamError

Row: TypeAlias = tuple[Any, ...]
BUSY_S = 10.0  # s; longest wait for another process that writes at this moment


class Database(Protocol):
    """A connection. Threads may share it: what one runs waits for the transaction of another."""

    place: str  # for messages

    def lock(self) -> None:
        """Keep every other publisher away until closed; StreamError where one is at work."""

    def run(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run one query; the rows it gives."""

    def run_many(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one query for each of these values."""

    def define(self, tables: str) -> None:
        """Make tables and indexes, written for SQLite, several with semicolons between them."""

    def columns(self, table: str) -> set[str]:
        """The columns of a table; empty = there is no such table."""

    def transaction(self) -> AbstractContextManager[None]:
        """All that is run inside happens, or nothing of it."""

    def close(self) -> None:
        """Let go."""


class Sqlite:
    """A file. What is written outlives a power failure."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.place, self._path = str(path), path
        self._handle: int | None = None
        self._turn = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")

    def lock(self) -> None:
        """Hold the lock of a file beside the database; the kernel lets go of it if we die."""
        handle = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise StreamError(f"another publisher is at work on {self.place}; only one may be", 1) from None
        self._handle = handle

    def run(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """See `Database.run`."""
        with self._turn:
            return self._db.execute(query, values).fetchall()

    def run_many(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """See `Database.run_many`."""
        with self._turn:
            self._db.executemany(query, rows)

    def define(self, tables: str) -> None:
        """See `Database.define`. Statement by statement: `executescript` would end the transaction."""
        for statement in filter(str.strip, tables.split(";")):
            self._db.execute(statement)

    def columns(self, table: str) -> set[str]:
        """See `Database.columns`."""
        return {str(row[1]) for row in self._db.execute(f"PRAGMA table_info({table})")}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Database.transaction`."""
        with self._turn:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file and let another process have it."""
        self._db.close()
        if self._handle is not None:
            os.close(self._handle)
