"""Offsets are looked up with patience for a coordinator that is only just coming up, and with none for refusals."""

from __future__ import annotations

from collections.abc import Iterator

import mock_kafka
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from mock_kafka import MockCluster

from realbogus.stream.kafka.positions import NO_COORDINATOR, committed, patiently

PLACE = ("alerts", 0)


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock_kafka.running() as cluster:
        yield cluster


@pytest.fixture
def consumer(cluster: MockCluster) -> Iterator[Consumer]:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "g", "retry.backoff.ms": 20})
    cluster.topic(PLACE[0])
    yield consumer
    consumer.close()


@pytest.mark.parametrize("code", sorted(NO_COORDINATOR))
def test_a_coordinator_that_comes_up_is_waited_for(cluster: MockCluster, consumer: Consumer, code: int) -> None:
    cluster.answer(mock_kafka.OFFSET_FETCH, *[code] * 12)  # more than the client takes by itself
    assert committed(consumer, [PLACE]) == {}


def test_a_refusal_is_told_at_once(cluster: MockCluster, consumer: Consumer) -> None:
    cluster.answer(mock_kafka.OFFSET_FETCH, KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException, match=r"(?i)authori"):
        committed(consumer, [PLACE])


def test_patience_ends() -> None:
    asked = []

    def ask() -> None:
        asked.append(1)
        raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))

    with pytest.raises(KafkaException):
        patiently(ask, NO_COORDINATOR, within_s=0.3)
    assert 2 <= len(asked) <= 5
