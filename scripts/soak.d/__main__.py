"""A week of nights in minutes, on Apache Kafka: nothing may be lost or done twice, and memory must not grow.

    scripts/soak                            2 000 000 alerts over seven nights; a quarter of an hour on two cores
    scripts/soak --short                    20 000 over three; about a minute
    scripts/soak --n 500000 --nights 4 --workers 4 --plot out/soak.svg --json out/soak.json

`realbogus worker --processes N` runs from the first night to the last as it does in life: exactly once, with events,
metrics that are scraped, and input.pattern for a topic a night. The clock of its processes jumps from night to night;
the topic of a night is made while they idle by day, and found without a restart. Among the alerts are repeats, damaged
ones and some of an unknown schema. By day `realbogus ledger check` must find every alert of the night with one end, as
many of each kind as were sent. Topics are deleted once their night is out of sight. Memory is read from /proc once a
second; the straight line through the second half must not rise by more than --bound. It is level from some 50 000
alerts on, so that --short finds only what doubles it.

Exit codes: 0 all of it holds, 1 something is violated, 3 there is no Apache Kafka.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "chaos.d"), str(HERE.parent / "bench.d")]  # alerts and broker; how to read /proc

from memory import draw  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402
from soak import Plan, Verdict, run  # noqa: E402


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that workers and broker are ended too
    plan = Plan(options.n, options.nights, options.workers, options.bound)
    console = Console(stderr=True, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="realbogus-soak-"))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    kept = True
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("making alerts", total=plan.alerts)
            verdict = run(plan, folder, options.seed, lambda what, n: bar.update(task, description=what, completed=n))
        kept = bool(verdict.problems)
    finally:
        if kept:
            console.print(f"logs are in {folder}")
            shutil.rmtree(folder / "kafka", ignore_errors=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    tell(verdict, options, console)
    return 1 if verdict.problems else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, help="alerts (default: 2000000)")
    parser.add_argument("--nights", type=int, choices=range(1, 8), metavar="1-7", help="(default: 7)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--seed", type=int, default=1, help="of the alerts (default: 1)")
    parser.add_argument("--short", action="store_true", help="20 000 alerts, three nights, bound 1")
    parser.add_argument(
        "--bound", type=float, metavar="SHARE",
        help="by which memory may grow over the second half (default: 0.05)",
    )  # fmt: skip
    parser.add_argument("--plot", type=Path, metavar="FILE", help="memory curve, PNG or SVG (default: out/soak.png)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the numbers (default: beside the curve)")
    options = parser.parse_args()
    options.n = options.n or (20_000 if options.short else 2_000_000)
    options.nights = options.nights or (3 if options.short else 7)
    options.bound = options.bound or (1.0 if options.short else 0.05)
    options.plot = options.plot or Path("out/soak.png")
    options.json = options.json or options.plot.with_suffix(".json")
    return options


def tell(verdict: Verdict, options: argparse.Namespace, console: Console) -> None:
    """The curve, the numbers, and one line."""
    draw(verdict.memory, verdict.title(), options.plot)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(verdict.as_dict(), indent=1) + "\n")
    console.print(f"memory curve: {options.plot}; numbers: {options.json}")
    for problem in verdict.problems:
        console.print(f"VIOLATED: {problem}")
    print(verdict.line())


if __name__ == "__main__":
    sys.exit(main())
