"""Fixtures that more than one test file uses."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from functools import partial
from glob import glob
from pathlib import Path
from typing import NoReturn

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"


def leave_out(message: str) -> NoReturn:
    """Skip, or fail where REALBOGUS_REQUIRE_ALL says nothing may be left out."""
    (pytest.fail if os.environ.get("REALBOGUS_REQUIRE_ALL") else pytest.skip)(message)


def need(what: Path, because: str) -> Path:
    """Give the path where it exists; else skip, or fail where REALBOGUS_REQUIRE_ALL says nothing may be left out."""
    if not what.exists():
        leave_out(f"{because} ({what.name} is not beside the project)")
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


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of simulated ZTF packets, not to be written to, with truth.csv."""
    from model_cases import simulate

    return simulate(tmp_path_factory.mktemp("simulated"), seed=3, pointings=9)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of an Apache Kafka broker of this test run. Topics must be created by whoever uses them."""
    folder = tmp_path_factory.mktemp("kafka")
    script = [sys.executable, str(PROJECT / "scripts" / "kafka")]
    started = subprocess.run([*script, "start", "--dir", str(folder)], capture_output=True, text=True, check=False)
    if started.returncode == 3:
        leave_out(f"needs Apache Kafka: {started.stderr.strip()}")
    assert started.returncode == 0, started.stderr
    yield started.stdout.strip()
    subprocess.run([*script, "stop", "--dir", str(folder)], check=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server of this test run, on a socket of its own, run by an unprivileged user."""
    found = shutil.which("initdb") or next(iter(sorted(glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)), None)
    if found is None:
        leave_out("needs PostgreSQL: apt-get install postgresql")
    pg_ctl = str(Path(found).resolve().with_name("pg_ctl"))
    user = None if os.geteuid() else "postgres" if "postgres" in {one.pw_name for one in pwd.getpwall()} else "nobody"
    with tempfile.TemporaryDirectory(prefix="realbogus-postgres-") as folder:
        if user:
            shutil.chown(folder, user)
        run = partial(subprocess.run, check=True, capture_output=True, cwd=folder, user=user)
        run([found, "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"])
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        log = ["-l", f"{folder}/log", "-o", options, "-w", "start"]
        run([pg_ctl, "-D", f"{folder}/data", *log])
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            run([pg_ctl, "-D", f"{folder}/data", "-m", "immediate", "-w", "stop"])


@pytest.fixture(scope="session")
def embedded() -> Iterator[str]:
    """The bootstrap address of the embedded broker of the demo, which needs nothing but Python."""
    from realbogus.stream.embedded import EmbeddedBroker

    with EmbeddedBroker() as broker:
        yield broker.bootstrap
