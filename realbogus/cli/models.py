"""List, show, verify, promote, roll back and import models.

How it is called: `realbogus.cli.calls.models`.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from realbogus.cli import importing
from realbogus.errors import ModelError
from realbogus.manifest import from_bytes
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.training.card import made_of


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
    folder = registry.find(options.model or registry.current())
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
