"""Score archived packets again: a row per packet in and out.

    realbogus rescore night.tar.gz --out scores.parquet
    realbogus rescore packets/ 'more/*.avro' --out scores.csv --model realbogus-ztf/1 --threshold 0.7
    realbogus rescore 2026-11/*.tar --out november.parquet --jobs 8 --resume
    realbogus rescore rubin/ --out rubin.jsonl --survey-model rubin=models/mine/2 --schema rubin/9.0
    realbogus rescore night.tar --out scores.parquet --voevents events/ --authority org.example.survey
    realbogus rescore night.tar --out scores.parquet --model mine/2 --republish --config worker.toml

Paths are folders, globs, single packets and nights as .tar, .tar.gz or .tar.xz, which are never unpacked to disk.
The format of the output follows its ending: .parquet, .csv or .jsonl. Columns: candid, object_id, survey, jd (UTC at
mid-exposure), score, p_real, decision, threshold, model, reason and detail (of packets that could not be scored), path.

--republish judges again what was published, as the ledger of [publish] knows it: every published candidate among the
packets goes to the outbox anew, and the publisher supersedes or withdraws its event. Nothing is announced that was not
published before, and nothing is told twice by the same model and threshold. What a person withdrew stays withdrawn,
unless --restore is given.

All cores are used; the rows are the same whatever the number of processes, and the same as those of the stream worker.
A run that was stopped goes on with --resume. Exit codes: 0 done, 1 an archive could not be read to its end (what was
readable is in the output), 2 the call was wrong, 130 stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from realbogus.cli.calls.names import ALSO, ROLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus rescore`."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folder, glob, packet or tar of packets")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="output: .parquet, .csv or .jsonl")
    parser.add_argument(
        "--model", metavar="MODEL", help="name/version or folder of a model (default: the promoted one)"
    )
    parser.add_argument(
        "--survey-model",
        action="append",
        default=[],
        metavar="SURVEY=MODEL",
        help="another model for one survey; may be repeated",
    )
    parser.add_argument(
        "--models",
        type=Path,
        metavar="FOLDER",
        help="folder in which name/version is looked up (default: the shipped models)",
    )
    parser.add_argument(
        "--threshold", type=float, metavar="X", help="score from which to say real (default: the model's)"
    )
    parser.add_argument("--schema", metavar="NAME", help="schema of records without any header, such as rubin/9.0")
    parser.add_argument("--features", action="store_true", help="add a column for every feature of the models")
    parser.add_argument(
        "--also",
        nargs="+",
        choices=ALSO,
        default=[],
        help="further columns: spread (how far the trees disagree, 0 to 0.5), novelty (0.5 usual, towards 1 alone)",
    )
    parser.add_argument("--voevents", type=Path, metavar="DIR", help="write the events of what would be forwarded, too")
    parser.add_argument("--authority", metavar="NAME", help="IVOA naming authority of the events, such as org.example")
    parser.add_argument("--role", choices=ROLES, default="test", help="of the events (default: test)")
    parser.add_argument(
        "--republish", action="store_true", help="supersede or withdraw the events of published candidates"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration of the publisher, for --republish")
    parser.add_argument("--restore", action="store_true", help="with --republish: also what a person withdrew")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="processes (default: one a core, if there is work for them)"
    )
    parser.add_argument("--resume", action="store_true", help="continue a run that was stopped")
