"""The alerts of a campaign: packets of our simulator, each sent many times with candids of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from confluent_kafka import Producer

from realbogus import packets
from realbogus.limits import Limits
from realbogus.packets.schemas import SchemaStore
from realbogus.packets.writing import encode_long
from realbogus.simulation import night
from realbogus.surveys import SURVEYS, recognise

DISTINCT = 12  # packets
RUN = 50  # the same packet so many times in a row: that compresses well, and disks are not endless
DAMAGED_EVERY = 97  # alerts; each so many-th has a stamp that is no image, and belongs to the dead letters
FIELDS = {name: survey.fields for name, survey in SURVEYS.items()}


@dataclass(frozen=True)
class Alerts:
    """Numbered messages; the candid of a message is that of the first plus its number."""

    templates: list[bytes]
    candids: list[int]  # of the templates
    first: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", max(self.candids) + 1)

    def candid(self, number: int) -> int:
        return self.first + number

    def template(self, number: int) -> int:
        return number // RUN % len(self.templates)

    def is_damaged(self, number: int) -> bool:
        return number % DAMAGED_EVERY == 0

    def message(self, number: int) -> bytes:
        """The packet with its candid, wherever that stands in it."""
        which = self.template(number)
        before, after = encode_long(self.candids[which]), encode_long(self.candid(number))
        if len(before) != len(after):
            raise ValueError(f"candid {self.candid(number)} is encoded longer than {self.candids[which]}")
        message = self.templates[which].replace(before, after)
        return spoilt(message) if self.is_damaged(number) else message


def simulated(seed: int) -> Alerts:
    """Packets as our simulator sends them."""
    made = [alert.packet for alert in night(seed, alerts=DISTINCT)]
    decoded, rejected = packets.read(made, wanted=FIELDS, recognise=recognise, store=SchemaStore(), limits=Limits())
    batch, refused = SURVEYS["ztf"].to_batch(decoded[0], Limits())
    if rejected or refused or len(batch) != DISTINCT:
        raise RuntimeError("the simulator made packets that cannot be scored")
    return Alerts(made, batch.candid.tolist())


def spoilt(message: bytes) -> bytes:
    """The same with a difference stamp that does not inflate; candid and length stay."""
    stamp = message.rfind(b"\x1f\x8b")
    return message[: stamp + 40] + bytes(60) + message[stamp + 100 :]


def send(bootstrap: str, topic: str, alerts: Alerts, numbers: range) -> Iterator[int]:
    """Write alerts, each once, keyed by candid; yields how many now and then."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": "zstd",
            "linger.ms": 50,
            "batch.size": 4_000_000,
            "message.max.bytes": 4_000_000,
            "queue.buffering.max.kbytes": 262_144,
            "log_level": 2,
        }
    )
    for number in numbers:
        value, key = alerts.message(number), b"%d" % alerts.candid(number)
        while True:
            try:
                producer.produce(topic, value, key=key)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 500 == 0:
            producer.poll(0)
            yield number - numbers.start
    if producer.flush(300):
        raise RuntimeError("not all alerts could be sent")
    yield len(numbers)
