"""Labelled packets on the command line: what is wrong with the arguments, and reading them with a progress bar."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from realbogus import archives
from realbogus.labels import read_claims, read_manifest, read_truth
from realbogus.model import Model, load_model
from realbogus.registry import Registry
from realbogus.training.examples import Examples, LabelSet, joined
from realbogus.training.labelled import Tally, examples


def data_problems(options: argparse.Namespace) -> list[str]:
    """What is wrong with these arguments, in sentences."""
    problems = []
    if not options.packets and not options.simulated:
        problems.append("no labelled alerts: give --packets with --manifest, or --simulated, or both")
    if bool(options.packets) != bool(options.manifest or options.labels):
        problems.append("--packets and --manifest or --labels go together")
    if options.manifest and options.labels:
        problems.append("--manifest and --labels exclude each other: import the manifest into the journal")
    problems += [
        f"{name} {path}: no such file"
        for name, paths in (
            ("--manifest", [options.manifest] if options.manifest else []),
            ("--labels", options.labels),
        )
        for path in paths
        if not path.is_file()
    ]
    problems += [
        f"--simulated {night}: there is no {_truth(night)}"
        for night in options.simulated
        if not _truth(night).is_file()
    ]
    return problems


def read_examples(options: argparse.Namespace, names: Sequence[str], progress: Progress) -> Examples:
    """The labelled ones among the packets of every source, measured with these features."""
    return joined(list(_read(options, names, progress)))


def messages(options: argparse.Namespace) -> Iterator[bytes]:
    """All packets again, as they come."""
    for _, message in archives.messages([*(options.packets or []), *options.simulated]):
        yield message


def progress_bar(console: Console) -> Progress:
    """What is being done, how much of it, and how long it will take; on stderr."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=not sys.stderr.isatty(),
    )


def find_model(registry: Registry, spec: str | None) -> Model:
    """A model told as name/version or as a folder; by default the promoted one."""
    if spec is not None and (Path(spec) / "manifest.json").is_file():
        return load_model(Path(spec))
    return registry.load(spec)


def _read(options: argparse.Namespace, names: Sequence[str], progress: Progress) -> Iterator[Examples]:
    if options.packets:
        yield _examples(options, names, progress, options.packets, labels_of(options), "packets")
    for night in options.simulated:
        yield _examples(options, names, progress, [night], truth_of(night), night.name)


def labels_of(options: argparse.Namespace) -> LabelSet:
    """The labels of the real packets, from a journal or a manifest."""
    survey = options.survey
    return read_claims(options.labels, survey) if options.labels else read_manifest(options.manifest, survey)


def truth_of(night: Path) -> LabelSet:
    """The labels of a simulated night."""
    return read_truth(_truth(night))


def _truth(night: Path) -> Path:
    """Where the truth of a simulated night lies."""
    return (night if night.is_dir() else night.parent) / "truth.csv"


def _examples(
    options: argparse.Namespace,
    names: Sequence[str],
    progress: Progress,
    paths: Sequence[str | Path],
    labels: LabelSet,
    what: str,
) -> Examples:
    bar, tally = progress.add_task(f"measuring {what}", total=len(labels.by_candid)), Tally()
    found = examples(
        (message for _, message in archives.messages(paths)),
        labels,
        names,
        survey=options.survey,
        tell=lambda count: progress.update(bar, advance=count),
        tally=tally,
    )
    progress.update(bar, total=tally.read, completed=tally.read)
    progress.console.print(f"{what}: {tally}", highlight=False, soft_wrap=True)
    return found
