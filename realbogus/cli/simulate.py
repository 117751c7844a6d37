"""Make a night of alerts with known truth: frames are painted, exposed, spoilt, subtracted and searched.

How it is called: `realbogus.cli.calls.simulate`.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from realbogus.config.sections import KafkaSettings
from realbogus.errors import ConfigError
from realbogus.nights import Output, open_packets, open_truth
from realbogus.simulation import RECIPES, Simulated, night, with_events
from realbogus.stream.protocols import Record, Sink

FLUSH_EVERY = 200  # records
OF_SURVEY = {"ztf": "palomar", "rubin": "pachon"}  # the recipe that stands for each


def run(options: argparse.Namespace) -> int:
    """Make the night, show the progress, tell what it holds."""
    _check(options)
    recipe = RECIPES[options.recipe or OF_SURVEY[options.survey]](vetted=not options.raw)
    if recipe.survey != options.survey:
        raise ConfigError([f"the recipe {recipe.name} makes packets of {recipe.survey}, not of {options.survey}"])
    recipe = with_events(recipe, options.events)
    alerts = night(options.seed, alerts=options.alerts, recipe=recipe, jobs=options.jobs)
    began = time.monotonic()
    with ExitStack() as stack:
        outputs = _outputs(options, stack)
        kinds = _write_all(alerts, outputs, options.alerts)
    _tell(kinds, time.monotonic() - began, options)
    return 0


class KafkaOutput:
    """Sends packets to a topic, at a steady rate where one is given."""

    def __init__(self, sink: Sink, topic: str, rate: float | None) -> None:
        self.sink, self.topic, self.gap = sink, topic, 1.0 / rate if rate else 0.0
        self.sent, self.next = 0, time.monotonic()

    def write(self, alert: Simulated) -> None:
        """Send one packet when its time has come."""
        now = time.monotonic()
        if self.next > now:
            time.sleep(self.next - now)
        self.next = max(self.next + self.gap, now)
        self.sink.send(Record(self.topic, str(alert.truth.candid).encode(), alert.packet))
        self.sent += 1
        if self.sent % FLUSH_EVERY == 0:
            self.sink.flush()


def _check(options: argparse.Namespace) -> None:
    """Report all that is wrong with the call."""
    problems = []
    if options.out is None and options.kafka is None:
        problems.append("nothing to do: give --out, --kafka, or both")
    if (options.kafka is None) != (options.topic is None):
        problems.append("--kafka and --topic belong together")
    if options.rate is not None and options.kafka is None:
        problems.append("--rate is for --kafka")
    if problems:
        raise ConfigError(problems)


def _outputs(options: argparse.Namespace, stack: ExitStack) -> list[Output]:
    """Open everything that the packets go to."""
    outputs: list[Output] = []
    truth = options.truth
    if options.out is not None:
        outputs.append(stack.enter_context(open_packets(options.out)))
        beside = options.out if options.out.is_dir() else options.out.parent
        truth = truth or beside / "truth.csv"
    if truth is not None:
        outputs.append(stack.enter_context(open_truth(truth)))
        options.truth = truth
    if options.kafka is not None:
        outputs.append(_kafka(options, stack))
    return outputs


def _kafka(options: argparse.Namespace, stack: ExitStack) -> KafkaOutput:
    from realbogus.stream.kafka import KafkaSink  # only here, so that files can be made without Kafka's client

    sink = KafkaSink(KafkaSettings(bootstrap=options.kafka))
    stack.callback(sink.close)
    sink.prepare([options.topic])
    stack.callback(sink.flush)
    return KafkaOutput(sink, options.topic, options.rate)


def _write_all(alerts: Iterator[Simulated], outputs: list[Output], expected: int) -> Counter[tuple[bool, str]]:
    """Give each alert to all outputs; count what they are."""
    kinds: Counter[tuple[bool, str]] = Counter()
    with _progress() as progress:
        task = progress.add_task("painting frames", total=expected)
        for alert in alerts:
            for output in outputs:
                output.write(alert)
            kinds[alert.truth.real, alert.truth.kind] += 1
            progress.advance(task)
    return kinds


def _progress() -> Progress:
    columns: list[Any] = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))


def _tell(kinds: Counter[tuple[bool, str]], seconds: float, options: argparse.Namespace) -> None:
    """What was made, on stderr."""
    count, real = sum(kinds.values()), sum(n for (is_real, _), n in kinds.items() if is_real)
    parts = ", ".join(f"{kind} {n}" for (_, kind), n in sorted(kinds.items(), key=lambda item: (-item[0][0], -item[1])))
    say = Console(stderr=True, highlight=False, soft_wrap=True).print
    say(f"{count} alerts in {seconds:.1f} s: {real} real, {count - real} bogus ({parts})")
    if options.out is not None:
        say(f"packets in {options.out}")
    if options.truth is not None:
        say(f"truth in {options.truth}")
    if options.kafka is not None:
        say(f"packets sent to {options.topic} at {options.kafka}")
