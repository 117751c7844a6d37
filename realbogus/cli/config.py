"""Check a configuration, or print one to start from.

How it is called: `realbogus.cli.calls.config`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from realbogus import config
from realbogus.config.example import example
from realbogus.errors import ConfigError


def run(options: argparse.Namespace) -> int:
    """Run one action."""
    if options.action == "example":
        print(example(), end="")
    else:
        _check(options.file)
    return 0


def _check(file: Path) -> None:
    problems: list[str] = []
    try:
        settings = config.load(file, os.environ)
    except ConfigError as error:
        problems += error.problems
    else:
        from realbogus.stream.kafka import property_problems

        problems += property_problems(settings.kafka)
    if problems:
        raise ConfigError(problems)
    print(f"{file}: no problems found", file=sys.stderr)
