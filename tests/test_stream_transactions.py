"""What an error within a transaction leads to: each rung of the ladder, with the mock cluster inside librdkafka."""

from __future__ import annotations

from collections.abc import Iterator

import mock_kafka
import pytest
from confluent_kafka import Consumer, KafkaError
from mock_kafka import MockCluster

from realbogus.config.sections import KafkaSettings
from realbogus.errors import StreamError
from realbogus.stream.delivery import ExactlyOnce
from realbogus.stream.kafka import KafkaTransactions
from realbogus.stream.kafka.settings import Step, consumer_settings, step_after
from realbogus.stream.kafka.transactions import MOST_FAILURES
from realbogus.stream.protocols import Record
from realbogus.telemetry import Metrics

OUT = "out"


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (KafkaError(KafkaError._TRANSPORT, "", False, True, False), Step.REPEAT),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "", False, False, True), Step.UNDO),
        (KafkaError(KafkaError.ILLEGAL_GENERATION, "", False, False, False), Step.UNDO),
        (KafkaError(KafkaError._MSG_TIMED_OUT, "", False, True, True), Step.UNDO),
        (KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "", True, False, False), Step.LEAVE),
        (KafkaError(KafkaError.PRODUCER_FENCED, "", False, False, True), Step.LEAVE),
        (KafkaError(KafkaError._FENCED, "", False, False, False), Step.LEAVE),
        (KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "", False, True, False), Step.LEAVE),
        (KafkaError(KafkaError.FENCED_INSTANCE_ID, "", False, False, True), Step.LEAVE),
        (KafkaError(KafkaError.UNRELEASED_INSTANCE_ID, "", False, False, False), Step.LEAVE),
    ],
)
def test_the_flags_of_an_error_say_what_to_do_and_who_is_fenced_leaves_whatever_they_say(error, step):
    assert step_after(error) is step


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock_kafka.running() as made:
        made.topic(OUT)
        made.topic("in")
        yield made


class Member:
    """Who we are, as far as a transaction asks."""

    def __init__(self, bootstrap: str) -> None:
        self.known = True
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "g", "log_level": 0})

    def member(self) -> object:
        return self._consumer.consumer_group_metadata() if self.known else None

    def close(self) -> None:
        self._consumer.close()


class Stage:
    """A sink, and batches of one record."""

    def __init__(self, cluster: MockCluster) -> None:
        self.metrics = Metrics()
        settings = KafkaSettings(bootstrap=cluster.bootstrap)
        self.sink = KafkaTransactions(settings, transactional_id="t", timeout_s=5, create=False, metrics=self.metrics)
        self.sink._rooms[OUT] = 1 << 20  # the mock cluster does not answer to what a topic takes
        self.member = Member(cluster.bootstrap)
        self.delivery = ExactlyOnce(self.member, self.sink)

    def batch(self) -> bool | None:
        self.delivery.begin([Record(OUT, b"k", b"v")], {("in", 0): 5})
        return self.delivery.finish(20)

    def count(self, result: str) -> float | None:
        return self.metrics.registry.get_sample_value("realbogus_transactions_total", {"result": result})

    def close(self) -> None:
        self.member.close()
        self.sink.close()


@pytest.fixture
def stage(cluster: MockCluster) -> Iterator[Stage]:
    made = Stage(cluster)
    assert made.batch() is True
    yield made
    made.close()


def test_what_the_coordinator_cannot_answer_now_is_asked_again(cluster, stage):
    cluster.answer(mock_kafka.END_TXN, *[mock_kafka.COORDINATOR_NOT_AVAILABLE] * 2)
    assert stage.batch() is True
    assert (stage.count("committed"), stage.count("aborted")) == (2, None)


def test_positions_that_the_group_refuses_take_the_batch_back_and_the_next_one_goes_on(cluster, stage):
    cluster.answer(mock_kafka.TXN_OFFSET_COMMIT, mock_kafka.ILLEGAL_GENERATION)
    assert stage.batch() is False
    assert stage.batch() is True
    assert (stage.count("committed"), stage.count("aborted")) == (2, 1)


def test_a_record_that_is_refused_takes_the_batch_back_and_is_named(cluster, stage, caplog):
    cluster.answer(mock_kafka.PRODUCE, mock_kafka.TOO_LARGE)
    assert stage.batch() is False
    assert "Message size too large" in caplog.text


def test_whom_the_group_does_not_know_commits_nothing(stage):
    stage.member.known = False
    assert stage.batch() is False


def test_a_batch_refused_ten_times_in_a_row_ends_the_worker(cluster, stage):
    cluster.answer(mock_kafka.PRODUCE, *[mock_kafka.TOO_LARGE] * MOST_FAILURES)
    assert [stage.batch() for _ in range(MOST_FAILURES - 1)] == [False] * (MOST_FAILURES - 1)
    with pytest.raises(StreamError, match="10 batches in a row could not be written") as caught:
        stage.batch()
    assert caught.value.exit_code == 3


def test_a_success_between_failures_starts_the_count_anew(cluster, stage):
    for _ in range(MOST_FAILURES):
        cluster.answer(mock_kafka.TXN_OFFSET_COMMIT, mock_kafka.ILLEGAL_GENERATION)
        assert stage.batch() is False
        assert stage.batch() is True


def test_who_is_fenced_ends_with_3(cluster, stage):
    cluster.answer(mock_kafka.END_TXN, mock_kafka.FENCED)
    with pytest.raises(StreamError, match="another worker has taken our place") as caught:
        stage.batch()
    assert caught.value.exit_code == 3


def test_a_broker_that_lets_us_write_no_transactions_is_told_with_the_way_out(cluster):
    cluster.answer(mock_kafka.INIT_PRODUCER_ID, mock_kafka.ID_DENIED)
    with pytest.raises(StreamError) as caught:
        Stage(cluster)
    assert caught.value.exit_code == 3


# Settings


def test_a_group_of_the_newer_protocol_leaves_timeouts_and_assignor_to_the_broker():
    newer = consumer_settings(KafkaSettings(bootstrap="h:1", consumer={"group.protocol": "consumer"}))
    assert not {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"} & newer.keys()
    assert newer["enable.auto.commit"] is False
    assert "session.timeout.ms" in consumer_settings(KafkaSettings(bootstrap="h:1"))
