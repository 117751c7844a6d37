"""Tell how far simulated alerts pass for real ones: a page for people, a JSON object for machines.

    realbogus realism --packets packets/ztf --manifest manifest.csv --simulated night/ --out realism.html
    realbogus realism --packets ztf.tar.xz --labels labels.jsonl --simulated a.tar b/ --out realism.html

For each class, extra trees try to tell real packets from simulated ones, by exposure: AUC 0.5 means that they cannot,
1 that they always can. The report names what separates most and draws the marginals of columns, noise, its correlation
and missing pixels; and it tells what a forest trained on the simulated alerts alone is worth on the real ones. Beside
the page lies the same as JSON. One line of figures goes to stdout.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from realbogus.cli.calls.data import add_data_arguments
from realbogus.cli.calls.names import FEATURE_SETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus realism`."""
    add_data_arguments(parser)
    parser.add_argument("--feature-set", choices=FEATURE_SETS, default="fast-1", help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="HTML", help="the page; the JSON lies beside it")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the forests (default: %(default)s)")
