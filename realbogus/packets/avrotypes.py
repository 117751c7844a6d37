"""An Avro schema as a tree (a graph, where types name themselves), with every name looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from realbogus.errors import PacketError, Reason

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
DEEPEST = 64  # levels of types within types; real schemas have 4. All that walks schemas recurses no deeper
WIDTHS = {"boolean": 1, "float": 4, "double": 8}  # bytes on the wire


@dataclass(eq=False)
class AvroType:
    """One type of a schema. Logical types are what lies beneath them: a timestamp is its long."""

    kind: str  # one of PRIMITIVES, "enum", "fixed", "array", "map", "union", "record"
    name: str = ""  # full name of an enum, a fixed or a record
    size: int = 0  # bytes of a fixed, symbols of an enum
    parts: tuple[AvroType, ...] = ()  # items of an array, values of a map, branches of a union, fields of a record
    field_names: tuple[str, ...] = ()  # of a record, in the order of parts

    @cached_property
    def takes_no_bytes(self) -> bool:
        """Whether every value of this type is encoded in zero bytes: null, and records of nothing but such."""
        self.__dict__["takes_no_bytes"] = False  # a record within itself does not
        if self.kind == "record":
            return all(part.takes_no_bytes for part in self.parts)
        return self.kind == "null" or (self.kind == "fixed" and self.size == 0)


def resolve(schema: Any) -> AvroType:
    """The type that a schema describes; PacketError(UNKNOWN_SCHEMA) where it describes none."""
    return _resolve(schema, "", {}, 0)


def main_record(schema: Any) -> dict[str, Any]:
    """The record that a packet is: the schema itself, or the last record where the schema is a list of types."""
    candidates = reversed(schema) if isinstance(schema, list) else [schema]
    for candidate in candidates:
        if isinstance(candidate, dict) and candidate.get("type") == "record":
            return candidate
    raise _unusable("it describes no record")


def full_name(definition: Mapping[str, Any], namespace: str = "") -> str:
    """The name of a named type together with its namespace."""
    name = definition.get("name")
    if not isinstance(name, str) or not name:
        raise _unusable(f"one of its types of kind {definition.get('type')!r} has no name")
    space = definition.get("namespace", namespace)
    return name if "." in name or not isinstance(space, str) or not space else f"{space}.{name}"


def _resolve(schema: Any, namespace: str, known: dict[str, AvroType], level: int) -> AvroType:
    if level > DEEPEST:
        raise _unusable("it is nested too deeply")
    if isinstance(schema, str):
        return _by_name(schema, namespace, known)
    if isinstance(schema, list):
        return AvroType("union", parts=tuple(_resolve(branch, namespace, known, level + 1) for branch in schema))
    if not isinstance(schema, dict) or "type" not in schema:
        raise _unusable(f"it holds {str(schema)[:60]!r} where a type is due")
    kind = schema["type"]
    if kind in ("array", "map"):
        inner = schema.get("items" if kind == "array" else "values")
        return AvroType(kind, parts=(_resolve(inner, namespace, known, level + 1),))
    if kind in ("record", "error", "enum", "fixed"):
        return _named(schema, namespace, known, level)
    return _resolve(kind, namespace, known, level + 1)


def _by_name(name: str, namespace: str, known: dict[str, AvroType]) -> AvroType:
    if name in PRIMITIVES:
        return AvroType(name)
    found = known.get(f"{namespace}.{name}") if namespace and "." not in name else None
    found = found or known.get(name)
    if found is None:
        raise _unusable(f"it uses the type {name!r} and does not define it")
    return found


def _named(schema: Mapping[str, Any], namespace: str, known: dict[str, AvroType], level: int) -> AvroType:
    name = full_name(schema, namespace)
    if name in known:
        raise _unusable(f"it defines the type {name!r} twice")
    kind = "record" if schema["type"] == "error" else str(schema["type"])
    known[name] = made = AvroType(kind, name)
    if kind == "record":
        fields = _fields(schema.get("fields"))
        made.field_names = tuple(field["name"] for field in fields)
        space = name.rpartition(".")[0]
        made.parts = tuple(_resolve(field["type"], space, known, level + 1) for field in fields)
    else:
        made.size = _size(schema)
    return made


def _fields(fields: Any) -> list[dict[str, Any]]:
    found = [one for one in fields if isinstance(one, dict)] if isinstance(fields, list) else []
    sound = [one for one in found if isinstance(one.get("name"), str) and "type" in one]
    if not isinstance(fields, list) or len(sound) < len(fields):
        raise _unusable("one of its records lists no proper fields")
    return sound


def _size(schema: Mapping[str, Any]) -> int:
    """Bytes of a fixed or number of symbols of an enum."""
    size = schema.get("size")
    if schema["type"] == "enum":
        symbols = schema.get("symbols")
        size = len(symbols) if isinstance(symbols, list) else symbols
    if not isinstance(size, int) or not 0 <= size < 1 << 31:
        raise _unusable(f"the size of its type {schema.get('name')!r} is {str(size)[:30]!r}")
    return size


def _unusable(why: str) -> PacketError:
    return PacketError(f"the writer schema cannot be used: {why}", Reason.UNKNOWN_SCHEMA)
