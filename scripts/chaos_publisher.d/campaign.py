"""The campaign: lives of a publisher, each ended by SIGKILL at a random moment, but for the last."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import drafts
from comet_cases import free_port
from confluent_kafka import Producer
from kafka_cases import new_topic, read_all
from publisher_cases import Publishing
from receivers import Broker, Subscriber

from realbogus.publish.ledger import Ledger
from realbogus.voevent import Event

EARLY = 0.2  # share of the lives that end at any moment of their start; the others end while they work
START_S = 2.5  # s; longest of the former
WORK_S = 0.1  # s; longest between the event after which one of the latter is to end, and its end
PATIENCE_S = 60.0  # s after which a life is ended all the same


@dataclass
class Found:
    """What a receiver has, beside what it should have."""

    expected: int
    lost: int
    contents: int  # names that came with more than one content
    foreign: int  # contents that should not exist
    repeats: int  # copies that a receiver drops, since it knows their names

    @property
    def is_sound(self) -> bool:
        return not (self.lost or self.contents or self.foreign)


@dataclass
class Report:
    """The end of a campaign."""

    events: int
    kills: int
    seconds: float
    records: int  # of the outbox: repeats and conflicts, too
    conflicts: int  # kept aside
    in_work: int  # kills that came when some events were sent and others not
    found: dict[str, Found] = field(default_factory=dict)
    missed: int = 0  # by the subscriber of the broadcaster, which has no replay

    def problems(self) -> list[str]:
        return [f"{name}: {asdict(one)}" for name, one in self.found.items() if not one.is_sound]


def campaign(
    bootstrap: str, folder: Path, *, events: int, kills: int, seed: int = 1, say: Callable[[str], None] = print
) -> Report:
    """Feed the outbox in portions, kill a publisher over each, let the last one finish, and compare."""
    begun, chance = time.monotonic(), random.Random(seed)
    broker, port = Broker(seed), free_port()
    subscriber = Subscriber(port)
    subscriber.start()
    outbox, topic = new_topic(bootstrap), new_topic(bootstrap)
    settings = {
        "topic": topic,
        "vtp_author": f"127.0.0.1:{broker.server_address[1]}",
        "vtp_port": port,
        "batch": 20,
        "retry_s": 0.1,
        "attempts": 1000,
    }
    publishing = Publishing(folder, bootstrap, outbox, settings)
    records = drafts.outbox(events)
    portion = -(-len(records) // (kills + 1))
    in_work = 0
    for number in range(kills):
        _produce(bootstrap, outbox, records[number * portion : (number + 1) * portion])
        in_work += _life(publishing, broker, chance, portion)
        say(f"{number + 1} of {kills} kills, {len(broker.got)} events with the broker")
    _produce(bootstrap, outbox, records[kills * portion :])
    last = publishing.start("--until-idle", "5")
    last.communicate(timeout=600)
    assert last.returncode == 0, publishing.log.read_text()[-2000:]
    subscriber.stop.set()
    broker.shutdown()
    broker.server_close()
    report = Report(events, kills, 0.0, len(records), _conflicts(publishing), in_work)
    wanted = drafts.expected(events)
    got = {
        "archive": Counter(publishing.archived()),
        "Kafka topic": Counter(record.value() for record in read_all(bootstrap, topic)),
        "VOEvent broker": broker.got,
    }
    report.found = {name: _compare(contents, wanted) for name, contents in got.items()}
    heard = _compare(subscriber.got, wanted)
    report.missed, heard.lost = heard.lost, 0
    report.found["subscriber"] = heard
    report.seconds = time.monotonic() - begun
    return report


def _life(publishing: Publishing, broker: Broker, chance: random.Random, portion: int) -> bool:
    """Start a publisher and kill it, most after some of the events of a portion; whether it was at work."""
    process = publishing.start()
    if chance.random() < EARLY:
        time.sleep(chance.uniform(0, START_S))
    else:
        enough, deadline = len(broker.got) + chance.randint(1, portion), time.monotonic() + PATIENCE_S
        while len(broker.got) < enough and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, WORK_S))
    assert process.poll() is None, publishing.log.read_text()[-2000:]
    process.kill()
    process.communicate()
    try:
        ledger = Ledger(publishing.ledger, alone=False)
    except Exception:  # killed before it was made
        return False
    pending = sum(count for (_, state), count in ledger.states().items() if state == "pending")
    ledger.close()
    return pending > 0


def _produce(bootstrap: str, topic: str, portion: Sequence[Event]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for draft in portion:
        producer.produce(topic, draft.xml, key=draft.object_id.encode())
    assert producer.flush(30) == 0


def _conflicts(publishing: Publishing) -> int:
    ledger = Ledger(publishing.ledger, alone=False)
    aside = ledger.things_set_aside()
    states = ledger.states()
    ledger.close()
    assert {state for _, state in states} == {"sent"}, states
    return sum(one.reason.startswith("conflict") for one in aside)


def _compare(contents: Counter[bytes], wanted: dict[str, bytes]) -> Found:
    names: dict[str, set[bytes]] = {}
    for xml in contents:
        names.setdefault(xml.partition(b'ivorn="')[2].partition(b'"')[0].decode(), set()).add(xml)
    return Found(
        expected=len(wanted),
        lost=len(wanted.keys() - names.keys()),
        contents=sum(len(found) > 1 for found in names.values()),
        foreign=sum(wanted.get(name) not in found for name, found in names.items()),
        repeats=sum(contents.values()) - len(contents),
    )


def as_json(report: Report) -> str:
    return json.dumps(asdict(report), indent=1)
