"""Whose alert it is, found by the names that surveys give such fields: for messages that are then rejected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from realbogus.packets.avrotypes import AvroType
from realbogus.packets.fields import Fields

CANDID_NAMES = frozenset({"candid", "diasourceid"})  # in lower case
OBJECT_NAMES = frozenset({"objectid", "diaobjectid"})
LONGEST_ID = 64  # characters; real object ids have 12 to 20
_ABSENT = "\0"  # starts a path that no schema has


@dataclass(frozen=True)
class Identity:
    """Where candid and object id stand in the integers and spans of a record; -1 = nowhere."""

    candid: int = -1
    object_number: int = -1
    object_text: int = -1

    def read(
        self, data: bytes, integers: NDArray[Any], present: NDArray[Any], spans: NDArray[Any]
    ) -> tuple[int | None, str]:
        """candid and object id of one record, None and "" where absent, from its row of each array."""
        candid = int(integers[self.candid]) if self.candid >= 0 and present[self.candid] else None
        if self.object_text >= 0 and spans[self.object_text, 0] >= 0:
            offset, length = spans[self.object_text].tolist()
            return candid, data[offset : offset + min(length, LONGEST_ID)].decode("utf-8", "replace")
        known = self.object_number >= 0 and present[self.object_number]
        return candid, str(int(integers[self.object_number])) if known else ""


def extended(fields: Fields, root: AvroType | None) -> tuple[Fields, Identity]:
    """The fields with two integers and one text more, so that the identity is among them, and where it is.

    The number of fields is the same for every root; None stands for a schema without any such field.
    """
    integers, texts = list(fields.integers), list(fields.texts)
    candid = _place(integers, _find(root, CANDID_NAMES, ("int", "long")), "candid")
    number = _place(integers, _find(root, OBJECT_NAMES, ("int", "long")), "object_number")
    text = _place(texts, _find(root, OBJECT_NAMES, ("string",)), "object_text")
    return replace(fields, integers=tuple(integers), texts=tuple(texts)), Identity(candid, number, text)


def _place(paths: list[str], path: str, what: str) -> int:
    """Where the path stands among the paths, which grow by one in any case."""
    known = paths.index(path) if path in paths else len(paths) if path else -1
    paths.append(path if known == len(paths) else _ABSENT + what)
    return known


def _find(root: AvroType | None, names: frozenset[str], kinds: tuple[str, ...]) -> str:
    """The path of the first field of such a name and type, on the top level or else one below; "" = there is none."""
    for depth in (1, 2) if root else ():
        for path, kind in _fields(root, depth):
            if path[-1].lower() in names and kind in kinds:
                return ".".join(path)
    return ""


def _fields(kind: AvroType | None, depth: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """Path and type of the fields so many levels down, through unions."""
    if kind is None or depth == 0:
        return
    if kind.kind == "union":
        for branch in reversed(kind.parts):  # a list of types ends with the one that a packet is
            yield from _fields(branch, depth)
    for name, part in zip(kind.field_names, kind.parts, strict=False):
        for leaf in part.parts if part.kind == "union" else (part,):
            if depth == 1:
                yield (name,), leaf.kind
            elif leaf.kind == "record":
                yield from (((name, *path), below) for path, below in _fields(leaf, depth - 1))
