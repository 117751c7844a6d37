"""Avro object containers: the header and the blocks that surround records.

An object container is ``Obj\\x01``, a map of metadata (the writer schema, the codec), a sync marker of 16 bytes, then
blocks: number of records, bytes, the records, the sync marker again. https://avro.apache.org/docs/1.12.0/specification/
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from realbogus.errors import PacketError, Reason
from realbogus.limits import Limits

deflate: Any
try:
    import deflate
except ImportError:
    deflate = None  # no wheel for this machine: zlib does it all

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
CODECS = ("null", "deflate")
LONGEST_NUMBER = 10  # bytes of an encoded long


@dataclass(frozen=True)
class Header:
    """The head of an object container."""

    end: int  # where its sync marker starts
    schema: bytes
    codec: str

    def sync(self, raw: bytes) -> bytes:
        """The marker that ends each block."""
        return raw[self.end : self.end + SYNC_BYTES]


@dataclass(frozen=True)
class Block:
    """A block of an object container: where its data lies."""

    records: int
    start: int
    stop: int


def read_header(raw: bytes, limits: Limits) -> Header:
    """Read the head of a container; PacketError where it is cut short, too large, or has no schema."""
    metadata: dict[bytes, bytes] = {}
    position = len(MAGIC)
    while True:
        count, position = decode_long(raw, position)
        if count == 0:
            break
        if count < 0:
            _, position = decode_long(raw, position)
        for _ in range(abs(count)):
            key, position = _entry(raw, position, limits)
            metadata[key], position = _entry(raw, position, limits)
    if len(raw) < position + SYNC_BYTES:
        raise _short(raw, "header", position + SYNC_BYTES)
    if b"avro.schema" not in metadata:
        raise PacketError("the container's header has no writer schema")
    codec = metadata.get(b"avro.codec", b"null").decode("ascii", "replace") or "null"
    if codec not in CODECS:
        raise PacketError(f"the container's codec is {codec[:20]!r}; {' and '.join(CODECS)} are read")
    return Header(position, metadata[b"avro.schema"], codec)


def read_blocks(raw: bytes, header: Header) -> Iterator[Block]:
    """The blocks of a container, each checked for its length and its sync marker; PacketError where one is damaged."""
    sync = header.sync(raw)
    position = header.end + SYNC_BYTES
    while position < len(raw):
        head = position
        records, position = decode_long(raw, position)
        size, start = decode_long(raw, position)
        if records < 0 or size < 0:
            raise PacketError(nonsense(head))
        stop = start + size
        if len(raw) < stop + SYNC_BYTES:
            raise PacketError(short_block(len(raw), stop + SYNC_BYTES, sealed=raw.endswith(sync)))
        if raw[stop : stop + SYNC_BYTES] != sync:
            raise PacketError(no_sync(stop))
        yield Block(records, start, stop)
        position = stop + SYNC_BYTES


def inflate(data: bytes, most: int) -> bytes:
    """Inflate a block of codec deflate; PacketError where it is damaged or would grow beyond most bytes.

    By libdeflate, which takes half the time; what it refuses, zlib judges and explains.
    """
    if deflate is not None:
        try:
            return bytes(deflate.deflate_decompress(data, most))
        except (deflate.DeflateError, ValueError):
            pass
    return _inflate_plainly(data, most)


def _inflate_plainly(data: bytes, most: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        out = inflater.decompress(data, most + 1)
    except zlib.error as error:
        raise PacketError(f"the container's compressed block is damaged: {error}") from None
    if len(out) > most:
        raise PacketError(f"the container's block inflates to more than {most} bytes", Reason.OVERSIZE)
    if not inflater.eof:
        raise PacketError("the container's compressed block is cut short")
    return out


def single_block(raw: bytes, header: Header) -> Block:
    """The block of a container that is a message: it has one block, of one record."""
    first = None
    for block in read_blocks(raw, header):
        if first is not None and block.records:
            end = first.stop + SYNC_BYTES
            raise PacketError(more_blocks(end, len(raw) - end))
        if first is None:
            first = block
            if block.records != 1:
                raise PacketError(record_count(block.records))
    if first is None:
        raise _short(raw, "block", len(raw) + 1)
    return first


# sentences that the compiled decoder and the plain one share


def short_block(size: int, need: int, *, sealed: bool) -> str:
    """A block that is longer than what is left; sealed: the sync marker does stand at the end."""
    if sealed:
        return (
            f"the message ends at byte {size}, its block needs {need}; the end is there, so {need - size} "
            f"{'byte was' if need - size == 1 else 'bytes were'} lost inside, as rewritten line endings do"
        )
    return f"the message ends at byte {size}, its block needs {need}"


def no_sync(position: int) -> str:
    """No sync marker where a block ends."""
    return f"the sync marker due at byte {position} is not there: bytes were lost, added or changed before it"


def nonsense(position: int) -> str:
    """A block that starts with impossible numbers."""
    return f"damaged: the container's block at byte {position} does not start with a number of records and of bytes"


def record_count(count: int) -> str:
    """A container of none or several records."""
    return f"the container's block holds {count} records, a message has one"


def more_blocks(position: int, left: int) -> str:
    """A container that goes on."""
    return f"the container's block ends at byte {position} and {left} bytes follow, a message has one block"


def decode_long(raw: bytes, position: int) -> tuple[int, int]:
    """The int or long at this position and the position behind it; PacketError where it is cut short or too long."""
    value = shift = 0
    for byte in raw[position : position + LONGEST_NUMBER]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            value &= (1 << 64) - 1
            return (value >> 1) ^ -(value & 1), position + shift // 7
    if shift == 7 * LONGEST_NUMBER:
        raise PacketError(f"the number at byte {position} is longer than {LONGEST_NUMBER} bytes")
    raise PacketError(f"the message ends at byte {len(raw)}, its header needs {len(raw) + 1}")


def _entry(raw: bytes, position: int, limits: Limits) -> tuple[bytes, int]:
    """A key or a value of the metadata."""
    size, start = decode_long(raw, position)
    if size < 0:
        raise PacketError(f"the container's header claims {size} bytes at byte {position}")
    if size > limits.schema_bytes:
        problem = f"the container's header holds an entry of {size} bytes, the limit is {limits.schema_bytes}"
        raise PacketError(problem, Reason.OVERSIZE)
    if start + size > len(raw):
        raise _short(raw, "header", start + size)
    return raw[start : start + size], start + size


def _short(raw: bytes, what: str, need: int) -> PacketError:
    return PacketError(f"the message ends at byte {len(raw)}, its {what} needs {need}")
