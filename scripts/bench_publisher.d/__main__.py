"""Measure the publisher: what an event costs, how many a second, how soon receivers have them.

    scripts/bench_publisher                      about a minute
    scripts/bench_publisher --memory-only        without a broker: costs alone
    scripts/bench_publisher --json publisher.json

Costs are CPU time of one core and taken by turns; latency is from the commit of a transaction with one event in it to a
subscriber by VTP, a consumer of the Kafka topic and a follower by HTTP, at a steady rate, everything on this machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path

from costs import costs
from latency import latencies
from publisher_cases import broker
from rich.console import Console
from rich.table import Table


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench_publisher", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--memory-only", action="store_true", help="leave out everything that needs a broker")
    parser.add_argument("--rounds", type=int, default=7, help="of 200 events each, for the costs (default: 7)")
    parser.add_argument("--events", type=int, default=300, metavar="N", help="for the latency (default: 300)")
    parser.add_argument("--rate", type=float, default=10.0, metavar="R", help="events a second (default: 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers, too")
    options = parser.parse_args()
    logging.getLogger("realbogus").setLevel(logging.ERROR)
    console, talk = Console(), Console(stderr=True)
    with talk.status("costs"):
        found = {"us_per_event": costs(options.rounds)}
    _show_costs(console, found["us_per_event"])
    if not options.memory_only:
        with talk.status("latency"):
            late = _through_a_broker(options)
        found["latency_ms"] = {name: _summary(times) for name, times in late.items()}
        _show_latency(console, found["latency_ms"], options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _through_a_broker(options: argparse.Namespace) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory(prefix="realbogus-bench-") as scratch:
        folder = Path(scratch)
        with broker(folder / "kafka") as bootstrap:
            return latencies(bootstrap, folder, events=options.events, rate=options.rate)


def _summary(times: list[float]) -> dict[str, float]:
    return {
        "median": round(1000 * times[len(times) // 2], 1),
        "p99": round(1000 * times[min(len(times) - 1, int(0.99 * len(times)))], 1),
        "longest": round(1000 * times[-1], 1),
    }


def _show_costs(console: Console, told: dict[str, float]) -> None:
    table = Table("way", "us an event", "events/s a core", title="CPU time")
    for name, us in told.items():
        table.add_row(name, f"{us:.0f}", f"{1e6 / us:,.0f}")
    console.print(table)


def _show_latency(console: Console, told: dict[str, dict[str, float]], options: argparse.Namespace) -> None:
    table = Table(
        "receiver", "median", "p99", "longest", title=f"ms from commit, {options.events} events at {options.rate:g}/s"
    )
    for name, one in told.items():
        table.add_row(name, *(f"{one[key]:.1f}" for key in ("median", "p99", "longest")))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
