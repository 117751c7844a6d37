"""The Kafka topic of finished events, as hop-client, gcn-kafka and plain consumers read it.

Value: the bytes of the ledger. Key: the object, so that its events stay in order. Headers say what it is without
parsing. `_test` is there for tests and absent otherwise: hop takes any value of it, even "false", for a test.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from realbogus.publish.sinks import SENT, Answer, Delivery
from realbogus.voevent.reading import tell
from realbogus.voevent.twin import twin
from realbogus.voevent.validate import Event

log = logging.getLogger(__name__)

_HOPELESS = {  # another try of the same bytes ends the same way
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_RECORD,
    KafkaError._INVALID_ARG,
}


class KafkaTopic:
    """A sink that writes events to one topic and waits until all in-sync replicas have them."""

    name = "kafka"
    form, content_type = "voevent", "application/xml"  # headers _format and content-type

    def __init__(self, topic: str, properties: Mapping[str, str], *, delivery_s: float = 30.0) -> None:
        self.topic = topic
        self._delivery_s = delivery_s
        self._producer = Producer(
            {
                "compression.type": "zstd",
                "linger.ms": "5",
                "partitioner": "murmur2_random",  # as Java clients do
                **properties,
                "enable.idempotence": "true",
                "acks": "all",
                "message.timeout.ms": str(round(delivery_s * 1000)),
            },
            logger=log,
        )

    def send(self, events: Sequence[Event]) -> list[Delivery]:
        """Produce all, then wait for the broker's word on each; see `sinks.EventSink`."""
        unsure = Delivery(Answer.FAILED, "the broker gave no answer in time")
        answers = [unsure] * len(events)
        for number, event in enumerate(events):
            try:
                self._produce(event, partial(_answered, answers, number))
            except KafkaException as error:
                _answered(answers, number, error.args[0], None)
            except BufferError as error:
                answers[number] = Delivery(Answer.FAILED, str(error))
        self._producer.flush(self._delivery_s + 5.0)  # every message is answered for by then: message.timeout.ms
        return answers

    def close(self) -> None:
        """Nothing is queued: send waits."""

    def value(self, event: Event) -> bytes:
        """What is written of an event."""
        return event.xml

    def _produce(self, event: Event, on_delivery: partial[None]) -> None:
        for last in (False, True):
            try:
                self._producer.produce(
                    self.topic,
                    key=event.object_id.encode("utf-8"),
                    value=self.value(event),
                    headers=headers(event, self.form, self.content_type),
                    on_delivery=on_delivery,
                )
                return
            except BufferError:
                if last:
                    raise
                self._producer.flush(self._delivery_s)


class JsonTopic(KafkaTopic):
    """The same with JSON twins, as GCN describes alerts, for those who do not read XML."""

    name = "kafka-json"
    form, content_type = "json", "application/json"

    def value(self, event: Event) -> bytes:
        """The twin of an event; the same event gives the same bytes."""
        return json.dumps(twin(tell(event))).encode()


def headers(
    event: Event, form: str = KafkaTopic.form, content_type: str = KafkaTopic.content_type
) -> list[tuple[str, str | bytes | None]]:
    """What a record says of its event; _id is derived from the IVORN, so that a repeat repeats it."""
    told: list[tuple[str, str | bytes | None]] = [
        ("_format", form.encode("ascii")),
        ("_id", uuid.uuid5(uuid.NAMESPACE_URL, event.ivorn).bytes),
        ("ivorn", event.ivorn.encode("ascii")),
        ("content-type", content_type.encode("ascii")),
        ("model_version", event.model_version.encode("utf-8")),
    ]
    return [*told, ("_test", b"true")] if event.role == "test" else told


def _answered(answers: list[Delivery], number: int, error: KafkaError | None, _: Message | None) -> None:
    """Note the broker's word; runs inside flush."""
    if error is None:
        answers[number] = SENT
    else:
        answers[number] = Delivery(Answer.REFUSED if error.code() in _HOPELESS else Answer.FAILED, error.str())
