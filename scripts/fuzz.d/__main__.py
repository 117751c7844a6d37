"""Throw mutated packets, mutated schemas and bombs at the decoder and the scorer.

    scripts/fuzz                                    a minute: 50 000 packets, 5 000 schemas, the bombs
    scripts/fuzz --packets 1000000 --schemas 100000 the whole campaign, about an hour on two cores
    scripts/fuzz --seed 7                           another one

Every message must come back scored or rejected with a reason: no exception, none above 0.1 s of CPU, memory bounded,
bombs refused within 10 ms. What breaks this is kept in a folder, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from bombs import ALLOWED_MS, bombs, refuse
from campaign import ZTF, Tally, part, scorer, sound
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PART = 1_000  # messages of a kind that a process makes and scores at a time
MOST_MB = 900.0  # memory of a process


def main() -> int:
    options = arguments()
    told = Tally()
    for kind, count in (("packets", options.packets), ("schemas", options.schemas)):
        tally = campaign(kind, count, options.seed, options.processes)
        reasons = ", ".join(f"{count} {reason}" for reason, count in tally.rejected.most_common())
        print(f"{kind}: {tally.messages} spoilt, {tally.scored} scored, {reasons}; peak {tally.peak_mb:.0f} MB")
        told += tally
    slow = throw_bombs()
    keep(told, options.keep)
    if told.peak_mb > MOST_MB:
        print(f"a process took {told.peak_mb:.0f} MB, allowed are {MOST_MB:.0f}")
    wrong = len(told.violations) + slow + (told.peak_mb > MOST_MB)
    print(f"{told.messages} messages, {wrong} violations")
    return 1 if wrong else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packets", type=int, default=50_000, metavar="N", help="mutated packets (default: 50 000)")
    parser.add_argument("--schemas", type=int, default=5_000, metavar="N", help="mutated schemas (default: 5 000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument(
        "--keep", type=Path, default=Path("out/fuzz"), metavar="FOLDER", help="where offenders go (default: out/fuzz)"
    )
    return parser.parse_args()


def campaign(kind: str, count: int, seed: int, processes: int) -> Tally:
    """All parts of a kind, over all processes; which message is made depends on the seed alone."""
    sizes = [min(PART, count - begin) for begin in range(0, count, PART)]
    told = Tally()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    context = multiprocessing.get_context("spawn")
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    with bar, ProcessPoolExecutor(processes, mp_context=context) as pool:
        task = bar.add_task(f"mutated {kind}", total=count)
        futures = [pool.submit(part, kind, seed * 1_000_000 + at, size) for at, size in enumerate(sizes)]
        for future in as_completed(futures):
            tally = future.result()
            told += tally
            bar.advance(task, tally.messages)
    return told


def throw_bombs() -> int:
    """How many bombs were not refused, or not at once."""
    record, wrong = sound()[0][2], 0
    scorer().outcomes([sound()[0][3]])  # compiled kernels are loaded with the first message
    for name, message in bombs(ZTF, record).items():
        reason, took_ms = refuse(scorer(), message)
        print(f"bomb, {len(message):>9,} bytes, {name}: {reason or 'not refused'} in {took_ms:.1f} ms")
        wrong += not reason or took_ms > ALLOWED_MS
    return wrong


def keep(tally: Tally, folder: Path) -> None:
    """Write the offenders down, the first of them also on the screen."""
    for number, (what, message) in enumerate(tally.violations):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number:04}.avro"
        path.write_bytes(message)
        if number < 20:
            print(f"{path}: {what}")


if __name__ == "__main__":
    sys.exit(main())
