"""The floor, as a process of its own: a Kafka client and libdeflate, nothing else.

    python floor.py BOOTSTRAP IN OUT GROUP SPANS.json BATCH inflate|client

It reads a topic in batches as the worker does, inflates the three stamps of each record (or not), writes a record of
the size of an annotation for each, waits for the delivery and commits. The places of the stamps are told beforehand by
the record's key, so nothing is decoded. Nothing that scores what lies in the stamps can be faster than this.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import deflate
from confluent_kafka import Consumer, Producer

ANNOTATION = bytes(range(256)) * 3  # 768 bytes; about what an annotation has
WAIT_S = 0.1


def main(bootstrap: str, topic: str, out: str, group: str, spans_file: str, batch: str, what: str) -> None:
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    spans = {key.encode(): places for key, places in json.loads(Path(spans_file).read_text()).items()}
    settings = {"bootstrap.servers": bootstrap}
    consumer = Consumer(
        settings
        | {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        | {"queued.max.messages.kbytes": 65536, "check.crcs": False}
    )
    producer = Producer(settings | {"linger.ms": 5, "acks": "all", "compression.type": "zstd"})
    consumer.subscribe([topic])
    while not stop:
        messages = [message for message in consumer.consume(int(batch), WAIT_S) if message.error() is None]
        for message in messages:
            value = message.value()
            if what == "inflate":
                for offset, length in spans[message.key()]:
                    deflate.gzip_decompress(value[offset : offset + length], 24 * 1024)
            producer.produce(out, ANNOTATION, key=message.key())
        if messages:
            producer.flush()
            consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
