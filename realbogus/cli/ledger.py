"""Show, or prove, what became of every alert, by night and topic.

How it is called: `realbogus.cli.calls.ledger`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from realbogus import packets
from realbogus.cli.looking import looking, print_rows, read_shown
from realbogus.config import Settings
from realbogus.limits import Limits
from realbogus.packets.schemas import SchemaStore
from realbogus.scoring import WANTED
from realbogus.stream.audit import Audit, Candid, audit
from realbogus.stream.log import Extent, Log, from_time, inputs_behind, is_input
from realbogus.stream.protocols import Message, Partition
from realbogus.stream.schema_registry import SchemaRegistry
from realbogus.surveys import SURVEYS, recognise


def run(options: argparse.Namespace) -> int:
    """Make the account, show it, and with check judge it."""
    with looking(options) as (settings, log):
        read = stretch(options, settings, log)
        found = audit(_Shown(log), read, outputs(settings, log), _reader(settings))
    print_rows(rows_of(found), as_json=options.json, nothing="the group has read nothing yet")
    for fault in found.faults:
        print(fault, file=sys.stderr)
    if options.action == "show":
        return 0
    total = found.total()
    print(
        f"balanced: {total.consumed:,} alerts, each with one end"
        if found.balanced
        else f"not balanced: {total.missing:,} alerts without an end, {total.double:,} ends too many",
        file=sys.stderr,
    )
    return 0 if found.balanced else 1


def rows_of(found: Audit) -> list[dict[str, Any]]:
    """A row a night and topic."""
    return [
        {"night": night, "topic": topic, **vars(account), "balanced": "yes" if account.balanced else "NO"}
        for (night, topic), account in sorted(found.accounts.items())
    ]


def stretch(options: argparse.Namespace, settings: Settings, log: Log) -> dict[Partition, tuple[int, int]]:
    """The parts of the input that the group has done, within the times asked for."""
    given = settings.need_input()
    topics = options.topic or [topic for topic in log.topics() if is_input(topic, given)]
    extent = from_time(log, log.extent(topics), options.since)
    done = log.committed(given.group_id, extent)
    ends = log.since(extent, options.until) if options.until is not None else {}
    stops = {one: min(done.get(one, 0), ends.get(one, stop), stop) for one, (_, stop) in extent.items()}
    return {one: (first, max(first, stops[one])) for one, (first, _) in extent.items()}


def outputs(settings: Settings, log: Log) -> list[tuple[str, str]]:
    """The topics that results are in, each with what it says of an alert."""
    given, output, known = settings.need_input(), settings.output, log.topics()
    templates = ((output.topic, "scored"), (output.dead_letters, "rejected"), (output.parked, "parked"))
    return [(topic, what) for template, what in templates for topic in sorted(inputs_behind(known, template, given))]


class _Shown:
    """A log that shows how far it is read."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.topics, self.extent, self.since, self.committed = log.topics, log.extent, log.since, log.committed

    def read(self, extent: Extent) -> Iterator[Message]:
        """The messages, with a bar where they are many."""
        many = sum(stop - first for first, stop in extent.values()) > 1000
        name = next(iter(extent))[0] if extent else ""
        return read_shown(self._log, extent, f"reading {name}") if many else self._log.read(extent)


def _reader(settings: Settings) -> Candid:
    """Reads candids as the worker does."""
    given = settings.need_input()
    fetch = SchemaRegistry(given.schema_registry_url, limits=settings.limits) if given.schema_registry_url else None
    store, bare = SchemaStore(fetch), given.bare_schema or None
    return lambda value: candid_of(value, store, settings.limits, bare)


def candid_of(value: bytes, store: SchemaStore, limits: Limits, bare_schema: str | None) -> int | None:
    """The candid of a packet that can be scored; None of any other."""
    decoded, _ = packets.read(
        [value], wanted=WANTED, recognise=recognise, store=store, limits=limits, bare_schema=bare_schema
    )
    for group in decoded:
        alerts, _ = SURVEYS[group.survey].to_batch(group, limits)
        if len(alerts):
            return int(alerts.candid[0])
    return None
