"""The worker as it runs at night, through a broker: throughput, latency, bursts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path

import numpy as np
from broker import PARTITIONS, Broker, Counter, Drained, Watched, drain, fill, fill_at_once, spans_file
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from corpus import Corpus, renumbered

from realbogus.packets import annotation

HERE = Path(__file__).resolve().parent
WARM = 512  # alerts that a worker has done before anything is measured
RATE_PER_S = 256.0  # alerts; the mean of Rubin


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


# -- throughput ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Throughput:
    """Medians over rounds; CPU microseconds an alert, all threads of the process."""

    full: Drained
    floor_us: float
    client_us: float
    annotations: int
    events: int


def throughput(bench: Bench, count: int, rounds: int) -> Throughput:
    """The worker, the floor and the Kafka client alone, one after the other on the same topic and the same core."""
    full: list[Drained] = []
    floors: dict[str, list[float]] = {"inflate": [], "client": []}
    with bench.topics("throughput") as topics:
        bench.say(f"filling a topic with {count} alerts")
        fill(bench.broker, topics.alerts, bench.corpus, count)
        for number in range(rounds):
            bench.say(f"through the broker, round {number + 1} of {rounds}: the worker")
            with bench.topics("full") as out:
                outputs = Topics(topics.alerts, out.annotations, out.dead_letters, out.outbox)
                with bench.worker(outputs, bench.worker_cores) as worker, bench.counter(outputs) as counter:
                    full.append(drain(counter, [worker.watched], count, tick=scraper(worker)))
                annotations, events = held(bench, out.annotations), held(bench, out.outbox)
            for what, found in floors.items():
                bench.say(f"through the broker, round {number + 1} of {rounds}: the floor, {what}")
                with bench.topics(what) as out:
                    outputs = Topics(topics.alerts, out.annotations, out.dead_letters, out.outbox)
                    with bench.floor(outputs, what, 256) as watched, bench.counter(outputs) as counter:
                        found.append(drain(counter, [watched], count).cpu_us)
    middle = sorted(full, key=lambda one: one.cpu_us)[len(full) // 2]
    return Throughput(
        middle, statistics.median(floors["inflate"]), statistics.median(floors["client"]), annotations, events
    )


def held(bench: Bench, topic: str) -> int:
    """How many records of a topic a reader sees."""
    settings = {"group_id": bench.name("reader"), "enable_partition_eof": "true"}
    reader, found, ended = Consumer(bench.broker.client(**settings)), 0, 0
    reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    try:
        while ended < PARTITIONS:
            records = reader.consume(1000, 0.5)
            ended += sum(record.error() is not None for record in records)
            found += sum(record.error() is None for record in records)
        return found
    finally:
        reader.close()


def scraper(worker: Worker, every_s: float = 1.0) -> Callable[[int], None]:
    """Read the worker's metrics once a second, as Prometheus would, so that this costs what it costs."""
    last = [time.monotonic()]

    def tick(_: int) -> None:
        if time.monotonic() - last[0] >= every_s:
            with contextlib.suppress(OSError):
                worker.metrics()
            last[0] = time.monotonic()

    return tick


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


def two_workers(bench: Bench, count: int) -> Drained:
    """Two workers with all the work they want."""
    with bench.topics("pair") as topics, two_settled(bench, topics) as pair:
        bench.say(f"two workers, {count} alerts")
        fill_at_once(bench.broker, topics.alerts, bench.corpus, count, WARM)
        with bench.counter(topics) as counter:
            return drain(counter, pair, count)


# -- latency -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Latency:
    """Seconds from the broker's timestamp of the alert to that of its annotation."""

    alerts: int
    median_s: float
    p95_s: float
    p99_s: float


def latency(bench: Bench, seconds: float) -> Latency:
    """One worker under a steady rate, as in a night of Rubin."""
    count = int(RATE_PER_S * seconds)
    with bench.topics("latency") as topics, bench.worker(topics, bench.worker_cores) as worker:
        warm(bench, topics, [worker])
        bench.say(f"latency at {RATE_PER_S:.0f} alerts/s for {seconds:.0f} s")
        sent = paced(bench, topics.alerts, count)
        done = annotated(bench, topics.annotations, WARM + count, seconds + 30)
    waits = np.array([done[candid] - at for candid, at in sent.items() if candid in done]) / 1000
    if len(waits) < len(sent):
        raise RuntimeError(f"{len(sent) - len(waits)} of {len(sent)} alerts have no annotation")
    median, p95, p99 = np.percentile(waits, [50, 95, 99])
    return Latency(len(waits), float(median), float(p95), float(p99))


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


def paced(bench: Bench, topic: str, count: int) -> dict[int, int]:
    """Send alerts at a steady rate; their candids with the broker's timestamps, ms."""
    sent: dict[int, int] = {}
    producer = Producer(bench.broker.client(linger_ms="0"))
    rows = renumbered_with_candids(bench.corpus, WARM, count)
    begun = time.monotonic()
    for number, (candid, message) in enumerate(rows):
        while (ahead := begun + number / RATE_PER_S - time.monotonic()) > 0:
            producer.poll(ahead)

        def delivered(error: object, record: object, candid: int = candid) -> None:
            if error is None:
                sent[candid] = record.timestamp()[1]  # type: ignore[attr-defined]

        producer.produce(topic, message, key=str(candid), on_delivery=delivered)
    producer.flush()
    return sent


def renumbered_with_candids(corpus: Corpus, skip: int, count: int) -> Iterator[tuple[int, bytes]]:
    for number, message in enumerate(renumbered(corpus, count, skip), skip):
        cycle, row = divmod(number, len(corpus))
        yield int(corpus.alerts.candid[row]) + cycle * 10**10, message


def annotated(bench: Bench, topic: str, count: int, timeout_s: float) -> dict[int, int]:
    """Candid and broker timestamp, ms, of so many annotations."""
    reader = Consumer(bench.broker.client(group_id=bench.name("reader"), auto_offset_reset="earliest"))
    reader.subscribe([topic])
    found: dict[int, int] = {}
    deadline = time.monotonic() + timeout_s
    try:
        while len(found) < count and time.monotonic() < deadline:
            for record in reader.consume(1000, 0.5):
                if record.error() is None:
                    found[int(annotation.decode(record.value())["candid"])] = record.timestamp()[1]
    finally:
        reader.close()
    return found


def burst(bench: Bench, count: int, bursts: int = 3) -> float:
    """Seconds that two idle workers take for a burst of alerts that all appear at one moment, the median of some."""
    times = []
    with bench.topics("burst") as topics, two_settled(bench, topics) as pair:
        for number in range(1, bursts + 1):
            bench.say(f"burst {number} of {bursts}, {count} alerts")
            sent = WARM + (number - 1) * count
            begun = fill_at_once(bench.broker, topics.alerts, bench.corpus, count, sent)
            times.append(reach(bench, topics, sent + count, pair, 120) - begun)
    return statistics.median(times)
