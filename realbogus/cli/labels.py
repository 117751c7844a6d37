"""Labels of alerts: import what others say, settle where they disagree, and see what may therefore not be a feature.

How it is called: `realbogus.cli.calls.labels`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from realbogus import archives
from realbogus.cli.examples import progress_bar
from realbogus.errors import ConfigError
from realbogus.features import FEATURE_SETS
from realbogus.labels.importers import IMPORTERS, Options, Seen, seen_in
from realbogus.labels.journal import RANK, Claim, Settled, append, read, settle
from realbogus.labels.sources import SOURCES, banned


def run(options: argparse.Namespace) -> int:
    """Do one of the actions."""
    files = [options.table] if options.action == "import" else options.journals
    if problems := [f"{path}: no such file" for path in files if not path.is_file()]:
        raise ConfigError(problems)
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "import": _import,
        "list": _list,
        "merge": _merge,
        "report": _report,
    }
    return actions[options.action](options)


def _import(options: argparse.Namespace) -> int:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    packets = _packets(options, console) if options.packets else {}
    time = options.time or datetime.now(UTC).isoformat(timespec="seconds")
    told = Options(options.survey, time, packets, position_only=options.position_only)
    claims = list(IMPORTERS[options.what](options.table, told))
    if packets:
        claims = [claim for claim in claims if claim.candid in packets]
    append(options.out, claims)
    real = sum(claim.real for claim in claims)
    loose = sum(not (claim.object_id and claim.exposure) for claim in claims)
    if loose:
        console.print(f"note: {loose} claims tell no object and exposure; give --packets to train on them")
    by_source = dict(Counter(claim.source for claim in claims))
    print(json.dumps({"claims": len(claims), "real": real, "bogus": len(claims) - real, "sources": by_source}))
    return 0


def _packets(options: argparse.Namespace, console: Console) -> dict[int, Seen]:
    with progress_bar(console) as progress:
        bar = progress.add_task("reading packets", total=None)
        messages = (message for _, message in archives.messages(options.packets))
        return seen_in(messages, options.survey, lambda count: progress.update(bar, advance=count))


def _list(options: argparse.Namespace) -> int:
    claims = [claim for claim in read(options.journals) if options.source in (None, claim.source)]
    if options.json:
        for claim in claims:
            print(json.dumps(asdict(claim), ensure_ascii=False))
        return 0
    table = Table("candid", "label", "source", "confidence", "labeler", "kind", "time", "object", box=None)
    for claim in claims:
        label = "real" if claim.real else "bogus"
        told = (str(claim.candid), label, claim.source, f"{claim.confidence:g}", claim.labeler, claim.kind, claim.time)
        table.add_row(*told, claim.object_id)
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200).print(table)
    return 0


def _merge(options: argparse.Namespace) -> int:
    if options.out.exists():
        raise ConfigError([f"--out {options.out} exists: journals are never overwritten"])
    claims = read(options.journals)
    settled = settle(claims)
    append(options.out, settled.winners)
    print(json.dumps(_counts(claims, settled)))
    return 0


def _report(options: argparse.Namespace) -> int:
    claims = read(options.journals)
    settled = settle(claims)
    sources = sorted({claim.source for claim in settled.winners}, key=RANK.__getitem__)
    sets = [options.feature_set] if options.feature_set else list(FEATURE_SETS)
    told = {
        **_counts(claims, settled),
        "rules": {source: SOURCES[source].rule for source in sources},
        "banned_features": {name: banned(sources, FEATURE_SETS[name]) for name in sets},
    }
    print(json.dumps(told, indent=1, ensure_ascii=False))
    return 0


def _counts(claims: list[Claim], settled: Settled) -> dict[str, Any]:
    def of(some: list[Claim]) -> dict[str, dict[str, int]]:
        return {
            source: {
                "real": sum(claim.real for claim in some if claim.source == source),
                "bogus": sum(not claim.real for claim in some if claim.source == source),
            }
            for source in sorted({claim.source for claim in some}, key=RANK.__getitem__)
        }

    return {
        "claims": of(claims),
        "labels": of(list(settled.winners)),
        "disputed": len(settled.disputed),
        "overruled": [
            {"won": won, "said the opposite": lost, "alerts": count}
            for (won, lost), count in sorted(settled.overruled.items())
        ],
    }
