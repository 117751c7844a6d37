"""List the exposures whose candidates are held, and release them.

    realbogus exposures list --config worker.toml
    realbogus exposures release ztf/61000.25123 --config worker.toml
    realbogus exposures release --all --config worker.toml

An exposure with many times the usual number of candidates, or with scores unlike the usual ones, is held by the worker:
its alerts are annotated with the decision "hold" and the header held_by, and its events wait in the topic
exposures.held. release hands these events to the publisher, each once. To withhold them for good, do nothing.

What is still to come of an exposure after its release is held anew, and listed again. list prints a table, or with
--json one JSON object a line. Exit codes: 0 done, 1 the release failed halfway (call it again), 2 the call is wrong,
3 no broker.
"""

from __future__ import annotations

import argparse
import getpass
import json
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.progress import track

from realbogus.cli.looking import PATIENCE_S, add_config, looking, print_rows, read_shown
from realbogus.config import Settings
from realbogus.errors import ConfigError
from realbogus.stream.holds import Hold, holds, release
from realbogus.stream.kafka import KafkaTransactions
from realbogus.stream.log import Log


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus exposures`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listed = actions.add_parser("list", help="exposures that are or were held")
    add_config(listed)
    listed.add_argument("--waiting", action="store_true", help="only those with events that wait")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")
    released = actions.add_parser("release", help="hand their events to the publisher")
    released.add_argument("exposure", nargs="*", metavar="EXPOSURE", help="as 'list' tells it, such as ztf/61000.25123")
    add_config(released)
    released.add_argument("--all", action="store_true", help="all that wait")
    released.add_argument("--who", default="", metavar="NAME", help="kept with the release (default: the user's name)")


def run(options: argparse.Namespace) -> int:
    """Do one of the actions."""
    with looking(options) as (settings, log):
        return (_list if options.action == "list" else _release)(options, settings, log)


def found_holds(settings: Settings, log: Log) -> dict[str, Hold]:
    """Every exposure that the topic of held events knows."""
    return holds(read_shown(log, log.extent([settings.exposures.held]), "reading held events"))


def _list(options: argparse.Namespace, settings: Settings, log: Log) -> int:
    rows = [hold.as_dict() for hold in found_holds(settings, log).values() if hold.waiting or not options.waiting]
    print_rows(rows, as_json=options.json, nothing="no exposure is held")
    return 0


def _release(options: argparse.Namespace, settings: Settings, log: Log) -> int:
    # First the sink: it fences off any other release, so that what is seen afterwards is what is left to do.
    transactional_id = f"rb-release-{settings.exposures.held}"
    opened = KafkaTransactions(settings.kafka, transactional_id=transactional_id, patience_s=PATIENCE_S, create=False)
    with closing(opened) as sink:
        known = found_holds(settings, log)
        chosen = _chosen(options, known)
        who, told = options.who or getpass.getuser(), dict[str, Any]()
        console = Console(stderr=True)
        for hold in track(chosen, "releasing", console=console, transient=True, disable=not console.is_terminal):
            told[hold.exposure] = sum(release(log, sink, hold, settings.publish.outbox, who))
    print(json.dumps({"released": told}))
    return 0


def _chosen(options: argparse.Namespace, known: dict[str, Hold]) -> Sequence[Hold]:
    if options.all == bool(options.exposure):
        raise ConfigError(["name the exposures to release, or say --all"])
    if unknown := [name for name in options.exposure if name not in known]:
        raise ConfigError([f"{name} is not held; see 'realbogus exposures list'" for name in unknown])
    wanted = list(known) if options.all else options.exposure
    return [known[name] for name in wanted if known[name].waiting]
