"""Train a model from labelled packets, from simulated nights, or from both.

    realbogus train --packets packets/ztf --manifest manifest.csv --name mine --version 1
    realbogus train --simulated night/ --name simulated --version 1 --trees 300
    realbogus train --packets ztf.tar.xz --manifest manifest.csv --simulated a/ b/ --name both --version 2
    realbogus train --packets packets/ztf --labels labels.jsonl --name mine --version 2 --search 40

The model is judged on alerts held out by exposure, night, field, in later nights and at random, and beside other
methods on the same rows; then fitted on all and written to MODELS/NAME/VERSION with its card. Versions are never
overwritten. The same input, options and libraries give the same bytes. With packets, threshold, calibration and
results are of packets alone; simulated nights only help to fit, best with --alike 2000 --simulated-weight 0.3, which
draws for each forest those of their alerts that can hardly be told from packets. With --transfer they alone are fitted
and judged, and the card tells how the model does on the packets, none of which it has seen:

    realbogus train --simulated a/ b/ --transfer --packets packets/ztf --manifest manifest.csv --name made --version 1

--search tries other recipes first (kind, leaf size, features tried, class and S/N weights) and takes the best; the
whole search is run again inside folds, so that the card can tell what it really gains. A number of recipes gives the
same model again; of seconds, as 300s, the number that fits is taken and kept in the manifest.

--simulated takes what `realbogus simulate` writes: folders or tars of packets, with truth.csv in or beside them.
--manifest is a table with the columns candid, objectId, survey, jd, component, panel, panel_kind, label_source, braai,
rb and drb. One JSON object on stdout tells what was made; talk is on stderr. A new model does not serve yet: promote
it with `realbogus models promote NAME/VERSION`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from realbogus.cli.calls.data import add_data_arguments
from realbogus.cli.calls.names import FEATURE_SETS, KINDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus train`."""
    add_data_arguments(parser)
    made = parser.add_argument_group("model")
    made.add_argument("--name", required=True, help="of the model: small letters, digits, dots and dashes")
    made.add_argument("--version", required=True, help="of the model, likewise")
    made.add_argument("--models", type=Path, metavar="DIR", help="where models are kept (default: the shipped ones)")
    made.add_argument(
        "--transfer", action="store_true", help="fit on simulated nights alone; tell how that does on the packets"
    )
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--feature-set", choices=FEATURE_SETS, default="fast-2", help="(default: %(default)s)")
    recipe.add_argument("--kind", choices=KINDS, default="extra trees", help="of forest (default: %(default)s)")
    recipe.add_argument("--trees", type=int, default=400, metavar="N", help="(default: %(default)s)")
    recipe.add_argument("--least-leaf", type=int, default=2, metavar="N", help="rows in a leaf (default: %(default)s)")
    recipe.add_argument(
        "--boosted",
        type=int,
        default=100,
        metavar="N",
        help="trees of gradient boosting that make a quarter of the score; 0 = forest alone (default: %(default)s)",
    )
    recipe.add_argument(
        "--fpr", type=float, default=0.05, help="false positive rate of the threshold (default: %(default)s)"
    )
    recipe.add_argument(
        "--simulated-weight",
        type=float,
        default=1.0,
        metavar="X",
        help="of all simulated alerts, that of all packets being 1 (default: %(default)s)",
    )
    recipe.add_argument(
        "--alike",
        type=int,
        default=0,
        metavar="N",
        help="beside packets, draw this many simulated alerts for how like packets they look (default: take all)",
    )
    recipe.add_argument(
        "--bogus-weight",
        type=float,
        default=1.0,
        metavar="X",
        help="of all bogus, that of all real being 1",
    )
    recipe.add_argument("--faint-weight", type=float, default=1.0, metavar="X", help="of an alert with S/N below 7")
    recipe.add_argument(
        "--search", metavar="BUDGET", help="try other recipes first: a number of them, or seconds, as in 300s"
    )
    recipe.add_argument("--folds", type=int, default=10, metavar="N", help="(default: %(default)s)")
    recipe.add_argument("--seed", type=int, default=1, metavar="N", help="(default: %(default)s)")
    recipe.add_argument("--threads", type=int, default=2, metavar="N", help="does not change the result (default: 2)")
