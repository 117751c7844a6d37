"""Look into the dead letters and the parked alerts, and send them back.

    realbogus dlq list --config worker.toml                       how many, by night, topic, reason and schema
    realbogus dlq list --config worker.toml --reason malformed --rows --limit 20
    realbogus dlq show alerts.dlq/0/17 --config worker.toml       headers, what can be read of it, its first bytes
    realbogus dlq show alerts.dlq/0/17 --config worker.toml --save packet.avro
    realbogus dlq replay --config worker.toml --reason unknown_schema --dry-run
    realbogus dlq replay --config worker.toml --reason unknown_schema --since 2026-11-20

replay writes the alerts, as they came, to the input topics that they were read from, where the worker finds them; with
--to into another topic, which must then be in input.topics, for example where the survey's own topics cannot be
written to. Each keeps count of its attempts. An alert replayed twice, or one that was annotated before, gets the same
annotation_id and event id again, so that replays do no harm. Letters stay where they are.

list prints a table, or with --json one JSON object a line. Exit codes: 0 done, 2 the call is wrong, 3 no broker.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from realbogus.cli.calls.names import DISPOSITIONS
from realbogus.cli.calls.topics import add_config, add_times
from realbogus.errors import Reason

MOST_ATTEMPTS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus dlq`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listed = actions.add_parser("list", help="what there is, counted or a row each")
    add_config(listed)
    _add_filters(listed)
    listed.add_argument("--rows", action="store_true", help="a row a letter instead of counts")
    listed.add_argument("--limit", type=int, default=100, metavar="N", help="rows at most (default: 100)")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")
    shown = actions.add_parser("show", help="one letter")
    shown.add_argument("place", metavar="TOPIC/PARTITION/OFFSET", help="as 'list --rows' tells it")
    add_config(shown)
    shown.add_argument("--save", type=Path, metavar="FILE", help="write its bytes to a file")
    again = actions.add_parser("replay", help="send letters back to be scored")
    add_config(again)
    _add_filters(again)
    again.add_argument("--to", default="", metavar="TOPIC", help="write there (default: the topic each came from)")
    again.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    again.add_argument(
        "--max-attempts", type=int, default=MOST_ATTEMPTS, metavar="N", help="leave out what was dead more often"
    )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topic", action="append", metavar="TOPIC", help="of these topics of letters only; repeatable")
    parser.add_argument("--reason", action="append", choices=[reason.value for reason in Reason], help="repeatable")
    parser.add_argument("--disposition", action="append", choices=DISPOSITIONS, help="repeatable")
    parser.add_argument(
        "--schema", default="", metavar="TEXT", help="part of what the schema is called, as in 'id 905'"
    )
    add_times(parser, "alerts")
