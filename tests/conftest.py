"""Fixtures that more than one test file uses."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"


def need(what: Path, because: str) -> Path:
    """Give the path where it exists; else skip, or fail where REALBOGUS_REQUIRE_ALL says nothing may be left out."""
    if not what.exists():
        message = f"{because} ({what.name} is not beside the project)"
        (pytest.fail if os.environ.get("REALBOGUS_REQUIRE_ALL") else pytest.skip)(message)
    return what


@pytest.fixture(scope="session")
def real_packets() -> Path:
    """The folder of unpacked real packets: ztf/, rubin/, damaged/, atlas/, winter/, ..."""
    data = need(SHARED / "data", "needs the shared real packets")
    folder = PROJECT / ".cache" / "packets"
    for archive in ("ztf", "rubin", "other-surveys", "damaged"):
        done = folder / f".{archive}"
        if not done.exists():
            with tarfile.open(data / f"{archive}.tar.xz") as tar:
                tar.extractall(folder, filter="data")
            done.touch()
    return folder


@pytest.fixture(scope="session")
def manifest() -> Path:
    """The table of the real packets: a row a packet, with quirks, scores and labels."""
    return need(SHARED / "data" / "manifest.csv", "needs the shared real packets")
