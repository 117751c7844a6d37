"""Records to containers: for the simulator, and for whoever puts a packet together again."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import fastavro

from realbogus.packets.blocks import MAGIC, SYNC_BYTES
from realbogus.packets.schemas import read_schema


def write_container(schema: str | Mapping[str, Any], record: Mapping[str, Any] | tuple[str, Any]) -> bytes:
    """One record as an object container, codec null: the form in which ZTF sends an alert.

    schema is a shipped name ("ztf/4.02") or an Avro schema; where that is a list of types, record is (name, fields).
    The sync marker is derived from the content, so equal records give equal bytes. A record that does not fit its
    schema raises ValueError, TypeError or KeyError.
    """
    header, parsed = _writer(schema if isinstance(schema, str) else json.dumps(schema))
    body = io.BytesIO()
    if isinstance(record, Mapping) and any(isinstance(value, Items) for value in record.values()):
        _write_fields(body, schema, record)
    else:
        fastavro.schemaless_writer(body, parsed, record)
    return assemble(header, body.getvalue())


@dataclass(frozen=True)
class Items:
    """The items of an array, encoded before by encode_item: the same row of a history stands in many packets."""

    encoded: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.encoded)


def encode_item(schema: str, field: str, item: Any) -> bytes:
    """One item of a record's array field (or null-or-array) as Avro writes it; schema is a shipped name."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, _pieces(schema)[0][field][1], item)
    return body.getvalue()


def field_names(schema: str, record: str) -> tuple[str, ...]:
    """The fields of a record (by its short name) somewhere in a shipped schema, in order."""
    return tuple(field["name"] for field in _known(schema)[record]["fields"])


def _write_fields(body: io.BytesIO, schema: str | Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Write a record whose arrays are Items (all of them that are not null), piece by piece."""
    if not isinstance(schema, str):
        raise TypeError("items that are encoded already need a shipped schema")
    arrays, pieces = _pieces(schema)
    for piece in pieces:
        if not isinstance(piece, str):
            fastavro.schemaless_writer(body, piece, record)
            continue
        items = record[piece]
        body.write(arrays[piece][0])
        if items.encoded:
            body.write(encode_long(len(items)))
            body.writelines(items.encoded)
        body.write(b"\x00")


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
def _pieces(schema: str) -> tuple[dict[str, tuple[bytes, Any]], list[Any]]:
    """A shipped record schema cut at its arrays.

    First the arrays: what stands before the items (the branch of a null-or-array), and the items' parsed type. Then
    all fields in order: the name of an array, or the parsed record of the fields between two of them.
    """
    record, known = json.loads(read_schema(schema)), _known(schema)
    arrays: dict[str, tuple[bytes, Any]] = {}
    runs: list[Any] = [[]]
    for field in record["fields"]:
        found = _array_of(field["type"])
        if found is None:
            runs[-1].append(field)
            continue
        arrays[field["name"]] = found[0], fastavro.parse_schema(_alone(found[1], known, set()))
        runs += [field["name"], []]
    pieces = [run if isinstance(run, str) else _record(n, run, known) for n, run in enumerate(runs) if run]
    return arrays, pieces


@lru_cache(maxsize=16)
def _known(schema: str) -> dict[str, Any]:
    """The named types of a shipped schema, by short name."""
    known: dict[str, Any] = {}
    _collect(json.loads(read_schema(schema)), known)
    return known


def _record(number: int, fields: list[Any], known: Mapping[str, Any]) -> Any:
    """The parsed record of some fields."""
    seen: set[str] = set()
    alone = [field | {"type": _alone(field["type"], known, seen)} for field in fields]
    return fastavro.parse_schema({"type": "record", "name": f"piece{number}", "fields": alone})


def _collect(kind: Any, known: dict[str, Any]) -> None:
    """Find all named types of a schema."""
    if isinstance(kind, list):
        for choice in kind:
            _collect(choice, known)
    elif isinstance(kind, dict):
        if kind.get("type") in ("record", "enum", "fixed"):
            known[kind["name"].rpartition(".")[2]] = kind
        for field in kind.get("fields", ()):
            _collect(field["type"], known)
        for inner in ("items", "values"):
            _collect(kind.get(inner), known)


def _alone(kind: Any, known: Mapping[str, Any], seen: set[str]) -> Any:
    """A type with the definition of every named type at the first place where it stands."""
    if isinstance(kind, str):
        name = kind.rpartition(".")[2]
        return _alone(known[name], known, seen) if name in known else kind
    if isinstance(kind, list):
        return [_alone(choice, known, seen) for choice in kind]
    if "name" in kind:
        name = kind["name"].rpartition(".")[2]
        if name in seen:
            return name
        seen.add(name)
        plain = {key: value for key, value in kind.items() if key != "namespace"} | {"name": name}
        if "fields" in kind:
            plain["fields"] = [field | {"type": _alone(field["type"], known, seen)} for field in kind["fields"]]
        return plain
    return kind | {inner: _alone(kind[inner], known, seen) for inner in ("items", "values") if inner in kind}


def _array_of(kind: Any) -> tuple[bytes, Any] | None:
    """For an array or a choice of null and array: what stands before its items, and their type; else None."""
    choices = kind if isinstance(kind, list) else [kind]
    for number, choice in enumerate(choices):
        if isinstance(choice, dict) and choice.get("type") == "array":
            return encode_long(number) if isinstance(kind, list) else b"", choice["items"]
    return None


@lru_cache(maxsize=16)
def _writer(schema: str) -> tuple[bytes, Any]:
    """Header and parsed schema for a shipped name or a schema's text."""
    text = schema if schema.lstrip()[:1] in ("{", "[") else json.dumps(json.loads(read_schema(schema)))
    return encode_header(text.encode()), fastavro.parse_schema(json.loads(text))
