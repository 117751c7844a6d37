"""Taking messages from a client in portions."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Consumer

from realbogus.stream.protocols import Clock

PORTION = 32  # messages taken from the client at once, so that a batch can end at its limit of bytes


def in_portions(consumer: Consumer, clock: Clock, count: int, wait_s: float, most_bytes: int) -> list[Any]:
    """Messages and events, as many as come in time, until they are too large together."""
    deadline = clock.monotonic() + wait_s
    found = consumer.consume(min(count, PORTION), wait_s)
    size, more = sum(map(len, found)), len(found) == PORTION
    while more and len(found) < count and size < most_bytes:
        left_s = max(deadline - clock.monotonic(), 0.0)
        some = consumer.consume(min(count - len(found), PORTION), left_s)
        found, size, more = found + some, size + sum(map(len, some)), len(some) == PORTION
    return found
