"""Setting up: where a group begins, topics, their limits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]

from realbogus.config.sections import KafkaSettings
from realbogus.errors import StreamError
from realbogus.stream.kafka.positions import NO_COORDINATOR, from_end, patiently
from realbogus.stream.kafka.settings import CALL_S, MOVED, consumer_settings, quiet, reason
from realbogus.stream.protocols import Partition, Positions

log = logging.getLogger(__name__)

ROOM_BYTES = 1_048_588  # Kafka's default of max.message.bytes, for brokers that do not say theirs


def move_group(kafka: KafkaSettings, group_id: str, topics: Sequence[str], to_s: float) -> Positions:
    """Set a group's offsets to the first messages at or after a time (Unix, s). Nobody may be reading in the group.

    Partitions whose messages are all older are set to their end. Raises StreamError where the group is in use.
    """
    consumer = Consumer(consumer_settings(kafka, {"group.id": group_id}, quiet()))
    try:
        wanted = [TopicPartition(t, p, int(to_s * 1000)) for t, p in partitions_of(consumer, topics)]
        if not wanted:
            raise StreamError(f"there is no topic {' nor '.join(topics)}: nowhere to begin", exit_code=1)
        found = [from_end(consumer, one) for one in consumer.offsets_for_times(wanted, timeout=CALL_S)]
        patiently(lambda: consumer.commit(offsets=found, asynchronous=False), NO_COORDINATOR)
    except KafkaException as error:
        if error.args[0].code() in MOVED:
            raise StreamError(f"group {group_id} is in use: stop its other workers to begin elsewhere", 1) from None
        raise StreamError(f"cannot set where group {group_id} begins: {reason(error)}") from error
    finally:
        consumer.close()
    return {(one.topic, one.partition): one.offset for one in found}


def partitions_of(consumer: Consumer, topics: Iterable[str]) -> list[Partition]:
    """All partitions of those topics that exist."""
    known = consumer.list_topics(timeout=CALL_S).topics
    return [(topic, number) for topic in topics if topic in known for number in sorted(known[topic].partitions)]


def missing_topics(admin: AdminClient, topics: Iterable[str], wait_s: float = CALL_S) -> list[str]:
    """Those that do not exist; StreamError where no broker answers for so long.

    All topics are listed: asking for one by name makes it on brokers that create topics as they are mentioned.
    """
    try:
        known = admin.list_topics(timeout=wait_s).topics
    except KafkaException as error:
        raise StreamError(f"no broker answers at the bootstrap address: {reason(error)}") from error
    return [topic for topic in topics if topic not in known]


def make_topics(admin: AdminClient, topics: Sequence[str], partitions: int, replication: int) -> None:
    """Make topics; no error where somebody else just did."""
    wanted = [NewTopic(topic, num_partitions=partitions, replication_factor=replication) for topic in topics]
    for topic, made in (admin.create_topics(wanted, operation_timeout=CALL_S) if wanted else {}).items():
        try:
            made.result(CALL_S)
            log.info("made the topic %s", topic)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise StreamError(f"cannot make the topic {topic}: {reason(error)}") from error


def rooms_of(admin: AdminClient, topics: Sequence[str]) -> dict[str, int]:
    """max.message.bytes of topics; Kafka's default where the broker does not say."""
    asked = {ConfigResource(ConfigResource.Type.TOPIC, topic): topic for topic in topics}
    found = dict.fromkeys(topics, ROOM_BYTES)
    for resource, told in admin.describe_configs(list(asked), request_timeout=CALL_S).items():
        try:
            found[asked[resource]] = int(told.result(CALL_S)["max.message.bytes"].value)
        except (KafkaException, KeyError, TimeoutError, TypeError, ValueError):
            log.debug("the broker does not say how large a message of %s may be", asked[resource])
    return found
