"""The publisher: drains the outbox into the sinks, so that each event ends exactly once.

    take -> check -> enter into the ledger -> send to every sink -> commit
                                                   note the answers

What is entered is safe: the ledger holds its bytes and knows who waits for them. So the outbox is committed as soon as
a batch is entered and on its way; a sink that is slow or fails is a lane of its own, tried again with growing waits,
and delays no other. A crash anywhere repeats the same ids with the same bytes, which the ledger knows and the sinks
bear. The world comes in as arguments: source, sinks, clock, how to pause, and how to do something aside.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from realbogus.errors import VOEventError
from realbogus.publish.desk import Entry
from realbogus.publish.ledger import Ledger
from realbogus.publish.settings import PublishSettings
from realbogus.publish.sinks import Answer, Delivery, EventSink, TakesAlerts
from realbogus.stream.protocols import Clock, Message, Source, positions_after
from realbogus.voevent import validate
from realbogus.voevent.validate import Event

log = logging.getLogger(__name__)

LARGE_BYTES = 1 << 16  # of an event, about which somebody should think; brokers take validate.BYTES_LIMIT
RELEASED_S = 5.0  # s; how often the ledger is asked whether somebody let parked events wait again

Pause = Callable[[float], bool]  # waits so many seconds, or until told to stop; True = stop now
Job = Callable[[], Sequence[Delivery]]
Aside = Callable[[Job], "Future[Sequence[Delivery]]"]


@dataclass
class Counts:
    """What became of the records of the outbox: taken == new + known + conflicts + moot + invalid."""

    taken: int = 0
    new: int = 0
    known: int = 0  # came before with the same bytes: a repeat after a crash
    conflicts: int = 0  # came before with other bytes; never sent
    moot: int = 0  # withdraws what was never published, or is withdrawn already; never sent
    invalid: int = 0  # failed the check; never sent
    sent: Counter[str] = field(default_factory=Counter)  # by sink
    failed: Counter[str] = field(default_factory=Counter)  # attempts by sink, each followed by another or by parking
    parked: Counter[str] = field(default_factory=Counter)  # by sink

    def told(self) -> dict[str, int | dict[str, int]]:
        """The counts as plain values."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}


def at_once(job: Job) -> Future[Sequence[Delivery]]:
    """Do it here and now: for stories. The command does it in a thread a sink."""
    done: Future[Sequence[Delivery]] = Future()
    done.set_result(job())
    return done


@dataclass
class Lane:
    """A sink and how it stands with it."""

    sink: EventSink
    wait_s: float  # before the next attempt, once one failed
    behind: bool  # the ledger holds events that wait for it and are not on their way
    retry_at: float = float("-inf")  # monotonic, s; not before
    sending: Sequence[Event] = ()
    answers: Future[Sequence[Delivery]] | None = None


@dataclass
class Publisher:
    """Drains a source of drafts into sinks."""

    source: Source
    ledger: Ledger
    sinks: Sequence[EventSink]
    settings: PublishSettings
    clock: Clock
    pause: Pause
    seen: Callable[[Counts], None] = lambda _: None  # told at every turn, for progress
    aside: Aside = at_once
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        wait_s = self.settings.retry_s
        self.lanes = [Lane(sink, wait_s, behind=bool(self.ledger.pending(sink.name, 1))) for sink in self.sinks]
        self._looked_at = self.clock.monotonic()

    def run(self, *, until_idle_s: float | None = None) -> Counts:
        """Drain until told to stop, or nothing came and nothing waited for so many seconds.

        What an earlier run left is sent first. The seconds count while messages could come: not before the source is
        ready, nor while no broker answers.
        """
        busy = self.clock.monotonic()
        try:
            while not self.pause(0):
                came = self.step()
                self.seen(self.counts)
                if came or self.source.waiting_for() or self.is_behind():
                    busy = self.clock.monotonic()
                elif self._is_over(busy, until_idle_s):
                    break
        finally:
            for lane in self.lanes:
                self._collect(lane, wait=True)
        return self.counts

    def is_behind(self) -> bool:
        """Whether something is on its way to a sink, or waits for one."""
        return any(lane.behind or lane.answers is not None for lane in self.lanes)

    def step(self) -> bool:
        """Take a batch, enter it, send it on its way and commit; False where nothing came."""
        messages = self.source.take(self.settings.batch, self.settings.wait_s)
        fresh = self._entered(messages)
        self._look_for_released()
        for lane in self.lanes:
            self._tend(lane, fresh)
        if messages and not self.source.commit(positions_after(messages)):
            log.warning("the partitions moved on; %d events may come again", len(messages))
        return bool(messages)

    def _is_over(self, busy: float, until_idle_s: float | None) -> bool:
        if self.source.is_finished():
            return True
        return until_idle_s is not None and self.clock.monotonic() - busy >= until_idle_s

    # From the outbox into the ledger

    def _entered(self, messages: Sequence[Message]) -> list[Event]:
        """The events of these records that may be sent: new ones, and those known with the same bytes."""
        if not messages:
            return []
        drafts = [draft for message in messages if (draft := self._checked(message)) is not None]
        entered = self.ledger.enter(drafts, [lane.sink.name for lane in self.lanes], self.clock.now())
        for draft, one in zip(drafts, entered, strict=True):
            if one.entry in (Entry.CONFLICT, Entry.INVALID):
                log.error("%s is not sent: %s, see 'realbogus publish parked'", draft.ivorn, one.entry.value)
        found = Counter(one.entry for one in entered)
        counts = self.counts
        counts.taken += len(messages)
        counts.new += found[Entry.NEW]
        counts.known += found[Entry.KNOWN]
        counts.conflicts += found[Entry.CONFLICT]
        counts.moot += found[Entry.MOOT]
        counts.invalid += found[Entry.INVALID]
        return [one.event for one in entered if one.event is not None]

    def _checked(self, message: Message) -> Event | None:
        try:
            draft = validate.read(message.value, draft=True)
        except VOEventError as problem:
            log.error("a record of the outbox is no event and is set aside: %s", problem)
            self.ledger.set_aside(message.value, str(problem), self.clock.now())
            self.counts.invalid += 1
            return None
        if len(message.value) > LARGE_BYTES:
            log.warning("%s has %d bytes; small packets are read by all", draft.ivorn, len(message.value))
        for sink in self.sinks:
            if isinstance(sink, TakesAlerts):
                sink.lay(draft, message.headers)
        return draft

    # From the ledger to the sinks

    def _tend(self, lane: Lane, fresh: Sequence[Event]) -> None:
        """Note what came back from a sink and give it what waits, unless it is busy or failed a moment ago."""
        self._collect(lane)
        if lane.answers is not None or self.clock.monotonic() < lane.retry_at:
            lane.behind |= bool(fresh)
            return
        if not lane.behind:
            self._start(lane, self.ledger.still_pending(fresh, lane.sink.name) if fresh else [])
        while lane.behind and lane.answers is None and self.clock.monotonic() >= lane.retry_at:
            waiting = self.ledger.pending(lane.sink.name, self.settings.batch)
            lane.behind = len(waiting) == self.settings.batch
            self._start(lane, [validate.read(xml) for xml in waiting])

    def _start(self, lane: Lane, events: Sequence[Event]) -> None:
        if events:
            lane.sending, lane.answers = events, self.aside(lambda: lane.sink.send(events))
            self._collect(lane)

    def _collect(self, lane: Lane, *, wait: bool = False) -> None:
        """Note the answers of a sink, if they are there."""
        if lane.answers is None or not (wait or lane.answers.done()):
            return
        answers = list(zip(lane.sending, lane.answers.result(), strict=True))
        lane.sending, lane.answers = (), None
        name = lane.sink.name
        parked = self.ledger.settle(name, answers, attempts=self.settings.attempts, now=self.clock.now())
        failed = [delivery for _, delivery in answers if delivery.answer is not Answer.SENT]
        self.counts.sent[name] += len(answers) - len(failed)
        self.counts.failed[name] += len(failed)
        self.counts.parked[name] += len(parked)
        for event, reason in parked:
            log.error("%s is parked at %s: %s", event.ivorn, name, reason)
        if len(parked) == len(failed):
            lane.wait_s = self.settings.retry_s
        else:
            self._hold(lane, failed[0], len(failed), len(answers))

    def _hold(self, lane: Lane, failure: Delivery, failed: int, of: int) -> None:
        """Leave a sink alone for a while; twice as long the next time."""
        log.warning(
            "%s did not take %d of %d events, next try in %.0f s: %s",
            *(lane.sink.name, failed, of, lane.wait_s, failure.detail),
        )
        lane.behind, lane.retry_at = True, self.clock.monotonic() + lane.wait_s
        lane.wait_s = min(2 * lane.wait_s, self.settings.retry_longest_s)

    def _look_for_released(self) -> None:
        now = self.clock.monotonic()
        if now - self._looked_at < RELEASED_S:
            return
        self._looked_at = now
        for lane in self.lanes:
            if not lane.behind and lane.answers is None:
                lane.behind = bool(self.ledger.pending(lane.sink.name, 1))
