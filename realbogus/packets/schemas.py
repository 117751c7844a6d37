"""Writer schemas: from a container's header, the shipped bundle, a given file, or a schema registry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from realbogus.errors import PacketError, Reason
from realbogus.limits import Limits
from realbogus.packets.avrotypes import AvroType, full_name, main_record, resolve
from realbogus.packets.blocks import Header, read_header
from realbogus.resources import shipped

KEPT = 64  # writer schemas and headers remembered; a night has two or three
_NAME = re.compile(r"[a-z0-9_-]+/[0-9][0-9.]*")

Fetch = Callable[[int], bytes | None]  # schema id -> text of the schema, None = the registry does not know it


@dataclass(eq=False)
class Writer:
    """A writer schema, with what was worked out from it. Two of the same text are the same object."""

    text: bytes
    schema: Any  # plain JSON values
    root: AvroType
    name: str  # full name of its record, "ztf.alert"
    found: dict[Hashable, Any] = field(default_factory=dict)  # programs, survey: worked out once, by whom it concerns

    @cached_property
    def clean(self) -> Any:
        """The schema without defaults and logical types, which change nothing on the wire.

        WINTER's has a null default on an int, which fastavro refuses.
        """
        return _without(self.schema, frozenset({"default", "logicalType"}))


class SchemaStore:
    """Every writer schema met so far, and where to find more. Share one between batches: it is the memory.

    fetch, if given, asks a schema registry and is asked first: its ids are its own. Without it, or where it does not
    know an id, Confluent ids follow Rubin's rule: 900 is schema 9.0, 1000 is 10.0.
    """

    def __init__(self, fetch: Fetch | None = None) -> None:
        self.fallbacks = 0  # records decoded by fastavro because the compiled decoder would not; for telemetry
        self.fetch = fetch
        self._headers: tuple[tuple[bytes, Header, Writer], ...] = ()  # replaced as a whole, so threads may share it
        self._by_text: dict[bytes, Writer] = {}
        self._by_id: dict[int, Writer | None] = {}
        self._by_name: dict[str, Writer] = {}

    def header(self, message: bytes, limits: Limits) -> tuple[Header, Writer]:
        """The header of a container and its writer; known again by its bytes. PacketError where it is damaged."""
        for start, header, writer in self._headers:
            if message.startswith(start):
                return header, writer
        header = read_header(message, limits)
        writer = self.by_text(header.schema)
        self._headers = ((message[: header.end], header, writer), *self._headers[: KEPT - 1])
        return header, writer

    def by_text(self, text: bytes) -> Writer:
        """The writer of this schema text; PacketError(UNKNOWN_SCHEMA) where it is none."""
        if text not in self._by_text:
            _make_room(self._by_text)
            self._by_text[text] = make_writer(text)
        return self._by_text[text]

    def by_id(self, schema_id: int) -> Writer:
        """The writer of a Confluent schema id; PacketError(UNKNOWN_SCHEMA) where nobody knows it.

        A registry that cannot be reached is not the packet's fault: what `fetch` raises then comes out.
        """
        if schema_id not in self._by_id:
            _make_room(self._by_id)
            self._by_id[schema_id] = self._find(schema_id)
        writer = self._by_id[schema_id]
        if writer is None:
            raise PacketError(f"no schema is known for the schema id {schema_id}", Reason.UNKNOWN_SCHEMA)
        return writer

    def by_name(self, name: str) -> Writer:
        """The writer of a shipped schema ("rubin/9.0") or of a schema file; PacketError(UNKNOWN_SCHEMA) if neither."""
        if name not in self._by_name:
            self._by_name[name] = self.by_text(read_schema(name))
        return self._by_name[name]

    def _find(self, schema_id: int) -> Writer | None:
        text = self.fetch(schema_id) if self.fetch else None
        if text is not None:
            return self.by_text(text)
        name = f"rubin/{schema_id // 100}.{schema_id % 100}"
        return self.by_name(name) if name in shipped_names() else None


def shipped_names() -> list[str]:
    """The names of all shipped survey schemas, "rubin/9.0" among them."""
    return sorted("/".join(path.parts[-3:-1]) for path in shipped("schemas").glob("*/*/alert.avsc"))


def read_schema(name: str) -> bytes:
    """The text of a shipped schema, by name, or of a schema file, by path."""
    inside = shipped("schemas") / name / "alert.avsc"
    path = inside if _NAME.fullmatch(name) and inside.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(shipped_names())
        raise PacketError(f"no schema is called {name!r} and no file either; shipped: {known}", Reason.UNKNOWN_SCHEMA)
    return path.read_bytes()


def make_writer(text: bytes) -> Writer:
    """Parse the text of a schema; PacketError(UNKNOWN_SCHEMA) where it is none."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise PacketError(f"the writer schema is not readable JSON: {what}", Reason.UNKNOWN_SCHEMA) from None
    root = resolve(schema)
    return Writer(text, schema, root, full_name(main_record(schema)))


def _without(schema: Any, keys: frozenset[str]) -> Any:
    if isinstance(schema, list):
        return [_without(part, keys) for part in schema]
    if isinstance(schema, dict):
        return {key: _without(value, keys) for key, value in schema.items() if key not in keys}
    return schema


def _make_room(kept: dict[Any, Any]) -> None:
    """Forget the oldest, so that a stream of ever new schemas does not fill the memory."""
    while len(kept) >= KEPT:
        kept.pop(next(iter(kept)))
