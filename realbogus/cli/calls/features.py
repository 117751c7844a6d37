"""List the feature catalogue: what each number means, its unit, range, rule for NaN and source.

realbogus features                          the whole catalogue as a table
realbogus features --family B               one family
realbogus features --set full-1             the features of one set, in its order
realbogus features --markdown               the page of the documentation
realbogus features --json | jq .name        one JSON object a line
"""

from __future__ import annotations

import argparse

from realbogus.cli.calls.names import FAMILIES, FEATURE_SETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus features`."""
    parser.add_argument("--set", choices=FEATURE_SETS, help="only the features of this set, in its order")
    parser.add_argument("--family", choices=FAMILIES, help="only this family, by its letter")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print the page of the documentation")
    form.add_argument("--json", action="store_true", help="print one JSON object a line")
