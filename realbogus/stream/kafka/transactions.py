"""Records and the positions of the messages they came from in one transaction: visible together, or never.

What an error of the client asks for is told by `settings.step_after`: the same call again, as often as it takes; the
transaction taken back; or an end of the process, as when another one has taken our place.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from realbogus.config.sections import KafkaSettings
from realbogus.errors import StreamError
from realbogus.stream.kafka.settings import Step, step_after
from realbogus.stream.kafka.sink import KafkaSink
from realbogus.stream.protocols import Positions, Record
from realbogus.stream.tasks import Task
from realbogus.telemetry import Metrics

log = logging.getLogger(__name__)

MOST_FAILURES = 10  # transactions in a row that are taken back, before the worker gives up
SHORTEST_S, LONGEST_S = 0.1, 2.0  # s; between two attempts at the same call
LEAVE_S = 3.0  # s; longest that closing waits for an open transaction to be taken back


class KafkaTransactions(KafkaSink):
    """A KafkaSink that writes in transactions; see `protocols.TransactionalSink`.

    The constructor takes back what a predecessor of the same transactional_id has left open, and fences it. It waits
    for brokers as long as it takes, and raises StreamError where they know no transactions or do not let us. With
    patience_s no call is repeated for longer than that: for tools, whose user waits too.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        transactional_id: str,
        timeout_s: float = 15.0,
        patience_s: float = math.inf,
        metrics: Metrics | None = None,
        **options: Any,
    ) -> None:
        timeout_ms = round(timeout_s * 1000)
        # A record may not outlive its transaction: the client refuses a longer message.timeout.ms.
        more = {"transactional.id": transactional_id, "transaction.timeout.ms": timeout_ms}
        super().__init__(kafka, metrics=metrics, more={**more, "message.timeout.ms": timeout_ms}, **options)
        self._metrics, self._closing, self._timeout_s = metrics or Metrics(), threading.Event(), timeout_s
        self._id, self._open, self._patience_s = transactional_id, False, patience_s
        self._failed = 0  # transactions taken back in a row
        self._fault: KafkaError | None = None  # why the open transaction cannot be committed
        self._enter()

    def begin(self) -> None:
        """Open a transaction; see `protocols.TransactionalSink`."""
        self._fault, self._failures = None, []
        self._producer.poll(0)  # hear what has happened since the last one
        if self._complaints.silent:
            self._replace("all brokers were away")
        self._attempt(self._producer.begin_transaction)
        self._open = True

    def send(self, record: Record) -> None:
        """Queue a record. Where the client refuses it the transaction is lost, which `commit` tells."""
        if self._fault is not None:
            return
        try:
            self._queue(record)
        except KafkaException as problem:
            self._fault = problem.args[0]

    def commit(self, positions: Positions, member: object) -> bool:
        """Commit the open transaction; see `protocols.TransactionalSink`. May be called from a thread of its own.

        If the group has moved on since, its coordinator refuses the positions, and with them the transaction.
        """
        try:
            self._refuse(self._fault)
            if positions:
                self._attempt(lambda: self._send_offsets(positions, member))
            self._attempt(self._producer.commit_transaction)
        except _Lost as lost:
            self._take_back(lost)
            return False
        self._open, self._failed = False, 0
        self._metrics.transactions.labels("committed").inc()
        self._complaints.answered()
        return True

    def close(self) -> None:
        """Take back what is open, if that is quick; whoever comes next with our id does it otherwise."""
        self._closing.set()
        if self._open:
            try:
                self._producer.abort_transaction(LEAVE_S)
            except KafkaException as problem:
                log.info("left with an open transaction, nobody will see its records: %s", problem.args[0].str())
        super().close()

    def _send_offsets(self, positions: Positions, member: object) -> None:
        """Add the positions to the transaction.

        The client may wait for ever for a coordinator that it has dropped (confluentinc/librdkafka#5456, #5511), and
        does not let go of such a call. Once the broker has taken the transaction back, a new client takes its place.
        """
        if member is None:
            # Offsets of nobody would be taken without a look at the group, and without fencing us off.
            raise _Lost("the group does not know us any more")
        offsets = [TopicPartition(topic, number, at) for (topic, number), at in positions.items()]
        producer = self._producer
        call = Task(lambda: producer.send_offsets_to_transaction(offsets, member), "offsets")
        if not call.done(self._timeout_s):
            self._replace("it does not find the coordinator of the group")
            raise _Lost("the positions could not be written in time")
        call.result()

    def _replace(self, why: str) -> None:
        """A new client in the place of one that is stuck; the broker takes back what that one has left open."""
        log.warning("a new Kafka client takes the place of the one that writes: %s", why)
        self._producer.purge(blocking=False)
        self._producer = Producer(self._settings)
        self._open = False
        self._enter()
        self._complaints.answered()

    def _enter(self) -> None:
        """Take back what a predecessor has left open, and fence it."""
        try:
            self._attempt(self._producer.init_transactions)
        except _Lost as lost:
            raise StreamError(
                f"cannot write in transactions as {self._id}: {lost}. Where the broker knows none or does not "
                'let us, set delivery = "at_least_once" in [output]'
            ) from lost

    def _take_back(self, why: _Lost) -> None:
        """Abort the open transaction; StreamError where that fails, or has happened too often in a row."""
        self._failed += 1
        self._metrics.transactions.labels("aborted").inc()
        first = f"; the first record refused: {self._failures[0]}" if self._failures else ""
        log.warning("a batch is taken back and comes again (%d in a row): %s%s", self._failed, why, first)
        try:
            if self._open:
                self._attempt(self._producer.abort_transaction)
        except _Lost as lost:
            raise StreamError(f"a transaction can be neither committed nor taken back: {lost}") from lost
        self._open = False
        if self._failed >= MOST_FAILURES:
            raise StreamError(f"{self._failed} batches in a row could not be written: {why}{first}")

    def _attempt(self, call: Callable[[], None]) -> None:
        """Make a call until it succeeds; _Lost where the transaction is lost, StreamError where we are."""
        wait_s, deadline = SHORTEST_S, time.monotonic() + self._patience_s
        while True:
            try:
                return call()
            except KafkaException as problem:
                error: KafkaError = problem.args[0]
            except SystemError as broken:  # the client met a fatal error while it told us about a record
                raise StreamError("another worker has taken our place, or the client cannot go on") from broken
            if step_after(error) is not Step.REPEAT:
                self._refuse(error)
            self._complaints(error)
            if self._closing.wait(wait_s):
                raise StreamError(f"left while the broker did not answer: {error.str()}")
            if time.monotonic() > deadline:
                raise StreamError(f"the broker has not answered for {self._patience_s:.0f} s: {error.str()}")
            wait_s = min(2 * wait_s, LONGEST_S)

    def _refuse(self, error: KafkaError | None) -> None:
        """Raise what an error asks for that repeating does not mend."""
        if error is None:
            return
        if step_after(error) is Step.LEAVE:
            raise StreamError(f"another worker has taken our place, or the client cannot go on: {error.str()}")
        raise _Lost(error.str())


class _Lost(Exception):
    """The open transaction cannot be committed any more."""
