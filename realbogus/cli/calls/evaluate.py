"""Tell how good a model is: one self-contained page for people, one JSON object for machines.

    realbogus evaluate --packets packets/ztf --manifest manifest.csv --out report.html
    realbogus evaluate --simulated night/ --model mine/2 --against realbogus-ztf/1 --out report.html
    realbogus evaluate --packets new.tar --manifest new.csv --seen leave-out --quick --out report.html

The page needs no other file, no script and no network. Beside it lies the same as JSON (REPORT.json, or --json FILE);
one line of figures goes to stdout, talk to stderr.

A model is not judged on what it has learnt from. Rows that trained it, and those that share an exposure or an object
with them, are by default scored by forests of the same recipe that saw none of them (--seen refit). They can be left
out (--seen leave-out), or kept with a warning on the page (--seen keep). Other scores (rb, drb, braai, and models named
by --against, treated likewise) are compared on identical rows, with intervals from resampling exposures. Packets and
simulated nights together: packets are judged, and the simulated alerts help to fit models that learnt from such. Give
those it was trained on, or the forests of its recipe are others than its own.

--quick leaves out what needs further fits: other splits, leakage, other methods, learning curve, wrong labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from realbogus.cli.calls.data import add_data_arguments
from realbogus.cli.calls.names import SEEN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus evaluate`."""
    add_data_arguments(parser)
    judged = parser.add_argument_group("model")
    judged.add_argument("--model", metavar="MODEL", help="name/version or folder (default: the promoted one)")
    judged.add_argument("--against", nargs="+", default=[], metavar="MODEL", help="other models, on the same rows")
    judged.add_argument("--models", type=Path, metavar="DIR", help="where models are kept (default: the shipped ones)")
    judged.add_argument(
        "--seen", choices=SEEN, default=SEEN[0], help="what becomes of rows that trained a model (default: refit)"
    )
    written = parser.add_argument_group("report")
    written.add_argument("--out", type=Path, required=True, metavar="HTML", help="the page")
    written.add_argument("--json", type=Path, metavar="FILE", help="the same as JSON (default: beside the page)")
    written.add_argument("--quick", action="store_true", help="leave out what needs further fits")
    written.add_argument("--threads", type=int, default=2, metavar="N", help="does not change the result (default: 2)")
