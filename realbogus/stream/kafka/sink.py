"""Records to topics, confirmed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from realbogus.config.sections import KafkaSettings
from realbogus.errors import StreamError
from realbogus.stream.kafka.admin import make_topics, missing_topics, rooms_of
from realbogus.stream.kafka.settings import PRODUCER, Complaints, client_log, client_settings, quiet, reason
from realbogus.stream.protocols import Record
from realbogus.telemetry import Metrics


class KafkaSink:
    """Records to topics. Topics that are missing are made where create says so."""

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        compression: str = "zstd",
        create: bool = True,
        partitions: int = -1,
        replication: int = -1,
        metrics: Metrics | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self._create, self._partitions, self._replication = create, partitions, replication
        self._rooms: dict[str, int] = {}
        self._failures: list[str] = []
        self._complaints = Complaints(metrics or Metrics())
        ours = {"compression.type": compression, "error_cb": self._complaints, "logger": client_log}
        self._settings = client_settings(kafka, PRODUCER, ours, more or {}, kafka.producer)
        self._producer = Producer(self._settings)
        self._admin = AdminClient(client_settings(kafka, quiet()))

    def prepare(self, topics: Sequence[str]) -> None:
        """Make sure that these topics are there; see `protocols.Sink`."""
        unknown = [topic for topic in dict.fromkeys(topics) if topic not in self._rooms]
        if not unknown:
            return
        missing = missing_topics(self._admin, unknown)
        if missing and not self._create:
            raise StreamError(f"topics to write to are missing and output.create is off: {', '.join(missing)}", 2)
        make_topics(self._admin, missing, self._partitions, self._replication)
        self._rooms |= rooms_of(self._admin, unknown)

    def room(self, topic: str) -> int:
        """The largest record that a topic takes; see `protocols.Sink`."""
        self.prepare([topic])
        return self._rooms[topic]

    def send(self, record: Record) -> None:
        """Queue a record; waits while the queue is full."""
        try:
            self._queue(record)
        except KafkaException as error:
            raise StreamError(f"cannot write to {record.topic}: {reason(error)}") from error

    def flush(self, wait_s: float = math.inf) -> bool:
        """Whether every record is written to all replicas in sync; see `protocols.Sink`."""
        deadline = time.monotonic() + wait_s
        waiting = self._producer.flush(min(wait_s, 1.0))
        while waiting and not self._failures and (left_s := deadline - time.monotonic()) > 0:
            waiting = self._producer.flush(min(left_s, 1.0))
        if self._failures:
            failures, self._failures = self._failures, []
            raise StreamError(f"{len(failures)} results could not be written, the first: {failures[0]}")
        if not waiting:
            self._complaints.answered()
        return not waiting

    def close(self) -> None:
        """Let go of what was not flushed."""
        self._producer.purge()
        with suppress(KafkaException, SystemError):  # a client that was fenced says so again, in its clumsy ways
            self._producer.flush(1.0)

    def _queue(self, record: Record) -> None:
        self.prepare([record.topic])
        told: dict[str, Any] = {"headers": list(record.headers), "on_delivery": self._reported}
        if record.timestamp_ms >= 0:
            told["timestamp"] = record.timestamp_ms
        while True:
            try:
                self._producer.produce(record.topic, record.value, record.key, **told)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _reported(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._failures.append(f"{message.topic()}: {error.str()}")
