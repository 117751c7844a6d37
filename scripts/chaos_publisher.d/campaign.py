"""The campaign: lives of a publisher, each ended by SIGKILL at a random moment, but for the last."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import drafts
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from receivers import Broker, Subscriber, archived, in_topic

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
    broker, port = Broker(seed), _free_port()
    subscriber = Subscriber(port)
    subscriber.start()
    outbox, topic = f"outbox-{os.getpid()}-{seed}", f"events-{os.getpid()}-{seed}"
    _make(bootstrap, outbox, topic)
    config = _config(folder, bootstrap, outbox, topic, broker.server_address[1], port)
    records = drafts.outbox(events)
    portion = -(-len(records) // (kills + 1))
    in_work = 0
    for number in range(kills):
        _produce(bootstrap, outbox, records[number * portion : (number + 1) * portion])
        in_work += _life(config, folder, broker, chance, portion)
        say(f"{number + 1} of {kills} kills, {len(broker.got)} events with the broker")
    _produce(bootstrap, outbox, records[kills * portion :])
    last = _start(config, folder, "--until-idle", "5")
    assert last.wait(600) == 0, (folder / "log").read_text()[-2000:]
    subscriber.stop.set()
    broker.shutdown()
    broker.server_close()
    report = Report(events, kills, 0.0, len(records), _conflicts(folder), in_work)
    wanted = drafts.expected(events)
    got = {
        "archive": archived(folder / "events"),
        "Kafka topic": in_topic(bootstrap, topic),
        "VOEvent broker": broker.got,
    }
    report.found = {name: _compare(contents, wanted) for name, contents in got.items()}
    heard = _compare(subscriber.got, wanted)
    report.missed, heard.lost = heard.lost, 0
    report.found["subscriber"] = heard
    report.seconds = time.monotonic() - begun
    return report


def _life(config: Path, folder: Path, broker: Broker, chance: random.Random, portion: int) -> bool:
    """Start a publisher and kill it, most after some of the events of a portion; whether it was at work."""
    process = _start(config, folder)
    if chance.random() < EARLY:
        time.sleep(chance.uniform(0, START_S))
    else:
        enough, deadline = len(broker.got) + chance.randint(1, portion), time.monotonic() + PATIENCE_S
        while len(broker.got) < enough and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, WORK_S))
    assert process.poll() is None, (folder / "log").read_text()[-2000:]
    process.kill()
    process.wait()
    try:
        ledger = Ledger(folder / "ledger.sqlite", alone=False)
    except Exception:  # killed before it was made
        return False
    pending = sum(count for (_, state), count in ledger.states().items() if state == "pending")
    ledger.close()
    return pending > 0


def _start(config: Path, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "realbogus.cli", "publish", "--config", str(config), *more]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "NO_COLOR": "1"})


def _config(folder: Path, bootstrap: str, outbox: str, topic: str, author: int, port: int) -> Path:
    file = folder / "worker.toml"
    file.write_text(
        f"""
        [kafka]
        bootstrap = "{bootstrap}"
        [voevent]
        authority = "org.example.survey"
        [publish]
        outbox = "{outbox}"
        group_id = "publisher-of-{outbox}"
        topic = "{topic}"
        archive = "{folder / "events"}"
        ledger = "{folder / "ledger.sqlite"}"
        vtp_author = "127.0.0.1:{author}"
        vtp_port = {port}
        batch = 20
        retry_s = 0.1
        attempts = 1000
        """
    )
    return file


def _make(bootstrap: str, *topics: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(topic, 3, 1) for topic in topics]).values():
        made.result(30)


def _produce(bootstrap: str, topic: str, portion: Sequence[Event]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for draft in portion:
        producer.produce(topic, draft.xml, key=draft.object_id.encode())
    assert producer.flush(30) == 0


def _conflicts(folder: Path) -> int:
    ledger = Ledger(folder / "ledger.sqlite", alone=False)
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def as_json(report: Report) -> str:
    return json.dumps(asdict(report), indent=1)
