"""One campaign: alerts in, workers that are killed, frozen and restarted, a broker that goes away, then the audit."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import audit
from alerts import Alerts, send
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from members import Crew
from rivals import promote

from realbogus.registry import Registry
from realbogus.stream.kafka.positions import committed

PROJECT = Path(__file__).resolve().parents[2]
PARTITIONS, WORKERS = 6, 3
SILENCE_S = 150.0  # without anything new for so long a campaign has failed
AGAIN_S = 120.0  # s that restarted workers have to write something again
STARTING_S = 600.0  # the same before anything came: on a busy machine code may have to be compiled first
CONFIG = """\
[kafka]
bootstrap = "{bootstrap}"
[kafka.consumer]
{consumer}
[input]
topics = ["{topic}"]
group_id = "{topic}"
[output]
topic = "{topic}.annotated"
delivery = "{delivery}"
transaction_timeout_s = 6.0
[models]
folder = "{models}"
[voevent]
authority = "org.example.chaos"
[publish]
outbox = "{topic}.outbox"
[breaker]
rejected_share = 1.0
[exposures]
times_usual = 0.0
score_psi = 0.0
[http]
port = 0
"""
CLASSIC = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"}


class Broker:
    """Apache Kafka of a campaign's own."""

    def __init__(self, folder: Path) -> None:
        self._script = [sys.executable, str(PROJECT / "scripts" / "kafka")]
        self._folder = ["--dir", str(folder)]
        self.bootstrap = self.start()

    def start(self) -> str:
        for _ in range(3):  # a busy machine may need another try
            done = subprocess.run(
                [*self._script, "start", *self._folder, "--heap", "1g"], capture_output=True, text=True, check=False
            )
            if done.returncode in (0, 3):
                break
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            sys.exit(done.returncode)
        return done.stdout.strip()

    def stop(self, *, kill: bool = False) -> None:
        subprocess.run([*self._script, "stop", *self._folder, *(["--kill"] if kill else [])], check=True)

    def topic(self, name: str, partitions: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})
        for made in admin.create_topics([NewTopic(name, partitions, 1)]).values():
            made.result(30)

    def drop(self, *names: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})
        for gone in admin.delete_topics(list(names)).values():
            with suppress(KafkaException):
                gone.result(30)


@dataclass
class Plan:
    """What a campaign is to be."""

    alerts: int
    name: str
    strike_every_s: float = 4.0
    freeze_s: float = 10.0
    broker_restarts: bool = True
    swaps: bool = True
    delivery: str = "exactly_once"
    shift: int = 0  # of the offsets that are committed
    protocol: str = "classic"  # of the group


@dataclass
class Verdict:
    """What the audit says."""

    sent: int
    found: audit.Found
    recomputed: int = 0
    committed: int = 0  # messages that the group's offsets say are done
    reports: int = 0  # of workers that left by themselves
    struck: dict[str, int] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    rss_mb: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def ends(self) -> dict[int, int]:
        """How often each candid has ended."""
        return self.found.annotated + self.found.dead

    @property
    def twice(self) -> int:
        return sum(times > 1 for times in self.ends.values())

    @property
    def missing(self) -> int:
        return self.sent - len(self.ends)


class Progress:
    """How many alerts have ended for readers of committed records, looked up now and then."""

    def __init__(self, bootstrap: str, topics: list[str], partitions: int) -> None:
        self._seen: set[bytes] = set()
        self.again = 0  # records of alerts that had ended before
        self._reader = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "chaos-progress", "enable.auto.commit": False, "log_level": 2}
        )
        self._reader.assign([TopicPartition(topic, number, 0) for topic in topics for number in range(partitions)])
        self.since = time.monotonic()

    def look(self) -> int:
        found = [one.key() for one in self._reader.consume(5000, 0.2) if one.error() is None]
        if found:
            before = len(self._seen)
            self._seen.update(found)
            self.again += before + len(found) - len(self._seen)
            self.since = time.monotonic()
        return len(self._seen)

    def close(self) -> None:
        self._reader.close()


@contextmanager
def topics(broker: Broker, name: str) -> Iterator[list[str]]:
    """The topics of a campaign: alerts, annotations, dead letters, outbox."""
    names = [name, f"{name}.annotated", f"{name}.dlq", f"{name}.outbox"]
    for one in names:
        broker.topic(one, PARTITIONS)
    try:
        yield names
    finally:
        broker.drop(*names)


def run(plan: Plan, broker: Broker, alerts: Alerts, models: tuple[Registry, list[str]], folder: Path, seed: int,
        say: Callable[[str, int, int], None]) -> Verdict:  # fmt: skip
    """Carry it out."""
    chance, began = random.Random(f"{seed} {plan.name}"), time.monotonic()
    registry, names = models
    promote(registry, names[0])
    with topics(broker, plan.name) as (topic, annotated, dead, outbox):
        config = folder / f"{plan.name}.toml"
        config.write_text(configured(plan, broker.bootstrap, topic, registry.folder))
        numbers = range(plan.alerts)
        say("compiling, where that is not done yet", 0, plan.alerts)
        expected = audit.Expected(alerts, {name: registry.load(name) for name in names}, numbers)
        crew = Crew.of(config, folder, WORKERS, chance, "--shift", str(plan.shift))
        try:
            for sent in send(broker.bootstrap, topic, alerts, numbers):
                say("sending alerts", sent, plan.alerts)
                crew.look()
            with closing(Progress(broker.bootstrap, [annotated, dead], PARTITIONS)) as progress:
                upset(plan, broker, crew, registry, names, progress, chance, say)
                if plan.shift:
                    restart(crew, progress)
            problems = crew.leave()
        finally:
            crew.kill()
        audit.wait_for_the_end_of_transactions(broker.bootstrap, [annotated, dead, outbox], 60)
        say("reading everything again", 0, plan.alerts)
        found = audit.read(broker.bootstrap, annotated, dead, outbox, expected)
        say("scoring alerts again", 0, plan.alerts)
        recomputed = expected.recompute(broker.bootstrap, annotated, found.wrong)
        verdict = Verdict(plan.alerts, found, recomputed, messages_done(broker.bootstrap, topic))
        if plan.delivery == "exactly_once" and not plan.shift:  # the others are to violate it
            say("asking the ledger", 0, plan.alerts)
            verdict.problems += audit.proof(config, found)
    verdict.problems += problems
    verdict.struck, verdict.rss_mb = dict(crew.struck), crew.rss_mb
    for member in crew.members:
        for code, times in member.codes.items():
            verdict.codes[code] = verdict.codes.get(code, 0) + times
        for report in member.reports:
            verdict.reports += 1
            ended = report["scored"] + report["rejected"] + report["parked"] + report["duplicates"]
            if report["consumed"] != ended:
                verdict.problems.append(f"the ledger of worker {member.slot} does not balance: {report}")
    verdict.seconds = time.monotonic() - began
    return verdict


def configured(plan: Plan, bootstrap: str, topic: str, models: Path) -> str:
    consumer = {"group.protocol": "consumer"} if plan.protocol == "consumer" else CLASSIC
    lines = "\n".join(f'"{name}" = "{value}"' for name, value in consumer.items())
    return CONFIG.format(bootstrap=bootstrap, topic=topic, consumer=lines, delivery=plan.delivery, models=models)


def upset(plan: Plan, broker: Broker, crew: Crew, registry: Registry, names: list[str], progress: Progress,
          chance: random.Random, say: Callable[[str, int, int], None]) -> None:  # fmt: skip
    """Strike until all alerts have ended."""
    n = plan.alerts
    events: list[tuple[float, Callable[[], None], str]] = []
    if plan.swaps:
        events += [
            (0.2, lambda: promote(registry, names[1]), "swap"),
            (0.6, lambda: promote(registry, names[0]), "swap"),
        ]
    if plan.broker_restarts:
        for share, kill in ((0.35, False), (0.75, True)):
            events.append((share, lambda kill=kill: (broker.stop(kill=kill), broker.start()), "broker restart"))  # type: ignore[misc]
    if plan.delivery == "exactly_once" and not plan.shift:
        events.append((0.5, lambda: crew.strike(plan.freeze_s, "SIGSTOP"), "freeze"))
    events.sort(key=lambda event: event[0])
    due = time.monotonic() + plan.strike_every_s
    while True:
        crew.look()
        done = progress.look()
        say(f"{sum(crew.struck.values())} strikes", done, n)
        while events and done >= events[0][0] * n:
            _, act, kind = events.pop(0)
            act()
            if kind != "freeze":  # that counts itself
                crew.struck[kind] += 1
            progress.since = time.monotonic()
        if time.monotonic() > due and done > 0:
            crew.strike(plan.freeze_s, "SIGTERM" if plan.shift else "")
            due = time.monotonic() + chance.uniform(0.5, 1.5) * plan.strike_every_s
        silence_s = SILENCE_S if done else STARTING_S
        if (done >= n and not events) or time.monotonic() - progress.since > silence_s:
            return


def restart(crew: Crew, progress: Progress) -> None:
    """Let everybody begin again at what is committed, and read what there is: where offsets are wrong it shows."""
    for member in crew.members:
        member.strike(signal.SIGTERM)
    until = time.monotonic() + AGAIN_S
    while not progress.again and time.monotonic() < until:
        crew.look()
        progress.look()


def messages_done(bootstrap: str, group: str) -> int:
    """Messages before the group's committed offsets."""
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 2})
    try:
        return sum(committed(reader, [(group, number) for number in range(PARTITIONS)]).values())
    finally:
        reader.close()
