"""Where a simulated night goes: a folder of packets, a tar, and a table of truth. Equal nights give equal files."""

from __future__ import annotations

import csv
import gzip
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from realbogus.errors import ConfigError
from realbogus.simulation.pointing import Simulated
from realbogus.simulation.truth import Truth


class Output(Protocol):
    """Takes alerts one by one."""

    def write(self, alert: Simulated) -> None:
        """Keep one alert."""


class Folder:
    """One file a packet, named by its candid."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def write(self, alert: Simulated) -> None:
        """Write <candid>.avro."""
        (self.folder / f"{alert.truth.candid}.avro").write_bytes(alert.packet)


class Tar:
    """One member a packet, as a survey archives its nights."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.tar = tar

    def write(self, alert: Simulated) -> None:
        """Add <candid>.avro."""
        member = tarfile.TarInfo(f"{alert.truth.candid}.avro")
        member.size, member.mode = len(alert.packet), 0o644
        self.tar.addfile(member, io.BytesIO(alert.packet))


class TruthTable:
    """A CSV of what each packet truly is."""

    def __init__(self, file: io.TextIOBase) -> None:
        self.writer = csv.writer(file, lineterminator="\n")
        self.writer.writerow(Truth.header())

    def write(self, alert: Simulated) -> None:
        """Add a row."""
        self.writer.writerow(alert.truth.row())


@contextmanager
def open_packets(path: Path) -> Iterator[Output]:
    """A tar where the name ends in .tar or .tar.gz, else a folder. Raises ConfigError for other endings of archives."""
    if path.name.endswith((".tar.gz", ".tgz")):
        with (
            path.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            yield Tar(tar)
    elif path.suffix == ".tar":
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            yield Tar(tar)
    elif path.suffix in (".xz", ".bz2", ".zip", ".avro") or path.is_file():
        raise ConfigError([f"--out {path}: give a folder, or a file that ends in .tar or .tar.gz"])
    else:
        yield Folder(path)


@contextmanager
def open_truth(path: Path) -> Iterator[TruthTable]:
    """A table of truth; its rows come in the order of the packets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        yield TruthTable(file)
