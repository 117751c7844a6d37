"""Make a night of alerts with known truth: frames are painted, exposed, spoilt, subtracted and searched.

    realbogus simulate --alerts 2000 --seed 1 --out night/
    realbogus simulate --alerts 20000 --seed 2 --jobs 2 --out night.tar.gz --truth truth.csv
    realbogus simulate --alerts 500 --kafka 127.0.0.1:9092 --topic ztf_20261122_programid1 --rate 50
    realbogus simulate --alerts 5000 --seed 3 --recipe windy --raw --out unvetted/

    realbogus simulate --survey rubin --alerts 2000 --seed 4 --out rubin-night/

The packets follow ZTF's schema 4.02 in every field, or Rubin's 11.0; ZTF objects are named SIM..., the publisher is
"realbogus simulation", and the survey's own scores (rb and drb, reliability) are null. The table of truth (beside the
packets as truth.csv unless --truth says otherwise) has a row per packet: candid, real (1 or 0), kind, snr, exposure,
night and so on.

Equal calls give equal bytes, whatever --jobs is. How the frames are made: docs/simulation.md.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from realbogus.config.sections import KafkaSettings
from realbogus.errors import ConfigError
from realbogus.nights import Output, open_packets, open_truth
from realbogus.simulation import RECIPES, Simulated, night
from realbogus.stream.protocols import Record, Sink

FLUSH_EVERY = 200  # records
OF_SURVEY = {"ztf": "palomar", "rubin": "pachon"}  # the recipe that stands for each


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus simulate`."""
    parser.add_argument("--alerts", type=_positive, default=2000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all randomness (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="PATH", help="a folder, or a file that ends in .tar or .tar.gz")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="table of truth (default: truth.csv beside --out)")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="also, or instead, send the packets to this cluster")
    parser.add_argument("--topic", metavar="NAME", help="topic to send them to")
    parser.add_argument("--rate", type=_rate, metavar="R", help="alerts a second to send (default: as they come)")
    parser.add_argument("--jobs", type=_positive, default=1, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument("--survey", choices=sorted(OF_SURVEY), default="ztf", help="whose packets (default: ztf)")
    parser.add_argument("--recipe", choices=sorted(RECIPES), help="which telescope (default: the survey's own)")
    parser.add_argument("--raw", action="store_true", help="give all detections, without the survey's first loose cuts")


def run(options: argparse.Namespace) -> int:
    """Make the night, show the progress, tell what it holds."""
    _check(options)
    recipe = RECIPES[options.recipe or OF_SURVEY[options.survey]](vetted=not options.raw)
    if recipe.survey != options.survey:
        raise ConfigError([f"the recipe {recipe.name} makes packets of {recipe.survey}, not of {options.survey}"])
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


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return rate
