"""The arguments of the tools that look into topics."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path


def add_config(parser: argparse.ArgumentParser) -> None:
    """The option that all of them need."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the worker's configuration")


def add_times(parser: argparse.ArgumentParser, what: str) -> None:
    """A stretch of time."""
    parser.add_argument("--since", type=moment, metavar="TIME", help=f"{what} at or after this time, UTC")
    parser.add_argument("--until", type=moment, metavar="TIME", help=f"{what} before this time, UTC")


def moment(text: str) -> float:
    """Unix time, s, of an ISO date or time; UTC unless it says otherwise."""
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-11-20 or 2026-11-20T02:00:00Z") from None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
