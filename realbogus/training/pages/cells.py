"""Figures as text: numbers with their intervals, and the tables that they stand in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Found = Mapping[str, Any]
UNDER = "\n"  # in a cell: what follows goes below, in small letters

NAMES = {
    "auc": "AUC",
    "mdr_at_fpr_0.1": "MDR at 0.1 % FPR",
    "mdr_at_fpr_1": "MDR at 1 % FPR",
    "mdr_at_fpr_5": "MDR at 5 % FPR",
    "mdr_at_fpr_10": "MDR at 10 % FPR",
    "fpr_at_mdr_1": "FPR at 1 % MDR",
    "brier": "Brier score",
    "ece": "ECE",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are escaped here, so that nothing in a label or a name can become markup. What follows UNDER is smaller."""
    first = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{first}</tr>{body}</table></div>'


def inline(text: str) -> str:
    """A value with what belongs under it in brackets, on one line."""
    value, _, under = text.partition(UNDER)
    return f"{value} [{under}]"


def _cell(text: str) -> str:
    value, _, under = text.partition(UNDER)
    return escape(value) + (f"<small>{escape(under)}</small>" if under else "")


def interval(name: str, figure: Found) -> str:
    """A figure with its interval under it."""
    if figure["value"] is None:
        return "–"
    low, high = (number(name, figure[part], bare=True) for part in ("low", "high"))
    return f"{number(name, figure['value'])}{UNDER}{low} to {high}"


def difference(name: str, figure: Found) -> str:
    """A difference with its interval under it, signs told."""
    return signed(figure, per_cent=name.startswith("mdr"))


def signed(figure: Found, *, per_cent: bool = False) -> str:
    """The same for a figure without a name."""
    scale, digits = (100, 1) if per_cent else (1, 3)
    value, low, high = (scale * figure[part] for part in ("value", "low", "high"))
    unit = " %" if per_cent else ""
    return f"{value:+.{digits}f}{unit}{UNDER}{low:+.{digits}f} to {high:+.{digits}f}"


def number(name: str, value: float | None, *, bare: bool = False) -> str:
    """Per cent where that is how one says it."""
    if value is None:
        return "–"
    if name.startswith(("mdr", "fpr", "passed")):
        return f"{100 * value:.1f}" if bare else f"{100 * value:.1f} %"
    return f"{value:.3f}"
