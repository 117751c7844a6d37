"""What the operator's tools that look into topics have in common: configuration, connection, tables, progress."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from realbogus import config
from realbogus.config import Settings
from realbogus.errors import ConfigError, StreamError
from realbogus.stream.kafka import KafkaLog
from realbogus.stream.log import Extent, Log
from realbogus.stream.protocols import Message

T = TypeVar("T")

SOON_S, PATIENCE_S = 1.0, 10.0  # s; for a broker to answer, before somebody is told that we wait, and after


@contextmanager
def looking(options: argparse.Namespace) -> Iterator[tuple[Settings, KafkaLog]]:
    """The settings, and the topics of their cluster."""
    settings = config.load(options.config, os.environ)
    settings.need_input()
    with closing(KafkaLog(settings.kafka)) as log:
        _reach(log, settings.kafka.bootstrap)
        yield settings, log


def _reach(log: KafkaLog, bootstrap: str) -> None:
    """Wait for a broker, and say so; StreamError where none comes."""
    if log.answers(SOON_S):
        return
    print(f"waiting up to {PATIENCE_S:.0f} s for a broker at {bootstrap}", file=sys.stderr)
    if not log.answers(PATIENCE_S):
        raise StreamError(f"no broker answers at {bootstrap}; is kafka.bootstrap right, and Kafka running?")


def position(text: str) -> tuple[str, int, int]:
    """Topic, partition and offset of "alerts.dlq/0/17"; ConfigError where it is none."""
    topic, _, rest = text.partition("/")
    partition, _, offset = rest.partition("/")
    if not (topic and partition.isdigit() and offset.isdigit()):
        raise ConfigError([f"{text!r} is no place in a topic; expected TOPIC/PARTITION/OFFSET, as 'dlq list' tells it"])
    return topic, int(partition), int(offset)


def read_shown(log: Log, extent: Extent, what: str) -> Iterator[Message]:
    """The messages of these stretches, with a bar on stderr of how many were read."""
    columns = SpinnerColumn(), TextColumn(what), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=sum(stop - first for first, stop in extent.values()))
        for message in log.read(extent):
            bar.advance(task)
            yield message


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, nothing: str) -> None:
    """Rows with the same keys, as a table or as a JSON object a line; on stdout."""
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    if not rows:
        print(nothing, file=sys.stderr)
        return
    table = Table(box=None, pad_edge=False)
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def first(found: Iterable[T], otherwise: str) -> T:
    """The first one; ConfigError where there is none."""
    for one in found:
        return one
    raise ConfigError([otherwise])
