"""The loop: take a batch, score it, write what it became, wait until that is safe, commit.

    take -> score -> annotate -> begin to write
                                 settle: confirm, commit, count

A batch is on its way to the broker while the next one is taken and scored, and settled before the next is written, so
that nobody waits for a round trip. Source, delivery, scorer and clock come as arguments: Kafka and files in life,
memory in stories. Where a batch was not committed, it and the one taken after it are forgotten, and come again with
the same ids and the same bytes.
"""

from __future__ import annotations

import logging
from collections import Counter as Counts
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from prometheus_client import Counter

from realbogus.alerts import Outcomes
from realbogus.errors import Reason, StreamError, Unavailable
from realbogus.stream import circuit_breaker, ledger
from realbogus.stream.dead_letters import PARKED, STAGE
from realbogus.stream.duplicates import Key, Window, keys_of
from realbogus.stream.guard import Score, outcomes_of
from realbogus.stream.ledger import Ledger
from realbogus.stream.protocols import Clock, Delivery, Message, Partition, Source, SystemClock, positions_after
from realbogus.stream.results import Destinations, Results, results_of
from realbogus.stream.review import Review, added, judged
from realbogus.stream.waiting import Waiting
from realbogus.telemetry import Health, Metrics

log = logging.getLogger(__name__)

PATIENCE_S = 2.0  # s that a batch may be on its way before the source is paused
POLL_S = 0.2  # s between two looks at a batch that takes longer
LAG_EVERY_S = 2.0  # s; how often the lag is looked up
MJD_OF_UNIX_ZERO = 40587.0  # d; 1970-01-01
DAY_S = 86_400.0


@dataclass(frozen=True)
class UnderWay:
    """A batch whose results are being written."""

    messages: Sequence[Message]
    outcomes: Outcomes
    results: Results
    keys: frozenset[Key]  # of the alerts that are annotated


@dataclass
class Worker:
    """Reads a source to its end, or until told to stop."""

    source: Source
    delivery: Delivery
    score: Callable[[], Score]  # the scorer in force, asked once a batch: a batch never mixes models
    to: Destinations
    room: Callable[[str], int]  # the largest record that a topic takes, bytes
    batch_size: int = 256  # alerts
    wait_s: float = 0.1  # s; longest an alert waits for its batch to fill
    clock: Clock = field(default_factory=SystemClock)
    metrics: Metrics = field(default_factory=Metrics)
    health: Health = field(default_factory=Health)
    ledger: Ledger = field(default_factory=Ledger)
    window: Window = field(default_factory=Window)  # of alerts that count as duplicates when they come again
    reviews: Sequence[Review] = ()  # what looks at each batch before it is written: breakers, shadow models, drift
    stay_s: float = 0.0  # s that it stays, and takes nothing, where the circuit breaker stops it
    hold: Callable[[], str] = lambda: ""  # why to take nothing for now, "" = go on; asked before each batch
    lag: int = field(default=0, init=False)  # messages not yet read, when that was looked up last
    busy_from: float | None = field(default=None, init=False)  # monotonic, s: the first batch was taken
    busy_to: float | None = field(default=None, init=False)  # the last one was delivered
    _under_way: UnderWay | None = field(default=None, init=False)
    _void: bool = field(default=False, init=False)  # whether the batch in hand comes again, here or elsewhere
    _read_up_to: dict[Partition, int] = field(default_factory=dict, init=False)  # timestamp of the last message, ms
    _lag_at: float = field(default=float("-inf"), init=False)
    _fallbacks: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.source.before_revoke = self._before_revoke
        for reason in Reason:  # from 0 on: a counter that begins with its first event rings no alarm for it
            self._refusals(reason)

    def run(self, stop: Callable[[], bool], *, until_idle_s: float | None = None) -> Ledger:
        """Work until told to stop, until the source ends, or until nothing came for so many seconds.

        An idle stream is no reason to leave otherwise: most topics are silent by day.
        """
        try:
            return self._run(stop, until_idle_s)
        except StreamError as stopped:
            if stopped.exit_code == circuit_breaker.EXIT_CODE and self.stay_s:
                log.error(
                    "%s. Nothing is taken any more; the process ends in %.0f s, or when told to", stopped, self.stay_s
                )
                self._stay(stop)
            raise

    def _run(self, stop: Callable[[], bool], until_idle_s: float | None) -> Ledger:
        busy: float | None = None
        patience = Waiting()
        while not stop() and not (self.source.is_finished() and self.settle()):
            came = self.turn()
            waiting = self.hold() or self.source.waiting_for()
            self.health.turn(waiting)
            now = self.clock.monotonic()
            patience.look(waiting, now)
            if came or busy is None or waiting:
                busy = now
            elif until_idle_s is not None and now - busy >= until_idle_s:
                break
        self.settle()
        return self.ledger

    def _stay(self, stop: Callable[[], bool]) -> None:
        """Be there and take nothing, so that metrics and health tell why, and nobody starts us anew at once."""
        why, end = self.health.not_ready, self.clock.monotonic() + self.stay_s
        self.settle()
        while not stop() and self.clock.monotonic() < end:
            self.source.pause(True)
            self.source.take(1, POLL_S)
            self.health.turn(why)

    def turn(self) -> bool:
        """Take and score a batch, settle the one before and begin to write this one; False where nothing came."""
        before = self.clock.monotonic()
        self.source.pause(bool(self.hold()))
        messages = self.source.take(self.batch_size, self.wait_s)
        self._void = False
        self._look_at_lag(messages)
        if not messages:
            return not self.settle()
        score = self.score()
        try:
            with self.metrics.timed("score"):
                outcomes = outcomes_of(score, [message.value for message in messages])
        except Unavailable:  # whatever it is, `hold` tells when to try again
            self.settle()
            self.source.rewind()
            return True
        outcomes = judged(self.reviews, messages, outcomes)
        with self.metrics.timed("annotate"):
            known = self._under_way.keys if self._under_way else frozenset()
            repeated = self.window.repeated(outcomes, known)
            results = results_of(messages, outcomes, self.to, self.room, repeated)
            ledger.check(messages, results)
            results.records += added(self.reviews, messages, outcomes)
        self.settle()
        if self._void:
            self.source.rewind()
            return True
        ended = set(results.scored)
        keys = frozenset(key for index, key in keys_of(outcomes) if index in ended)
        self.delivery.begin(results.records, positions_after(messages))
        self._under_way = UnderWay(messages, outcomes, results, keys)
        self.busy_from = before if self.busy_from is None else self.busy_from
        return True

    def settle(self) -> bool:
        """Wait until the batch under way, if any, is safely written and committed; False where it comes again.

        While that takes long the source is asked on, and gives nothing: else the group would think us dead.
        """
        with self.metrics.timed("deliver"):
            good = self._conclude(PATIENCE_S)
            while good is None:
                self.source.pause(True)  # until the next turn
                self.source.take(1, 0.0)  # may settle it, if partitions are to go
                good = self._conclude(POLL_S)
        return good

    def _before_revoke(self) -> None:
        """What is ours to commit is committed before it is somebody else's; what is in hand is no longer ours."""
        while self._conclude(PATIENCE_S) is None:
            pass
        self._void = True

    def _conclude(self, wait_s: float) -> bool | None:
        """See how the batch under way ended, and count it if it is committed; None while that is not known."""
        batch = self._under_way
        if batch is None:
            return not self._void
        self.health.turn()
        self.health.waiting_in_client = True  # however long the broker takes
        committed = self.delivery.finish(wait_s)
        self.health.waiting_in_client = False
        if committed is None:
            return None
        self._under_way = None
        self.metrics.batches.labels("committed" if committed else "repeated").inc()
        if committed:
            self._count(batch.messages, batch.outcomes, batch.results)
            self.window.add(batch.keys)
        else:
            self._void = True
            self.source.rewind()
        self.busy_to = self.clock.monotonic()
        return committed

    def rate(self) -> float:
        """Alerts a second between the first and the last batch, waits included; 0 before there is one."""
        if self.busy_from is None or self.busy_to is None or self.busy_to <= self.busy_from:
            return 0.0
        return self.ledger.total().consumed / (self.busy_to - self.busy_from)

    def _count(self, messages: Sequence[Message], outcomes: Outcomes, results: Results) -> None:
        metrics, now = self.metrics, self.clock.now()
        metrics.batch_size.observe(len(messages))
        metrics.last_commit.set(now)
        self.ledger.add(messages, results)
        for (topic, partition), count in Counts((one.topic, one.partition) for one in messages).items():
            metrics.consumed.labels(topic, str(partition)).inc(count)
        for rejected in results.rejected:
            self._refusals(rejected.reason).inc()
        metrics.voevents.labels("made").inc(results.events)
        metrics.voevents.labels("refused").inc(results.events_refused)
        metrics.fallbacks.inc(self.to.store.fallbacks - self._fallbacks)
        self._fallbacks = self.to.store.fallbacks
        stamps = np.array([message.timestamp_ms for message in messages], np.float64)
        metrics.latency.observe(np.maximum(now - stamps[stamps >= 0] / 1000, 0.0))
        self._count_scores(outcomes, results.duplicates, now)

    def _refusals(self, reason: Reason) -> Counter:
        counter = self.metrics.parked if reason in PARKED else self.metrics.rejected
        return counter.labels(reason.value, STAGE[reason])

    def _count_scores(self, outcomes: Outcomes, duplicates: Sequence[int], now: float) -> None:
        for scored in outcomes:
            survey, new = scored.alerts.survey, ~np.isin(scored.alerts.index, duplicates)
            forwarded = int(scored.forward[new].sum())
            self.metrics.annotations.labels(survey, "forward").inc(forwarded)
            self.metrics.annotations.labels(survey, "hold").inc(int(new.sum()) - forwarded)
            self.metrics.duplicates.labels(survey).inc(len(scored) - int(new.sum()))
            self.metrics.score.observe(scored.score[new], survey)
            age_d = now / DAY_S + MJD_OF_UNIX_ZERO - scored.alerts.columns["mjd"][new]
            self.metrics.age.observe(age_d * DAY_S)
        total = self.ledger.total()
        self.metrics.forwarded_ratio.set(total.forwarded / total.scored if total.scored else 0.0)

    def _look_at_lag(self, messages: Sequence[Message]) -> None:
        self._read_up_to |= {(message.topic, message.partition): message.timestamp_ms for message in messages}
        now = self.clock.monotonic()
        if now - self._lag_at >= LAG_EVERY_S:
            self._lag_at, behind = now, self.source.lag()
            self.lag = sum(behind.values())
            self.metrics.show_lag(behind, self._read_up_to, self.clock.now())
