"""Comet as a process of its own, on 127.0.0.1 only."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 30.0


def free_port() -> int:
    """Not of those that clients get: one that tries again while a server is away could have its port, and keep it."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
            return int(probe.getsockname()[1])


def until(what: Callable[[], object], why: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def comet(folder: Path, name: str, options: Sequence[str]) -> Iterator[Path]:
    """A Comet process; gives its log."""
    script, log = Path(__file__).parent / "interop" / "comet_loopback.py", folder / f"{name}.log"
    command = [sys.executable, "-W", "ignore", str(script), "-n", f"--pidfile={folder / name}.pid", "comet", "-v"]
    command += [f"--local-ivo=ivo://org.example.{name}/comet", f"--eventdb={folder / name}.db", *options]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env={**os.environ, "PYTHONPATH": ""})
    try:
        yield log
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
