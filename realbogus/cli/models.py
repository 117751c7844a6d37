"""List, show, verify, promote, roll back and import models.

    realbogus models list                       every model; the current one is marked
    realbogus models show                       the card of the current model
    realbogus models show mine/2 --manifest     the whole manifest of another, as JSON
    realbogus models verify mine/2              load with every check: hashes, structure, features, golden scores
    realbogus models promote mine/2 --why "new season"
    realbogus models rollback --why "too many forwarded"
    realbogus models import forest.joblib --help   a forest of scikit-learn's that was fitted elsewhere

Promotion moves one line in MODELS/current, after verifying; workers pick it up between batches. Every change is kept in
MODELS/log.jsonl. list prints a table, or with --json one JSON object a line.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from realbogus.cli import importing
from realbogus.errors import ModelError
from realbogus.manifest import from_bytes
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.training.card import made_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus models`."""
    parser.add_argument("--models", type=Path, metavar="DIR", help="where models are kept (default: the shipped ones)")
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listed = actions.add_parser("list", help="every model; the current one is marked")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")
    shown = actions.add_parser("show", help="a model's card")
    shown.add_argument("model", nargs="?", metavar="NAME/VERSION", help="(default: the current one)")
    shown.add_argument("--manifest", action="store_true", help="its manifest instead, as JSON")
    verified = actions.add_parser("verify", help="load with every check")
    verified.add_argument("model", nargs="*", metavar="NAME/VERSION", help="(default: all)")
    promoted = actions.add_parser("promote", help="make a model current")
    promoted.add_argument("model", metavar="NAME/VERSION")
    back = actions.add_parser("rollback", help="go back to the model that was current before")
    theirs = actions.add_parser(
        "import",
        help="a forest fitted elsewhere, from a pickle",
        description=importing.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    importing.add_arguments(theirs)
    for parser_ in (promoted, back):
        parser_.add_argument("--why", default="", metavar="TEXT", help="for the log")
        parser_.add_argument("--who", default="", metavar="NAME", help="for the log (default: the user's name)")


def run(options: argparse.Namespace) -> int:
    """Do one of the actions."""
    actions: dict[str, Callable[[Registry, argparse.Namespace], int]] = {
        "list": _list,
        "show": _show,
        "verify": _verify,
        "promote": _promote,
        "rollback": _rollback,
        "import": importing.run,
    }
    return actions[options.action](Registry(options.models or shipped("models")), options)


def _list(registry: Registry, options: argparse.Namespace) -> int:
    lines = [_line(registry, spec, _current(registry)) for spec in registry.names()]
    if options.json:
        for line in lines:
            print(json.dumps(line, ensure_ascii=False))
        return 0
    _print_table(lines or [{"no models": ""}])
    return 0


def _print_table(lines: Sequence[Mapping[str, Any]]) -> None:
    """Objects with the same keys, one a line, in columns."""
    rows = [list(lines[0]), *([_text(value) for value in line.values()] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _text(value: Any) -> str:
    return ("*" if value else "") if isinstance(value, bool) else str(value)


def _line(registry: Registry, spec: str, current: str) -> dict[str, Any]:
    """What a list says of a model. It is read, not verified."""
    manifest = from_bytes((registry.path(spec) / "manifest.json").read_bytes())
    overall = manifest["metrics"]["splits"]["exposures"]["overall"]
    return {
        "current": spec == current,
        "model": spec,
        "surveys": " ".join(manifest["surveys"]),
        "features": f"{manifest['features']['set']} ({len(manifest['features']['names'])})",
        "kind": made_of(manifest),
        "judged on": manifest["metrics"]["judged_on"],
        "AUC": overall["auc"]["value"],
        "MDR at 5 % FPR": overall["mdr_at_fpr_5"]["value"],
        "threshold": manifest["threshold"]["score"],
        "sha256": manifest["content_sha256"][:16],
    }


def _show(registry: Registry, options: argparse.Namespace) -> int:
    folder = registry.path(options.model or registry.current())
    name = "manifest.json" if options.manifest else "card.md"
    print((folder / name).read_text(encoding="utf-8"), end="")
    return 0


def _verify(registry: Registry, options: argparse.Namespace) -> int:
    failed = 0
    for spec in options.model or registry.names():
        try:
            model = registry.verify(spec)
        except ModelError as error:
            failed += 1
            print(f"{spec}: {error}", file=sys.stderr)
        else:
            size = f"{model.forest.trees} trees, {model.forest.nodes} nodes"
            print(f"{spec}: sound; {size}; golden scores differ by {model.golden_difference:.1g}")
    return 1 if failed else 0


def _promote(registry: Registry, options: argparse.Namespace) -> int:
    before = registry.promote(options.model, **_entry(options))
    print(f"{options.model} is current" + (f", after {before}" if before else ""))
    return 0


def _rollback(registry: Registry, options: argparse.Namespace) -> int:
    print(f"{registry.rollback(**_entry(options))} is current again")
    return 0


def _entry(options: argparse.Namespace) -> dict[str, str]:
    return {
        "who": options.who or getpass.getuser(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "why": options.why,
    }


def _current(registry: Registry) -> str:
    """The current model, "" where none was promoted."""
    try:
        return registry.current()
    except ModelError:
        return ""
