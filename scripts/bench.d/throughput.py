"""How much a worker does, through a broker: one, two, and the floor below them."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from broker import PARTITIONS, Drained, drain, fill, fill_at_once
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from live import WARM, Bench, Topics, Worker, two_settled


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


def two_workers(bench: Bench, count: int) -> Drained:
    """Two workers with all the work they want."""
    with bench.topics("pair") as topics, two_settled(bench, topics) as pair:
        bench.say(f"two workers, {count} alerts")
        fill_at_once(bench.broker, topics.alerts, bench.corpus, count, WARM)
        with bench.counter(topics) as counter:
            return drain(counter, pair, count)
