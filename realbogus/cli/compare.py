"""Compare two models on identical alerts, neither on what it has learnt from.

How it is called: `realbogus.cli.calls.compare`.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from realbogus.cli.evaluate import judge, tables_for
from realbogus.cli.examples import data_problems, find_model, progress_bar
from realbogus.errors import ConfigError
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.training.comparison import FIGURES, compared, verdict


def run(options: argparse.Namespace) -> int:
    """Score the same alerts by both, and tell the differences."""
    if problems := data_problems(options):
        raise ConfigError(problems)
    registry, console = Registry(options.models or shipped("models")), Console(stderr=True)
    models = [find_model(registry, spec) for spec in (options.first, options.second)]
    with progress_bar(console) as progress:
        tables = tables_for(models, options, progress)
        judged = [judge(model, table, options, progress) for model, table in zip(models, tables, strict=True)]
    found = compared(*judged)
    names = [f"{model.id.name}/{model.id.version}" for model in models]
    found = {"first": names[0], "second": names[1], **found}
    for one in judged:
        for warning in one.warnings:
            console.print(f"note: {warning}", highlight=False, soft_wrap=True)
    if options.json:
        print(json.dumps(found, allow_nan=False))
    else:
        _show(Console(highlight=False), found)
    return 0


def _show(console: Console, found: dict[str, Any]) -> None:
    """The differences as a table."""
    title = f"{found['rows']:,} identical alerts ({found['real']:,} real, {found['bogus']:,} bogus)"
    table = Table("", found["first"], found["second"], "A minus B", "", title=title)
    for name, said in FIGURES.items():
        difference = found["figures"][f"{name}_difference"]
        texts = [f"{found['figures'][f'{name}_{side}']['value']:.4f}" for side in ("first", "second")]
        told = f"{difference['value']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"
        table.add_row(said, *texts, told, verdict(name, difference))
    console.print(table)
    console.print(
        f"Scores rank alike by {found['rank_correlation']:.3f}; at the cut of 5 % FPR of each, "
        f"{found['only_first']} alerts pass A alone, {found['only_second']} B alone."
    )
