"""From the commit of a worker's transaction to receivers of the publisher, at a steady rate, all on one machine."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from comet_cases import free_port
from confluent_kafka import Consumer, Producer, TopicPartition
from costs import STYLE, build, scored
from kafka_cases import new_topic
from publisher_cases import Publishing

from realbogus.subscribing import vtp_client

NAME = re.compile(rb"test_ZTF26[0-9]+_[0-9]+_forest_1\.2\.0_r0")
READY_S = 60.0  # s until all receivers have the first event, sent again and again


@dataclass
class Receiver:
    """Notes when an event is first seen."""

    name: str
    seen: dict[bytes, float] = field(default_factory=dict)

    def take(self, data: bytes) -> None:
        now = time.time()
        for found in NAME.findall(data):
            self.seen.setdefault(found, now)


def latencies(bootstrap: str, folder: Path, *, events: int, rate: float) -> dict[str, list[float]]:
    """Receiver -> s of each event, sorted."""
    outbox, topic = new_topic(bootstrap, 1), new_topic(bootstrap, 1)
    vtp_port, http_port = free_port(), free_port()
    settings = {"topic": topic, "vtp_port": vtp_port, "http_port": http_port}
    publishing = Publishing(folder, bootstrap, outbox, settings)
    vtp, kafka, http = Receiver("VTP subscriber"), Receiver("Kafka topic"), Receiver("HTTP, server-sent events")
    receivers = [vtp, kafka, http]
    with _running(publishing):
        _follow(lambda: _from_vtp(vtp, vtp_port))
        _follow(lambda: _from_kafka(kafka, bootstrap, topic))
        _follow(lambda: _from_http(http, http_port))
        producer = Producer(
            {"bootstrap.servers": bootstrap, "transactional.id": outbox, "enable.idempotence": True, "linger.ms": 0}
        )
        producer.init_transactions(30)
        _wait_until_ready(producer, outbox, receivers)
        committed: dict[bytes, float] = {}
        begun = time.time()
        for number in range(events):
            time.sleep(max(0.0, begun + number / rate - time.time()))
            name = _commit(producer, outbox, 1_000 + number)
            committed[name] = time.time()
        deadline = time.time() + 30
        while any(committed.keys() - one.seen.keys() for one in receivers) and time.time() < deadline:
            time.sleep(0.05)
    for one in receivers:
        assert not committed.keys() - one.seen.keys(), (
            f"{one.name} has not all events: {publishing.log.read_text()[-1000:]}"
        )
    return {one.name: sorted(one.seen[name] - at for name, at in committed.items()) for one in receivers}


@contextmanager
def _running(publishing: Publishing) -> Iterator[None]:
    process = publishing.start()
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _wait_until_ready(producer: Producer, outbox: str, receivers: list[Receiver]) -> None:
    """Events of objects of their own, until every receiver has seen one."""
    deadline = time.time() + READY_S
    number = 0
    while not all(one.seen for one in receivers):
        assert time.time() < deadline, f"not ready: {[one.name for one in receivers if not one.seen]}"
        _commit(producer, outbox, number)
        number += 1
        time.sleep(0.5)


def _commit(producer: Producer, outbox: str, number: int) -> bytes:
    """One event in a transaction, as the worker does it."""
    draft = build(scored(candid=number, object_id=f"ZTF26{number:07d}"), 0, STYLE)
    producer.begin_transaction()
    producer.produce(outbox, draft.xml, key=draft.object_id.encode())
    producer.commit_transaction(30)
    return draft.ivorn.partition("#")[2].encode()


def _from_vtp(receiver: Receiver, port: int) -> None:
    vtp_client.FIRST_WAIT_S = vtp_client.LONGEST_WAIT_S = 0.1
    for event in vtp_client.follow("127.0.0.1", port):
        receiver.take(event or b"")


def _from_kafka(receiver: Receiver, bootstrap: str, topic: str) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "nobody", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    while True:
        record = consumer.poll(1.0)
        if record is not None and record.error() is None:
            receiver.take(record.value())


def _from_http(receiver: Receiver, port: int) -> None:
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/stream", timeout=600) as answer:
                while line := answer.readline():
                    receiver.take(line)
        except OSError:
            time.sleep(0.1)


def _follow(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()
