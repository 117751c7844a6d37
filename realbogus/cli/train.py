"""Train a model from labelled packets, from simulated nights, or from both.

    realbogus train --packets packets/ztf --manifest manifest.csv --name mine --version 1
    realbogus train --simulated night/ --name simulated --version 1 --trees 300
    realbogus train --packets ztf.tar.xz --manifest manifest.csv --simulated a/ b/ --name both --version 2
    realbogus train --packets packets/ztf --labels labels.jsonl --name mine --version 2 --search 40

The model is judged on alerts held out by exposure, night, field, in later nights and at random, and beside other
methods on the same rows; then fitted on all and written to MODELS/NAME/VERSION with its card. Versions are never
overwritten. The same input, options and libraries give the same bytes. With packets, threshold, calibration and
results are of packets alone; simulated nights only help to fit. With --transfer they alone are fitted and judged, and
the card tells how the model does on the packets, none of which it has seen:

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
import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from realbogus.cli.examples import add_data_arguments, data_problems, progress_bar, read_examples
from realbogus.errors import ConfigError
from realbogus.features import FEATURE_SETS
from realbogus.model import Model, model_from
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.training.card import FIGURES, TITLES, figure, said_of
from realbogus.training.examples import Examples
from realbogus.training.fit import KINDS, Recipe, train, transferred
from realbogus.training.package import package
from realbogus.training.search import Found, search, steps

DEFAULT = Recipe()
FEATURES = "fast-2"
BOOSTED = 100  # see scripts/design/ranking.py


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
    recipe.add_argument("--feature-set", choices=FEATURE_SETS, default=_default_set(), help="(default: %(default)s)")
    recipe.add_argument("--kind", choices=KINDS, default=DEFAULT.kind, help="of forest (default: %(default)s)")
    recipe.add_argument("--trees", type=int, default=DEFAULT.trees, metavar="N", help="(default: %(default)s)")
    recipe.add_argument(
        "--least-leaf", type=int, default=DEFAULT.least_leaf, metavar="N", help="rows in a leaf (default: %(default)s)"
    )
    recipe.add_argument(
        "--boosted",
        type=int,
        default=BOOSTED,
        metavar="N",
        help="trees of gradient boosting that make a quarter of the score; 0 = forest alone (default: %(default)s)",
    )
    recipe.add_argument(
        "--fpr", type=float, default=DEFAULT.fpr, help="false positive rate of the threshold (default: %(default)s)"
    )
    recipe.add_argument(
        "--simulated-weight",
        type=float,
        default=DEFAULT.simulated_weight,
        metavar="X",
        help="of all simulated alerts, that of all packets being 1 (default: %(default)s)",
    )
    recipe.add_argument(
        "--bogus-weight",
        type=float,
        default=DEFAULT.bogus_weight,
        metavar="X",
        help="of all bogus, that of all real being 1",
    )
    recipe.add_argument(
        "--faint-weight", type=float, default=DEFAULT.faint_weight, metavar="X", help="of an alert with S/N below 7"
    )
    recipe.add_argument(
        "--search", metavar="BUDGET", help="try other recipes first: a number of them, or seconds, as in 300s"
    )
    recipe.add_argument("--folds", type=int, default=DEFAULT.folds, metavar="N", help="(default: %(default)s)")
    recipe.add_argument("--seed", type=int, default=DEFAULT.seed, metavar="N", help="(default: %(default)s)")
    recipe.add_argument("--threads", type=int, default=2, metavar="N", help="does not change the result (default: 2)")


def run(options: argparse.Namespace) -> int:
    """Read, judge, fit, write, tell."""
    problems = data_problems(options)
    if options.transfer and not (options.packets and options.simulated):
        problems.append("--transfer needs both, --simulated to fit and --packets to judge")
    if problems:
        raise ConfigError(problems)
    registry, spec = Registry(options.models or shipped("models")), f"{options.name}/{options.version}"
    registry.check_new(spec)
    recipe = Recipe(
        kind=options.kind,
        trees=options.trees,
        least_leaf=options.least_leaf,
        folds=options.folds,
        seed=options.seed,
        fpr=options.fpr,
        simulated_weight=options.simulated_weight,
        bogus_weight=options.bogus_weight,
        faint_weight=options.faint_weight,
        boosted=options.boosted,
    )
    _trials(options.search, 1.0)
    console = Console(stderr=True)
    with progress_bar(console) as progress:
        names = FEATURE_SETS[options.feature_set]
        table = read_examples(_with(options, packets=None) if options.transfer else options, names, progress)
        searched = _search(table, recipe, options, progress) if options.search else None
        recipe = searched.recipe if searched else recipe
        bar = progress.add_task("judging and fitting", total=recipe.steps())
        trained = train(table, recipe, lambda done: progress.update(bar, advance=1, description=done), options.threads)
        if searched:
            trained.metrics["search"] = searched.told
        if options.transfer:
            trained.metrics["transfer"] = transferred(
                trained, read_examples(_with(options, simulated=[]), names, progress)
            )
        progress.update(bar, completed=recipe.steps())
    files = package(options.name, options.version, options.feature_set, table, trained)
    model = model_from(files)
    folder = registry.add(spec, files)
    _tell(console, model)
    overall = model.manifest["metrics"]["splits"]["exposures"]["overall"]
    size = sum(map(len, files.values()))
    made = {"model": spec, "folder": str(folder), "sha256": model.id.sha256, "bytes": size}
    print(json.dumps(made | {name: overall[name]["value"] for name in said_of(model.manifest["metrics"])}))
    return 0


def _with(options: argparse.Namespace, **changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), **changes})


def _search(table: Examples, recipe: Recipe, options: argparse.Namespace, progress: Progress) -> Found:
    """The best recipe within the budget. Seconds become a number of trials, which the manifest keeps."""
    begun = time.monotonic()
    search(table, recipe, 1, threads=options.threads)
    trials = _trials(options.search, time.monotonic() - begun)
    bar = progress.add_task("search", total=steps(trials))
    return search(
        table, recipe, trials, lambda done: progress.update(bar, advance=1, description=done), options.threads
    )


def _trials(budget: str | None, seconds_each: float) -> int:
    """How many recipes a budget allows: "40" is forty, "300s" as many as take that long, one at least."""
    if budget is None:
        return 0
    number, timed = budget.removesuffix("s"), budget.endswith("s")
    if not number.isdigit() or not int(number):
        raise ConfigError([f"--search is {budget!r}; expected a number of recipes, as 40, or seconds, as 300s"])
    return max(1, int(int(number) / seconds_each)) if timed else int(number)


def _default_set() -> str:
    return FEATURES if FEATURES in FEATURE_SETS else next(iter(FEATURE_SETS))


def _tell(console: Console, model: Model) -> None:
    """The table of results, and where the card is."""
    metrics = model.manifest["metrics"]
    table = Table(title=f"{model.id.name}/{model.id.version}, judged on {metrics['judged_on']} held out")
    table.add_column("")
    for split in metrics["splits"]:
        table.add_column(TITLES[split])
    for name in said_of(metrics):
        table.add_row(FIGURES[name], *(figure(name, found["overall"][name]) for found in metrics["splits"].values()))
    console.print(table)
    threshold = model.manifest["threshold"]
    console.print(f"says real from score {threshold['score']:.6f}, at {100 * threshold['stated_fpr']:g} % FPR")
