"""Tell how good a model is: one self-contained page for people, one JSON object for machines.

How it is called: `realbogus.cli.calls.evaluate`.
"""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.progress import Progress

from realbogus.alerts import Column
from realbogus.cli.examples import (
    data_problems,
    find_model,
    messages,
    progress_bar,
    read_examples,
)
from realbogus.errors import ConfigError
from realbogus.model import Model
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.training.examples import Examples
from realbogus.training.held_out import HeldOut, held_out, recipe_of
from realbogus.training.labelled import triplets_of
from realbogus.training.pages.report import page
from realbogus.training.report import report, steps


def run(options: argparse.Namespace) -> int:
    """Read, judge, draw, tell."""
    problems = data_problems(options)
    if not options.out.resolve().parent.is_dir():
        problems.append(f"--out {options.out}: there is no folder {options.out.resolve().parent}")
    if problems:
        raise ConfigError(problems)
    registry, console = Registry(options.models or shipped("models")), Console(stderr=True)
    model = find_model(registry, options.model)
    others = [find_model(registry, spec) for spec in options.against]
    with progress_bar(console) as progress:
        tables = tables_for([model, *others], options, progress)
        judged = judge(model, tables[0], options, progress)
        rivals = {
            f"{other.id.name}/{other.id.version}": scores_on(judged, judge(other, table, options, progress))
            for other, table in zip(others, tables[1:], strict=True)
        }
        bar = progress.add_task("judging", total=steps(judged, options.quick))
        found = report(
            model,
            judged,
            rivals=rivals,
            quick=options.quick,
            tell=lambda done: progress.update(bar, advance=1, description=done),
            threads=options.threads,
        )
        progress.update(bar, total=1, completed=1, description="judged")
        pictured = [one for alerts in found["worst"].values() for one in alerts]
        pictured += found.get("novelty", {}).get("most", [])
        triplets = triplets_of(messages(options), {one["candid"] for one in pictured}, survey=options.survey)
    for warning in judged.warnings:
        console.print(f"note: {warning}", highlight=False, soft_wrap=True)
    beside = options.json or options.out.with_suffix(".json")
    options.out.write_text(page(found, triplets), encoding="utf-8")
    beside.write_text(json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    console.print(f"written: {options.out} and {beside}", highlight=False, soft_wrap=True)
    told = {name: figure["value"] for name, figure in found["figures"].items()}
    print(json.dumps({"model": f"{model.id.name}/{model.id.version}", "rows": len(judged.examples), **told}))
    return 0


def tables_for(models: list[Model], options: argparse.Namespace, progress: Progress) -> list[Examples]:
    """The same alerts measured once, with the features of each model."""
    names = tuple(dict.fromkeys(name for model in models for name in model.feature_names))
    whole = read_examples(options, names, progress)
    return [whole.with_features(model.feature_names) for model in models]


def judge(model: Model, table: Examples, options: argparse.Namespace, progress: Progress) -> HeldOut:
    """The scores of one model, held out as asked for."""
    bar = progress.add_task(f"scoring by {model.id.name}/{model.id.version}", total=recipe_of(model).folds)
    judged = held_out(
        model,
        table,
        treat_seen=options.seen,
        tell=lambda _: progress.update(bar, advance=1),
        threads=options.threads,
    )
    progress.update(bar, total=1, completed=1)
    return judged


def scores_on(rows: HeldOut, other: HeldOut) -> Column:
    """The other's score of each row, NaN where it left the row out."""
    by_candid = dict(zip(other.examples.candid.tolist(), other.score.tolist(), strict=True))
    return rows.examples.looked_up(by_candid)
