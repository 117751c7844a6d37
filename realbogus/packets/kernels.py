"""The compiled decoder: runs a `program.Program` over the bytes of records, making no objects.

Every read is checked against the end of the record first, every list and every depth against its limit, so hostile
bytes end in an error code and never in a read outside the message or a loop without end: each turn of a loop takes at
least one byte, since lists of items without bytes are not looped over.

The plain twin is `fallback`, which has fastavro decode the same record.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

# Codes stand here and not in `program`, since numba's cache looks at this file alone to see whether it is stale.
END, RUN, UNION, JUMP, LIST, NEXT, EMPTY, CALL, RETURN = range(9)  # operations
FIXED, VARINT, BYTES, FLOAT, DOUBLE, BOOLEAN, ENUM = range(7)  # kinds of plain values
DEPTH = 64  # levels of lists within lists and of records within themselves; real schemas have 1

# why a record was given up; `explain` says what the rest of status holds for each
(
    DONE,
    TRUNCATED,
    LONG_NUMBER,
    NEGATIVE_LENGTH,
    BAD_BRANCH,
    BAD_SYMBOL,
    LONG_LIST,
    TOO_DEEP,
    LEFT_OVER,
    RECORD_COUNT,
    SHORT_BLOCK,
    BLOCK_LENGTH,
    SYNC_MARKER,
    MORE_BLOCKS,
) = range(14)
SYNC_BYTES = 16
STATUS = 5  # code, position, detail, row of ops or values (values: -1 - row), end of the record


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:
    """A number as the address that it is."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.uint64), generate


@numba.njit(nogil=True)
def _read_long(buf, p, stop):  # type: ignore[no-untyped-def]
    """A zigzag number and the position behind it, or the negative of an error code in that place."""
    if p < stop and buf[p] < 0x80:
        first = np.int64(buf[p])
        return (first >> 1) ^ -(first & 1), p + 1
    value = np.uint64(0)
    for k in range(10):
        if p + k >= stop:
            return np.int64(0), np.int64(-TRUNCATED)
        byte = np.uint64(buf[p + k])
        value |= (byte & np.uint64(0x7F)) << np.uint64(7 * k)
        if byte < 0x80:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), p + k + 1
    return np.int64(0), np.int64(-LONG_NUMBER)


@numba.njit(nogil=True)
def _float32(buf, p):  # type: ignore[no-untyped-def]
    bits = np.uint32(0)
    for k in range(4):
        bits |= np.uint32(np.uint32(buf[p + k]) << np.uint32(8 * k))
    return np.float64(np.uint32(bits).view(np.float32))


@numba.njit(nogil=True)
def _float64(buf, p):  # type: ignore[no-untyped-def]
    bits = np.uint64(0)
    for k in range(8):
        bits |= np.uint64(buf[p + k]) << np.uint64(8 * k)
    return np.uint64(bits).view(np.float64)


@numba.njit(nogil=True)
def _run(buf, p, stop, first, last, values, row, numbers, integers, present, spans, status):  # type: ignore[no-untyped-def]
    """Read or skip the plain values first..last; the position behind them, or -1 with status filled."""
    for v in range(first, last):
        null = values[v, 0]
        if null >= 0:
            branch, after = _read_long(buf, p, stop)
            if after < 0 or branch < 0 or branch > 1:
                return _fail(status, -after if after < 0 else BAD_BRANCH, p, p + 1 if after < 0 else branch, -1 - v)
            p = after
            if 2 * branch == null:
                continue
        kind = values[v, 1]
        if kind in (VARINT, BYTES, ENUM):
            number, after = _read_long(buf, p, stop)
            if after < 0:
                return _fail(status, -after, p, p + 1, -1 - v)
            if kind == VARINT:
                p = after
                if values[v, 3] >= 0:
                    numbers[row, values[v, 3]] = np.float64(number)
                if values[v, 4] >= 0:
                    integers[row, values[v, 4]] = number
                    present[row, values[v, 4]] = True
            elif kind == BYTES:
                if number < 0 or number > stop - after:
                    return _fail(status, NEGATIVE_LENGTH if number < 0 else TRUNCATED, p, after + number, -1 - v)
                if values[v, 5] >= 0:
                    spans[row, values[v, 5], 0] = after
                    spans[row, values[v, 5], 1] = number
                p = after + number
            else:
                if number < 0 or number >= values[v, 2]:
                    return _fail(status, BAD_SYMBOL, p, number, -1 - v)
                p = after
            continue
        width = np.int64(values[v, 2])
        if width > stop - p:
            return _fail(status, TRUNCATED, p, p + width, -1 - v)
        if kind == FLOAT:
            numbers[row, values[v, 3]] = _float32(buf, p)
        elif kind == DOUBLE:
            numbers[row, values[v, 3]] = _float64(buf, p)
        elif kind == BOOLEAN:
            numbers[row, values[v, 3]] = 1.0 if buf[p] != 0 else 0.0
        elif values[v, 5] >= 0:
            spans[row, values[v, 5], 0] = p
            spans[row, values[v, 5], 1] = width
        p += width
    return p


@numba.njit(nogil=True)
def _fail(status, code, position, detail, where):  # type: ignore[no-untyped-def]
    status[0] = code
    status[1] = position
    status[2] = detail
    status[3] = where
    return np.int64(-1)


@numba.njit(nogil=True)
def _next_block(buf, p, stop, done, list_items, status, where):  # type: ignore[no-untyped-def]
    """Items in the next block of a list of which so many are done, and the position behind its head, or -1."""
    count, after = _read_long(buf, p, stop)
    if after >= 0 and count < 0:
        _, after = _read_long(buf, after, stop)  # its size in bytes, of use to those who skip
        count = -count
    if after < 0:
        return np.int64(0), _fail(status, -after, p, p + 1, where)
    if count < 0 or count > list_items - done:
        return np.int64(0), _fail(status, LONG_LIST, p, count + done if count >= 0 else count, where)
    return count, after


@numba.njit(nogil=True)
def decode_record(buf, p, stop, ops, values, jumps, list_items, row, numbers, integers, present, spans, status):  # type: ignore[no-untyped-def]
    """Run the program over the record that starts at p; the position behind it, or -1 with status filled."""
    frames = np.empty((DEPTH, 3), np.int64)  # lists: operation, items left in the block, items done; calls: return to
    depth = 0
    pc = 0
    while True:
        code = ops[pc, 0]
        if code == RUN:
            p = _run(buf, p, stop, ops[pc, 1], ops[pc, 2], values, row, numbers, integers, present, spans, status)
            if p < 0:
                return p
            pc += 1
        elif code == JUMP:
            pc = ops[pc, 1]
        elif code == UNION:
            branch, after = _read_long(buf, p, stop)
            if after < 0 or branch < 0 or branch >= ops[pc, 1]:
                return _fail(status, -after if after < 0 else BAD_BRANCH, p, p + 1 if after < 0 else branch, pc)
            p = after
            pc = jumps[ops[pc, 2] + branch]
        elif code in (LIST, NEXT):
            if code == LIST:
                if depth == DEPTH:
                    return _fail(status, TOO_DEEP, p, depth, pc)
                frames[depth, 0] = pc
                frames[depth, 1] = 0
                frames[depth, 2] = 0
                depth += 1
            frame = depth - 1
            start = frames[frame, 0]
            if frames[frame, 1] == 0:
                count, p = _next_block(buf, p, stop, frames[frame, 2], list_items, status, start)
                if p < 0:
                    return p
                if count == 0:
                    depth -= 1
                    pc = ops[start, 1]
                    continue
                frames[frame, 1] = count
                frames[frame, 2] += count
            frames[frame, 1] -= 1
            if ops[start, 2] == 1:
                length, after = _read_long(buf, p, stop)
                if after < 0 or length < 0 or length > stop - after:
                    why = -after if after < 0 else (NEGATIVE_LENGTH if length < 0 else TRUNCATED)
                    return _fail(status, why, p, p + 1 if after < 0 else after + length, start)
                p = after + length
            pc = start + 1
        elif code == EMPTY:
            done = np.int64(0)
            while True:
                count, p = _next_block(buf, p, stop, done, list_items, status, pc)
                if p < 0:
                    return p
                if count == 0:
                    break
                done += count
            pc += 1
        elif code == CALL:
            if depth == DEPTH:
                return _fail(status, TOO_DEEP, p, depth, pc)
            frames[depth, 0] = pc + 1
            depth += 1
            pc = ops[pc, 1]
        elif code == RETURN:
            depth -= 1
            pc = frames[depth, 0]
        else:
            return p


@numba.njit(nogil=True)
def _skip_empty_blocks(buf, p, stop, sync):  # type: ignore[no-untyped-def]
    """The position behind blocks without records, with which some writers end a container (ATLAS)."""
    while stop - p >= 2 + SYNC_BYTES and buf[p] == 0 and buf[p + 1] == 0:
        for k in range(SYNC_BYTES):
            if buf[p + 2 + k] != buf[sync + k]:
                return p
        p += 2 + SYNC_BYTES
    return p


@numba.njit(nogil=True)
def _open_block(buf, p, stop, status):  # type: ignore[no-untyped-def]
    """Check what surrounds the one record of a container whose sync marker is at p; where the record starts and ends.

    Where the block is damaged, status says so and the record's end is the best guess, so that its id can be read.
    """
    data = p + SYNC_BYTES
    count, after = _read_long(buf, data, stop)
    size, start = _read_long(buf, after, stop) if after >= 0 else (np.int64(0), after)
    if start < 0:
        _fail(status, SHORT_BLOCK if start == -TRUNCATED else BLOCK_LENGTH, data, stop + 1, 0)
        return np.int64(-1), np.int64(-1)
    if size < 0 or count < 0:
        _fail(status, BLOCK_LENGTH, data, size, 0)
        return start, stop
    if size > stop - start - SYNC_BYTES:
        _fail(status, SHORT_BLOCK, after, start + size + SYNC_BYTES, 0)
        return start, stop
    for k in range(SYNC_BYTES):
        if buf[start + size + k] != buf[p + k]:
            _fail(status, SYNC_MARKER, start + size, size, 0)
            return start, start + size
    if count != 1:
        _fail(status, RECORD_COUNT, data, count, 0)
    end = _skip_empty_blocks(buf, start + size + SYNC_BYTES, stop, p)
    if end < stop and count == 1:
        _fail(status, MORE_BLOCKS, end, stop - end, 0)
    return start, start + size


@numba.njit(nogil=True)
def decode_message(buf, p, framed, ops, values, jumps, list_items, row, numbers, integers, present, spans, status):  # type: ignore[no-untyped-def]
    """Decode the one record of a message: from p on, or in the block behind the sync marker at p if framed.

    status is filled; code DONE means that every byte was read and made sense.
    """
    stop = np.int64(len(buf))
    damage = np.zeros(STATUS, np.int64)
    if framed:
        p, stop = _open_block(buf, p, stop, damage)
        if p < 0:
            status[:] = damage
            return
    status[4] = stop
    p = decode_record(buf, p, stop, ops, values, jumps, list_items, row, numbers, integers, present, spans, status)
    if damage[0] != DONE:
        status[:] = damage
        status[4] = stop
    elif p >= 0 and p != stop:
        _fail(status, LEFT_OVER, p, stop - p, 0)


@numba.njit(
    "void(uint64[::1], int64[::1], int64[::1], int64[::1], boolean, int32[:, ::1], int32[:, ::1], int32[::1], int64, "
    "float64[:, ::1], int64[:, ::1], boolean[:, ::1], int64[:, :, ::1], int64[:, ::1])",
    cache=True,
    nogil=True,
)
def decode_messages(  # type: ignore[no-untyped-def]
    addresses,
    lengths,
    starts,
    rows,
    framed,
    ops,
    values,
    jumps,
    list_items,
    numbers,
    integers,
    present,
    spans,
    status,
):
    """Decode the messages at these addresses into these rows. The caller keeps the messages alive."""
    for i in range(len(addresses)):
        buf = numba.carray(_pointer(addresses[i]), lengths[i], np.uint8)  # type: ignore[attr-defined,call-arg]
        decode_message(
            buf,
            starts[i],
            framed,
            ops,
            values,
            jumps,
            list_items,
            rows[i],
            numbers,
            integers,
            present,
            spans,
            status[i],
        )


@numba.njit(
    "int64(Array(uint8, 1, 'C', readonly=True), int32[:, ::1], int32[:, ::1], int32[::1], int64, int64[::1])",
    cache=True,
    nogil=True,
)
def record_stops(buf, ops, values, jumps, list_items, stops):  # type: ignore[no-untyped-def]
    """Fill stops with the ends of the records that follow each other from byte 0 on; how many are sound.

    The program must store nothing.
    """
    numbers, integers = np.empty((0, 0), np.float64), np.empty((0, 0), np.int64)
    present, spans = np.empty((0, 0), np.bool_), np.empty((0, 0, 0), np.int64)
    status = np.zeros(STATUS, np.int64)
    p = np.int64(0)
    for done in range(len(stops)):
        p = decode_record(
            buf, p, len(buf), ops, values, jumps, list_items, 0, numbers, integers, present, spans, status
        )
        if p < 0:
            return np.int64(done)
        stops[done] = p
    return np.int64(len(stops))
