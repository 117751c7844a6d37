"""A part of the campaign: so many spoilt messages through the scorer, and what became of them."""

from __future__ import annotations

import io
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fastavro import schemaless_reader
from fastavro.utils import generate_one
from mutations import spoil_bytes, spoil_record, spoil_schema

from realbogus.packets.schemas import SchemaStore, read_schema
from realbogus.packets.writing import write_container
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.scoring import Scorer
from realbogus.simulation import night

ZTF, RUBIN = "ztf/4.02", "rubin/11.0"
BATCH = 32  # messages
BATCH_S = 1.0  # CPU time; a batch that takes longer is looked at one by one
MESSAGE_S = 0.1  # CPU time; the longest that one message may take


@dataclass
class Tally:
    """What became of some messages; violations are messages with what was wrong about them."""

    messages: int = 0
    scored: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[str, bytes]] = field(default_factory=list)
    peak_mb: float = 0.0

    def __iadd__(self, other: Tally) -> Tally:
        self.messages += other.messages
        self.scored += other.scored
        self.rejected += other.rejected
        self.violations += other.violations
        self.peak_mb = max(self.peak_mb, other.peak_mb)
        return self


@cache
def scorer() -> Scorer:
    """The shipped model, once a process."""
    model = Registry(shipped("models")).load(None)
    return Scorer(models=dict.fromkeys(model.surveys, model), store=SchemaStore())


@cache
def sound() -> list[tuple[str, Any, dict[str, Any], bytes]]:
    """Sound packets to spoil: name of the schema, schema, record, container. Simulated, and one of random values."""
    packets = [alert.packet for alert in night(11, alerts=12)]
    ztf, rubin = (json.loads(read_schema(name)) for name in (ZTF, RUBIN))
    records = [(ZTF, ztf, _record(ztf, packet)) for packet in packets]
    random.seed(11)  # of fastavro's generator
    records.append((RUBIN, rubin, generate_one(rubin)))
    return [(name, schema, record, write_container(name, record)) for name, schema, record in records]


def part(kind: str, seed: int, count: int) -> Tally:
    """Score so many spoilt messages of a kind: "packets" or "schemas"."""
    rng, tally = random.Random(f"{kind} {seed}"), Tally()
    made = spoilt(kind, rng)
    for begin in range(0, count, BATCH):
        _score([next(made) for _ in range(min(BATCH, count - begin))], tally)
    tally.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return tally


def spoilt(kind: str, rng: random.Random) -> Iterator[bytes]:
    """Spoilt messages without end; of packets one in five is spoilt in its values, the others in their bytes."""
    while True:
        name, schema, record, container = rng.choice(sound())
        if kind == "schemas":
            yield spoil_schema(rng, schema, body_of(container))
        elif rng.random() < 0.2:
            yield spoil_record(rng, name, record)
        else:
            yield spoil_bytes(rng, container)


def body_of(container: bytes) -> bytes:
    """The encoded record of a container that was written here: behind its header, the sync marker and two numbers."""
    sync = container[-16:]
    block = container[container.index(sync) + 16 : -16]
    after = 1  # a count of 1 takes one byte
    while block[after] & 0x80:
        after += 1
    return block[after + 1 :]


def _record(schema: Any, container: bytes) -> dict[str, Any]:
    return schemaless_reader(io.BytesIO(body_of(container)), schema, None)  # type: ignore[return-value]


def _score(messages: Sequence[bytes], tally: Tally) -> None:
    start = time.process_time()
    try:
        outcomes = scorer().outcomes(messages)
    except Exception:
        _look(messages, tally)
        return
    if time.process_time() - start > BATCH_S:
        _look(messages, tally)
    scored = sum(map(len, outcomes))
    if scored + len(outcomes.rejected) != len(messages):
        tally.violations.append(("some messages have no outcome, or two", b"".join(messages)))
    tally.messages += len(messages)
    tally.scored += scored
    tally.rejected += Counter(one.reason.value for one in outcomes.rejected)


def _look(messages: Sequence[bytes], tally: Tally) -> None:
    """Find who raised, or took too long."""
    for message in messages:
        start = time.process_time()
        try:
            scorer().outcomes([message])
        except Exception as error:
            tally.violations.append((f"raised {error!r}", message))
        else:
            if (took := time.process_time() - start) > MESSAGE_S:
                tally.violations.append((f"took {took:.2f} s", message))
