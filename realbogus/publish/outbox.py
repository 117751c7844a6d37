"""The publisher: drains the outbox into the sinks, so that each event ends exactly once.

    take -> check -> enter into the ledger -> send to every sink -> note the answers -> commit

A crash anywhere repeats the same ids with the same bytes, which the ledger knows and the sinks bear. The outbox is
committed once every event of a batch is sent or parked at every sink; until then a failing sink is tried again, with
growing waits. The world comes in as arguments: source, sinks, clock, and how to pause.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from realbogus.errors import VOEventError
from realbogus.publish.ledger import Entry, Ledger
from realbogus.publish.settings import PublishSettings
from realbogus.publish.sinks import Answer, Delivery, EventSink
from realbogus.stream.protocols import Clock, Source, positions_after
from realbogus.voevent import validate
from realbogus.voevent.validate import Event

log = logging.getLogger(__name__)

Pause = Callable[[float], bool]  # waits so many seconds, or until told to stop; True = stop now


@dataclass
class Counts:
    """What became of the records of the outbox: taken == new + known + conflicts + invalid."""

    taken: int = 0
    new: int = 0
    known: int = 0  # came before with the same bytes: a repeat after a crash
    conflicts: int = 0  # came before with other bytes; never sent
    invalid: int = 0  # failed the check; never sent
    sent: Counter[str] = field(default_factory=Counter)  # by sink
    failed: Counter[str] = field(default_factory=Counter)  # attempts by sink, each followed by another or by parking
    parked: Counter[str] = field(default_factory=Counter)  # by sink

    def told(self) -> dict[str, int | dict[str, int]]:
        """The counts as plain values."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}


class _Stopped(Exception):
    """Told to stop while a batch was not settled; it stays uncommitted and comes again."""


@dataclass
class Publisher:
    """Drains a source of finished events into sinks."""

    source: Source
    ledger: Ledger
    sinks: Sequence[EventSink]
    settings: PublishSettings
    clock: Clock
    pause: Pause
    seen: Callable[[Counts], None] = lambda _: None  # told at every turn and before every pause, for progress
    counts: Counts = field(default_factory=Counts)

    def run(self, *, until_idle_s: float | None = None) -> Counts:
        """Settle what an earlier run left, then drain until told to stop, or nothing came for so many seconds.

        The seconds count while messages could come: not before the source is ready, nor while no broker answers.
        """
        try:
            self.recover()
            busy = self.clock.monotonic()
            while not self.pause(0):
                came = self.step()
                self.seen(self.counts)
                if came or self.source.waiting_for():
                    busy = self.clock.monotonic()
                elif self._is_over(busy, until_idle_s):
                    break
        except _Stopped:
            log.info("told to stop before a batch was settled; it will come again")
        return self.counts

    def recover(self) -> None:
        """Send what the ledger holds as pending from an earlier run. It was checked when it was entered."""
        for sink in self.sinks:
            while waiting := self.ledger.pending(sink.name, self.settings.batch):
                log.info("%d events wait for %s since an earlier run", len(waiting), sink.name)
                self._settle([validate.read(xml) for xml in waiting], [sink])

    def step(self) -> bool:
        """Take a batch, settle it and commit; False where nothing came."""
        messages = self.source.take(self.settings.batch, self.settings.wait_s)
        if not messages:
            return False
        self.counts.taken += len(messages)
        events = [event for message in messages if (event := self._checked(message.value)) is not None]
        self._settle(self._entered(events), self.sinks)
        if not self.source.commit(positions_after(messages)):
            log.warning("the partitions moved on; %d events may come again", len(messages))
        return True

    def _is_over(self, busy: float, until_idle_s: float | None) -> bool:
        if self.source.is_finished():
            return True
        return until_idle_s is not None and self.clock.monotonic() - busy >= until_idle_s

    def _checked(self, data: bytes) -> Event | None:
        try:
            return validate.read(data)
        except VOEventError as problem:
            log.error("a record of the outbox is no event and is set aside: %s", problem)
            self.ledger.set_aside(data, str(problem), self.clock.now())
            self.counts.invalid += 1
            return None

    def _entered(self, events: Sequence[Event]) -> list[Event]:
        """The events that may be sent: those whose id is new or known with the same bytes."""
        entries = self.ledger.enter(events, [sink.name for sink in self.sinks], self.clock.now())
        for event, entry in zip(events, entries, strict=True):
            if entry is Entry.CONFLICT:
                log.error("%s came with other bytes than before; not sent", event.ivorn)
        found = Counter(entries)
        self.counts.new += found[Entry.NEW]
        self.counts.known += found[Entry.KNOWN]
        self.counts.conflicts += found[Entry.CONFLICT]
        return [event for event, entry in zip(events, entries, strict=True) if entry is not Entry.CONFLICT]

    def _settle(self, events: Sequence[Event], sinks: Sequence[EventSink]) -> None:
        """Send until every event is sent or parked at each of these sinks; a failing one never delays the others."""
        waiting = {sink.name: self.ledger.still_pending(events, sink.name) for sink in sinks}
        wait_s = self.settings.retry_s
        while True:
            for sink in sinks:
                if waiting[sink.name]:
                    self._send(sink, waiting[sink.name])
                    waiting[sink.name] = self.ledger.still_pending(waiting[sink.name], sink.name)
            if not any(waiting.values()):
                return
            self.seen(self.counts)
            log.warning("waiting %.0f s: %s", wait_s, _told(waiting))
            if self.pause(wait_s):
                raise _Stopped
            wait_s = min(2 * wait_s, self.settings.retry_longest_s)

    def _send(self, sink: EventSink, events: Sequence[Event]) -> None:
        answers = list(zip(events, sink.send(events), strict=True))
        parked = self.ledger.settle(sink.name, answers, attempts=self.settings.attempts, now=self.clock.now())
        self._count(sink.name, [delivery for _, delivery in answers])
        self.counts.parked[sink.name] += len(parked)
        for event, reason in parked:
            log.error("%s is parked at %s: %s", event.ivorn, sink.name, reason)

    def _count(self, sink: str, deliveries: Sequence[Delivery]) -> None:
        self.counts.sent[sink] += sum(delivery.answer is Answer.SENT for delivery in deliveries)
        failed = [delivery for delivery in deliveries if delivery.answer is not Answer.SENT]
        self.counts.failed[sink] += len(failed)
        if failed:
            log.warning("%s did not take %d of %d events: %s", sink, len(failed), len(deliveries), failed[0].detail)


def _told(waiting: Mapping[str, Sequence[Event]]) -> str:
    return ", ".join(f"{len(events)} events for {sink}" for sink, events in waiting.items() if events)
