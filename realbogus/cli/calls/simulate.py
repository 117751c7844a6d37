"""Make a night of alerts with known truth: frames are painted, exposed, spoilt, subtracted and searched.

    realbogus simulate --alerts 2000 --seed 1 --out night/
    realbogus simulate --alerts 20000 --seed 2 --jobs 2 --out night.tar.gz --truth truth.csv
    realbogus simulate --alerts 500 --kafka 127.0.0.1:9092 --topic ztf_20261122_programid1 --rate 50
    realbogus simulate --alerts 5000 --seed 3 --recipe windy --raw --out unvetted/
    realbogus simulate --alerts 10000 --seed 5 --events 1/12 --jobs 2 --out sky/
    realbogus simulate --survey rubin --alerts 2000 --seed 4 --out rubin-night/

The packets follow ZTF's schema 4.02 in every field, or Rubin's 11.0; ZTF objects are named SIM..., the publisher is
"realbogus simulation", and the survey's own scores (rb and drb, reliability) are null. The table of truth (beside the
packets as truth.csv unless --truth says otherwise) has a row per packet: candid, real (1 or 0), kind, snr, exposure,
night and so on.

A recipe has some twelve times the variables, transients and asteroids of the sky, which saves frames: two alerts of
three are real. --events 1/12 has about as many as the sky: one alert of nine is real, one of a hundred with --raw.
Judge models on such nights: bogus are more, more varied, and seldom beside a true change.

Equal calls give equal bytes, whatever --jobs is. How the frames are made: docs/simulation.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from realbogus.cli.calls.names import RECIPES, SURVEYS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus simulate`."""
    parser.add_argument("--alerts", type=_positive, default=2000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all randomness (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="PATH", help="a folder, or a file that ends in .tar or .tar.gz")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="table of truth (default: truth.csv beside --out)")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="also, or instead, send the packets to this cluster")
    parser.add_argument("--topic", metavar="NAME", help="topic to send them to")
    parser.add_argument("--rate", type=_rate, metavar="R", help="alerts a second to send (default: as they come)")
    parser.add_argument("--jobs", type=_positive, default=1, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument("--survey", choices=SURVEYS, default="ztf", help="whose packets (default: ztf)")
    parser.add_argument("--recipe", choices=RECIPES, help="which telescope (default: the survey's own)")
    parser.add_argument(
        "--events",
        type=_share,
        default=1.0,
        metavar="SHARE",
        help="share of the recipe's true changes, as 1/12 (default: all)",
    )
    parser.add_argument("--raw", action="store_true", help="give all detections, without the survey's first loose cuts")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _share(text: str) -> float:
    over, _, under = text.partition("/")
    try:
        share = float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text} is not a share, such as 1/12 or 0.1") from None
    if not 0 < share <= 10:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 10")
    return share


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return rate
