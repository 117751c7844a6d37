"""Consume alerts from Kafka, score and annotate them, hand promising ones to the publisher.

How it is called: `realbogus.cli.calls.worker`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from rich.console import Console

from realbogus import config
from realbogus.config import Settings
from realbogus.config.replay import replay_name, replay_settings
from realbogus.errors import ConfigError
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.scoring import Scorer
from realbogus.stream import assembly
from realbogus.stream.kafka import property_problems
from realbogus.stream.protocols import SystemClock
from realbogus.stream.running import run_until_told
from realbogus.stream.supervisor import Supervisor, orphaned
from realbogus.stream.worker import Worker
from realbogus.telemetry import Health, Metrics, log_to_stderr, serve

log = logging.getLogger(__name__)

REPORT_S = 1.0  # s between two reports of a member to its supervisor
ADDED_UP = ("consumed", "scored", "rejected", "parked", "duplicates", "forwarded", "events")
Report = Mapping[str, Any]
Show = Callable[[Sequence[Report]], None]


def run(options: argparse.Namespace) -> int:
    """Work, show how far, tell the counts at the end."""
    settings = config.load(options.config, os.environ, _explicit(options))
    slot = options.slot
    log_to_stderr(settings.log.level, settings.log.format, "worker" if slot is None else f"worker-{slot}")
    problems = property_problems(settings.kafka) if slot is None else []
    start, until = _time(options.start, "--from", problems), _time(options.until, "--until", problems)
    settings.need_input()
    if not options.replay and (options.model or options.name):
        problems.append("--model and --name are for --replay; the live model is that of [models.surveys]")
    if options.replay and (start is None or until is None):
        problems.append("--replay needs --from and --until")
    if problems:
        raise ConfigError(problems)
    if options.replay and start is not None and until is not None:
        settings = _replay(settings, options, start, until)
    if start is not None and slot is None:
        assembly.begin_at(settings, start, SystemClock())
    began = time.monotonic()
    if slot is None and settings.worker.processes > 1:
        code, reports = _supervise(settings, options)
    else:
        code, reports = 0, [_work(settings, options, start, until)]
    if slot is None:
        _tell(_together(reports), time.monotonic() - began)
    return code


def _replay(settings: Settings, options: argparse.Namespace, start: float, until: float) -> Settings:
    """The settings of a replay, with its model named now: a promotion meanwhile changes nothing."""
    options.model = options.model or Registry(settings.models.folder or shipped("models")).current()
    options.name = options.name or replay_name(start, until, options.model)
    if options.slot is None:
        log.info("replay with %s, into topics that begin with replay.%s.", options.model, options.name)
    return replay_settings(settings, options.name, options.model, options.role)


def _explicit(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    return {} if options.processes is None else {"worker": {"processes": options.processes}}


def _time(text: str | None, option: str, problems: list[str]) -> float | None:
    """Unix time, s, of an ISO date or time; UTC unless it says otherwise."""
    if text is None:
        return None
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        problems.append(f"{option} is {text!r}; expected a time such as 2026-11-20 or 2026-11-20T02:00:00Z")
        return None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()


def _work(settings: Settings, options: argparse.Namespace, start: float | None, until: float | None) -> Report:
    """Be one member of the group; what became of the alerts."""
    slot = options.slot or 0
    supervised = options.slot is not None
    _limit_memory(settings.worker.memory_mb)
    metrics, health = Metrics(), Health()
    parent = os.getppid()
    with ExitStack() as stack:
        show = stack.enter_context(_reports() if supervised else shown())
        if settings.http.port:
            http = serve(metrics, health, settings.http.host, settings.http.port + slot)
            log.info("metrics at %s/metrics", stack.enter_context(http))
        scorer = _prepared(settings)
        opened: list[Worker] = []
        door = Lock()  # while it is held the worker is not closed

        def reports() -> list[Report]:
            with door:
                return [report_of(worker) for worker in opened]

        health.status = lambda: next(iter(reports()), {})

        def work(stop: Callable[[], bool]) -> Report:
            """All of it, from the first connection to the last, within the time that leaving may take."""
            connected = assembly.open_worker(
                settings,
                scorer,
                metrics=metrics,
                health=health,
                slot=options.slot,
                lasting=until is None and options.until_idle is None,
                from_s=start,
                until_s=until,
            )
            with connected as worker:
                opened.append(worker)
                try:
                    worker.run(stop, until_idle_s=options.until_idle)
                    return report_of(worker)
                finally:
                    with door:
                        opened.clear()

        def tick() -> bool:
            show(reports())
            return supervised and orphaned(parent)

        final = run_until_told(work, leave_s=settings.worker.leave_s, tick=tick)
        show([final])
    return final


def _prepared(settings: Settings) -> Scorer:
    """The scorer, verified and compiled."""
    began = time.monotonic()
    log.info("preparing: models are verified, and code is compiled where that is not done yet (about a minute, once)")
    scorer = assembly.scorer_for(settings)
    assembly.warm_up(scorer)
    log.info("ready to score after %.1f s", time.monotonic() - began)
    return scorer


def _limit_memory(mebibytes: int) -> None:
    if mebibytes:
        resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, resource.RLIM_INFINITY))


def _supervise(settings: Settings, options: argparse.Namespace) -> tuple[int, list[Report]]:
    """Run the members of the group as processes; exit code and what each said last."""
    passed = ["--config", str(options.config)]
    for name, value in (("--from", options.start), ("--until", options.until), ("--until-idle", options.until_idle)):
        passed += [name, str(value)] if value is not None else []
    if options.replay:
        passed += ["--replay", "--model", options.model, "--name", options.name, "--role", options.role]
    command = [sys.executable, "-m", "realbogus", "worker", *passed, "--slot"]
    supervisor = Supervisor(
        [[*command, str(slot)] for slot in range(settings.worker.processes)], settings.worker.leave_s
    )
    with shown() as show:
        _prepared(settings)  # once for all: what is wrong shows now, and what must be compiled is then in the cache
        code = supervisor.run(show)
    return code, supervisor.reports()


def report_of(worker: Worker) -> Report:
    """How far a worker is, as plain values; asks nothing of the Kafka client, which would let us wait for the loop."""
    total = worker.ledger.total()
    return {
        **vars(total),
        "alerts_per_s": round(worker.rate(), 1),
        "reasons": dict(worker.ledger.reasons),
        "topics": {topic: vars(counts) for topic, counts in list(worker.ledger.topics.items())},
        "lag": worker.lag,
        "waiting_for": worker.source.waiting_for(),
    }


def _together(reports: Sequence[Report]) -> dict[str, Any]:
    """The reports of several processes as one."""
    reasons: Counter[str] = Counter()
    for report in reports:
        reasons.update(report["reasons"])
    counts = {name: sum(report[name] for report in reports) for name in ADDED_UP}
    return {**counts, "alerts_per_s": round(sum(report["alerts_per_s"] for report in reports), 1), "reasons": reasons}


@contextmanager
def _reports() -> Iterator[Show]:
    """Reports as JSON lines on stdout, now and then, for the supervisor."""
    said, last = 0.0, ""

    def show(reports: Sequence[Report]) -> None:
        nonlocal said, last
        if not reports:
            return
        last = json.dumps(reports[0])
        if time.monotonic() - said >= REPORT_S:
            said = time.monotonic()
            say()

    def say() -> None:
        with suppress(BrokenPipeError):  # nobody listens any more: `orphaned` tells the loop
            print(last, flush=True)

    yield show
    say()


@contextmanager
def shown() -> Iterator[Show]:
    """A line on stderr that tells how far the work is, where somebody is looking."""
    console = Console(stderr=True)
    with console.status("starting") as status:
        yield lambda reports: status.update(_line(reports) if reports else "starting")


def _line(reports: Sequence[Report]) -> str:
    total = _together(reports)
    waiting = [report["waiting_for"] for report in reports if report["waiting_for"]]
    if waiting and not total["consumed"]:
        return f"waiting: {waiting[0]}"
    return (
        f"{total['consumed']:,} alerts · {total['scored']:,} scored · {total['rejected']:,} rejected · "
        f"{total['parked']:,} parked · {total['forwarded']:,} forwarded · {total['alerts_per_s']:,.0f}/s · "
        f"{sum(report['lag'] for report in reports):,} waiting"
    )


def _tell(total: Mapping[str, Any], seconds: float) -> None:
    """The counts as JSON to stdout, and for people to stderr."""
    print(json.dumps({**total, "seconds": round(seconds, 1)}))
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in sorted(total["reasons"].items()))
    Console(stderr=True).print(
        f"{total['consumed']:,} alerts consumed: {total['scored']:,} scored, {total['rejected']:,} rejected, "
        f"{total['parked']:,} parked"
        + (f" ({reasons})" if reasons else "")
        + f"; {total['forwarded']:,} forwarded, {total['events']:,} events; {total['alerts_per_s']:,.0f} alerts/s",
        highlight=False,
        soft_wrap=True,
    )
