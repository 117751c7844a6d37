"""A writer schema compiled to a flat program of integers, which `kernels` runs over the bytes of a record.

An operation is a row (code, a, b, c). Plain values, the bulk of a packet, are rows of a second table that one RUN
works through: (null, kind, width, number, integer, span), where null is the byte that means "absent" in a union of
null and one type (-1: no union), and the last three say into which column the value goes (-1: nowhere).

========== =========================== =============================================================
code       arguments                   does
========== =========================== =============================================================
END                                    the record is complete
RUN        first, last                 read or skip these rows of values
UNION      branches, start             read the branch, go on at jumps[start + branch]
JUMP       to                          go on there
LIST       end, map                    read a block's count; per item run what follows up to NEXT
NEXT                                   an item is complete
EMPTY                                  a list whose items take no bytes: read the counts alone
CALL       to                          run a subroutine: a record that occurs more than once
RETURN                                 the subroutine is complete
========== =========================== =============================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from realbogus.errors import PacketError, Reason
from realbogus.packets.avrotypes import WIDTHS, AvroType
from realbogus.packets.fields import Fields
from realbogus.packets.kernels import (
    BOOLEAN,
    BYTES,
    CALL,
    DOUBLE,
    EMPTY,
    END,
    ENUM,
    FIXED,
    FLOAT,
    JUMP,
    LIST,
    NEXT,
    RETURN,
    RUN,
    UNION,
    VARINT,
)

MAX_ROWS = 1 << 16  # operations and values of a program; real packets need about 600
MAX_PLAIN_SKIP = 1 << 20  # bytes; keeps sums of widths within int32

_KINDS = {"boolean": BOOLEAN, "int": VARINT, "long": VARINT, "float": FLOAT, "double": DOUBLE}
_KINDS |= {"bytes": BYTES, "string": BYTES, "fixed": FIXED, "enum": ENUM}


@dataclass(frozen=True)
class Slot:
    """The columns that a wanted field goes to; -1 = none."""

    number: int = -1
    integer: int = -1
    text: int = -1
    blob: int = -1  # texts and blobs share one array of spans, the texts first


@dataclass
class Wanted:
    """What is wanted of a field: itself, and what lies below it."""

    slot: Slot = Slot()
    below: dict[str, Wanted] = field(default_factory=dict)


NOTHING = Wanted()


@dataclass(frozen=True, eq=False)
class Program:
    """What `kernels.decode` runs, and the name of the field behind each row, for messages to people."""

    ops: NDArray[np.int32]  # (O, 4)
    values: NDArray[np.int32]  # (V, 6)
    jumps: NDArray[np.int32]  # (J,)
    op_paths: tuple[str, ...]
    value_paths: tuple[str, ...]


class TooLarge(PacketError):
    """The schema needs a larger program than MAX_ROWS."""


def compile_program(root: AvroType, fields: Fields, *, max_rows: int = MAX_ROWS) -> Program:
    """The program that reads these fields out of records of this type and skips the rest."""
    compiler = _Compiler(max_rows=max_rows, shared=_shared_records(root))
    compiler.add(root, _wanted(fields), "")
    compiler.op(END, path="")
    compiler.add_subroutines()
    return compiler.program()


def _wanted(fields: Fields) -> Wanted:
    """The fields as a tree of their paths."""
    tree = Wanted()
    offset = len(fields.texts)
    for kind, paths in (("number", fields.numbers), ("integer", fields.integers), ("text", fields.texts)):
        for column, path in enumerate(paths):
            _plant(tree, path, kind, column)
    for column, path in enumerate(fields.blobs):
        _plant(tree, path, "blob", offset + column)
    return tree


def _plant(tree: Wanted, path: str, kind: str, column: int) -> None:
    for name in path.split("."):
        tree = tree.below.setdefault(name, Wanted())
    if getattr(tree.slot, kind) >= 0:
        raise ValueError(f"{path!r} is wanted twice")
    tree.slot = replace(tree.slot, **{kind: column})


def _shared_records(root: AvroType) -> set[AvroType]:
    """Records that more than one place refers to, themselves included."""
    seen: set[AvroType] = {root}
    shared: set[AvroType] = set()
    waiting = [root]
    while waiting:
        for part in waiting.pop().parts:
            if part in seen:
                shared |= {part} if part.kind == "record" else set()
            else:
                seen.add(part)
                waiting.append(part)
    return shared


@dataclass
class _Compiler:
    """Rows as they grow. A RUN grows until something else comes between or a jump lands behind it."""

    max_rows: int
    shared: set[AvroType]
    ops: list[list[int]] = field(default_factory=list)
    values: list[list[int]] = field(default_factory=list)
    jumps: list[int] = field(default_factory=list)
    op_paths: list[str] = field(default_factory=list)
    value_paths: list[str] = field(default_factory=list)
    calls: list[tuple[int, AvroType]] = field(default_factory=list)  # operation and the record that it calls
    landed: int = -1  # operation that a jump leads to: no RUN may grow across it

    def program(self) -> Program:
        ops = np.array(self.ops, np.int32).reshape(-1, 4)
        values = np.array(self.values, np.int32).reshape(-1, 6)
        jumps = np.array(self.jumps, np.int32)
        return Program(ops, values, jumps, tuple(self.op_paths), tuple(self.value_paths))

    def op(self, code: int, a: int = 0, b: int = 0, *, path: str) -> int:
        """Append an operation; its position."""
        self._require_room()
        self.ops.append([code, a, b, 0])
        self.op_paths.append(path)
        return len(self.ops) - 1

    def here(self) -> int:
        """The position that a jump leads to."""
        self.landed = len(self.ops)
        return self.landed

    def add(self, kind: AvroType, wanted: Wanted, path: str) -> None:
        """Append what reads or skips one value of this type."""
        if kind.kind == "null" or (kind.takes_no_bytes and wanted is NOTHING):
            return
        if kind.kind == "record":
            self._add_record(kind, wanted, path)
        elif kind.kind == "union":
            self._add_union(kind, wanted, path)
        elif kind.kind in ("array", "map"):
            self._add_list(kind, path)
        else:
            self._add_value(kind, wanted, path, null=-1)

    def add_subroutines(self) -> None:
        """Append each record that is called, and those which it calls in turn."""
        starts: dict[AvroType, int] = {}
        while waiting := [kind for _, kind in self.calls if kind not in starts]:
            kind = waiting[0]
            starts[kind] = self.here()
            self._add_fields(kind, NOTHING, kind.name)
            self.op(RETURN, path=kind.name)
        for call, kind in self.calls:
            self.ops[call][1] = starts[kind]

    def _add_record(self, kind: AvroType, wanted: Wanted, path: str) -> None:
        if wanted.below.keys() & set(kind.field_names):
            self._add_fields(kind, wanted, path)
        elif kind in self.shared:
            self.calls.append((self.op(CALL, path=path), kind))
        else:
            self._add_fields(kind, NOTHING, path)

    def _add_fields(self, kind: AvroType, wanted: Wanted, path: str) -> None:
        for name, part in zip(kind.field_names, kind.parts, strict=True):
            self.add(part, wanted.below.get(name, NOTHING), f"{path}.{name}" if path else name)

    def _add_union(self, kind: AvroType, wanted: Wanted, path: str) -> None:
        kinds = [branch.kind for branch in kind.parts]
        if len(kinds) == 2 and "null" in kinds:
            other = kind.parts[1 - kinds.index("null")]
            if other.kind in _KINDS:
                return self._add_value(other, wanted, path, null=2 * kinds.index("null"))
        start = len(self.jumps)
        self.jumps += [0] * len(kinds)
        self.op(UNION, len(kinds), start, path=path)
        ends = []
        for position, branch in enumerate(kind.parts):
            self.jumps[start + position] = self.here()
            self.add(branch, wanted, path)
            ends.append(self.op(JUMP, path=path))
        for end in ends:
            self.ops[end][1] = self.here()
        return None

    def _add_list(self, kind: AvroType, path: str) -> None:
        """Nothing is wanted out of lists: history is not a feature."""
        if kind.kind == "array" and kind.parts[0].takes_no_bytes:
            self.op(EMPTY, path=path)
            return
        start = self.op(LIST, 0, int(kind.kind == "map"), path=path)
        self.add(kind.parts[0], NOTHING, path)
        self.op(NEXT, path=path)
        self.ops[start][1] = self.here()

    def _add_value(self, kind: AvroType, wanted: Wanted, path: str, *, null: int) -> None:
        row = [null, _KINDS[kind.kind], kind.size or WIDTHS.get(kind.kind, 0), *_columns(kind.kind, wanted.slot)]
        if row[3:] == [-1, -1, -1] and kind.kind in WIDTHS:
            row[1] = FIXED
        growing = bool(self.ops) and self.ops[-1][0] == RUN and self.landed < len(self.ops)
        if not growing:
            self.op(RUN, len(self.values), len(self.values), path=path)
        if growing and _is_plain_skip(row) and _is_plain_skip(self.values[-1]):
            self.values[-1][2] += row[2]
            return
        self._require_room()
        self.values.append(row)
        self.value_paths.append(path)
        self.ops[-1][2] = len(self.values)

    def _require_room(self) -> None:
        if len(self.ops) + len(self.values) >= self.max_rows:
            raise TooLarge("the writer schema is too large for a compiled program", Reason.UNKNOWN_SCHEMA)


def _is_plain_skip(row: list[int]) -> bool:
    """Whether a value is so many bytes to skip, whatever they hold: neighbours of this kind become one."""
    return row[0] == -1 and row[1] == FIXED and row[2] < MAX_PLAIN_SKIP and row[5] == -1


def _columns(kind: str, slot: Slot) -> list[int]:
    """Where a value of this type goes: a wanted column of another type stays empty."""
    numeric = kind in ("boolean", "int", "long", "float", "double")
    span = {"string": slot.text, "bytes": slot.blob, "fixed": slot.blob}.get(kind, -1)
    return [slot.number if numeric else -1, slot.integer if kind in ("int", "long") else -1, span]
