"""List the exposures whose candidates are held, and release them.

    realbogus exposures list --config worker.toml
    realbogus exposures release ztf/61000.25123 --config worker.toml
    realbogus exposures release ztf/61000.25123/42 --config worker.toml        one detector of an exposure
    realbogus exposures release --all --config worker.toml

An exposure, or one detector of it, with many times the usual number of candidates, or with scores unlike the usual
ones, is held by the worker: its alerts are annotated with the decision "hold" and the header held_by, and its events
wait in the topic exposures.held. release hands these events to the publisher, each once. To withhold them for good, do
nothing.

What is still to come of an exposure after its release is held anew, and listed again. list prints a table, or with
--json one JSON object a line. Exit codes: 0 done, 1 the release failed halfway (call it again), 2 the call is wrong,
3 no broker.
"""

from __future__ import annotations

import argparse

from realbogus.cli.calls.topics import add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus exposures`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listed = actions.add_parser("list", help="exposures and detectors that are or were held")
    add_config(listed)
    listed.add_argument("--waiting", action="store_true", help="only those with events that wait")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")
    released = actions.add_parser("release", help="hand their events to the publisher")
    released.add_argument("exposure", nargs="*", metavar="EXPOSURE", help="as 'list' tells it, such as ztf/61000.25123")
    add_config(released)
    released.add_argument("--all", action="store_true", help="all that wait")
    released.add_argument("--who", default="", metavar="NAME", help="kept with the release (default: the user's name)")
