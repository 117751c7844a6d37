"""The archive command as it is called: a tar of packets in, a table out."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from broker import pinned
from corpus import Corpus, renumbered


@dataclass(frozen=True)
class Rescored:
    """Packets a second of wall time, start left out by the difference of a long and a short run."""

    one_per_s: float  # one process on one core
    all_per_s: float  # a process a core
    processes: int


def rescored(corpus: Corpus, model: Path, folder: Path, count: int, cores: set[int]) -> Rescored:
    """Time `realbogus rescore` on a plain tar."""
    short, long = (night(corpus, folder / f"night-{size}.tar", size) for size in (count // 8, count))
    span = count - count // 8
    rates = []
    for jobs, where in ((1, {min(cores)}), (len(cores), cores)):
        with pinned(where):
            rates.append(span / (seconds(long, model, folder, jobs) - seconds(short, model, folder, jobs)))
    return Rescored(rates[0], rates[1], len(cores))


def night(corpus: Corpus, file: Path, count: int) -> Path:
    with tarfile.open(file, "w") as tar:
        for number, message in enumerate(renumbered(corpus, count)):
            member = tarfile.TarInfo(f"{number:06d}.avro")
            member.size = len(message)
            tar.addfile(member, io.BytesIO(message))
    return file


def seconds(tar: Path, model: Path, folder: Path, jobs: int) -> float:
    out = folder / f"{tar.stem}-{jobs}.parquet"
    command = [str(Path(sys.executable).with_name("realbogus")), "rescore", str(tar), "--out", str(out)]
    begun = time.monotonic()
    subprocess.run([*command, "--model", str(model), "--jobs", str(jobs)], check=True, capture_output=True)
    return time.monotonic() - begun
