"""Show, or prove, what became of every alert, by night and topic.

    realbogus ledger --config worker.toml                     a table: consumed, scored, rejected, parked, duplicates
    realbogus ledger check --config worker.toml               the same, and exit code 1 where an alert has no end or two
    realbogus ledger check --config worker.toml --since 2026-11-20 --until 2026-11-21 --json

Nothing of it trusts the workers' own counts: it is made of the topics themselves. Annotations and dead letters name the
alert they came from; alerts that no result names are read again, and are duplicates where their candid is annotated, or
else missing. The stretch is what the input topics still hold, up to what the group has committed. A night goes from
noon to noon, UTC, by the timestamps of the alerts.

A group that was moved by --from has left alerts out on purpose: give the same time as --since. Exit codes: 0 balanced,
1 not, 2 the call is wrong, 3 no broker.
"""

from __future__ import annotations

import argparse

from realbogus.cli.calls.topics import add_config, add_times


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus ledger`."""
    parser.add_argument("action", nargs="?", choices=["show", "check"], default="show", help="(default: show)")
    add_config(parser)
    parser.add_argument("--topic", action="append", metavar="TOPIC", help="of these input topics only; repeatable")
    add_times(parser, "alerts")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
