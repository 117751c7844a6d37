"""Tell how far simulated alerts pass for real ones: a page for people, a JSON object for machines.

How it is called: `realbogus.cli.calls.realism`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from realbogus import archives
from realbogus.cli.examples import data_problems, labels_of, progress_bar, truth_of
from realbogus.errors import ConfigError
from realbogus.features import FEATURE_SETS
from realbogus.training.examples import LabelSet
from realbogus.training.labelled import Tally, batches
from realbogus.training.pages.realism import realism_page
from realbogus.training.realism import Sample, as_json, compare, joined, sample_of, transfer


def run(options: argparse.Namespace) -> int:
    """Read, compare, draw, tell."""
    _check(options)
    names = FEATURE_SETS[options.feature_set]
    with progress_bar(Console(stderr=True)) as progress:
        real = _sample(options, options.packets, labels_of(options), names, progress, "real packets")
        nights = [_sample(options, [n], truth_of(n), names, progress, n.name) for n in options.simulated]
        simulated = joined(nights)
        bar = progress.add_task("comparing", total=3)
        comparisons = []
        for title, is_real in (("real", True), ("bogus", False)):
            comparisons.append(compare(title, real.of_class(is_real), simulated.of_class(is_real), names, options.seed))
            progress.advance(bar)
        moved = transfer(simulated.only(names), real.only(names), options.seed)
        progress.advance(bar)
    found = as_json(comparisons, moved)
    what = f"{len(real.is_real)} labelled real packets and {len(simulated.is_real)} simulated alerts."
    options.out.write_text(realism_page(comparisons, moved, what), encoding="utf-8")
    options.out.with_suffix(".json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    told = {one.title: round(one.auc_features, 4) for one in comparisons}
    print(json.dumps({"two_sample_auc": told, "transfer_to_real": found["transfer_to_real"]}))
    return 0


def _check(options: argparse.Namespace) -> None:
    problems = data_problems(options)
    if not (options.packets and options.simulated):
        problems.append("give both: labelled real --packets, and --simulated nights")
    if not options.out.resolve().parent.is_dir():
        problems.append(f"--out {options.out}: there is no folder {options.out.resolve().parent}")
    if problems:
        raise ConfigError(problems)


def _sample(
    options: argparse.Namespace, paths: Sequence[str | Path], labels: LabelSet, names: Sequence[str],
    progress: Progress, what: str,
) -> Sample:  # fmt: skip
    bar = progress.add_task(f"measuring {what}", total=len(labels.by_candid))
    messages = (message for _, message in archives.messages(paths))
    found = batches(messages, options.survey, Tally(), lambda count: progress.update(bar, advance=count))
    return sample_of(found, labels, names)
