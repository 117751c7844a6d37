"""Score archived packets again: a row per packet in and out.

How it is called: `realbogus.cli.calls.rescore`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from realbogus import archives, config, tables
from realbogus.cli.publish import open_ledger, open_outbox
from realbogus.errors import ConfigError, PacketError, Reason
from realbogus.manifest import from_bytes
from realbogus.model import load_model
from realbogus.packets.schemas import read_schema
from realbogus.policy import Policy
from realbogus.publish.archive import Archive
from realbogus.publish.handover import revisions
from realbogus.publish.sinks import EventSink
from realbogus.registry import Registry
from realbogus.rescoring import Plan, Summary, rescore
from realbogus.rescoring import Progress as Listener
from realbogus.resources import shipped
from realbogus.surveys import SURVEYS
from realbogus.voevent.style import EventStyle
from realbogus.voevent.text import share
from realbogus.voevent.what import printed_survey


def run(options: argparse.Namespace) -> int:
    """Score the packets, show the progress, tell what was found."""
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")
    tables.require_format(options.out)
    plan = _plan(options)
    paths = archives.expand(options.paths)
    console = Console(stderr=True)
    with ExitStack() as stack:
        sink: EventSink | None = Archive(options.voevents) if options.voevents else None
        if options.republish:
            settings = config.load(options.config, os.environ)
            plan = _to_republish(plan, settings, restore=options.restore)
            sink = stack.enter_context(closing(open_outbox(settings)))
        bar = stack.enter_context(Bar(console))
        summary = rescore(
            paths, options.out, plan, processes=options.jobs, resume=options.resume, events_to=sink, progress=bar
        )
    _tell(console, summary, options.out, bar.seconds())
    if summary.rejected.get(Reason.NO_MODEL):
        _tell_of_models(console, Registry(options.models or shipped("models")), set(plan.models))
    return 1 if summary.torn else 0


def _plan(options: argparse.Namespace) -> Plan:
    problems = []
    if options.jobs is not None and options.jobs < 1:
        problems.append(f"--jobs is {options.jobs}; expected at least 1")
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        problems.append(f"--threshold is {options.threshold}; expected 0 to 1")
    if options.voevents and not options.authority:
        problems.append("--voevents needs --authority, the IVOA naming authority under which you publish")
    if options.republish != bool(options.config) or (options.restore and not options.republish):
        problems.append("--republish, --config and --restore belong together: --republish --config worker.toml")
    if options.republish and options.voevents:
        problems.append("--republish and --voevents exclude each other")
    try:
        if options.schema:
            read_schema(options.schema)
    except PacketError as error:
        problems.append(f"--schema: {error}")
    if problems:
        raise ConfigError(problems)
    folders = _model_folders(options)
    loaded = {survey: load_model(folder) for survey, folder in folders.items()}
    names = dict.fromkeys(name for model in loaded.values() for name in model.feature_names)
    return Plan(
        models=folders,
        sha256={survey: model.id.sha256 for survey, model in loaded.items()},
        threshold=options.threshold,
        bare_schema=options.schema,
        features=tuple(names) if options.features else (),
        also=tuple(name for name in tables.ALSO if name in options.also),
        style=EventStyle(authority=options.authority, role=options.role) if options.voevents else None,
    )


def _to_republish(plan: Plan, settings: config.Settings, *, restore: bool) -> Plan:
    """The plan, with the published candidates that are to be judged again."""
    style = settings.voevent
    if style is None:
        raise ConfigError(["--republish needs section [voevent]: under whose name events are published"])
    if plan.threshold is None:
        plan = replace(plan, threshold=settings.policy.threshold)
    judges = {}
    for survey, folder in plan.models.items():
        model = load_model(folder).id
        threshold = Policy(threshold=plan.threshold).threshold_for(model.threshold)
        judges[printed_survey(survey)] = (f"{model.name}/{model.version}", share(threshold, "threshold"))
    with closing(open_ledger(settings.publish, alone=False)) as ledger:
        return replace(plan, style=style, republish=revisions(ledger, style, judges, restore=restore))


def _model_folders(options: argparse.Namespace) -> dict[str, Path]:
    """The folder of the model of each survey: the general one for its surveys, then what was told for each."""
    registry = Registry(options.models or shipped("models"))
    chosen: dict[str, Path] = {}
    if options.model or not options.survey_model:
        folder = _folder(registry, options.model or registry.current())
        chosen |= dict.fromkeys(load_model(folder).surveys, folder)
    problems = []
    for told in options.survey_model:
        survey, _, spec = told.partition("=")
        if survey in SURVEYS and spec:
            chosen[survey] = _folder(registry, spec)
        else:
            problems.append(f"--survey-model is {told!r}; expected SURVEY=MODEL, surveys are {', '.join(SURVEYS)}")
    if problems:
        raise ConfigError(problems)
    return chosen


def _folder(registry: Registry, spec: str) -> Path:
    """The folder of a model that was told as a folder or by name/version."""
    return Path(spec) if (Path(spec) / "manifest.json").is_file() else registry.find(spec)


class Bar(Listener):
    """A progress bar on stderr: share of the input, alerts so far, alerts a second, time left."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn(
                "{task.fields[packets]:,} packets · {task.fields[rate]:,.0f}/s · {task.fields[rejected]:,} rejected ·"
            ),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None, packets=0, rate=0.0, rejected=0)
        self._packets = self._rejected = 0
        self._begun: float | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, total: int, processes: int) -> None:
        """Show what is to be done."""
        on = "one process" if processes == 1 else f"{processes} processes"
        self._begun = time.monotonic()
        self._progress.update(self._task, total=total, description=f"rescoring on {on}")

    def advance(self, passed: int, packets: int, rejected: int) -> None:
        """Show what is done."""
        self._packets += packets
        self._rejected += rejected
        rate = self._packets / max(self.seconds(), 1e-9)
        self._progress.update(self._task, advance=passed, packets=self._packets, rate=rate, rejected=self._rejected)

    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._begun if self._begun is not None else 0.0


def _tell_of_models(console: Console, registry: Registry, judged: set[str]) -> None:
    """Which models there are for surveys that have none here. They judge only where they are named."""
    for spec in registry.names():
        manifest = from_bytes((registry.path(spec) / "manifest.json").read_bytes())
        for survey in sorted(set(manifest["surveys"]) - judged):
            made = " from simulated alerts alone" if manifest["metrics"].get("judged_on") == "simulated" else ""
            advice = f"{spec} was made for {survey}{made}: --survey-model {survey}={spec}"
            console.print(advice, markup=False, highlight=False, soft_wrap=True)


def _tell(console: Console, summary: Summary, out: Path, seconds: float) -> None:
    """The end of the run, for people."""
    rate = f", {summary.fresh / seconds:,.0f} packets/s" if summary.fresh and seconds else ""
    again = (
        f" ({summary.packets - summary.fresh:,} of them by an earlier run)" if summary.fresh < summary.packets else ""
    )
    lines = [
        f"{summary.packets:,} packet{'s' * (summary.packets != 1)}{again} in {seconds:.1f} s{rate}",
        f"{summary.scored:,} scored, {summary.forwarded:,} of them to be forwarded",
        f"{sum(summary.rejected.values()):,} rejected" + _reasons(summary.rejected),
    ]
    lines += [f"{events:,} events" for events in [summary.events] if events]
    lines += [f"could not be told as an event: {why}" for why in summary.untold]
    lines += ["nothing was found: folders give their .avro files and tars"] * (not summary.packets)
    lines += [f"could not be read to its end: {archive}" for archive in summary.torn]
    console.print("\n".join([*lines, f"written: {out}"]), markup=False, highlight=False, soft_wrap=True)


def _reasons(rejected: Mapping[str, int]) -> str:
    """How many for which reason, the most frequent first."""
    ranked = sorted(rejected.items(), key=lambda entry: (-entry[1], entry[0]))
    return ": " + ", ".join(f"{count:,} {reason}" for reason, count in ranked) if ranked else ""
