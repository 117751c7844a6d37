"""What is sent: packets of our simulator with candids and times of their own, repeats, damaged ones, unknown ones."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable

import fastavro
from alerts import Alerts, spoilt
from confluent_kafka import Consumer, Producer
from week import Clock, Night

from realbogus.packets.writing import encode_long
from realbogus.stream.kafka.positions import committed

BATCH = 1_000_000  # bytes that are compressed together: as much as a fetch brings of packets that do not compress
AHEAD = 20_000  # alerts that the sender may be ahead of the workers
PATIENCE_S = 60.0  # s; longest wait for a coordinator that is just coming up
LOOK_EVERY = 500  # alerts
EXPOSURE, EXPOSURE_S = 1_000, 40.0  # alerts of an exposure, and s between two
REPEATED_EVERY, REPEATED_AFTER = 211, 40  # alerts; each so many-th is sent again, so many later
UNKNOWN_EVERY = 499  # alerts; after each so many-th comes a message of a schema that nobody knows
UNKNOWN = b"\x00" + (905).to_bytes(4, "big") + bytes(200)
JD_OF_UNIX_ZERO = 2440587.5  # d; 1970-01-01


class Stamped:
    """A packet in pieces, between which candid and time stand."""

    def __init__(self, packet: bytes, candid: int) -> None:
        self._candid, self._jd = encode_long(candid), struct.pack("<d", jd_of(packet))
        self._pieces = re.split(b"(%s|%s)" % (re.escape(self._candid), re.escape(self._jd)), packet)
        if self._pieces.count(self._candid) < 1 or self._pieces.count(self._jd) < 1:
            raise ValueError("the packet does not hold its candid and time as they should be encoded")

    def message(self, candid: int, jd: float) -> bytes:
        """The packet with these in their places."""
        new = {self._candid: encode_long(candid), self._jd: struct.pack("<d", jd)}
        if len(new[self._candid]) != len(self._candid):
            raise ValueError(f"candid {candid} is encoded longer than that of the packet")
        return b"".join([new.get(piece, piece) if len(piece) < 12 else piece for piece in self._pieces])


def jd_of(packet: bytes) -> float:
    """The time that a packet tells of its alert, JD."""
    return float(next(iter(fastavro.reader(io.BytesIO(packet))))["candidate"]["jd"])


class Feed:
    """The sender, which waits where it is too far ahead of the group."""

    def __init__(self, bootstrap: str, group: str, partitions: int, alerts: Alerts, forwarded: frozenset[int]) -> None:
        self._alerts, self._forwarded = alerts, forwarded  # templates that are
        pairs = list(zip(alerts.templates, alerts.candids, strict=True))
        self._good = [Stamped(packet, candid) for packet, candid in pairs]
        self._damaged = [Stamped(spoilt(packet), candid) for packet, candid in pairs]
        self._partitions = partitions
        self._reader = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 2})
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": "zstd",
                "compression.level": 1,
                "linger.ms": 50,
                "batch.size": BATCH,
                "message.max.bytes": 4_000_000,
                "queue.buffering.max.kbytes": 262_144,
                "log_level": 2,
            }
        )

    def send(self, night: Night, clock: Clock, look: Callable[[int], object]) -> None:
        """Write the alerts of a night; look is told now and then how many of its messages are done."""
        for number in night.numbers:
            self._put(night, number, clock)
            if number % UNKNOWN_EVERY == 0:
                self._produce(night.topic, UNKNOWN, b"%d" % number, clock)
                night.sent["parked"] += 1
            again = number - REPEATED_AFTER
            if number % REPEATED_EVERY == 0 and again in night.numbers and not self._alerts.is_damaged(again):
                self._produce(night.topic, self._message(night, again), self._key(again), clock)
                night.sent["duplicates"] += 1
            if number % LOOK_EVERY == 0:
                self._wait(night, look)
        if self._producer.flush(300):
            raise RuntimeError("not all alerts could be sent")

    def done(self, night: Night) -> int:
        """Messages of a night that the group has committed."""
        places = [(night.topic, number) for number in range(self._partitions)]
        return sum(committed(self._reader, places, PATIENCE_S).values())

    def close(self) -> None:
        self._reader.close()

    def _wait(self, night: Night, look: Callable[[int], object]) -> None:
        while True:
            done = self.done(night)
            look(done)
            if night.messages - done < AHEAD:
                return
            self._producer.poll(0.2)

    def _put(self, night: Night, number: int, clock: Clock) -> None:
        self._produce(night.topic, self._message(night, number), self._key(number), clock)
        if self._alerts.is_damaged(number):
            night.sent["rejected"] += 1
            return
        night.sent["scored"] += 1
        night.forwarded += self._alerts.template(number) in self._forwarded

    def _message(self, night: Night, number: int) -> bytes:
        kind = self._damaged if self._alerts.is_damaged(number) else self._good
        exposure = (number - night.numbers.start) // EXPOSURE
        jd = JD_OF_UNIX_ZERO + (night.begin_s + exposure * EXPOSURE_S) / 86_400
        return kind[self._alerts.template(number)].message(self._alerts.candid(number), jd)

    def _key(self, number: int) -> bytes:
        return b"%d" % self._alerts.candid(number)

    def _produce(self, topic: str, value: bytes, key: bytes, clock: Clock) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key=key, timestamp=int(clock.now() * 1000))
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)
