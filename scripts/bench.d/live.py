"""The worker as it runs at night, through a broker; what throughput and latency are measured with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path

from broker import PARTITIONS, Broker, Counter, Watched, fill, spans_file
from corpus import Corpus

HERE = Path(__file__).resolve().parent
WARM = 512  # alerts that a worker has done before anything is measured


@dataclass
class Bench:
    """What all live measurements share."""

    broker: Broker
    corpus: Corpus
    model: str  # "name/version"
    models: Path  # folder of the models
    folder: Path  # for configurations and logs
    worker_cores: set[int]
    other_cores: set[int]
    say: Callable[[str], None]
    runs: int = field(default=0)

    def name(self, what: str) -> str:
        self.runs += 1
        return f"bench-{what}-{self.runs}"

    @contextmanager
    def topics(self, what: str, **settings: str) -> Iterator[Topics]:
        name = self.name(what)
        topics = Topics(*(f"{name}.{kind}" for kind in ("alerts", "annotations", "dlq", "outbox")))
        self.broker.topic(topics.alerts, **settings)
        for topic in astuple(topics)[1:]:
            self.broker.topic(topic)
        try:
            yield topics
        finally:
            self.broker.drop(*astuple(topics))

    @contextmanager
    def worker(self, topics: Topics, cores: set[int]) -> Iterator[Worker]:
        port = free_port()
        name = self.name("worker")
        file, log = self.folder / f"{name}.toml", self.folder / f"{name}.log"
        file.write_text(self.config(topics, port))
        env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [str(Path(sys.executable).with_name("realbogus")), "worker", "--config", str(file)]
        watched = Watched.start(command, cores, env, log)
        try:
            yield Worker(watched, port, log)
        finally:
            watched.stop()

    def config(self, topics: Topics, port: int) -> str:
        tables = {
            "kafka": {"bootstrap": self.broker.bootstrap},
            "input": {"topics": [topics.alerts], "group_id": topics.annotations},
            "output": {"topic": topics.annotations, "dead_letters": topics.dead_letters},
            "models": {"folder": str(self.models)},
            "models.surveys": {"ztf": self.model},
            "voevent": {"authority": "org.example.bench"},
            "publish": {"outbox": topics.outbox},
            "exposures": {"times_usual": 0.0, "score_psi": 0.0},  # the same few come again and again
            "http": {"port": port},
            "log": {"level": "WARNING"},
        }
        return "".join(
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
            for name, table in tables.items()
        )

    @contextmanager
    def counter(self, topics: Topics) -> Iterator[Counter]:
        counter = Counter(self.broker, topics.alerts, group=topics.annotations)
        try:
            yield counter
        finally:
            counter.close()

    @contextmanager
    def floor(self, topics: Topics, what: str, batch: int) -> Iterator[Watched]:
        arguments = [self.broker.bootstrap, topics.alerts, topics.annotations, topics.annotations]
        spans = str(spans_file(self.corpus, self.folder))
        command = [sys.executable, str(HERE / "floor.py"), *arguments, spans, str(batch), what]
        watched = Watched.start(command, self.worker_cores, log=self.folder / f"{what}.log")
        try:
            yield watched
        finally:
            watched.stop()


@dataclass(frozen=True)
class Topics:
    alerts: str
    annotations: str
    dead_letters: str
    outbox: str


@dataclass(frozen=True)
class Worker:
    watched: Watched
    port: int
    log: Path

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def partitions(self) -> int:
        """How many it reads; 0 while it does not answer."""
        with contextlib.suppress(OSError):
            found = re.search(r"^realbogus_assigned_partitions (\d+)", self.metrics(), re.MULTILINE)
            return int(found[1]) if found else 0
        return 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def warm(bench: Bench, topics: Topics, workers: Sequence[Worker]) -> None:
    """Let every worker have its partitions and some alerts behind it."""
    fill(bench.broker, topics.alerts, bench.corpus, WARM)
    reach(bench, topics, WARM, [worker.watched for worker in workers], 120)


def reach(bench: Bench, topics: Topics, count: int, processes: Sequence[Watched], timeout_s: float) -> float:
    """Wait until so many alerts are done; the time at which it was seen."""
    deadline = time.monotonic() + timeout_s
    with bench.counter(topics) as counter:
        while counter.count() < count:
            if time.monotonic() > deadline or not all(process.alive() for process in processes):
                raise RuntimeError(f"only {counter.count()} of {count} are done; see {bench.folder}")
            time.sleep(0.02)
        return time.monotonic()


@contextmanager
def two_settled(bench: Bench, topics: Topics) -> Iterator[tuple[Watched, Watched]]:
    """Two workers of one group on all cores, which they share with the broker; both have partitions and are warm."""
    everywhere = bench.worker_cores | bench.other_cores
    with bench.worker(topics, everywhere) as one, bench.worker(topics, everywhere) as other:
        deadline = time.monotonic() + 120
        while not all(0 < worker.partitions() < PARTITIONS for worker in (one, other)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"two workers do not share the partitions; see {bench.folder}")
            time.sleep(0.1)
        warm(bench, topics, [one, other])
        yield one.watched, other.watched
