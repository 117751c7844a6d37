"""The run itself: broker, workers and sender through the nights, and what the ledger says of each."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alerts import Alerts, simulated
from campaign import Broker
from feed import Feed
from memory import Samples, too_much
from week import LATER_S, Clock, Night, nights_of

from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.scoring import Scorer

HERE = Path(__file__).resolve().parent
PATTERN, GROUP, PARTITIONS = "ztf_%Y%m%d_programid1", "soak", 6
SILENCE_S = 150.0  # s without anything done, after which the soak has failed
STARTING_S = 600.0  # the same before anything was: on a busy machine code may have to be compiled first
SCRAPE_S = 5.0
GENTLE = 5  # niceness of the sender: workers come first
MISSED = 0.1  # of the repeats; a worker that has taken over a partition does not know what the one before has seen
ENDS = ("scored", "rejected", "parked", "duplicates")
# Equal packets in a row shrink to a tenth, real ones do not. With this a fetch brings one batch a partition, which
# unfolds to 1 MB, the default for what is not compressed; else memory would be that of data such as no survey sends.
# The sender is twenty exposures ahead, which arrive mixed as no survey's do: to hold one of them would be chance.
CONFIG = """\
[kafka]
bootstrap = "{bootstrap}"
[kafka.consumer]
"max.partition.fetch.bytes" = "65536"
[input]
pattern = "{pattern}"
group_id = "{group}"
[output]
topic = "{{topic}}.annotated"
partitions = {partitions}
[policy]
threshold = {threshold}
[voevent]
authority = "org.example.soak"
[exposures]
times_usual = 0.0
score_psi = 0.0
[http]
port = {port}
[log]
level = "INFO"
"""

Say = Callable[[str, int], None]


@dataclass(frozen=True)
class Plan:
    """What a soak is to be."""

    alerts: int
    nights: int
    workers: int
    bound: float  # share by which memory may grow over the second half


@dataclass
class Verdict:
    """What came of it."""

    plan: Plan
    memory: Samples
    seconds: float = 0.0
    nights: dict[str, dict[str, int]] = field(default_factory=dict)  # topic -> what the ledger says
    events: int = 0
    problems: list[str] = field(default_factory=list)

    def total(self, what: str) -> int:
        return sum(night.get(what, 0) for night in self.nights.values())

    def title(self) -> str:
        return f"{self.total('consumed'):,} messages in {len(self.nights)} nights, {self.seconds / 60:.0f} min"

    def line(self) -> str:
        """The counts."""
        kinds = ", ".join(f"{self.total(what)} {what}" for what in (*ENDS, "missing", "double"))
        peak = max(self.memory.as_dict()["peak_mb"].values(), default=0.0)
        growth = max((abs(share) for name, share in self.memory.growth().items() if "worker" in name), default=0.0)
        return (
            f"{self.total('consumed')} messages in {len(self.nights)} nights: {kinds}, {self.events} events; memory of "
            f"{self.plan.workers} workers {growth:+.1%} at most over the second half, peak {peak:.0f} MB; "
            f"{self.total('consumed') / self.seconds:.0f}/s, {self.seconds:.0f} s"
            + (f"; {len(self.problems)} VIOLATIONS" if self.problems else "")
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        told = {"alerts": self.plan.alerts, "workers": self.plan.workers, "seconds": round(self.seconds, 1)}
        return {**told, "nights": self.nights, "events": self.events, "problems": self.problems,
                "memory": self.memory.as_dict()}  # fmt: skip


def run(plan: Plan, folder: Path, seed: int, say: Say) -> Verdict:
    """Carry it out."""
    alerts = simulated(seed)
    threshold, forwarded = best_of(alerts)
    clock, broker = Clock(folder / "clock"), Broker(folder / "kafka")
    nights = nights_of(plan.nights, plan.alerts, PATTERN, time.time())
    clock.set(nights[0].begin_s)
    ports = free_ports(plan.workers)
    config = folder / "worker.toml"
    config.write_text(
        CONFIG.format(bootstrap=broker.bootstrap, pattern=PATTERN, group=GROUP, partitions=PARTITIONS,
                      threshold=threshold, port=ports[0])
    )  # fmt: skip
    began = time.monotonic()
    try:
        broker.topic(nights[0].topic, PARTITIONS)
        say("starting the workers", 0)
        with workers(config, folder, plan.workers) as process, ExitStack() as stack:
            feed = stack.enter_context(closing(Feed(broker.bootstrap, GROUP, PARTITIONS, alerts, forwarded)))
            verdict = Verdict(plan, Samples(process.pid))
            week = Week(verdict, nights, clock, broker, feed, config, ports, process, say)
            week.begin()
            week.pass_by()
            verdict.problems += leave(process)
        verdict.problems += week.last_words(folder)
    finally:
        broker.stop(kill=True)
    verdict.seconds = time.monotonic() - began
    verdict.problems += too_much(verdict.memory.growth(), plan.bound)
    return verdict


@dataclass
class Week:
    """The nights, one after the other."""

    verdict: Verdict
    nights: list[Night]
    clock: Clock
    broker: Broker
    feed: Feed
    config: Path
    ports: list[int]
    process: subprocess.Popen[str]
    say: Say
    _before: int = 0  # messages of nights that are over
    _scraped: float = 0.0

    def begin(self) -> None:
        """Wait until every worker has its partitions."""
        deadline = time.monotonic() + STARTING_S
        while not all(self._scrape(port) for port in self.ports):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError("the workers do not start, or do not share the partitions")
            self.verdict.memory.look(0)
            time.sleep(0.2)

    def pass_by(self) -> None:
        """Night after night; by day the ledger is checked, the next topic made and the last but one deleted."""
        for number, night in enumerate(self.nights):
            self.clock.set(night.begin_s)
            self.feed.send(night, self.clock, lambda done, night=night: self._look(night, done))  # type: ignore[misc]
            self._finish(night)
            self.clock.set(night.begin_s + LATER_S)
            if number + 1 < len(self.nights):
                self.broker.topic(self.nights[number + 1].topic, PARTITIONS)
            self._check(night)
            if number >= 2:
                gone = self.nights[number - 2].topic
                self.broker.drop(gone, *(f"{gone}.{kind}" for kind in ("annotated", "dlq", "parked")))

    def _finish(self, night: Night) -> None:
        """Wait until all of a night is done."""
        done, since = -1, time.monotonic()
        while done < night.messages:
            now = self.feed.done(night)
            if now > done:
                done, since = now, time.monotonic()
            silence_s = SILENCE_S if self._before + done else STARTING_S
            if time.monotonic() - since > silence_s or self.process.poll() is not None:
                raise RuntimeError(f"only {done} of {night.messages} messages of {night.topic} were done")
            self._look(night, done)
            time.sleep(0.2)
        self._before += night.messages
        self.verdict.memory.nights.append(self._before)

    def _look(self, night: Night, done: int) -> None:
        """Sample memory, scrape metrics, tell how far it is."""
        at = self._before + done
        self.verdict.memory.look(at)
        self.say(f"{night.topic}", at)
        if time.monotonic() - self._scraped > SCRAPE_S:
            self._scraped = time.monotonic()
            for port in self.ports:
                self._scrape(port)

    @staticmethod
    def _scrape(port: int) -> bool:
        """Read the metrics of a worker as Prometheus would; whether it has partitions."""
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            found = re.search(rb"^realbogus_assigned_partitions ([1-9])", answer.read(), re.MULTILINE)
            return found is not None
        return False

    def _check(self, night: Night) -> None:
        """Let the product prove that each alert has one end, and compare with what was sent."""
        command = [sys.executable, "-m", "realbogus", "ledger", "check", "--json", "--config", str(self.config)]
        checking = subprocess.Popen(
            [*command, "--topic", night.topic], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while checking.poll() is None:
            self.verdict.memory.look(self._before)
            time.sleep(0.2)
        out, err = checking.communicate()
        found: Counter[str] = Counter()
        for row in map(json.loads, out.splitlines()):
            found.update({name: count for name, count in row.items() if isinstance(count, int)})
        self.verdict.nights[night.topic] = dict(found)
        if checking.returncode:
            self.verdict.problems.append(f"{night.topic}: the ledger does not balance: {err[-500:]}")
        wrong = {what: (found[what], night.sent[what]) for what in ENDS if found[what] != night.sent[what]}
        if found["consumed"] != night.messages or (wrong and not only_repeats(found, night.sent)):
            self.verdict.problems.append(f"{night.topic}: {found['consumed']} of {night.messages} done; {wrong}")

    def last_words(self, folder: Path) -> Iterator[str]:
        """Whether the workers' own counts say the same, and no process had to be started again."""
        told: Mapping[str, int] = json.loads((folder / "worker.json").read_text().splitlines()[-1])
        self.verdict.events = told["events"]
        sent = sum((night.sent for night in self.nights), Counter())
        if any(told[what] != sent[what] for what in ENDS) and not only_repeats(told, sent):
            yield f"the workers tell {dict(told)}, sent were {dict(sent)}"
        forwarded, again = sum(night.forwarded for night in self.nights), sent["duplicates"] - told["duplicates"]
        if not (forwarded <= told["forwarded"] <= forwarded + again and told["events"] == told["forwarded"]):
            yield f"{told['forwarded']} forwarded, {told['events']} events, expected {forwarded}"
        yield from (f"{name} ended on the way" for name in self.verdict.memory.ended)


def only_repeats(found: Mapping[str, int], sent: Mapping[str, int]) -> bool:
    """Whether the only difference is that a few repeats were annotated again, as where partitions have just moved."""
    again = sent["duplicates"] - found["duplicates"]
    others = all(found[what] == sent[what] for what in ("rejected", "parked"))
    return others and found["scored"] - sent["scored"] == again and 0 <= again <= MISSED * sent["duplicates"]


def best_of(alerts: Alerts) -> tuple[float, frozenset[int]]:
    """A threshold that forwards one of the packets, and which one: about as many events as a survey gets."""
    models = Registry(shipped("models"))
    (scored,) = Scorer(models={"ztf": models.load(models.current())}).outcomes(alerts.templates)
    *_, second, best = sorted(scored.score.tolist())
    if best == second:
        raise RuntimeError("two packets have the best score: no threshold lies between them")
    return round((best + second) / 2, 6), frozenset([int(scored.score.argmax())])


@contextmanager
def workers(config: Path, folder: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    """The workers under their supervisor, as an operator starts them, with the clock of the soak."""
    path = os.pathsep.join(filter(None, (str(HERE / "clock"), os.environ.get("PYTHONPATH"))))
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "SOAK_CLOCK": str(folder / "clock")}
    command = [sys.executable, "-m", "realbogus", "worker", "--config", str(config), "--processes", str(count)]
    with (folder / "worker.log").open("w") as log, (folder / "worker.json").open("w") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=log, text=True)
    os.nice(GENTLE)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def leave(process: subprocess.Popen[str], within_s: float = 30.0) -> list[str]:
    """Tell the workers to stop; what was wrong with how they left."""
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(within_s)
    except subprocess.TimeoutExpired:
        return [f"the workers did not leave within {within_s:.0f} s"]
    return [f"the workers left with exit code {code}"] if code else []


def free_ports(count: int) -> list[int]:
    """So many ports in a row that nobody listens on."""
    while True:
        with ExitStack() as stack, suppress(OSError, OverflowError):
            first = 0
            for number in range(count):
                probe = stack.enter_context(socket.socket())
                probe.bind(("127.0.0.1", first + number if first else 0))
                first = first or probe.getsockname()[1]
            return list(range(first, first + count))
