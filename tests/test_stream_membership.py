"""Membership in a group that is lost and had again behind the worker's back, by the client itself."""

from __future__ import annotations

import time
from collections.abc import Iterator

import mock_kafka
import pytest
from confluent_kafka import Producer
from mock_kafka import MockCluster

from realbogus.config.sections import KafkaSettings
from realbogus.stream.kafka import KafkaSource
from realbogus.stream.protocols import Message

TOPIC, N = "alerts", 40
QUICK = {"heartbeat.interval.ms": "200", "session.timeout.ms": "4000"}


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock_kafka.running() as cluster:
        cluster.topic(TOPIC)
        producer = Producer({"bootstrap.servers": cluster.bootstrap})
        for number in range(N):
            producer.produce(TOPIC, b"%d" % number, partition=number % 2)
        producer.flush()
        yield cluster


@pytest.fixture
def source(cluster: MockCluster) -> Iterator[KafkaSource]:
    kafka = KafkaSettings(bootstrap=cluster.bootstrap, consumer=QUICK)
    source = KafkaSource(kafka, group_id="g", topics=lambda: [TOPIC], instance="one")
    yield source
    source.close()


def take(source: KafkaSource, count: int = N) -> list[Message]:
    found: list[Message] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        found += source.take(count - len(found), 0.2)
    return found


def test_a_batch_of_before_is_not_committed_by_who_was_put_out_and_let_in_again_unasked(
    cluster: MockCluster, source: KafkaSource
) -> None:
    """A group that changes while it puts us out: librdkafka joins under a new id, and tells that all was kept.

    It tells of a loss only where no change of the group is under way (rd_kafka_cgrp_handle_JoinGroup resets the id and
    joins again; rd_kafka_cgrp_revoke_all_rejoin_maybe does nothing then).
    """
    before = take(source, 10)
    known = source._consumer.memberid()
    assert source.member() is not None
    cluster.answer(mock_kafka.JOIN_GROUP, mock_kafka.UNKNOWN_MEMBER)
    cluster.answer(mock_kafka.HEARTBEAT, mock_kafka.REBALANCING)
    deadline = time.monotonic() + 20
    while source._consumer.memberid() in (None, "", known) and time.monotonic() < deadline:
        assert source._consumer.memberid() == known or source.member() is None
        time.sleep(0.02)
    assert source._consumer.memberid() not in (None, "", known)  # in again, and the source has not been told
    assert source.member() is None
    again = take(source)  # with the first call the client tells, and all of it comes again: none of it is committed
    assert source.member() is not None
    assert sorted(int(one.value) for one in again) == list(range(N))
    assert before
