"""Check a configuration, or print one to start from.

    realbogus config example > worker.toml     a commented configuration that passes the check
    realbogus config check worker.toml         all its problems at once, before anything connects

The environment counts as it would for the worker: REALBOGUS_INPUT_GROUP_ID and friends beat the file.
Exit codes: 0 the configuration is fine, 2 it has problems.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus config`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    check = actions.add_parser("check", help="report all problems of a configuration")
    check.add_argument("file", type=Path, help="the configuration, such as worker.toml")
    actions.add_parser("example", help="print a commented configuration")
