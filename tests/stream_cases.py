"""A stream in memory and a scorer of a small forest: what the stories about the worker are told with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rescore_cases

from realbogus.alerts import Outcomes
from realbogus.model import Model, load_model
from realbogus.policy import Policy
from realbogus.scoring import Scorer
from realbogus.stream.delivery import AtLeastOnce, ExactlyOnce
from realbogus.stream.protocols import Message
from realbogus.stream.results import Destinations
from realbogus.stream.worker import Worker
from realbogus.testing import MemoryBroker, MemorySource
from realbogus.voevent.style import EventStyle

TOPIC, ANNOTATIONS, DEAD, OUTBOX, PARKED = "alerts", "annotations", "alerts.dlq", "outbox", "alerts.parked"
STYLE = EventStyle(authority="org.example.survey")


@cache
def model() -> Model:
    with TemporaryDirectory() as folder:
        return load_model(rescore_cases.model(Path(folder)))


def scorer(threshold: float = 0.35) -> Scorer:
    return Scorer(models={"ztf": model()}, policy=Policy(threshold=threshold))


def destinations(**options: Any) -> Destinations:
    return Destinations(annotations=ANNOTATIONS, dead_letters="{topic}.dlq", outbox=OUTBOX, style=STYLE, **options)


@dataclass
class Night:
    """A broker in memory, and workers that come and go."""

    broker: MemoryBroker = field(default_factory=MemoryBroker)
    score: Callable[[Sequence[bytes]], Outcomes] = field(default_factory=lambda: scorer().outcomes)
    to: Destinations = field(default_factory=destinations)
    batch_size: int = 4
    delivery: str = "exactly_once"

    def send(self, *values: bytes | None) -> None:
        for value in values:
            self.broker.produce(TOPIC, value, key=b"key %d" % len(self.broker.messages(TOPIC)))

    def worker(self, **options: Any) -> Worker:
        """A new process: it knows nothing but what was committed."""
        source: MemorySource = self.broker.source("group", TOPIC)
        source.ends = True
        exactly = self.delivery == "exactly_once"
        sink = self.broker.transactions() if exactly else self.broker.sink()
        delivery = ExactlyOnce(source, sink) if exactly else AtLeastOnce(source, sink)
        told = {"score": lambda: self.score, "to": self.to, "room": sink.room, "batch_size": self.batch_size} | options
        return Worker(source=source, delivery=delivery, clock=self.broker.clock, **told)

    def run(self, **options: Any) -> Worker:
        """A worker that reads everything there is."""
        worker = self.worker(**options)
        worker.run(lambda: False)
        return worker

    def annotated(self) -> list[Message]:
        return self.broker.messages(ANNOTATIONS)

    def dead(self) -> list[Message]:
        return self.broker.messages(DEAD)

    def parked(self) -> list[Message]:
        return self.broker.messages(PARKED)

    def events(self) -> list[Message]:
        return self.broker.messages(OUTBOX)


def candids(messages: Sequence[Message]) -> list[int]:
    return [int(message.key or b"") for message in messages]


def header(message: Message, name: str) -> str:
    return dict(message.headers)[name].decode()
