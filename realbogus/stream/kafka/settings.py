"""What clients of Kafka are told, and what they complain about.

Settings of librdkafka and why: see realbogus/docs/operations.md. What an operator passes through wins over ours.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from realbogus.config.sections import KafkaSettings
from realbogus.errors import ConfigError
from realbogus.telemetry import Metrics

log = logging.getLogger(__name__)

CALL_S = 15.0  # s; longest wait for one answer of a broker
QUIET_LOG_S = 10.0  # s; a complaint is not repeated in the log before

CONSUMER: Mapping[str, Any] = {
    "enable.auto.commit": False,  # offsets are committed once results are delivered
    "enable.auto.offset.store": False,
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 30_000,
    "heartbeat.interval.ms": 1_000,  # others learn of a new member by their heartbeat: till then its partitions wait
    "max.poll.interval.ms": 300_000,
    "queued.max.messages.kbytes": 65_536,  # prefetch is bounded in bytes: packets have 60 to 140 kB
    "fetch.queue.backoff.ms": 20,  # the default pauses 1 s when the prefetch is full, in which it runs dry
    "topic.metadata.refresh.interval.ms": 10_000,  # new nightly topics appear within seconds
    "allow.auto.create.topics": False,
}
PRODUCER: Mapping[str, Any] = {
    "enable.idempotence": True,  # with it acks=all: no repeats and no gaps by the client's own retries
    "linger.ms": 5,
    "message.timeout.ms": 0,  # wait for a broker as long as it takes: giving up would only repeat the batch
    "message.max.bytes": 64 * 1024 * 1024,  # the topic's own limit decides, see KafkaSink.room
    "queue.buffering.max.kbytes": 131_072,
    "partitioner": "murmur2_random",  # as Java clients do, so that keys meet in the same partition
    "delivery.report.only.error": True,
}

# The group has moved on: what we hold belongs to somebody else now. Not an error; the batch will come again.
MOVED = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._STATE,
        KafkaError.STALE_MEMBER_EPOCH,
    }
)
# Another process owns our place. Leave at once, whatever the flags of the error say.
FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.UNRELEASED_INSTANCE_ID,
    }
)


# What KIP-848 groups, group.protocol=consumer, leave to the broker.
_CLASSIC_ONLY = ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy")


class Step(Enum):
    """What to do about an error of the client within a transaction."""

    REPEAT = "make the same call again"
    UNDO = "take the transaction back and begin again at what is committed"
    LEAVE = "end the process: another one owns our place, or the client is of no use any more"


def step_after(error: KafkaError) -> Step:
    """What an error within a transaction asks for. One without any flag leaves it in doubt: take it back."""
    if error.fatal() or error.code() in FENCED:
        return Step.LEAVE
    if error.retriable() and not error.txn_requires_abort():
        return Step.REPEAT
    return Step.UNDO


def consumer_settings(kafka: KafkaSettings, *more: Mapping[str, Any]) -> dict[str, Any]:
    """What every consumer is told; a group of the newer protocol has its timeouts and assignor from the broker."""
    classic = is_classic(kafka)
    ours = {name: value for name, value in CONSUMER.items() if classic or name not in _CLASSIC_ONLY}
    return client_settings(kafka, ours, *more, kafka.consumer)


def is_classic(kafka: KafkaSettings) -> bool:
    """Whether the members of groups share out partitions among themselves; with KIP-848 the broker does."""
    return str({**kafka.consumer, **kafka.properties}.get("group.protocol", "classic")).lower() != "consumer"


def client_settings(kafka: KafkaSettings, *more: Mapping[str, Any]) -> dict[str, Any]:
    """What every client is told: bootstrap, ours, the operator's; the last word is the operator's."""
    merged: dict[str, Any] = {"bootstrap.servers": kafka.bootstrap, "client.id": "realbogus"}
    for part in (*more, kafka.properties, read_secrets(kafka.secret_files)):
        merged |= part
    return merged


def property_problems(kafka: KafkaSettings) -> list[str]:
    """What the client library thinks of the operator's properties; nothing connects."""
    problems = [problem for table in ("properties", "consumer", "producer") for problem in _wrong(kafka, table)]
    if problems:
        return problems
    for kind, more in ((Consumer, {"group.id": "check", **kafka.consumer}), (Producer, kafka.producer)):
        try:
            kind({**kafka.properties, **more, **read_secrets(kafka.secret_files), **quiet()})
        except KafkaException as error:
            problems.append(f"kafka: {reason(error)}")
        except ConfigError as error:
            problems += error.problems
    return list(dict.fromkeys(problems))


def _wrong(kafka: KafkaSettings, table: str) -> Iterator[str]:
    """Properties unknown to the client library or out of their range, each looked at by itself."""
    for name, value in getattr(kafka, table).items():
        try:
            Producer({name: value, **quiet()})
        except KafkaException as error:
            if not reason(error).startswith("Failed to create"):  # that is about properties not yet together
                yield f"kafka.{table}: {name}: {reason(error)}"


def quiet() -> dict[str, Any]:
    """For clients of a moment: complaints come as exceptions, or not at all."""
    return {"log_level": 0, "error_cb": lambda error: None}


def reason(error: BaseException) -> str:
    """What an error of the client says, in its words."""
    first = error.args[0] if error.args else error
    return (first.str() if isinstance(first, KafkaError) else str(first)).strip()


class Complaints:
    """Errors that the client reports on the side: counted, logged now and then, remembered until a broker answers."""

    def __init__(self, metrics: Metrics) -> None:
        self.silent = False  # no broker answers
        self.fatal = ""  # why the client cannot go on; it may tell nobody else
        self._metrics, self._logged = metrics, 0.0

    def __call__(self, error: KafkaError) -> None:
        """Note a complaint; the client calls this."""
        self._metrics.client_errors.labels(error.name()).inc()
        self.silent = self.silent or error.code() == KafkaError._ALL_BROKERS_DOWN
        if error.fatal() or error.code() in {KafkaError._FATAL, *FENCED}:
            self.fatal = self.fatal or error.str()
        if time.monotonic() - self._logged > QUIET_LOG_S:
            self._logged = time.monotonic()
            log.warning("Kafka: %s", error.str())

    def answered(self) -> None:
        """A broker has answered."""
        self.silent = False


class _ClientLog(logging.LoggerAdapter[logging.Logger]):
    """What librdkafka logs, one level down: it repeats what the error callback tells."""

    def log(self, level: int, msg: object, *arguments: object, **named: Any) -> None:
        """Log at DEBUG."""
        super().log(logging.DEBUG, msg, *arguments, **named)


client_log = _ClientLog(logging.getLogger("realbogus.stream.librdkafka"))


def read_secrets(files: Mapping[str, Path]) -> dict[str, str]:
    """The values of properties that are kept in files."""
    found, problems = {}, []
    for name, path in files.items():
        try:
            found[name] = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"kafka.secret_files: the file of {name!r} cannot be read: {error}")
    if problems:
        raise ConfigError(problems)
    return found
