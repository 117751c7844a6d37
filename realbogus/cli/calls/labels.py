"""Labels of alerts: import what others say, settle where they disagree, and see what may therefore not be a feature.

    realbogus labels import asteroids matches.csv --packets packets/ztf --out labels.jsonl
    realbogus labels import tns tns_public_objects.csv --packets packets/ztf --out labels.jsonl
    realbogus labels import vetting looks.csv --packets packets/ztf --out labels.jsonl
    realbogus labels import manifest manifest.csv --out labels.jsonl
    realbogus labels list labels.jsonl --source asteroid
    realbogus labels merge labels.jsonl others.jsonl --out merged.jsonl
    realbogus labels report labels.jsonl --feature-set fast-1
    realbogus train --packets packets/ztf --labels labels.jsonl --name mine --version 1

A journal is a file of claims, one JSON object a line, and only ever grows. A claim has a source, a confidence and a
time. The word of the higher source counts (simulated, spectrum, asteroid, tns, panel, vetting); among voices of one
source, the side with more confidence; alerts on which they are even get no label. Features that read a column from
which a source made its labels are refused in training; report names them.

Tables: asteroids has candid, ssdistnr, ssmagnr, magpsf; tns has ra, declination, discoverydate, type; vetting has
candid, label (real or bogus), and may have labeler, time, kind, confidence. With --packets the claims tell object,
exposure, night and part of the sky, without which training refuses them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from realbogus.cli.calls.names import FEATURE_SETS, IMPORTERS, SOURCES, SURVEYS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus labels`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    imported = actions.add_parser("import", help="add the claims of a table to a journal")
    imported.add_argument("what", choices=IMPORTERS, metavar="WHAT", help=", ".join(IMPORTERS))
    imported.add_argument("table", type=Path, metavar="CSV")
    imported.add_argument("--out", type=Path, required=True, metavar="JOURNAL", help="grows; need not exist")
    imported.add_argument("--packets", nargs="+", metavar="PATH", help="folders, globs, packets or tars of the alerts")
    imported.add_argument("--survey", choices=SURVEYS, default="ztf", help="(default: ztf)")
    imported.add_argument("--time", metavar="ISO", help="of the claims, where the table tells none (default: now)")
    imported.add_argument(
        "--position-only", action="store_true", help="asteroids: do not look at magnitudes, so that features may"
    )
    listed = actions.add_parser("list", help="the claims of journals")
    listed.add_argument("--source", choices=SOURCES, help="only these")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")
    merged = actions.add_parser("merge", help="settle journals into one claim an alert")
    merged.add_argument("--out", type=Path, required=True, metavar="JOURNAL", help="must not exist")
    reported = actions.add_parser("report", help="counts, disagreements, banned features; one JSON object")
    reported.add_argument("--feature-set", choices=FEATURE_SETS, help="(default: all)")
    for parser_ in (listed, merged, reported):
        parser_.add_argument("journals", nargs="+", type=Path, metavar="JOURNAL")
