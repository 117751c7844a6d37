"""Labels of alerts: import what others say, settle where they disagree, and see what may therefore not be a feature.

    realbogus labels import asteroids matches.csv --packets packets/ztf --out labels.jsonl
    realbogus labels import tns tns_public_objects.csv --packets packets/ztf --out labels.jsonl
    realbogus labels import vetting looks.csv --packets packets/ztf --out labels.jsonl
    realbogus labels import manifest manifest.csv --out labels.jsonl
    realbogus labels list labels.jsonl --source asteroid
    realbogus labels merge labels.jsonl others.jsonl --out merged.jsonl
    realbogus labels report labels.jsonl --feature-set fast-1
    realbogus train --packets packets/ztf --labels labels.jsonl --name mine --version 1

A journal is a file of claims, one JSON object a line, and only ever grows. A claim has a source, a confidence and a
time. The word of the higher source counts (simulated, spectrum, asteroid, tns, panel, vetting); among voices of one
source, the side with more confidence; alerts on which they are even get no label. Features that read a column from
which a source made its labels are refused in training; report names them.

Tables: asteroids has candid, ssdistnr, ssmagnr, magpsf; tns has ra, declination, discoverydate, type; vetting has
candid, label (real or bogus), and may have labeler, time, kind, confidence. With --packets the claims tell object,
exposure, night and part of the sky, without which training refuses them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
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
from realbogus.surveys import SURVEYS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus labels`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    imported = actions.add_parser("import", help="add the claims of a table to a journal")
    imported.add_argument("what", choices=IMPORTERS, metavar="WHAT", help=", ".join(IMPORTERS))
    imported.add_argument("table", type=Path, metavar="CSV")
    imported.add_argument("--out", type=Path, required=True, metavar="JOURNAL", help="grows; need not exist")
    imported.add_argument("--packets", nargs="+", metavar="PATH", help="folders, globs, packets or tars of the alerts")
    imported.add_argument("--survey", choices=sorted(SURVEYS), default="ztf", help="(default: ztf)")
    imported.add_argument("--time", metavar="ISO", help="of the claims, where the table tells none (default: now)")
    imported.add_argument(
        "--position-only", action="store_true", help="asteroids: do not look at magnitudes, so that features may"
    )
    listed = actions.add_parser("list", help="the claims of journals")
    listed.add_argument("--source", choices=SOURCES, help="only these")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")
    merged = actions.add_parser("merge", help="settle journals into one claim an alert")
    merged.add_argument("--out", type=Path, required=True, metavar="JOURNAL", help="must not exist")
    reported = actions.add_parser("report", help="counts, disagreements, banned features; one JSON object")
    reported.add_argument("--feature-set", choices=FEATURE_SETS, help="(default: all)")
    for parser_ in (listed, merged, reported):
        parser_.add_argument("journals", nargs="+", type=Path, metavar="JOURNAL")


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
