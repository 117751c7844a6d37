"""What an operator decides: a frozen dataclass a section of worker.toml, each field with its meaning and unit.

The comment beside a field is its documentation: `realbogus config example` prints it. Sections that belong to another
room live there: EventStyle [voevent], PublishSettings [publish], Policy [policy], Limits [limits].
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from realbogus.errors import ConfigError

Format = Literal["record", "packet"]
DeliveryMode = Literal["exactly_once", "at_least_once"]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["text", "json"]

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")  # what Kafka accepts as the name of a topic
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}")
_SECRET = re.compile(r"password|secret|key\.pem|oauthbearer\.config", re.IGNORECASE)

# Properties of the Kafka client that the promise to lose nothing rests on.
_OURS: Mapping[str, str] = {
    "bootstrap.servers": "it is kafka.bootstrap",
    "group.id": "it is input.group_id, or publish.group_id for the publisher",
    "group.instance.id": "it is input.instance",
    "enable.auto.commit": "offsets are committed once the results are delivered",
    "enable.auto.offset.store": "offsets are committed once the results are delivered",
    "enable.partition.eof": "the end of a partition is watched where it matters",
    "enable.idempotence": "repeats by the client's own retries are always prevented",
    "acks": "results count as delivered once all in-sync replicas have them",
    "transactional.id": "it is made of input.group_id, input.instance or the host's name, and the slot",
    "transaction.timeout.ms": "it is output.transaction_timeout_s",
}


class Checked:
    """A section that checks itself as it is made, and raises ConfigError with every problem at once."""

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ConfigError(problems)

    def _problems(self) -> Iterator[str]:
        """What is wrong, a line each, beginning with section.key."""
        return iter(())


@dataclass(frozen=True, kw_only=True)
class KafkaSettings(Checked):
    """Section [kafka]: the cluster, and anything else that its client library can be told."""

    bootstrap: str  # addresses to begin with, "host:port,host:port"; required
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)  # any librdkafka property, for all clients
    consumer: Mapping[str, str] = field(default_factory=dict, repr=False)  # likewise, for what reads
    producer: Mapping[str, str] = field(default_factory=dict, repr=False)  # likewise, for what writes
    secret_files: Mapping[str, Path] = field(default_factory=dict)  # property -> file that holds its value

    def _problems(self) -> Iterator[str]:
        addresses = [part.strip() for part in self.bootstrap.split(",")]
        if not all(_HOST_PORT.fullmatch(part) for part in addresses):
            yield f"kafka.bootstrap is {self.bootstrap!r}; expected host:port, or several with commas between them"
        for table in ("properties", "consumer", "producer", "secret_files"):
            for name in sorted(getattr(self, table).keys() & _OURS.keys()):
                yield f"kafka.{table}: {name!r} is not yours to set: {_OURS[name]}"


@dataclass(frozen=True, kw_only=True)
class InputSettings(Checked):
    """Section [input]: which alerts are read, and how they are gathered into batches."""

    topics: tuple[str, ...] = ()  # topics to read
    pattern: str = ""  # or a topic a night, strftime: "ztf_%Y%m%d_programid1" reads yesterday, today, tomorrow (UTC)
    group_id: str  # offsets are kept under this name, so that a restart resumes; required
    instance: str = ""  # static group membership under this name, unique a worker: restarts within 30 s move nothing
    batch_size: int = 256  # alerts scored together
    batch_mb: int = 64  # MiB of messages scored together, for packets of unusual size; a batch ends early by that
    wait_s: float = 0.1  # s; longest an alert waits for its batch to fill
    duplicates_window: int = 100_000  # alerts; the same candid sent again within so many is left out; 0 = never
    bare_schema: str = ""  # schema of records that come without any header, "rubin/9.0"; "" = they are rejected
    schema_registry_url: str = ""  # where the schemas of Confluent-framed records are asked for; "" = shipped ones only

    def _problems(self) -> Iterator[str]:
        if not self.topics and not self.pattern:
            yield "input.topics and input.pattern are both empty: nothing would be read"
        yield from (f"input.topics: {bad_topic(topic)}" for topic in self.topics if bad_topic(topic))
        yield from _pattern_problems(self.pattern)
        if not self.group_id:
            yield "input.group_id is required: offsets are kept under this name, so that a restart resumes"
        if not 1 <= self.batch_size <= 100_000:
            yield f"input.batch_size is {self.batch_size}; expected 1 to 100000 alerts"
        if not 1 <= self.batch_mb <= 1024:
            yield f"input.batch_mb is {self.batch_mb}; expected 1 to 1024 MiB"
        if not 0 <= self.duplicates_window <= 10_000_000:
            yield f"input.duplicates_window is {self.duplicates_window}; expected 0 to 10000000 alerts"
        if not 0 < self.wait_s <= 60:
            yield f"input.wait_s is {self.wait_s}; expected more than 0 and up to 60 s"
        if self.schema_registry_url and not re.match(r"https?://\S+$", self.schema_registry_url):
            yield f"input.schema_registry_url is {self.schema_registry_url!r}; expected http:// or https://"
        elif "@" in self.schema_registry_url:
            yield "input.schema_registry_url holds a name or password, which would end up in logs; leave them out"


@dataclass(frozen=True, kw_only=True)
class OutputSettings(Checked):
    """Section [output]: where annotations and dead letters go. "{topic}" stands for the name of the input topic."""

    topic: str = "realbogus.annotations"  # Kafka topic of the annotations
    format: Format = "record"  # "record": the annotation alone; "packet": the whole alert with the annotation appended
    dead_letters: str = "{topic}.dlq"  # Kafka topic of what could not be scored: original key and bytes, reason beside
    parked: str = "{topic}.parked"  # Kafka topic of what waits for a schema or a model: replay it after the upgrade
    delivery: DeliveryMode = "exactly_once"  # results and offsets in one transaction; or "at_least_once"
    transaction_timeout_s: float = 15.0  # s; after that the broker takes back what a dead worker has left open
    shadow: str = "realbogus.annotations.shadow"  # Kafka topic of the annotations of shadow models, see [models.shadow]
    create: bool = True  # make these topics where they are missing; false = expect them
    partitions: int = -1  # of the topics made; -1 = as the broker does by default
    replication: int = -1  # copies of the topics made; -1 = as the broker does by default

    def _problems(self) -> Iterator[str]:
        for name in ("topic", "dead_letters", "parked", "shadow"):
            template = getattr(self, name)
            if problem := bad_topic(topic_for(template, "x")):
                yield f"output.{name}: {problem}"
        for name in ("dead_letters", "parked", "shadow"):
            if self.topic == getattr(self, name):
                yield f"output.topic and output.{name} are both {self.topic!r}; readers could not tell them apart"
        if self.format not in get_args(Format):
            yield f"output.format is {self.format!r}; expected one of {', '.join(get_args(Format))}"
        if self.delivery not in get_args(DeliveryMode):
            yield f"output.delivery is {self.delivery!r}; expected one of {', '.join(get_args(DeliveryMode))}"
        if not 1 <= self.transaction_timeout_s <= 900:
            yield f"output.transaction_timeout_s is {self.transaction_timeout_s}; expected 1 to 900 s"
        for name in ("partitions", "replication"):
            if getattr(self, name) < 1 and getattr(self, name) != -1:
                yield f"output.{name} is {getattr(self, name)}; expected at least 1, or -1 for the broker's default"


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Checked):
    """Section [models]: who judges which survey."""

    folder: Path | None = None  # folder of the models; None = those that ship with realbogus
    surveys: Mapping[str, str] = field(
        default_factory=lambda: {"ztf": "current"}
    )  # survey -> "name/version", "current"
    shadow: Mapping[str, str] = field(default_factory=dict)  # survey -> model that scores too, without any effect

    def _problems(self) -> Iterator[str]:
        if not self.surveys:
            yield "models.surveys is empty: every alert would be rejected"
        if self.folder is not None and not self.folder.is_dir():
            yield f"models.folder: there is no folder {str(self.folder)!r}"


@dataclass(frozen=True, kw_only=True)
class HttpSettings(Checked):
    """Section [http]: metrics and health, for machines."""

    host: str = "127.0.0.1"  # address to listen on; there is no password, so anything but loopback shows all to all
    port: int = 9464  # of the first worker process, the next ones take the ports after it; 0 = no server

    def _problems(self) -> Iterator[str]:
        if not 0 <= self.port <= 65535:
            yield f"http.port is {self.port}; expected 0 to 65535"


@dataclass(frozen=True, kw_only=True)
class LogSettings(Checked):
    """Section [log]: what the worker says about itself, to stderr. Never a line an alert."""

    level: Level = "INFO"  # DEBUG, INFO, WARNING or ERROR
    format: LogFormat = "text"  # "text" for people, "json" for machines: one object a line

    def _problems(self) -> Iterator[str]:
        for name, known in (("level", get_args(Level)), ("format", get_args(LogFormat))):
            if getattr(self, name) not in known:
                yield f"log.{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}"


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(Checked):
    """Section [worker]: the processes that do the work."""

    processes: int = 1  # members of the consumer group on this machine; one a core
    memory_mb: int = 0  # MiB of address space a process may take, then it is restarted; 0 = no limit
    leave_s: float = 10.0  # s; longest that a worker told to stop may take to finish its batch

    def _problems(self) -> Iterator[str]:
        if not 1 <= self.processes <= 1024:
            yield f"worker.processes is {self.processes}; expected 1 to 1024"
        if self.memory_mb and self.memory_mb < 1024:
            yield f"worker.memory_mb is {self.memory_mb}; expected 0, or at least 1024"
        if not self.leave_s > 0:
            yield f"worker.leave_s is {self.leave_s}; expected more than 0 s"


def is_secret(name: str) -> bool:
    """Whether a property of the Kafka client must never be shown or kept in a configuration file."""
    return _SECRET.search(name) is not None


def topic_for(template: str, topic: str) -> str:
    """The output topic for alerts of an input topic: "{topic}.dlq" -> "ztf_20260101_programid1.dlq"."""
    return template.replace("{topic}", topic)


def bad_topic(name: str) -> str:
    """What is wrong with the name of a topic; "" if nothing."""
    if _TOPIC.fullmatch(name) and name not in (".", ".."):
        return ""
    return f"{name!r} cannot be a topic: 1 to 249 of the characters A-Z a-z 0-9 . _ -"


def _pattern_problems(pattern: str) -> Iterator[str]:
    if not pattern:
        return
    first, second = (datetime(2026, 1, day, tzinfo=UTC).strftime(pattern) for day in (1, 2))
    if first == second:
        yield f"input.pattern is {pattern!r}; a topic a night needs the date, such as ztf_%Y%m%d_programid1"
    elif problem := bad_topic(first):
        yield f"input.pattern: {problem}"
