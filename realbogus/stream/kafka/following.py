"""Values of a topic as they come, for those who only read."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException

from realbogus.errors import StreamError
from realbogus.stream.kafka.settings import client_log

TICK_S = 0.5  # s; how often a silent topic lets the caller think

_HOPELESS = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._AUTHENTICATION)


def follow(
    bootstrap: str, topic: str, *, group: str = "", beginning: bool = False, properties: Mapping[str, str] | None = None
) -> Generator[bytes | None, None, None]:
    """Values of a topic, for ever; None now and then while nothing comes, once something could.

    Raises StreamError where the topic is not there or may not be read.

    With a group, what was asked for once does not come again, also not after a new start; without one reading begins
    at the end of the topic, or at its beginning.
    """
    ours = {
        "bootstrap.servers": bootstrap,
        "group.id": group or f"realbogus-subscriber-{uuid.uuid4()}",
        "auto.offset.reset": "earliest" if beginning else "latest",
        "enable.auto.commit": bool(group),
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
    }
    consumer = Consumer({**(properties or {}), **ours}, logger=client_log)
    try:
        assigned: list[object] = []
        consumer.subscribe([topic], on_assign=lambda _, partitions: assigned.extend(partitions))
        while True:
            record = consumer.poll(TICK_S)
            if record is None:
                if assigned:
                    yield None
                continue
            error = record.error()
            if error is None:
                yield record.value() or b""
                if group:
                    consumer.store_offsets(record)
            elif error.fatal() or error.code() in _HOPELESS:
                raise StreamError(f"cannot read {topic}: {error.str()}")
    except KafkaException as problem:
        raise StreamError(f"cannot read {topic}: {problem.args[0].str()}") from problem
    finally:
        consumer.close()
