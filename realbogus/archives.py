"""Packets out of archives: folders, globs, single files and tar nights, streamed and never unpacked to disk.

`find` walks the paths in a fixed order and says where each packet lies; `read` fetches the bytes of some of them;
`messages` does both at once. What cannot be read, an oversize member or the torn end of a tar, is found too, with
its reason, so that nothing is left out in silence.

Folders and tars give their ``*.avro`` members in order, tars inside folders included; a file that is named outright,
or by a glob, is taken whatever its ending. Links and devices inside tars are passed over. A container of many
records comes in one piece; `packets.container.split` cuts it.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import logging
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Self, cast

from realbogus.errors import ConfigError, Reason
from realbogus.limits import Limits

log = logging.getLogger(__name__)

PACKET_ENDING = ".avro"
TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
INSIDE = "::"  # between a tar and the name of its member: "night.tar.gz::123.avro"
HEADER_BYTES = 64 * 1024  # longest extended header (long names, pax records) of a member; real ones are below 1 kB
CONTAINER_BYTES = 1 << 26  # an Avro container of many records may be larger than one message; 900 alerts of ZTF
CONTAINER = b"Obj\x01"  # how it begins
DRAIN_BYTES = 1 << 20  # read at a time after the last member, for the checksum at the end of the compressed stream
_OPENERS: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda raw: cast(IO[bytes], gzip.GzipFile(fileobj=raw)),
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"BZh": bz2.BZ2File,
}
_EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_TORN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)


@dataclass(frozen=True)
class Found:
    """One packet of an archive: where it lies, or why it cannot be read."""

    path: str  # for people and tables: "night/1.avro", "night.tar::night/1.avro"
    file: Path  # the file that holds it
    offset: int = 0  # bytes into that file
    size: int = 0  # bytes
    data: bytes | None = None  # the bytes themselves where the file is compressed, else None until `read`
    reason: Reason | None = None  # None = readable
    detail: str = ""  # what is wrong, one sentence

    @property
    def weight(self) -> int:
        """Bytes that scoring this packet will hold in memory."""
        return 0 if self.reason else self.size


def expand(paths: Iterable[str | Path]) -> list[Path]:
    """The files and folders that the given paths and globs name, each once, in the order given.

    Raises ConfigError listing every path that names nothing.
    """
    named: dict[Path, None] = {}
    missing = []
    for path in map(str, paths):
        hits = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        named |= dict.fromkeys(map(Path, hits))
        if not hits:
            missing.append(path)
    if missing:
        raise ConfigError([f"{path}: no such file or folder, and nothing matches it" for path in missing])
    return list(named)


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """The packet and tar files behind these files and folders, folders walked in sorted order."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, below, names in os.walk(path):
            below.sort()
            wanted = (Path(folder, name) for name in sorted(names) if name.endswith((PACKET_ENDING, *TAR_ENDINGS)))
            yield from (file for file in wanted if file.is_file())


def find(paths: Iterable[Path], limits: Limits, tell: Callable[[int], None] = lambda _: None) -> Iterator[Found]:
    """Every packet below these files and folders, in a fixed order; `tell` is given the bytes of input passed.

    Packets of plain files and tars come as places, to be fetched by `read`; those of compressed tars with their bytes.
    """
    for file in files(paths):
        if file.name.endswith(TAR_ENDINGS):
            yield from _members(file, limits, tell)
            continue
        size = file.stat().st_size
        yield _checked(Found(str(file), file, 0, size), limits, partial(_start, file))
        tell(size)


def read(found: Sequence[Found]) -> list[bytes]:
    """The bytes of readable packets, each file opened once for a run of its members."""
    messages = []
    with ExitStack() as stack:
        opened: tuple[Path, IO[bytes]] | None = None
        for one in found:
            if one.data is not None:
                messages.append(one.data)
                continue
            if opened is None or opened[0] != one.file:
                stack.close()
                opened = one.file, stack.enter_context(one.file.open("rb"))
            opened[1].seek(one.offset)
            messages.append(opened[1].read(one.size))
    return messages


def messages(
    paths: Iterable[str | Path], limits: Limits | None = None, refused: Callable[[Found], None] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of every packet below the given paths and globs, one at a time.

    What cannot be read goes to `refused`, by default to the log.
    """
    for found in find(expand(paths), limits or Limits()):
        if found.reason is None:
            yield found.path, read([found])[0]
        elif refused is not None:
            refused(found)
        else:
            log.warning("%s: %s", found.path, found.detail)


def _checked(found: Found, limits: Limits, start: Callable[[], bytes]) -> Found:
    """The packet itself, or its refusal if it is larger than a message may be and no container, as its start tells."""
    if found.size <= limits.message_bytes or (found.size <= CONTAINER_BYTES and start().startswith(CONTAINER)):
        return found
    detail = f"{found.size} bytes; a packet may have {limits.message_bytes}"
    return replace(found, reason=Reason.OVERSIZE, detail=detail)


def _start(file: Path, offset: int = 0) -> bytes:
    with file.open("rb") as raw:
        raw.seek(offset)
        return raw.read(len(CONTAINER))


def _members(file: Path, limits: Limits, tell: Callable[[int], None]) -> Iterator[Found]:
    """The packets of a tar; a torn one ends with a Found that says what is wrong and how far it could be read."""
    count = 0
    try:
        for found in _readable_members(file, limits, tell):
            count += found.reason is None
            yield found
    except _TORN as error:
        detail = f"the archive is damaged after {count} readable packets: {str(error) or type(error).__name__}"
        yield Found(str(file), file, reason=Reason.MALFORMED, detail=detail)


def _readable_members(file: Path, limits: Limits, tell: Callable[[int], None]) -> Iterator[Found]:
    passed = 0
    with file.open("rb") as raw, _inflated(raw) as stream:
        compressed = stream is not raw
        with tarfile.open(fileobj=stream, mode="r|" if compressed else "r:", tarinfo=_Member) as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else tarfile keeps every member: 1 kB each, a million a night
                if member.isreg() and not member.issparse() and member.name.endswith(PACKET_ENDING):
                    yield _member(tar, member, file, limits, compressed=compressed)
                position = raw.tell()
                tell(position - passed)
                passed = position
        if compressed:
            while stream.read(DRAIN_BYTES):
                pass
    tell(file.stat().st_size - passed)


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo, file: Path, limits: Limits, *, compressed: bool) -> Found:
    found = Found(f"{file}{INSIDE}{member.name}", file, member.offset_data, member.size)
    if not compressed:
        return _checked(found, limits, partial(_start, file, member.offset_data))
    reader = tar.extractfile(member)
    head = reader.read(len(CONTAINER)) if reader else b""
    found = _checked(found, limits, lambda: head)
    return found if found.reason or not reader else replace(found, data=head + reader.read())


def _inflated(raw: IO[bytes]) -> IO[bytes]:
    """The file itself, or a view of its inflated bytes if its first bytes name a compression."""
    start = raw.read(6)
    raw.seek(0)
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    return opener(raw) if opener else raw


class _Member(tarfile.TarInfo):
    """A member's header, read without trust: `tarfile` itself ends in silence on a torn header and reads long
    names of any length into memory.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark that ends a whole archive
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise tarfile.ReadError("it ends without its end mark, it may be cut short") from None
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {archive.offset}") from None

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENDED and self.size > HEADER_BYTES:
            raise tarfile.ReadError(f"a member's header claims {self.size} bytes")
        return super()._proc_member(archive)  # type: ignore[misc, no-any-return]
