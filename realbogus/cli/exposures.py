"""List the exposures whose candidates are held, and release them.

How it is called: `realbogus.cli.calls.exposures`.
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

from realbogus.cli.looking import PATIENCE_S, looking, print_rows, read_shown
from realbogus.config import Settings
from realbogus.errors import ConfigError
from realbogus.stream.holds import Hold, holds, release
from realbogus.stream.kafka import KafkaTransactions
from realbogus.stream.log import Log


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
