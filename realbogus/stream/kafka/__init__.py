"""Kafka as source and sink: the only place, beside publish/kafka_topic.py, that knows its client."""

from __future__ import annotations

from realbogus.stream.kafka.admin import move_group
from realbogus.stream.kafka.log import KafkaLog
from realbogus.stream.kafka.settings import client_settings, property_problems
from realbogus.stream.kafka.sink import KafkaSink
from realbogus.stream.kafka.source import KafkaSource
from realbogus.stream.kafka.transactions import KafkaTransactions

__all__ = [
    "KafkaLog",
    "KafkaSink",
    "KafkaSource",
    "KafkaTransactions",
    "client_settings",
    "move_group",
    "property_problems",
]
