"""The command line: a thin module a command, loaded only when its command is to do its work.

What a command says of itself, and its arguments, lie apart from it (`calls`), so that help is instant.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from realbogus import __version__
from realbogus.errors import ConfigError, RealbogusError, StreamError

COMMANDS = {
    "worker": "consume alerts from Kafka, score and annotate them, hand promising ones to the publisher",
    "publish": "drain the VOEvent outbox into its sinks: archive folder and Kafka topic",
    "ledger": "show, or prove, what became of every alert",
    "dlq": "look into the dead letters and parked alerts, and send them back",
    "exposures": "list exposures whose candidates are held, and release them",
    "subscribe": "follow published events: print, filter and save them, draw their cutouts",
    "rescore": "score archived packets from files, folders and tar nights",
    "nights": "tell the share of real in scored nights, and the cut for a follow-up budget",
    "labels": "import, settle and report labels of alerts",
    "train": "train a model from labelled packets or from the simulator",
    "evaluate": "tell how good a model is: one page and one JSON object",
    "compare": "compare two models on identical alerts",
    "models": "list, verify and promote models",
    "inspect": "print a packet and draw its triplet with score and contributions",
    "simulate": "make a night of alerts with known truth",
    "realism": "tell how far simulated alerts pass for real ones",
    "features": "list the feature catalogue",
    "config": "check a configuration, or print one to start from",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 = done, 1 = the work failed, 2 = the call was wrong, 130 = interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in arguments if not word.startswith("-")), None)
    parser = _parser(load=command)
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    options = parser.parse_args(arguments)
    logging.captureWarnings(True)
    try:
        code = int(importlib.import_module(f"realbogus.cli.{command}").run(options) or 0)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ConfigError as error:
        print("\n".join(f"realbogus: {problem}" for problem in error.problems), file=sys.stderr)
        return 2
    except StreamError as error:
        print(f"realbogus: {error}", file=sys.stderr)
        return error.exit_code
    except (RealbogusError, OSError) as error:
        print(f"realbogus: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser(load: str | None) -> argparse.ArgumentParser:
    """The parser of all commands, with the arguments of the one called."""
    parser = argparse.ArgumentParser(
        prog="realbogus",
        description="Real-time real/bogus classification of astronomical alert streams.",
        epilog="'realbogus COMMAND --help' explains a command, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"realbogus {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, line in COMMANDS.items():
        if name != load:
            commands.add_parser(name, help=line)
            continue
        call = importlib.import_module(f"realbogus.cli.calls.{name}")
        command = commands.add_parser(
            name, help=line, description=call.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        call.add_arguments(command)
    return parser
