"""Print what a packet says, what a model thinks of it, and draw it.

    realbogus inspect packet.avro
    realbogus inspect packet.avro --png packet.png
    realbogus inspect packet.avro --model models/mine/2 --json
    realbogus inspect rubin.bin --schema rubin/9.0

The model is the promoted one unless told otherwise; without any model the packet alone is shown. With --json one
object goes to stdout: the alert, every column (null = undefined), its stamps, and with a model the score, the features
and their shares of it. A packet that cannot be scored is named with its reason, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus inspect`."""
    parser.add_argument("packet", type=Path, metavar="PACKET", help="file of one alert packet")
    parser.add_argument(
        "--model", metavar="MODEL", help="name/version or folder of a model (default: the promoted one)"
    )
    parser.add_argument(
        "--models", type=Path, metavar="FOLDER", help="where models are looked up (default: the shipped)"
    )
    parser.add_argument("--schema", metavar="NAME", help="schema of a record without any header, such as rubin/9.0")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the triplet, with score and contributions")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
