"""Records to containers: for the simulator, and for whoever puts a packet together again."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import fastavro

from realbogus.packets.blocks import MAGIC, SYNC_BYTES
from realbogus.packets.schemas import read_schema


def write_container(schema: str | Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    """One record as an object container, codec null: the form in which ZTF sends an alert.

    schema is a shipped name ("ztf/4.02") or an Avro schema. The sync marker is derived from the content, so equal
    records give equal bytes. A record that does not fit its schema raises ValueError, TypeError or KeyError.
    """
    header, parsed = _writer(schema if isinstance(schema, str) else json.dumps(schema))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, parsed, record)
    return assemble(header, body.getvalue())


def assemble(header: bytes, body: bytes) -> bytes:
    """A container of one record from its header without sync marker and its encoded body."""
    sync = hashlib.sha256(header + body).digest()[:SYNC_BYTES]
    return b"".join((header, sync, b"\x02", encode_long(len(body)), body, sync))


def encode_header(schema_text: bytes, codec: str = "null") -> bytes:
    """The header of a container without its sync marker."""
    entries = (b"avro.codec", codec.encode(), b"avro.schema", schema_text)
    return MAGIC + encode_long(2) + b"".join(encode_long(len(entry)) + entry for entry in entries) + b"\x00"


def encode_long(value: int) -> bytes:
    """An int or long as Avro writes it: zigzag, seven bits a byte, lowest first."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


@lru_cache(maxsize=16)
def _writer(schema: str) -> tuple[bytes, Any]:
    """Header and parsed schema for a shipped name or a schema's text."""
    text = schema if schema.lstrip()[:1] in ("{", "[") else json.dumps(json.loads(read_schema(schema)))
    return encode_header(text.encode()), fastavro.parse_schema(json.loads(text))
