"""Compare two models on identical alerts, neither on what it has learnt from.

    realbogus compare mine/2 realbogus-ztf/1 --packets packets/ztf --manifest manifest.csv
    realbogus compare mine/2 mine/1 --simulated night/ --json

Rows that trained a model are scored by forests of its recipe that saw none of their group, as in `realbogus evaluate`.
Differences are A minus B, paired, with 95 % intervals from resampling exposures; "better" or "worse" is said only where
the interval leaves out zero. The table goes to stdout, or with --json one object.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from realbogus.cli.calls.data import add_data_arguments
from realbogus.cli.calls.names import SEEN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus compare`."""
    parser.add_argument("first", metavar="A", help="name/version or folder of a model")
    parser.add_argument("second", metavar="B", help="likewise")
    add_data_arguments(parser)
    parser.add_argument("--models", type=Path, metavar="DIR", help="where models are kept (default: the shipped ones)")
    parser.add_argument(
        "--seen", choices=SEEN, default=SEEN[0], help="what becomes of rows that trained a model (default: refit)"
    )
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="does not change the result (default: 2)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
