"""List, show, verify, promote, roll back and import models.

    realbogus models list                       every model; the current one is marked
    realbogus models show                       the card of the current model
    realbogus models show mine/2 --manifest     the whole manifest of another, as JSON
    realbogus models verify mine/2              load with every check: hashes, structure, features, golden scores
    realbogus models promote mine/2 --why "new season"
    realbogus models rollback --why "too many forwarded"
    realbogus models import forest.joblib --help   a forest of scikit-learn's that was fitted elsewhere

Promotion moves one line in MODELS/current, after verifying; workers pick it up between batches. Every change is kept in
MODELS/log.jsonl. list prints a table, or with --json one JSON object a line.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from realbogus.cli.calls import importing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus models`."""
    parser.add_argument("--models", type=Path, metavar="DIR", help="where models are kept (default: the shipped ones)")
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listed = actions.add_parser("list", help="every model; the current one is marked")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")
    shown = actions.add_parser("show", help="a model's card")
    shown.add_argument("model", nargs="?", metavar="NAME/VERSION", help="(default: the current one)")
    shown.add_argument("--manifest", action="store_true", help="its manifest instead, as JSON")
    verified = actions.add_parser("verify", help="load with every check")
    verified.add_argument("model", nargs="*", metavar="NAME/VERSION", help="(default: all)")
    promoted = actions.add_parser("promote", help="make a model current")
    promoted.add_argument("model", metavar="NAME/VERSION")
    back = actions.add_parser("rollback", help="go back to the model that was current before")
    theirs = actions.add_parser(
        "import",
        help="a forest fitted elsewhere, from a pickle",
        description=importing.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    importing.add_arguments(theirs)
    for parser_ in (promoted, back):
        parser_.add_argument("--why", default="", metavar="TEXT", help="for the log")
        parser_.add_argument("--who", default="", metavar="NAME", help="for the log (default: the user's name)")
