"""The arguments that say where labelled packets are."""

from __future__ import annotations

import argparse
from pathlib import Path

from realbogus.cli.calls.names import SURVEYS


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Where labelled packets and simulated nights are."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--packets", nargs="+", metavar="PATH", help="folders, globs, packets or tars of labelled packets"
    )
    data.add_argument("--manifest", type=Path, metavar="CSV", help="their labels, as a table")
    data.add_argument(
        "--labels", nargs="+", type=Path, metavar="JOURNAL", default=[], help="their labels, of `realbogus labels`"
    )
    data.add_argument(
        "--simulated", nargs="+", type=Path, metavar="PATH", default=[], help="simulated nights with truth"
    )
    data.add_argument("--survey", choices=SURVEYS, default="ztf", help="whose alerts (default: ztf)")
