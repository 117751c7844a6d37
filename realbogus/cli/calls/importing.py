"""`realbogus models import`: a forest fitted elsewhere becomes a model of ours, judged on labelled packets.

    realbogus models import forest.joblib --i-trust-this-pickle --feature-set fast-1 \\
        --packets packets/ztf --manifest manifest.csv --name theirs --version 1

The file is unpickled in a process of its own, which writes plain arrays; these are checked like any model's. The forest
must be a RandomForestClassifier or ExtraTreesClassifier of two classes, the larger of which is real, fitted on the
features of the set in its order. Labelled packets calibrate it and choose its threshold; whether it has seen them,
nobody can know, and its card says so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from realbogus.cli.calls.data import add_data_arguments
from realbogus.cli.calls.names import FEATURE_SETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus models import`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="what joblib.dump or pickle wrote")
    parser.add_argument("--i-trust-this-pickle", action="store_true", help="reading it runs whatever it holds")
    parser.add_argument("--feature-set", choices=FEATURE_SETS, required=True, help="that it was fitted on")
    parser.add_argument("--name", required=True, help="of the new model")
    parser.add_argument("--version", required=True, help="of the new model")
    parser.add_argument("--fpr", type=float, default=0.05, help="false positive rate of the threshold (default: 0.05)")
    add_data_arguments(parser)
