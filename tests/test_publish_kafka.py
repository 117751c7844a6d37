"""`realbogus publish` between a real outbox topic and a real events topic, on the embedded broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from voevent_cases import STYLE, scored

from realbogus.publish.kafka_topic import KafkaTopic, headers
from realbogus.publish.sinks import SENT, Answer
from realbogus.stream.embedded import EmbeddedBroker
from realbogus.voevent import build

pytestmark = pytest.mark.embedded

RUN = "import sys; from realbogus.cli import main; sys.exit(main())"
EVENTS = [build(scored(20), row, STYLE) for row in range(20)]


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker() as broker:
        yield broker.bootstrap


def configured(folder: Path, bootstrap: str, name: str) -> Path:
    """A configuration of a publisher with topics of its own."""
    file = folder / "worker.toml"
    file.write_text(
        f"""
        [kafka]
        bootstrap = "{bootstrap}"
        consumer = {{ "session.timeout.ms" = 6000, "heartbeat.interval.ms" = 500 }}
        [output]
        partitions = 1
        [publish]
        outbox = "outbox-{name}"
        group_id = "publisher-{name}"
        topic = "events-{name}"
        archive = "{folder / "events"}"
        ledger = "{folder / "ledger.sqlite"}"
        batch = 7
        wait_s = 0.1
        """
    )
    return file


def publish(config: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", RUN, "publish", "--config", str(config), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "NO_COLOR": "1"})


def filled(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0


def records(bootstrap: str, topic: str) -> list:
    """Everything in a topic, partition by partition."""
    ends = {"enable.partition.eof": True, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", **ends})
    left = set(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in left])
    found = []
    deadline = time.monotonic() + 30
    while left and time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            found.append(message)
        elif message is not None and message.error().code() == KafkaError._PARTITION_EOF:
            left.discard(message.partition())
    consumer.close()
    return found


def test_the_command_moves_the_outbox_into_archive_and_topic(tmp_path, broker):
    config = configured(tmp_path, broker, "whole")
    filled(broker, "outbox-whole", [*(event.xml for event in EVENTS), EVENTS[3].xml, b"no event"])
    process = publish(config, "--once")
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    counts = json.loads(out)
    assert (counts["taken"], counts["new"], counts["known"], counts["invalid"]) == (22, 20, 1, 1)
    assert counts["sent"] == {"archive": 20, "kafka": 20}
    found = records(broker, "events-whole")
    by_value = {event.xml: event for event in EVENTS}
    assert sorted(record.value() for record in found) == sorted(by_value)
    assert all(record.headers() == headers(by_value[record.value()]) for record in found)
    assert {record.key() for record in found} == {b"ZTF20abcdefg"}
    assert len(list((tmp_path / "events").rglob("*.xml"))) == 20


def test_killed_and_started_again_every_event_arrives_with_its_bytes(tmp_path, broker):
    config = configured(tmp_path, broker, "killed")
    filled(broker, "outbox-killed", [event.xml for event in EVENTS])
    first = publish(config)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "events").rglob("*.xml")) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.kill()
    first.communicate(timeout=30)
    second = publish(config, "--until-idle", "1")
    second.communicate(timeout=90)
    assert second.returncode == 0
    assert {record.value() for record in records(broker, "events-killed")} == {event.xml for event in EVENTS}
    assert len(list((tmp_path / "events").rglob("*.xml"))) == 20


def test_sigterm_lets_it_leave_in_good_order(tmp_path, broker):
    config = configured(tmp_path, broker, "told")
    filled(broker, "outbox-told", [event.xml for event in EVENTS])
    process = publish(config)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "events").rglob("*.xml"))) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(out)["sent"] == {"archive": 20, "kafka": 20}


def test_an_event_larger_than_the_client_takes_is_refused_and_the_next_one_goes(broker):
    topic = KafkaTopic("events-small", {"bootstrap.servers": broker, "message.max.bytes": "1000"}, delivery_s=10)
    assert topic.send(EVENTS[:1])[0].answer is Answer.REFUSED
    topic.close()


def test_without_a_broker_sending_fails_and_is_worth_a_retry():
    topic = KafkaTopic("events", {"bootstrap.servers": "127.0.0.1:9", "log_level": "0"}, delivery_s=1.0)
    (delivery,) = topic.send(EVENTS[:1])
    assert delivery.answer is Answer.FAILED
    assert delivery.detail
    topic.close()


def test_events_of_many_are_all_answered(broker):
    topic = KafkaTopic("events-many", {"bootstrap.servers": broker}, delivery_s=20)
    filled(broker, "events-many", [b"first"])
    assert topic.send(EVENTS) == [SENT] * 20
    topic.close()
