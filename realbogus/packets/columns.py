"""Records of one survey to columns: allocates them, has the compiled decoder or fastavro fill them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realbogus.errors import PacketError
from realbogus.limits import Limits
from realbogus.packets import explain, fallback, kernels
from realbogus.packets.blocks import Header
from realbogus.packets.fields import Decoded, Fields
from realbogus.packets.identity import Identity, extended
from realbogus.packets.program import Program, TooLarge, compile_program
from realbogus.packets.schemas import SchemaStore, Writer


@dataclass(frozen=True)
class Framed:
    """One record and what surrounds it."""

    index: int  # position among the messages
    data: bytes  # the message, or its inflated block
    start: int  # where the record starts, or the sync marker before its block
    in_block: bool  # whether there is a block around it, yet to be checked
    writer: Writer
    schema: str  # "ztf/4.02"


@dataclass(frozen=True)
class Columns:
    """The arrays of a Decoded while they are filled: one row a record."""

    numbers: NDArray[np.float64]
    integers: NDArray[np.int64]  # the wanted ones, then two of the identity
    present: NDArray[np.bool_]
    spans: NDArray[np.int64]  # wanted texts, one of the identity, blobs

    @classmethod
    def empty(cls, rows: int, fields: Fields) -> Columns:
        """Columns in which nothing is present."""
        spans = np.zeros((rows, len(fields.texts) + len(fields.blobs), 2), np.int64)
        spans[:, :, 0] = -1
        return cls(
            np.full((rows, len(fields.numbers)), np.nan),
            np.zeros((rows, len(fields.integers)), np.int64),
            np.zeros((rows, len(fields.integers)), np.bool_),
            spans,
        )


@dataclass(frozen=True)
class Filled:
    """Columns of N records, the data that spans point into, what is wrong with some, and whose they are."""

    columns: Columns
    data: list[bytes]
    problems: dict[int, PacketError]  # by row
    identities: list[Identity]

    def identity(self, row: int) -> tuple[int | None, str]:
        """candid and object id of a record, None and "" where they could not be read."""
        columns = self.columns
        return self.identities[row].read(
            self.data[row], columns.integers[row], columns.present[row], columns.spans[row]
        )


def fill(records: Sequence[Framed], fields: Fields, store: SchemaStore, limits: Limits, *, compiled: bool) -> Filled:
    """Decode records, of whatever writer schemas, into columns in the order given."""
    groups: dict[tuple[Writer, bool], list[int]] = {}
    for row, record in enumerate(records):
        groups.setdefault((record.writer, record.in_block), []).append(row)
    with_identity, _ = extended(fields, None)
    columns = Columns.empty(len(records), with_identity)
    filled = Filled(columns, [record.data for record in records], {}, [])
    identities: dict[int, Identity] = {}
    for (writer, in_block), rows in groups.items():
        plan, identity = _plan(writer, fields)
        identities |= dict.fromkeys(rows, identity)
        if compiled and plan.program is not None:
            _run(plan.program, records, rows, in_block, filled, limits)
        else:
            store.fallbacks += len(rows) if compiled else 0
            for row in rows:
                _fall_back(records[row], row, plan.fields, filled, limits)
    filled.identities.extend(identities[row] for row in range(len(records)))
    return filled


def decoded(survey: str, records: Sequence[Framed], filled: Filled, fields: Fields) -> Decoded:
    """The sound rows as the survey wants them."""
    rows = [row for row in range(len(records)) if row not in filled.problems]
    columns, whole = filled.columns, len(rows) == len(records)
    pick = slice(None) if whole else np.array(rows, np.intp)
    texts = len(fields.texts)
    return Decoded(
        survey=survey,
        messages=[filled.data[row] for row in rows],
        index=np.array([records[row].index for row in rows], np.int64),
        schemas=[records[row].schema for row in rows],
        numbers=columns.numbers[pick],
        integers=columns.integers[pick, : len(fields.integers)],
        present=columns.present[pick, : len(fields.integers)],
        texts=columns.spans[pick, :texts],
        blobs=columns.spans[pick, texts + 1 :],
    )


@dataclass(frozen=True)
class _Plan:
    program: Program | None  # None: too large to compile
    fields: Fields  # with those of the identity


def _plan(writer: Writer, fields: Fields) -> tuple[_Plan, Identity]:
    """How to read these fields of this writer's records, worked out once."""
    if fields not in writer.found:
        with_identity, identity = extended(fields, writer.root)
        try:
            program = compile_program(writer.root, with_identity)
        except TooLarge:
            program = None
        writer.found[fields] = _Plan(program, with_identity), identity
    plan: tuple[_Plan, Identity] = writer.found[fields]
    return plan


def _run(
    program: Program, records: Sequence[Framed], rows: list[int], in_block: bool, filled: Filled, limits: Limits
) -> None:
    """Have the compiled decoder fill these rows."""
    data = [filled.data[row] for row in rows]
    pointers = (ctypes.c_char_p * len(rows))(*data)  # keeps the bytes alive
    columns = filled.columns
    status = np.zeros((len(rows), kernels.STATUS), np.int64)
    kernels.decode_messages(
        np.frombuffer(memoryview(pointers), np.uint64),
        np.fromiter(map(len, data), np.int64, len(rows)),
        np.fromiter((records[row].start for row in rows), np.int64, len(rows)),
        np.array(rows, np.int64),
        in_block,
        program.ops,
        program.values,
        program.jumps,
        limits.list_items,
        columns.numbers,
        columns.integers,
        columns.present,
        columns.spans,
        status,
    )
    for at in np.flatnonzero(status[:, 0]).tolist():
        header = Header(records[rows[at]].start, b"", "null")
        filled.problems[rows[at]] = explain.problem(status[at].tolist(), program, data[at], header)


def _fall_back(record: Framed, row: int, fields: Fields, filled: Filled, limits: Limits) -> None:
    """Have fastavro fill this row."""
    try:
        values = fallback.decode(record.data, record.start, record.in_block, record.writer, fields, limits)
    except PacketError as error:
        filled.problems[row] = error.alone()
        return
    columns, spans = filled.columns, values.spans
    columns.numbers[row] = values.numbers
    columns.present[row] = [value is not None for value in values.integers]
    columns.integers[row] = [value or 0 for value in values.integers]
    stops = np.cumsum([len(span or b"") for span in spans])
    columns.spans[row] = [
        (-1, 0) if span is None else (stop - len(span), len(span)) for span, stop in zip(spans, stops, strict=True)
    ]
    filled.data[row] = b"".join(span or b"" for span in spans)
