"""The ledger of the publisher: what was published, and which of it was sent where; a crash loses nothing.

Drafts come from the outbox and get their place at the `desk`: the packet is kept with its bytes before it is first
sent, and what is sent are always these bytes. A conflict is kept aside, counted and never sent.

One process writes at a time, the publisher; others may read, and release what is parked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from realbogus.errors import StreamError
from realbogus.publish.database import Database, Row, Sqlite
from realbogus.publish.desk import Desk, Entered, Known, Object, event_id, object_of
from realbogus.publish.ledger_tables import NEW_EVENT, REMEMBERED, VERSION, prepare, row, version
from realbogus.publish.sinks import Answer, Delivery
from realbogus.voevent import validate
from realbogus.voevent.lifecycle import Published
from realbogus.voevent.validate import Event

_KEPT = 100_000  # bytes of what is set aside
_SAID = 500  # characters of a reason
_PAGE = 500  # ids asked for in one query


@dataclass(frozen=True)
class Parked:
    """A delivery that was given up on until somebody looks."""

    ivorn: str
    sink: str
    attempts: int
    detail: str
    since: float  # Unix time, s


@dataclass(frozen=True)
class SetAside:
    """What came from the outbox and will never be sent."""

    sha256: str
    reason: str
    seen: int
    first_seen: float  # Unix time, s


class Ledger:
    """The ledger, in a SQLite file or another database. The publisher has it alone, else StreamError; readers share."""

    def __init__(self, where: Path | Database, *, alone: bool = True) -> None:
        self._db: Database = Sqlite(where) if isinstance(where, Path) else where
        try:
            if alone:
                self._db.lock()
                prepare(self._db)
            elif version(self._db) != VERSION:
                raise StreamError(f"{self._db.place} holds no ledger of this version; 'realbogus publish' makes it", 1)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Let another process have it."""
        self._db.close()

    # What the publisher does

    def enter(self, drafts: Sequence[Event], sinks: Iterable[str], now: float) -> list[Entered]:
        """Place drafts and enter them as pending for these sinks, all in one transaction."""
        sinks = tuple(sinks)
        with self._db.transaction():
            desk = Desk(self._known(drafts), self._threads(drafts))
            entered = [desk.enter(draft) for draft in drafts]
            for data, reason in desk.refused:
                self.set_aside(data, reason, now)
            self._db.run_many(NEW_EVENT.format(name="events"), [row(*pair, now) for pair in desk.new])
            ids = {event_id(one.event.ivorn) for one in entered if one.event is not None}
            self._db.run_many(
                "INSERT INTO deliveries (id, sink, state, changed) VALUES (?, ?, 'pending', ?) ON CONFLICT DO NOTHING",
                [(one, sink, now) for one in sorted(ids) for sink in sinks],
            )
        return entered

    def set_aside(self, data: bytes, reason: str, now: float) -> None:
        """Keep bytes that will not be sent, and why."""
        self._db.run(
            "INSERT INTO set_aside VALUES (?, ?, ?, 1, ?) ON CONFLICT (sha256) DO UPDATE SET seen = set_aside.seen + 1",
            (sha256(data).hexdigest(), _short(reason), data[:_KEPT], now),
        )

    def pending(self, sink: str, most: int = 1 << 31) -> list[bytes]:
        """The bytes of events that wait for this sink, the oldest first."""
        query = (
            "SELECT xml FROM deliveries JOIN events USING (id) WHERE state = 'pending' AND sink = ? "
            "ORDER BY number LIMIT ?"
        )
        return [bytes(xml) for (xml,) in self._db.run(query, (sink, most))]

    def still_pending(self, events: Sequence[Event], sink: str) -> list[Event]:
        """Those of these events that wait for this sink, each once."""
        by_id = {event_id(event.ivorn): event for event in events}
        query = "SELECT id FROM deliveries WHERE state = 'pending' AND sink = ? AND id IN ({marks})"
        waiting = {one for (one,) in self._paged(query, list(by_id), (sink,))}
        return [event for one, event in by_id.items() if one in waiting]

    def settle(
        self, sink: str, answers: Iterable[tuple[Event, Delivery]], *, attempts: int, now: float
    ) -> list[tuple[Event, str]]:
        """Note a sink's answers, all in one transaction. What was refused, or failed this many times, is parked.

        Gives what was parked, with the reason.
        """
        answers = list(answers)
        sent = [event for event, delivery in answers if delivery.answer is Answer.SENT]
        query = (
            "UPDATE deliveries SET state = 'sent', attempts = attempts + 1, detail = '', changed = ? "
            "WHERE id = ? AND sink = ? AND state = 'pending'"
        )
        with self._db.transaction():
            self._db.run_many(query, [(now, event_id(event.ivorn), sink) for event in sent])
            return [
                (event, delivery.detail)
                for event, delivery in answers
                if delivery.answer is not Answer.SENT and self._failed(sink, event, delivery, attempts, now)
            ]

    def refusal(self, event: Event, sink: str) -> str:
        """Why a sink has refused an event for good, before it was let wait again; "" = it has not."""
        rows = self._db.run("SELECT refusal FROM deliveries WHERE id = ? AND sink = ?", (event_id(event.ivorn), sink))
        return str(rows[0][0]) if rows else ""

    # What an operator asks

    def states(self) -> Mapping[tuple[str, str], int]:
        """(sink, state) -> number of events."""
        rows = self._db.run("SELECT sink, state, count(*) FROM deliveries GROUP BY sink, state")
        return {(sink, state): count for sink, state, count in rows}

    def parked(self) -> list[Parked]:
        """What waits for somebody to look at it, the oldest first."""
        query = (
            "SELECT ivorn, sink, attempts, detail, changed FROM deliveries JOIN events USING (id) "
            "WHERE state = 'parked' ORDER BY changed, number"
        )
        return [Parked(*row) for row in self._db.run(query)]

    def things_set_aside(self) -> list[SetAside]:
        """What came from the outbox and will never be sent, the oldest first."""
        return [
            SetAside(*row)
            for row in self._db.run("SELECT sha256, reason, seen, first_seen FROM set_aside ORDER BY first_seen")
        ]

    def unpark(self, now: float, *, ivorn: str = "", sink: str = "") -> int:
        """Let what is parked wait again, with its attempts forgotten; tells how many deliveries. "" = any."""
        query = "UPDATE deliveries SET state = 'pending', attempts = 0, changed = ? WHERE state = 'parked'"
        values: list[object] = [now]
        for column, value in (("id", event_id(ivorn)), ("sink", sink)):
            if value:
                query, values = f"{query} AND {column} = ?", [*values, value]
        return len(self._db.run(f"{query} RETURNING 1", values))

    def event(self, ivorn: str) -> Event | None:
        """What was published under an IVORN."""
        rows = self._db.run("SELECT xml FROM events WHERE id = ?", (event_id(ivorn),))
        return validate.read(bytes(rows[0][0])) if rows else None

    def threads(self, object_id: str) -> Mapping[Object, list[Published]]:
        """What was published of an object, in every role and of every survey that has one of this name."""
        return self._threads_of([object_id])

    def published(self, role: str) -> Iterator[tuple[Object, Published]]:
        """Everything published in a role, in the order of publication."""
        query = f"SELECT role, survey, object_id, {REMEMBERED} FROM events WHERE role = ? ORDER BY number"
        for its_role, survey, object_id, *remembered in self._db.run(query, (role,)):
            yield (its_role, survey, object_id), Published(*remembered)

    # How it is looked up

    def _known(self, drafts: Sequence[Event]) -> dict[str, Known]:
        """Id -> digests and bytes of what is known under it."""
        ids = list({event_id(draft.ivorn) for draft in drafts})
        query = "SELECT id, sha256, draft_sha256, xml FROM events WHERE id IN ({marks})"
        return {str(one): (published, drafted, bytes(xml)) for one, published, drafted, xml in self._paged(query, ids)}

    def _threads(self, drafts: Sequence[Event]) -> dict[Object, list[Published]]:
        return self._threads_of(list({object_of(draft)[2] for draft in drafts}))

    def _threads_of(self, object_ids: Sequence[str]) -> dict[Object, list[Published]]:
        query = f"SELECT number, role, survey, object_id, {REMEMBERED} FROM events WHERE object_id IN ({{marks}})"
        threads: dict[Object, list[Published]] = {}
        for _, role, survey, object_id, *remembered in sorted(self._paged(query, object_ids)):
            threads.setdefault((role, survey, object_id), []).append(Published(*remembered))
        return threads

    def _paged(self, query: str, keys: Sequence[str], before: Sequence[str] = ()) -> Iterator[Row]:
        """The rows of a query for some keys, asked for in pages."""
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            yield from self._db.run(query.format(marks=",".join("?" * len(page))), (*before, *page))

    def _failed(self, sink: str, event: Event, delivery: Delivery, attempts: int, now: float) -> bool:
        """Note a failure; whether the event is parked by it."""
        refused, detail = delivery.answer is Answer.REFUSED, _short(delivery.detail)
        query = """
            UPDATE deliveries SET attempts = attempts + 1, detail = ?, changed = ?,
                refusal = CASE WHEN ? THEN ? ELSE refusal END,
                state = CASE WHEN ? OR attempts + 1 >= ? THEN 'parked' ELSE 'pending' END
            WHERE id = ? AND sink = ? AND state = 'pending' RETURNING state
        """
        values = (detail, now, refused, detail, refused, attempts, event_id(event.ivorn), sink)
        return self._db.run(query, values) == [("parked",)]


def _short(reason: str) -> str:
    """As much of a reason as is kept; databases take no NUL."""
    return reason.replace("\0", "\ufffd")[:_SAID]
