"""Check a configuration, or print one to start from.

    realbogus config example > worker.toml     a commented configuration that passes the check
    realbogus config check worker.toml         all its problems at once, before anything connects

The environment counts as it would for the worker: REALBOGUS_INPUT_GROUP_ID and friends beat the file.
Exit codes: 0 the configuration is fine, 2 it has problems.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from realbogus import config
from realbogus.config.example import example
from realbogus.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus config`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser("check", help="report all problems of a configuration")
    check.add_argument("file", type=Path, help="the configuration, such as worker.toml")
    check.set_defaults(action=_check)
    actions.add_parser("example", help="print a commented configuration").set_defaults(action=_example)


def run(options: argparse.Namespace) -> int:
    """Run one action."""
    return int(options.action(options))


def _check(options: argparse.Namespace) -> int:
    problems: list[str] = []
    try:
        settings = config.load(options.file, os.environ)
    except ConfigError as error:
        problems += error.problems
    else:
        from realbogus.stream.kafka import property_problems

        problems += property_problems(settings.kafka)
    if problems:
        raise ConfigError(problems)
    print(f"{options.file}: no problems found", file=sys.stderr)
    return 0


def _example(options: argparse.Namespace) -> int:
    print(example(), end="")
    return 0
