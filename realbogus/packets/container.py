"""Find the record in a message: look at the first bytes, know the header again, inflate within bounds.

A message is an Avro object container of one record, or a record behind the Confluent header (a zero byte and the
schema's id), or a bare record whose schema is told beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from realbogus.errors import PacketError, Reason
from realbogus.limits import Limits
from realbogus.packets import blocks, kernels
from realbogus.packets.blocks import MAGIC, Block, Header
from realbogus.packets.fields import Fields
from realbogus.packets.program import Program, compile_program
from realbogus.packets.schemas import SchemaStore, Writer
from realbogus.packets.writing import encode_header, encode_long

CONFLUENT_BYTES = 5  # a zero byte and the schema id, big-endian
ARCHIVE_BLOCK_BYTES = 1 << 26  # a block of many records, inflated

_OTHERS = {  # first bytes of what is sometimes sent in place of an alert
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive",
    b"SIMPLE  =": "FITS",
    b"{": "JSON",
    b"<": "XML or HTML",
    b"\xc3\x01": "Avro's single-object encoding",
}


@dataclass(frozen=True)
class Framer:
    """Opens the messages of a batch."""

    store: SchemaStore
    limits: Limits
    bare_schema: str | None = None

    def open(self, message: bytes) -> tuple[bytes, int, bool, Writer]:
        """The bytes to decode, where to start, whether there is a block around the record, and who wrote it.

        PacketError where that cannot be told. The block of a container without compression is checked by whoever
        decodes it.
        """
        if not message:
            raise PacketError("the message is empty")
        if len(message) > self.limits.message_bytes:
            problem = f"the message has {len(message)} bytes, the limit is {self.limits.message_bytes}"
            raise PacketError(problem, Reason.OVERSIZE)
        return self._container(message) if message.startswith(MAGIC) else self._record(message)

    def _container(self, message: bytes) -> tuple[bytes, int, bool, Writer]:
        header, writer = self.store.header(message, self.limits)
        if header.codec == "null":
            return message, header.end, True, writer
        block = blocks.single_block(message, header)
        return blocks.inflate(message[block.start : block.stop], self.limits.message_bytes), 0, False, writer

    def _record(self, message: bytes) -> tuple[bytes, int, bool, Writer]:
        problem = unreadable_start(message)
        if message[0] == 0 and len(message) >= CONFLUENT_BYTES:
            try:
                return message, CONFLUENT_BYTES, False, self.store.by_id(int.from_bytes(message[1:5], "big"))
            except PacketError as error:
                problem = error
        if self.bare_schema is None:
            raise problem
        return message, 0, False, self.store.by_name(self.bare_schema)


def unreadable_start(message: bytes) -> PacketError:
    """What to say of bytes that start neither as a container nor with a known schema id."""
    what = next((name for start, name in _OTHERS.items() if message.startswith(start)), None)
    looks = f"looks like {what}" if what else f"starts with {message[:4].hex(' ')}"
    problem = f"the message {looks}: no Avro container, no schema id, and no schema for bare records is configured"
    return PacketError(problem, Reason.UNKNOWN_SCHEMA)


def split(raw: bytes, limits: Limits | None = None) -> list[bytes]:
    """The records of an object container as containers of one record each, for archives; never raises.

    Whatever is not a sound container of several records comes back as it is: `read` tells what is wrong with it. A
    record that cannot be decoded ends its block: the rest comes back as one piece, which `read` rejects.
    """
    if not raw.startswith(MAGIC):
        return [raw]
    try:
        store = SchemaStore()
        header, writer = store.header(raw, limits or Limits())
        found = [block for block in blocks.read_blocks(raw, header) if block.records]
        if [block.records for block in found] == [1]:
            return [raw]
        program = compile_program(writer.root, Fields((), (), (), ()))
        bodies = [body for block in found for body in _records(raw, header, block, program, limits or Limits())]
    except PacketError:
        return [raw]
    sync = header.sync(raw)
    start = encode_header(header.schema) + sync + encode_long(1)
    return [b"".join((start, encode_long(len(body)), body, sync)) for body in bodies] or [raw]


def _records(raw: bytes, header: Header, block: Block, program: Program, limits: Limits) -> Iterator[bytes]:
    """The encoded records of a block, the last one with whatever follows that is no record."""
    data = raw[block.start : block.stop]
    if header.codec == "deflate":
        data = blocks.inflate(data, ARCHIVE_BLOCK_BYTES)
    if block.records > len(data):
        raise PacketError(blocks.nonsense(block.start))
    stops = np.zeros(block.records, np.int64)
    count = kernels.record_stops(
        np.frombuffer(data, np.uint8), program.ops, program.values, program.jumps, limits.list_items, stops
    )
    edges = [0, *stops[:count].tolist()]
    for start, stop in pairwise(edges):
        yield data[start:stop]
    if edges[-1] < len(data):
        yield data[edges[-1] :]
