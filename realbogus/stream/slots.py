"""The place of a worker in its group: a name that no other worker has while this process lives.

It becomes the transactional.id, by which a worker that starts again takes back at once what its predecessor has left
open, and fences it off should it still be there. A place that is kept is also the name of a static member: within the
session timeout a restart moves no partitions.

======================================= ====================== ======================================================
worker                                  name                   kept by the group
======================================= ====================== ======================================================
one of --processes N                    <host>-<slot>          yes, unless it ends by itself (--until, --until-idle)
the same, with input.instance           <instance>-<slot>      yes
on its own, with input.instance         <instance>             yes
on its own                              <host>-single-<n>      no: it leaves the group when it is told to stop
======================================= ====================== ======================================================

A lock file sees to it that two workers of one machine do not take the same place; over machines, names must differ.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from realbogus.errors import StreamError


@dataclass(frozen=True)
class Place:
    """Where a worker stands in its group."""

    group: str
    name: str
    kept: bool  # whether the group waits for it to come back

    @property
    def transactional_id(self) -> str:
        """The name that its transactions go by."""
        return f"rb-{self.group}-{self.name}"


@contextmanager
def place_in(
    group: str, *, cluster: str = "", instance: str = "", slot: int | None = None, lasting: bool = True,
    folder: Path | None = None,
) -> Iterator[Place]:  # fmt: skip
    """A place that is ours until the end of the block. StreamError where another process of this machine has it.

    cluster tells groups of the same name on different brokers apart. lasting tells whether the worker stays until it
    is told to stop. folder is where the lock files are.
    """
    folder = folder or Path(tempfile.gettempdir(), f"realbogus-{os.getuid()}")
    kept = bool(instance) or (slot is not None and lasting)
    for name in _names(instance, slot):
        lock = _locked(folder, " ".join((cluster, group, name)))
        if lock is not None:
            with lock:
                yield Place(group, name, kept)
            return
    raise StreamError(
        f"another worker of group {group} has the place {name!r} on this machine; is one running already?"
    )


def _names(instance: str, slot: int | None) -> Iterator[str]:
    """The names that such a worker may have."""
    base = instance or socket.gethostname()
    if slot is not None:
        yield f"{base}-{slot}"
    elif instance:
        yield instance
    else:
        yield from (f"{base}-single-{number}" for number in itertools.count())


def _file_name(name: str) -> str:
    """A name of any length and alphabet as that of a file: its readable end, and a digest of all of it."""
    return f"{quote(name, safe='')[-100:]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _locked(folder: Path, name: str) -> IO[str] | None:
    """A lock file, open for as long as it is ours; None where another process has it. The kernel lets go of it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise StreamError(f"{folder} belongs to somebody else; set TMPDIR to another folder")
        file = (folder / f"{_file_name(name)}.lock").open("a")
    except OSError as error:
        raise StreamError(
            f"no lock file can be made in {folder}: {error.strerror}; set TMPDIR to another folder"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
