"""Packets to read: real ones, and small ones of made-up schemas; and the fields of any schema."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import fastavro

from realbogus.alerts import Rejected
from realbogus.packets import Decoded, Fields, Limits, SchemaStore, read
from realbogus.packets.avrotypes import AvroType, resolve
from realbogus.packets.writing import encode_header

SMALL = {
    "type": "record",
    "name": "test.alert",
    "fields": [
        {"name": "candid", "type": "long"},
        {"name": "objectId", "type": ["null", "string"]},
        {"name": "flux", "type": ["null", "double"]},
        {"name": "sign", "type": {"type": "enum", "name": "sign", "symbols": ["plus", "minus"]}},
        {"name": "inner", "type": {"type": "record", "name": "inner", "fields": [{"name": "x", "type": "float"}]}},
        {"name": "history", "type": {"type": "array", "items": ["null", "inner", "int"]}},
        {"name": "notes", "type": {"type": "map", "values": "boolean"}},
        {"name": "stamp", "type": "bytes"},
    ],
}
RECORD = {
    "candid": (1 << 60) + 1,
    "objectId": "T1",
    "flux": 2.5,
    "sign": "minus",
    "inner": {"x": 0.5},
    "history": [{"x": 1.5}, None, 7],
    "notes": {"a": True, "b": False},
    "stamp": bytes(range(64)),
}


_STORE = SchemaStore()


def encode(schema: Any, record: Any) -> bytes:
    """A record as fastavro writes it, bare."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return out.getvalue()


def containers(schema: Any, records: list[Any], **options: Any) -> bytes:
    """Records as fastavro writes them into one container."""
    out = io.BytesIO()
    fastavro.writer(out, schema, records, sync_marker=b"0123456789abcdef", **options)
    return out.getvalue()


def leaves(kind: AvroType, path: tuple[str, ...] = (), deep: int = 6) -> Iterator[tuple[str, str]]:
    """Path and type of everything below a type that is neither a record nor within a list."""
    if kind.kind == "union":
        for branch in kind.parts:
            yield from leaves(branch, path, deep)
    elif kind.kind == "record" and deep:
        for name, part in zip(kind.field_names, kind.parts, strict=True):
            yield from leaves(part, (*path, name), deep - 1)
    elif kind.kind not in ("array", "map", "record", "null") and path:
        yield ".".join(path), kind.kind


def all_fields(root: AvroType) -> Fields:
    """Everything that can be wanted of a schema."""
    found = list(dict.fromkeys(leaves(root)))

    def of(*kinds: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(path for path, kind in found if kind in kinds))

    return Fields(
        of("boolean", "int", "long", "float", "double"), of("int", "long"), of("string"), of("bytes", "fixed")
    )


def read_all(messages: list[bytes], **options: Any) -> tuple[list[Decoded], list[Rejected]]:
    """Read everything of every message: each writer schema counts as a survey of its own."""
    limits = options.pop("limits", Limits())
    found: dict[str, Fields] = {}

    def recognise(schema: Any) -> tuple[str, str]:
        text = repr(schema)
        found.setdefault(text, all_fields(resolve(schema)))
        return text, "test"

    class Wanted(dict[str, Fields]):
        def __contains__(self, key: object) -> bool:
            return key in found

        def get(self, key: str, default: Any = None) -> Any:
            return found.get(key, default)

    options.setdefault("store", SchemaStore())
    return read(messages, wanted=Wanted(), recognise=recognise, limits=limits, **options)


def follow(record: Any, path: str) -> Any:
    for name in path.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


def assert_holds(decoded: Decoded, row: int, fields: Fields, record: Any) -> None:
    """Assert that a row holds what the record says."""
    for column, path in enumerate(fields.numbers):
        value = follow(record, path)
        expected = float(value) if isinstance(value, (int, float)) else math.nan
        number = float(decoded.numbers[row, column])
        assert number == expected or (math.isnan(number) and math.isnan(expected)), path
    for column, path in enumerate(fields.integers):
        value = follow(record, path)
        known = isinstance(value, int) and not isinstance(value, bool)
        assert decoded.present[row, column] == known, path
        assert int(decoded.integers[row, column]) == (value if known else 0), path
    for column, path in enumerate(fields.texts):
        value = follow(record, path)
        assert (decoded.texts[row, column, 0] >= 0) == isinstance(value, str), path
        assert decoded.text(row, column) == (value if isinstance(value, str) else ""), path
    for column, path in enumerate(fields.blobs):
        value = follow(record, path)
        offset, length = decoded.blobs[row, column].tolist()
        found = decoded.messages[row][offset : offset + length] if offset >= 0 else None
        assert found == (value if isinstance(value, bytes) else None), path


@cache
def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.glob("*/*"))
        if path.is_file() and not path.name.startswith(".")
    }


def slowly(message: bytes) -> Any:
    """The one record of a container as fastavro reads it, with a schema without the defaults that it refuses."""
    header, writer = _STORE.header(message, Limits())
    text = writer.found.setdefault("clean text", json.dumps(writer.clean).encode())
    head = encode_header(text, header.codec)
    (record,) = fastavro.reader(io.BytesIO(head + message[header.end :]))
    return record
