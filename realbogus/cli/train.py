"""Train a model from labelled packets, from simulated nights, or from both.

How it is called: `realbogus.cli.calls.train`.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from realbogus.cli.examples import data_problems, progress_bar, read_examples
from realbogus.errors import ConfigError
from realbogus.features import FEATURE_SETS
from realbogus.model import Model, model_from
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.training.card import FIGURES, TITLES, figure, said_of
from realbogus.training.examples import Examples
from realbogus.training.fit import Recipe, train, transferred
from realbogus.training.package import package
from realbogus.training.search import Found, search, steps


def run(options: argparse.Namespace) -> int:
    """Read, judge, fit, write, tell."""
    problems = data_problems(options)
    if options.transfer and not (options.packets and options.simulated):
        problems.append("--transfer needs both, --simulated to fit and --packets to judge")
    if options.alike and (options.transfer or not (options.packets and options.simulated)):
        problems.append("--alike draws simulated alerts to stand beside packets: give both, without --transfer")
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
        alike=options.alike,
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
