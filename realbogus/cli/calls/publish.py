"""Drain the VOEvent outbox into its sinks: archive folder, Kafka topics, VOEvent brokers and subscribers, web pages.

    realbogus publish --config worker.toml
    realbogus publish --config worker.toml --until-idle 10
    realbogus publish retract ZTF26abcdefg --reason "a satellite" --config worker.toml
    realbogus publish retract 'ivo://org.example.survey/realbogus#ZTF26abcdefg_2879_forest_1.2.0_r0' \\
        --reason "a ghost" --config worker.toml
    realbogus publish parked --config worker.toml
    realbogus publish release --sink vtp --config worker.toml

The worker writes drafts of events to the outbox, a Kafka topic; this command checks each again, gives it its place
beside what was published of its object, enters it into the ledger and sends it to every sink of section [publish]. It
can be killed at any moment: nothing is lost, and what is sent again has the same id and the same bytes. One publisher
works on a ledger at a time; the actions may be called while it runs.

retract withdraws an event, or all events of an object that are in force, by events that cite them. parked lists what
sinks refused or failed to take too often, and what came from the outbox and will never be sent, a JSON object a line;
release lets parked events wait for their sinks again.

SIGTERM and Ctrl-C finish the batch and leave. The counts are printed as one JSON object at the end. Exit codes: 0 done,
1 the ledger is in use, 2 the call or the configuration has problems, 3 the stream cannot go on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

ONCE_S = 2.0  # s without an event after which --once leaves


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus publish` and its actions."""
    config_help = "configuration, section [publish]"
    parser.add_argument("--config", type=Path, metavar="FILE", help=config_help)
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--until-idle", type=float, metavar="S", help="leave when nothing came for so many seconds")
    end.add_argument(
        "--once", action="store_true", help=f"leave when the outbox is drained: nothing came for {ONCE_S:.0f} s"
    )
    parser.add_argument(
        "--retry-parked", action="store_true", help="first let parked events wait for their sinks again"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="without one: publish")
    retract = actions.add_parser("retract", help="withdraw an event, or all events of an object that are in force")
    retract.add_argument("name", metavar="IVORN|OBJECT", help="id of a published event, or name of an object")
    retract.add_argument("--reason", required=True, metavar="TEXT", help="why; receivers read it")
    actions.add_parser("parked", help="list what is parked or set aside")
    release = actions.add_parser("release", help="let parked events wait for their sinks again")
    release.add_argument("ivorn", nargs="?", default="", metavar="IVORN", help="only this event (default: all)")
    release.add_argument("--sink", default="", metavar="NAME", help="only at this sink (default: all)")
    for action in actions.choices.values():
        action.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=config_help)
