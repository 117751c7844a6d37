"""What scored nights hold: their share of real alerts, and the cut for a budget, a purity or a false positive rate.

    realbogus rescore 2026-11/*.tar --out november.parquet
    realbogus nights november.parquet                            the share of real in each night
    realbogus nights november.parquet --budget 50                the cut that passes 50 alerts a night
    realbogus nights november.parquet --purity 0.9 --out restated.parquet
    realbogus nights november.parquet --fpr 0.01 --survey ztf

Takes what `realbogus rescore` writes (.parquet, .csv, .jsonl). No label is needed: the share of real in a night is
estimated from p_real alone (expectation maximisation, Saerens et al. 2002, kept between 0.0001 and 0.9), and p_real is
restated at it. --out writes the table again with the columns prior_night and p_real_night.

One JSON object a night goes to stdout, then one with the cut: expected alerts a night, purity, completeness and FPR,
with the intervals that a single night like these will keep to. Write the cut into the configuration:

    [policy]
    threshold = 0.873421

so that decisions stay a function of the alert alone, and change only when you say so.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus nights`."""
    parser.add_argument("scores", nargs="+", type=Path, metavar="TABLE", help="what `realbogus rescore` wrote")
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument("--budget", type=float, metavar="N", help="alerts a night that you can follow")
    wanted.add_argument("--purity", type=float, metavar="X", help="share of real among what passes, 0 to 1")
    wanted.add_argument("--fpr", type=float, metavar="X", help="share of bogus that may pass, 0 to 1")
    parser.add_argument("--survey", metavar="NAME", help="whose alerts, where the table holds several surveys")
    parser.add_argument("--model", metavar="MODEL", help="that scored them (default: the one the table names)")
    parser.add_argument("--models", type=Path, metavar="DIR", help="where models are kept (default: the shipped ones)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the table again, with p_real of each night's prior")
