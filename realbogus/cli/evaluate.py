"""Tell how good a model is: one self-contained page for people, one JSON object for machines.

    realbogus evaluate --packets packets/ztf --manifest manifest.csv --out report.html
    realbogus evaluate --simulated night/ --model mine/2 --against realbogus-ztf/1 --out report.html
    realbogus evaluate --packets new.tar --manifest new.csv --seen leave-out --quick --out report.html

The page needs no other file, no script and no network. Beside it lies the same as JSON (REPORT.json, or --json FILE);
one line of figures goes to stdout, talk to stderr.

A model is not judged on what it has learnt from. Rows that trained it, and those that share an exposure or an object
with them, are by default scored by forests of the same recipe that saw none of them (--seen refit). They can be left
out (--seen leave-out), or kept with a warning on the page (--seen keep). Other scores (rb, drb, braai, and models named
by --against, treated likewise) are compared on identical rows, with intervals from resampling exposures.

--quick leaves out what needs further fits: other splits, leakage, other methods, learning curve, wrong labels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from realbogus.alerts import Column
from realbogus.cli.examples import (
    add_data_arguments,
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
from realbogus.training.held_out import REFIT, SEEN, HeldOut, held_out, recipe_of
from realbogus.training.labelled import triplets_of
from realbogus.training.page import page
from realbogus.training.report import report, steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus evaluate`."""
    add_data_arguments(parser)
    judged = parser.add_argument_group("model")
    judged.add_argument("--model", metavar="MODEL", help="name/version or folder (default: the promoted one)")
    judged.add_argument("--against", nargs="+", default=[], metavar="MODEL", help="other models, on the same rows")
    judged.add_argument("--models", type=Path, metavar="DIR", help="where models are kept (default: the shipped ones)")
    judged.add_argument(
        "--seen", choices=SEEN, default=REFIT, help="what becomes of rows that trained a model (default: refit)"
    )
    written = parser.add_argument_group("report")
    written.add_argument("--out", type=Path, required=True, metavar="HTML", help="the page")
    written.add_argument("--json", type=Path, metavar="FILE", help="the same as JSON (default: beside the page)")
    written.add_argument("--quick", action="store_true", help="leave out what needs further fits")
    written.add_argument("--threads", type=int, default=2, metavar="N", help="does not change the result (default: 2)")


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
