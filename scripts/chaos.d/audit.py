"""What readers of the topics find, counted from the first to the last record and compared with what was sent."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from alerts import Alerts
from confluent_kafka import Consumer, KafkaError, TopicPartition

from realbogus import __version__
from realbogus.alerts import Outcomes, ScoredBatch
from realbogus.model import Model
from realbogus.packets import annotation
from realbogus.scoring import Scorer

RECOMPUTED = 20_000  # alerts scored again from their bytes; the others are compared with their packet's scores


def records(bootstrap: str, topic: str, isolation: str, wait_s: float = 120.0) -> Iterator[Any]:
    """Every record of a topic from its beginning to its end, outside any group, by a client that shares no code."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"chaos-reader-{isolation}",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 2,
        }
    )
    try:
        about = reader.list_topics(timeout=30).topics.get(topic)
        numbers = set(about.partitions) if about else set()
        reader.assign([TopicPartition(topic, number, 0) for number in numbers])
        deadline = time.monotonic() + wait_s
        while numbers:
            for one in reader.consume(1000, 1.0):
                if one.error() is None:
                    deadline = time.monotonic() + wait_s
                    yield one
                elif one.error().code() == KafkaError._PARTITION_EOF:
                    numbers.discard(one.partition())
            if time.monotonic() > deadline:
                raise RuntimeError(f"the end of {topic} was not reached: a transaction hangs")
    finally:
        reader.close()


def wait_for_the_end_of_transactions(bootstrap: str, topics: Sequence[str], within_s: float) -> None:
    """Until nothing is open: readers of committed records see as far as any others do."""
    deadline = time.monotonic() + within_s
    for topic in topics:
        while _end(bootstrap, topic, "read_committed") != _end(bootstrap, topic, "read_uncommitted"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"a transaction is still open in {topic}")
            time.sleep(0.5)


def _end(bootstrap: str, topic: str, isolation: str) -> list[int]:
    from confluent_kafka import IsolationLevel
    from confluent_kafka.admin import AdminClient, OffsetSpec

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    about = admin.list_topics(timeout=30).topics.get(topic)
    level = IsolationLevel.READ_COMMITTED if isolation == "read_committed" else IsolationLevel.READ_UNCOMMITTED
    asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in (about.partitions if about else ())}
    found = admin.list_offsets(asked, isolation_level=level, request_timeout=30) if asked else {}
    return [one.result().offset for one in found.values()]


@dataclass
class Found:
    """What the topics hold for readers of committed records."""

    annotated: Counter[int] = field(default_factory=Counter)  # by candid
    dead: Counter[int] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    ivorns: Counter[bytes] = field(default_factory=Counter)
    forwarded: int = 0
    wrong: list[str] = field(default_factory=list)  # annotations that are not what they should be
    uncommitted: int = 0  # records that readers of everything see beyond


def read(bootstrap: str, annotations: str, dead_letters: str, outbox: str, expected: Expected) -> Found:
    """Read everything, twice: as others should, and with what was taken back."""
    found = Found()
    for one in records(bootstrap, annotations, "read_committed"):
        candid, model = int(one.key()), dict(one.headers())["model"].decode()
        found.annotated[candid] += 1
        found.models[model] += 1
        found.forwarded += expected.check(candid, model, one.value(), found.wrong)
    for one in records(bootstrap, dead_letters, "read_committed"):
        found.dead[int(one.key())] += 1
    for one in records(bootstrap, outbox, "read_committed"):
        found.ivorns[dict(one.headers())["ivorn"]] += 1
    everything = sum(1 for topic in (annotations, dead_letters) for _ in records(bootstrap, topic, "read_uncommitted"))
    found.uncommitted = everything - found.annotated.total() - found.dead.total()
    return found


def proof(config: Path, found: Found) -> list[str]:
    """What is wrong with the product's own proof, `realbogus ledger check`, called as an operator would: it must find
    the stream balanced exactly where the readers here do, with the same counts."""
    command = [sys.executable, "-m", "realbogus", "ledger", "check", "--json", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = Counter[str]()
    for row in map(json.loads, done.stdout.splitlines()):
        told.update({name: count for name, count in row.items() if isinstance(count, int)})
    problems = []
    if done.returncode:
        problems.append(f"realbogus ledger check ends with {done.returncode}: {done.stderr[-300:]}")
    for what, ours in (("scored", len(found.annotated)), ("rejected", len(found.dead))):
        if told[what] != ours:
            problems.append(f"realbogus ledger check tells {told[what]} {what}, the readers found {ours}")
    return problems


class Expected:
    """The annotations that these alerts must have, to the last bit, whichever of these models they name."""

    def __init__(self, alerts: Alerts, models: Mapping[str, Model], numbers: range) -> None:
        self._alerts, self._numbers = alerts, numbers
        self._scorers = {name: Scorer(models={"ztf": model}) for name, model in models.items()}
        self._templates = {name: self._scored(scorer, alerts.templates) for name, scorer in self._scorers.items()}
        self._known: dict[tuple[int, str], bytes] = {}
        self._chunk = -1
        self.recomputed = 0

    def check(self, candid: int, model: str, value: bytes, wrong: list[str]) -> bool:
        """Compare an annotation; whether it says that the alert is forwarded."""
        number = candid - self._alerts.first
        if number not in self._numbers:
            wrong.append(f"{candid} was never sent")
            return False
        row = self._alerts.template(number)
        scored = renumbered(self._templates[model], row, candid)
        if annotation.encode(scored, __version__)[0] != value:
            wrong.append(f"the annotation of {candid} is not what {model} says of it")
        return bool(scored.forward[0])

    def recompute(self, bootstrap: str, topic: str, wrong: list[str]) -> int:
        """Score alerts again from their own bytes, and compare annotations with that; how many."""
        batches: dict[str, list[tuple[int, bytes]]] = {name: [] for name in self._scorers}
        done = 0
        for one in records(bootstrap, topic, "read_committed"):
            batch = batches[name := dict(one.headers())["model"].decode()]
            batch.append((int(one.key()) - self._alerts.first, one.value()))
            if len(batch) == 256:
                done += self._again(self._scorers[name], batch, wrong)
                batch.clear()
            if done >= RECOMPUTED:
                return done
        return done + sum(self._again(self._scorers[name], batch, wrong) for name, batch in batches.items())

    def _again(self, scorer: Scorer, batch: Sequence[tuple[int, bytes]], wrong: list[str]) -> int:
        if not batch:
            return 0
        outcomes = scorer.outcomes([self._alerts.message(number) for number, _ in batch])
        (scored,) = outcomes
        for index, value in zip(scored.alerts.index.tolist(), annotation.encode(scored, __version__), strict=True):
            if value != batch[index][1]:
                wrong.append(f"alert {batch[index][0]} scored again gives another annotation")
        wrong += [f"alert {batch[one.index][0]} scored again is rejected" for one in outcomes.rejected]
        return len(batch)

    @staticmethod
    def _scored(scorer: Scorer, messages: Sequence[bytes]) -> ScoredBatch:
        outcomes: Outcomes = scorer.outcomes(messages)
        (scored,) = outcomes
        if len(scored) != len(messages):
            raise RuntimeError("the packets of the campaign cannot all be scored")
        return scored


def renumbered(scored: ScoredBatch, row: int, candid: int) -> ScoredBatch:
    """One row of a batch, with another candid."""
    alerts = scored.alerts
    one = dataclasses.replace(
        alerts,
        index=alerts.index[row : row + 1],
        candid=np.array([candid]),
        object_id=[alerts.object_id[row]],
        band=[alerts.band[row]],
        schema=[alerts.schema[row]],
        columns={name: column[row : row + 1] for name, column in alerts.columns.items()},
        triplets=alerts.triplets[row : row + 1],
    )
    cut = {name: getattr(scored, name)[row : row + 1] for name in ("features", "score", "p_real", "forward")}
    shares = {0: scored.contributions[row]} if row in scored.contributions else {}
    return dataclasses.replace(scored, alerts=one, contributions=shares, **cut)
