"""`realbogus publish` between a real outbox topic and a real events topic."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafka_cases import new_topic, produce, read_all
from publisher_cases import Publishing
from voevent_cases import STYLE, scored

from realbogus.publish.kafka_topic import KafkaTopic, headers
from realbogus.publish.sinks import Answer
from realbogus.voevent import build

OBJECTS = [f"ZTF20abcde{letter}g" for letter in "abcdefghijklmnopqrst"]  # one each: all their packets are first ones
EVENTS = [build(scored(20, object_id=OBJECTS), row, STYLE) for row in range(20)]
XML = [event.xml for event in EVENTS]


BROKERS = [pytest.param("kafka", marks=pytest.mark.kafka), pytest.param("embedded", marks=pytest.mark.embedded)]


@pytest.fixture
def story(request: pytest.FixtureRequest, tmp_path: Path) -> Publishing:
    bootstrap = request.getfixturevalue(request.param)
    settings = {"topic": new_topic(bootstrap), "batch": 7, "wait_s": 0.1}
    quick = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    return Publishing(tmp_path, bootstrap, new_topic(bootstrap), settings, quick)


on_every_broker = pytest.mark.parametrize("story", BROKERS, indirect=True)
on_kafka = pytest.mark.parametrize("story", BROKERS[:1], indirect=True)


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@on_every_broker
def test_the_command_moves_the_outbox_into_archive_and_topic(story):
    produce(story.bootstrap, story.outbox, [*XML, XML[3], b"no event"])
    process = story.start("--once")
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    counts = json.loads(out)
    assert (counts["taken"], counts["new"], counts["known"], counts["invalid"]) == (22, 20, 1, 1)
    assert counts["sent"] == {"archive": 20, "kafka": 20}
    found = read_all(story.bootstrap, story.settings["topic"])
    by_value = dict(zip(XML, EVENTS, strict=True))
    assert sorted(record.value() for record in found) == sorted(XML)
    assert all(record.headers() == headers(by_value[record.value()]) for record in found)
    assert {record.key() for record in found} == {name.encode() for name in OBJECTS}
    assert sorted(story.archived()) == sorted(XML)


@on_kafka
def test_killed_and_started_again_every_event_arrives_with_its_bytes(story):
    produce(story.bootstrap, story.outbox, XML)
    first = story.start()
    until(story.archived)
    first.kill()
    first.communicate(timeout=30)
    second = story.start("--once")
    second.communicate(timeout=90)
    assert second.returncode == 0
    assert {record.value() for record in read_all(story.bootstrap, story.settings["topic"])} == set(XML)
    assert sorted(story.archived()) == sorted(XML)


@on_kafka
def test_sigterm_lets_it_leave_in_good_order(story):
    produce(story.bootstrap, story.outbox, XML)
    process = story.start()
    until(lambda: len(story.archived()) == 20)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    first = json.loads(out)["sent"]
    assert first["archive"] == 20
    out, _ = story.start("--once").communicate(timeout=90)  # what the other sink had not yet got
    assert json.loads(out)["sent"].get("kafka", 0) == 20 - first.get("kafka", 0)
    assert sorted(record.value() for record in read_all(story.bootstrap, story.settings["topic"])) == sorted(XML)


@on_kafka
def test_records_of_an_aborted_transaction_are_not_published(story):
    producer = Producer({"bootstrap.servers": story.bootstrap, "transactional.id": story.outbox})
    producer.init_transactions(30)
    for values, end in ((XML[:10], producer.abort_transaction), (XML[10:], producer.commit_transaction)):
        producer.begin_transaction()
        for value in values:
            producer.produce(story.outbox, value)
        producer.flush(20)
        end(30)
    process = story.start("--once")
    out, _ = process.communicate(timeout=90)
    assert json.loads(out)["taken"] == 10
    assert sorted(story.archived()) == sorted(XML[10:])


@pytest.mark.embedded
def test_an_event_larger_than_the_client_takes_is_refused(embedded):
    topic = KafkaTopic(new_topic(embedded), {"bootstrap.servers": embedded, "message.max.bytes": "1000"})
    assert topic.send(EVENTS[:1])[0].answer is Answer.REFUSED
    topic.close()


def test_without_a_broker_sending_fails_and_is_worth_a_retry():
    topic = KafkaTopic("events", {"bootstrap.servers": "127.0.0.1:9", "log_level": "0"}, delivery_s=1.0)
    (delivery,) = topic.send(EVENTS[:1])
    assert delivery.answer is Answer.FAILED
    assert delivery.detail
    topic.close()
