"""Topics of a test's own, written and read by a plain client that shares no code with realbogus."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

_serial = itertools.count()


def new_topic(bootstrap: str, partitions: int = 3) -> str:
    name = f"test-{os.getpid()}-{next(_serial)}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        made.result(20)
    return name


def produce(bootstrap: str, topic: str, values: Sequence[bytes], **options: Any) -> None:
    """Write messages, keyed by their number; timestamps are those given or now."""
    stamps = options.pop("timestamps_ms", None)
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 10_000_000, **options})
    for number, value in enumerate(values):
        told = {} if stamps is None else {"timestamp": stamps[number]}
        while True:
            try:
                producer.produce(topic, value, key=b"%d" % number, **told)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(30) == 0


def read_all(bootstrap: str, topic: str, **options: Any) -> list[Any]:
    """Every message of a topic from its beginning to its end, by assignment, outside any group."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "nobody",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            **options,
        }
    )
    try:
        about = consumer.list_topics(timeout=20).topics.get(topic)
        if about is None:
            return []
        consumer.assign([TopicPartition(topic, number, 0) for number in about.partitions])
        found, open_ones, deadline = [], set(about.partitions), time.monotonic() + 60
        while open_ones and time.monotonic() < deadline:
            for message in consumer.consume(500, 1.0):
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    open_ones.discard(message.partition())
        assert not open_ones, "the end of the topic was not reached"
        return found
    finally:
        consumer.close()


def committed(bootstrap: str, group: str, topic: str, partitions: int) -> list[int]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    deadline = time.monotonic() + 20
    try:
        asked = [TopicPartition(topic, number) for number in range(partitions)]
        while True:
            try:
                return [one.offset for one in consumer.committed(asked, timeout=20)]
            except KafkaException as error:  # the broker is still making the topic that it keeps offsets in
                if error.args[0].code() != KafkaError.NOT_COORDINATOR or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)
    finally:
        consumer.close()
