"""How long an alert waits, through a broker: at a steady rate, and in a burst."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from broker import fill_at_once
from confluent_kafka import Consumer, Producer
from corpus import Corpus, renumbered
from live import WARM, Bench, reach, two_settled, warm

from realbogus.packets import annotation

RATE_PER_S = 256.0  # alerts; the mean of Rubin


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
