"""Append an annotation to a whole packet without decoding either: original bytes, then annotation bytes.

The writer schema grows by one last field, so the record's encoding grows at its end. What was one container, Confluent
message or bare record becomes an object container, codec null, that any Avro reader reads.
"""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import fastavro

from realbogus.errors import PacketError, Reason
from realbogus.limits import Limits
from realbogus.packets import annotation, blocks
from realbogus.packets.avrotypes import AvroType, main_record
from realbogus.packets.blocks import SYNC_BYTES, Header, decode_long
from realbogus.packets.container import Framer
from realbogus.packets.schemas import SchemaStore, Writer
from realbogus.packets.writing import encode_header, encode_long


def append(
    message: bytes,
    annotated: bytes,
    *,
    store: SchemaStore,
    limits: Limits | None = None,
    bare_schema: str | None = None,
) -> bytes:
    """The packet with its annotation as the last field, `annotation.FIELD`; equal arguments give equal bytes.

    The packet must be one that `packets.read` accepts. PacketError where the frame is damaged, or where the schema
    cannot be extended: the field is there already, or the record holds itself.
    """
    data, start, in_block, writer = Framer(store, limits or Limits(), bare_schema).open(message)
    stop = len(data)
    if in_block:
        block = blocks.single_block(data, Header(start, b"", "null"))
        start, stop = block.start, block.stop
    _require_main(writer, data, start)
    head = _header(writer)
    size = encode_long(stop - start + len(annotated))
    sync = hashlib.sha256(annotated).digest()[:SYNC_BYTES]
    return b"".join((head, sync, b"\x02", size, memoryview(data)[start:stop], annotated, sync))


def _require_main(writer: Writer, data: bytes, start: int) -> None:
    """Raise PacketError if a schema that is a list of types stands for another one here than for the packet's."""
    if writer.root.kind == "union":
        branch, _ = decode_long(data, start)
        if not 0 <= branch < len(writer.schema) or writer.schema[branch] is not main_record(writer.schema):
            raise PacketError(f"the message is not a {writer.name}", Reason.UNKNOWN_SCHEMA)


def _header(writer: Writer) -> bytes:
    """The header of containers of annotated packets of this writer, worked out once."""
    if "annotated" not in writer.found:
        writer.found["annotated"] = encode_header(json.dumps(_extended(writer)).encode())
    head: bytes = writer.found["annotated"]
    return head


def _extended(writer: Writer) -> Any:
    """The writer's schema with the annotation as the last field of its record."""
    record = main_record(writer.schema)
    if annotation.FIELD in (field.get("name") for field in record["fields"]):
        raise PacketError(f"the packet has a field {annotation.FIELD!r} already", Reason.UNKNOWN_SCHEMA)
    if _holds_itself(writer.root, writer.name):
        raise PacketError(f"a {writer.name} holds others: its schema cannot be extended", Reason.UNKNOWN_SCHEMA)
    for schema in (writer.schema, writer.clean):
        extended = copy.deepcopy(schema)
        field = {"name": annotation.FIELD, "type": annotation.schema(), "doc": "what realbogus says of this alert"}
        main_record(extended)["fields"].append(field)
        if _is_readable(extended):
            return extended
    raise PacketError(f"the schema of {writer.name} cannot be extended", Reason.UNKNOWN_SCHEMA)


def _is_readable(schema: Any) -> bool:
    """Whether readers accept the schema: they refuse some defaults that the wire does not care about."""
    try:
        fastavro.parse_schema(copy.deepcopy(schema))
    except (fastavro.schema.SchemaParseException, ValueError, KeyError, TypeError):
        return False
    return True


def _holds_itself(root: AvroType, name: str) -> bool:
    """Whether the record of this name occurs below itself."""
    seen: set[AvroType] = set()
    waiting = [part for kind in _alternatives(root) if kind.name == name for part in kind.parts]
    while waiting:
        kind = waiting.pop()
        if kind.name == name:
            return True
        if kind not in seen:
            seen.add(kind)
            waiting.extend(kind.parts)
    return False


def _alternatives(root: AvroType) -> tuple[AvroType, ...]:
    return root.parts if root.kind == "union" else (root,)
