"""The plain twin of the compiled decoder: fastavro decodes the record, and the wanted fields are picked from it.

Used for schemas too large to compile, and as the oracle in tests. It never sees a schema that could make it loop or
recurse without end: lists of items that take no bytes, and records within themselves, are refused.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import fastavro

from realbogus.errors import PacketError, Reason
from realbogus.limits import Limits
from realbogus.packets import blocks
from realbogus.packets.avrotypes import AvroType
from realbogus.packets.blocks import Header
from realbogus.packets.fields import Fields
from realbogus.packets.schemas import Writer

HEAVIEST = 1 << 18  # types below a record; real ones have 500
_DAMAGED = (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, UnicodeDecodeError)


@dataclass(frozen=True)
class Values:
    """The wanted fields of one record, as Python values; None = null or absent."""

    numbers: list[float]
    integers: list[int | None]
    spans: list[bytes | None]  # texts, then blobs


def decode(data: bytes, start: int, in_block: bool, writer: Writer, fields: Fields, limits: Limits) -> Values:
    """Decode the record that starts here, or in the block behind the sync marker that starts here."""
    record = read_record(body_at(data, start, in_block), writer, limits)
    return Values(
        [_number(_follow(record, path)) for path in fields.numbers],
        [_integer(_follow(record, path)) for path in fields.integers],
        [_text(_follow(record, path)) for path in fields.texts]
        + [_blob(_follow(record, path)) for path in fields.blobs],
    )


def read_record(body: bytes, writer: Writer, limits: Limits) -> Any:
    """The whole record as Python values; PacketError where the bytes are not one record of this schema."""
    _require_harmless(writer)
    parsed = _parsed(writer)
    stream = io.BytesIO(body)
    try:
        record = fastavro.schemaless_reader(stream, parsed, None, handle_unicode_errors="replace")
    except _DAMAGED as error:
        raise PacketError(f"damaged: the record cannot be read: {type(error).__name__}: {error}") from None
    if stream.tell() != len(body):
        raise PacketError(
            f"damaged: the record ends at byte {stream.tell()} and {len(body) - stream.tell()} bytes are left over"
        )
    return record


def _parsed(writer: Writer) -> Any:
    """The writer's schema as fastavro wants it, worked out once."""
    if "fastavro" not in writer.found:
        try:
            writer.found["fastavro"] = fastavro.parse_schema(writer.clean)
        except (fastavro.schema.SchemaParseException, ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"the writer schema cannot be used: {type(error).__name__}: {error}"
            raise PacketError(problem, Reason.UNKNOWN_SCHEMA) from None
    return writer.found["fastavro"]


def body_at(data: bytes, start: int, in_block: bool) -> bytes:
    """The bytes of the record that starts here, or in the block behind the sync marker that starts here."""
    if not in_block:
        return data[start:]
    block = blocks.single_block(data, Header(start, b"", "null"))
    return data[block.start : block.stop]


def _require_harmless(writer: Writer) -> None:
    """Raise PacketError for a schema that a few bytes could keep fastavro busy with for ever."""
    if "harmless" not in writer.found:
        writer.found["harmless"] = _weigh(writer.root, {})
    if writer.found["harmless"] > HEAVIEST:
        raise PacketError("the writer schema is too large or refers to itself", Reason.UNKNOWN_SCHEMA)


def _weigh(kind: AvroType, known: dict[AvroType, float]) -> float:
    """Types below this one, each counted as often as it occurs; inf where one holds itself or a list costs no bytes."""
    if kind not in known:
        known[kind] = math.inf
        weight = 1.0 + sum(_weigh(part, known) for part in kind.parts)
        known[kind] = math.inf if kind.kind == "array" and kind.parts[0].takes_no_bytes else weight
    return known[kind]


def _follow(record: Any, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    for name in path.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (bool, int, float)) else math.nan


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> bytes | None:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else None


def _blob(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None
