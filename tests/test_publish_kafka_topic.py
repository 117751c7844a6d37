"""The headers of the Kafka records of events; the topic itself is tested with brokers in test_publish_kafka.py."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

from voevent_cases import STYLE, scored

from realbogus.publish.kafka_topic import JsonTopic, KafkaTopic, headers
from realbogus.voevent import build

TEST = build(scored(), 0, STYLE)
LIVE = build(scored(), 0, replace(STYLE, role="observation"))


def test_headers_tell_the_format_id_and_model():
    told = dict(headers(LIVE))
    assert told["_format"] == b"voevent"
    assert told["ivorn"] == LIVE.ivorn.encode()
    assert told["content-type"] == b"application/xml"
    assert told["model_version"] == b"1.2.0"


def test_only_tests_are_marked_as_tests():
    assert dict(headers(TEST))["_test"] == b"true"
    assert "_test" not in dict(headers(LIVE))


def test_the_id_is_a_function_of_the_ivorn():
    assert dict(headers(LIVE))["_id"] == dict(headers(LIVE))["_id"]
    assert len(dict(headers(LIVE))["_id"]) == 16
    assert dict(headers(LIVE))["_id"] != dict(headers(TEST))["_id"]
    assert uuid.UUID(bytes=dict(headers(LIVE))["_id"]).version == 5


def test_the_json_topic_says_that_it_is_json_and_holds_the_twin():
    topic = JsonTopic("events", {"bootstrap.servers": "127.0.0.1:1"})
    assert json.loads(topic.value(LIVE))["ivorn"] == LIVE.ivorn
    told = dict(headers(LIVE, topic.form, topic.content_type))
    assert (told["_format"], told["content-type"]) == (b"json", b"application/json")
    assert topic.name != KafkaTopic.name  # the ledger keeps them apart
