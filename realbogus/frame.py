"""The 63 x 63 frame: where a stamp lies in it, and which of its pixels count.

`stamps` tells the rules; here they are carried out.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from realbogus.alerts import CENTRE, STAMP_SIDE
from realbogus.errors import StampError

HUGE = 1e30  # pixels larger than this are placeholders, whatever their unit

Shape = tuple[int, int]  # rows, columns
Corner = tuple[int, int]  # row and column of the frame on which the first pixel of a stamp falls; may be negative


def centred_corner(shape: Shape, x_px: float = math.nan, y_px: float = math.nan) -> Corner:
    """Lay a stamp by its middle, so that the pixel nearest to the candidate is (31, 31).

    The middle of an even side falls between two pixels. The candidate is then on the second of them where the
    fraction of its position (counted so that whole numbers are centres of pixels) is at least one half, else, and
    where the position is NaN, on the first. Measured on Rubin stamps of 30 to 93 pixels: always within half a pixel.
    """
    return _centred(shape[0], y_px), _centred(shape[1], x_px)


def _centred(side: int, position: float) -> int:
    second = side % 2 == 0 and position - math.floor(position) >= 0.5 if math.isfinite(position) else False
    return CENTRE - ((side - 1) // 2 + second)


def trimmed_corner(shape: Shape, x_px: float, y_px: float, chip: Shape) -> Corner:
    """Lay a stamp that the edge of the chip has trimmed, so that the candidate stays on (31, 31).

    x_px and y_px count from 1 at the centre of the first pixel of the chip, which is chip (rows, columns) large.
    Which edge cut it, only that position says: a pixel short on the left looks like one short on the right.
    Raises StampError where the position does not explain the shape: laid elsewhere it would be scored as another
    picture. Sides of at least 63 pixels are laid by their middle.
    """
    return _trimmed(shape[0], y_px, chip[0], "high"), _trimmed(shape[1], x_px, chip[1], "wide")


def _trimmed(side: int, position: float, chip: int, word: str) -> int:
    if side >= STAMP_SIDE:
        return _centred(side, math.nan)
    if math.isfinite(position):
        pixel = math.floor(position + 0.5) - 1  # the candidate's pixel, from 0
        if abs(side - (pixel + CENTRE + 1)) <= 1:  # one pixel of grace for positions half-way between two
            return STAMP_SIDE - side
        if abs(side - (chip - pixel + CENTRE)) <= 1:
            return 0
    raise StampError(f"is {side} px {word}, which position {position:g} on a chip of {chip} px does not explain")


_HUGE_BITS = np.uint32(np.float32(HUGE).view(np.uint32))  # floats without sign are ordered as their bits are
_NAN_BITS = np.uint32(0x7FC00000)
_SIGN_BIT = np.uint32(0x80000000)
_BYTE_0, _BYTE_1 = np.uint32(0x00FF0000), np.uint32(0x0000FF00)
_BITS_8, _BITS_24 = np.uint32(8), np.uint32(24)


@njit(cache=True, nogil=True)
def _is_fill(line):  # type: ignore[no-untyped-def]
    for value in line:  # noqa: SIM110 (compiled: a loop that leaves early)
        if value != 0.0 and not np.isnan(value):
            return False
    return True


@njit(cache=True, nogil=True)
def _blank_fill(frame, top, bottom, left, right):  # type: ignore[no-untyped-def]
    """Turn zeros of fill rows and columns at the rim into NaN; the number of zeros that were."""
    zeros = 0
    rows, columns = (top, bottom), (left, right)
    while rows[0] < rows[1] and _is_fill(frame[rows[0], left:right]):
        rows = (rows[0] + 1, rows[1])
    while rows[0] < rows[1] and _is_fill(frame[rows[1] - 1, left:right]):
        rows = (rows[0], rows[1] - 1)
    while columns[0] < columns[1] and _is_fill(frame[top:bottom, columns[0]]):
        columns = (columns[0] + 1, columns[1])
    while columns[0] < columns[1] and _is_fill(frame[top:bottom, columns[1] - 1]):
        columns = (columns[0], columns[1] - 1)
    for y in range(top, bottom):
        for x in range(left, right):
            inside = rows[0] <= y < rows[1] and columns[0] <= x < columns[1]
            if not inside and not np.isnan(frame[y, x]):
                frame[y, x] = np.nan
                zeros += 1
    return zeros


_ARGUMENTS = "int64, int64, int64, int64, int64, boolean, float32[:, :, :, ::1], int64, int64"


@njit(
    [f"int64(Array(uint8, 1, 'C', readonly=True), {_ARGUMENTS})", f"int64(uint8[::1], {_ARGUMENTS})"],
    cache=True,
    nogil=True,
)
def lay(raw, start, rows, columns, top, left, turn, triplets, alert, stamp):  # type: ignore[no-untyped-def]
    """Lay big-endian pixels into triplets[alert, stamp] by the rules above; the number of valid pixels.

    Works on the bits, so that swapping the bytes, masking and turning are one pass of integer vector instructions.
    """
    pixels = raw[start : start + 4 * rows * columns].view(np.uint32)
    frame = triplets[alert, stamp]
    bits = frame.view(np.uint32)
    y0, y1 = max(0, top), min(STAMP_SIDE, top + rows)
    x0, x1 = max(0, left), min(STAMP_SIDE, left + columns)
    if y1 - y0 < STAMP_SIDE or x1 - x0 < STAMP_SIDE:
        frame[:] = np.nan
    sign = _SIGN_BIT if turn else np.uint32(0)
    valid = 0
    for y in range(y0, y1):
        line = pixels[(y - top) * columns + x0 - left :]
        for x in range(x1 - x0):
            word = line[x]
            word = (
                (word << _BITS_24) | ((word << _BITS_8) & _BYTE_0) | ((word >> _BITS_8) & _BYTE_1) | (word >> _BITS_24)
            )
            good = (word & ~_SIGN_BIT) <= _HUGE_BITS
            bits[y, x0 + x] = (word ^ sign) if good else _NAN_BITS
            valid += int(good)
    if (
        _is_fill(frame[y0, x0:x1])
        or _is_fill(frame[y1 - 1, x0:x1])
        or _is_fill(frame[y0:y1, x0])
        or _is_fill(frame[y0:y1, x1 - 1])
    ):
        valid -= _blank_fill(frame, y0, y1, x0, x1)
    return valid
