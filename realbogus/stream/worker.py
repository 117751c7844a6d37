"""The loop: take a batch, score it, write what it became, wait until that is safe, commit.

    take -> score -> annotate -> begin to write
                                 settle: confirm, commit, count

A batch is on its way to the broker while the next one is taken and scored, and settled before the next is written, so
that nobody waits for a round trip. Source, delivery, scorer and clock come as arguments: Kafka and files in life,
memory in stories. A batch that was written and not committed comes again, with the same ids and the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from realbogus.alerts import Outcomes
from realbogus.stream import ledger
from realbogus.stream.dead_letters import PARKED, STAGE
from realbogus.stream.guard import Score, outcomes_of
from realbogus.stream.ledger import Ledger
from realbogus.stream.protocols import Clock, Delivery, Message, Source, SystemClock, positions_after
from realbogus.stream.results import Destinations, Results, results_of
from realbogus.telemetry import Health, Metrics

log = logging.getLogger(__name__)

LAG_EVERY_S = 2.0  # s; how often the lag is looked up
MJD_OF_UNIX_ZERO = 40587.0  # d; 1970-01-01
DAY_S = 86_400.0


@dataclass(frozen=True)
class UnderWay:
    """A batch whose results are being written."""

    messages: Sequence[Message]
    outcomes: Outcomes
    results: Results


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
    busy_from: float | None = field(default=None, init=False)  # monotonic, s: the first batch was taken
    busy_to: float | None = field(default=None, init=False)  # the last one was delivered
    _under_way: UnderWay | None = field(default=None, init=False)
    _lag_at: float = field(default=float("-inf"), init=False)
    _fallbacks: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.source.before_revoke = self.settle  # what is ours to commit is committed before it is somebody else's

    def run(self, stop: Callable[[], bool], *, until_idle_s: float | None = None) -> Ledger:
        """Work until told to stop, until the source ends, or until nothing came for so many seconds.

        An idle stream is no reason to leave otherwise: most topics are silent by day.
        """
        busy: float | None = None
        while not stop() and not self.source.is_finished():
            came = self.turn()
            waiting = self.source.waiting_for()
            self.health.turn(waiting)
            now = self.clock.monotonic()
            if came or busy is None or waiting:
                busy = now
            elif until_idle_s is not None and now - busy >= until_idle_s:
                break
        self.settle()
        return self.ledger

    def turn(self) -> bool:
        """Take and score a batch, settle the one before and begin to write this one; False where nothing came."""
        before = self.clock.monotonic()
        messages = self.source.take(self.batch_size, self.wait_s)
        self._look_at_lag(messages)
        if not messages:
            self.settle()
            return False
        score = self.score()
        with self.metrics.timed("score"):
            outcomes = outcomes_of(score, [message.value for message in messages])
        with self.metrics.timed("annotate"):
            results = results_of(messages, outcomes, self.to, self.room)
            ledger.check(messages, results)
        self.settle()
        self.delivery.begin(results.records)
        self._under_way = UnderWay(messages, outcomes, results)
        self.busy_from = before if self.busy_from is None else self.busy_from
        return True

    def settle(self) -> None:
        """Wait until the batch under way, if any, is safely written; commit and count it."""
        batch, self._under_way = self._under_way, None
        if batch is None:
            return
        self.health.turn()
        self.health.waiting_in_client = True  # however long the broker takes
        with self.metrics.timed("deliver"):
            committed = self.delivery.finish(positions_after(batch.messages))
        self.health.waiting_in_client = False
        self._count(batch.messages, batch.outcomes, batch.results, committed=committed)
        self.busy_to = self.clock.monotonic()

    def rate(self) -> float:
        """Alerts a second between the first and the last batch, waits included; 0 before there is one."""
        if self.busy_from is None or self.busy_to is None or self.busy_to <= self.busy_from:
            return 0.0
        return self.ledger.total().consumed / (self.busy_to - self.busy_from)

    def _count(self, messages: Sequence[Message], outcomes: Outcomes, results: Results, *, committed: bool) -> None:
        metrics, now = self.metrics, self.clock.now()
        metrics.batches.labels("committed" if committed else "repeated").inc()
        metrics.batch_size.observe(len(messages))
        if committed:
            metrics.last_commit.set(now)
        self.ledger.add(messages, results)
        for message in messages:
            metrics.consumed.labels(message.topic).inc()
        for rejected in results.rejected:
            counter = metrics.parked if rejected.reason in PARKED else metrics.rejected
            counter.labels(rejected.reason.value, STAGE[rejected.reason]).inc()
        metrics.voevents.labels("made").inc(results.events)
        metrics.voevents.labels("refused").inc(results.events_refused)
        metrics.fallbacks.inc(self.to.store.fallbacks - self._fallbacks)
        self._fallbacks = self.to.store.fallbacks
        stamps = np.array([message.timestamp_ms for message in messages], np.float64)
        metrics.latency.observe(np.maximum(now - stamps[stamps >= 0] / 1000, 0.0))
        self._count_scores(outcomes, now)

    def _count_scores(self, outcomes: Outcomes, now: float) -> None:
        for scored in outcomes:
            survey, forwarded = scored.alerts.survey, int(scored.forward.sum())
            self.metrics.annotations.labels(survey, "forward").inc(forwarded)
            self.metrics.annotations.labels(survey, "hold").inc(len(scored) - forwarded)
            self.metrics.score.observe(scored.score, survey)
            self.metrics.age.observe((now / DAY_S + MJD_OF_UNIX_ZERO - scored.alerts.columns["mjd"]) * DAY_S)
        total = self.ledger.total()
        self.metrics.forwarded_ratio.set(total.forwarded / total.scored if total.scored else 0.0)

    def _look_at_lag(self, messages: Sequence[Message]) -> None:
        now = self.clock.monotonic()
        if now - self._lag_at < LAG_EVERY_S:
            return
        self._lag_at = now
        lag = self.source.lag()
        for (topic, partition), behind in lag.items():
            self.metrics.lag.labels(topic, str(partition)).set(behind)
        if not any(lag.values()):
            self.metrics.lag_seconds.set(0)
        elif messages and messages[-1].timestamp_ms >= 0:
            self.metrics.lag_seconds.set(max(self.clock.now() - messages[-1].timestamp_ms / 1000, 0))
