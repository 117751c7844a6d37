"""FITS stamps -> images -> triplets, each pixel where it belongs and missing pixels visible as NaN.

The common stamp is gzipped or plain FITS with one float32 image in its first unit. It is inflated by libdeflate (by
zlib where that wheel is absent) into a buffer of bounded size, its header is read directly, and one compiled pass
turns the big-endian pixels into a row of the batch. Any other FITS goes through astropy, which is also the oracle of
the tests: both give the same pixels to the last bit.

The rules, the same for every survey:

- **No pixel** (NaN) is what is NaN, infinite or beyond 1e30 in size (some templates hold -3.4e38, which is finite
  but no flux), what lies outside the stamp, and *fill*: rows or columns at the rim of the stamp in which every pixel
  is zero or already missing. Real ZTF and Rubin stamps mark missing pixels by NaN and hold no such rows (none in
  5,016 stamps looked at), while other pipelines pad with zeros. Zeros inside the image are data.
- **Place.** The candidate's pixel comes to lie on (31, 31) of the 63 x 63 frame. A stamp trimmed at the edge of the
  chip is laid where the chip position says (`frame.trimmed_corner`), any other is laid by its middle
  (`frame.centred_corner`), and what does not fit into the frame is cut off.
- **Polarity.** The difference is negated where the caller says so, to make the candidate positive.
"""

from __future__ import annotations

import io
import math
import re
import warnings
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import DIFFERENCE, STAMP_SIDE, Triplets
from realbogus.errors import PacketError, Reason, StampError
from realbogus.frame import Corner, Shape, lay

deflate: Any
try:
    import deflate
except ImportError:  # the wheel does not exist for every platform; zlib does the same at half the speed
    deflate = None

STAMPS = ("science", "template", "difference")  # in the order of axis 1 of triplets

Place = Callable[[int, Shape], Corner]  # the number of the alert and the shape of its stamp -> corner

_BLOCK = 2880  # bytes; FITS headers and data come in blocks of this size
_CARD = 80  # bytes
_END = b"END".ljust(_CARD)
_MANDATORY = (b"SIMPLE", b"BITPIX", b"NAXIS", b"NAXIS1", b"NAXIS2")  # the first cards, in the order FITS demands
_SCALED = (b"BSCALE  ", b"BZERO   ", b"BLANK   ", b"GROUPS  ")  # cards that give the stored numbers another meaning
_COUNTED = re.compile(rb"(?:NAXIS   |TFIELDS )= *[^ /]{4,}")  # as many axes or columns as no FITS may have
_GZIP = b"\x1f\x8b"
_UNUSUAL = (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError)


def read_triplets(
    messages: Sequence[bytes], spans: NDArray[np.int64], turn: NDArray[np.bool_], place: Place, limit: int
) -> tuple[Triplets, dict[int, PacketError]]:
    """Read the three stamps of N alerts: (N, 3, 63, 63), and what is wrong with those that could not be read.

    spans is (N, 3, 2): offset and length of the science, template and difference stamp in each message, offset < 0
    where absent. turn is (N,): negate the difference. limit is the largest stamp in bytes, packed or inflated.
    The triplets of an alert with a problem are undefined; a problem never touches another alert.
    """
    triplets = np.empty((len(messages), len(STAMPS), STAMP_SIDE, STAMP_SIDE), np.float32)
    problems: dict[int, PacketError] = {}
    turned = turn.tolist()
    for row, (message, alert) in enumerate(zip(messages, spans.tolist(), strict=True)):
        try:
            _read_alert(memoryview(message), alert, triplets, row, turned[row], place, limit)
        except PacketError as problem:
            problems[row] = problem.alone()
    return triplets, problems


def _read_alert(
    message: memoryview, spans: list[list[int]], triplets: Triplets, row: int, turn: bool, place: Place, limit: int
) -> None:
    missing = [name for name, (offset, length) in zip(STAMPS, spans, strict=True) if offset < 0 or length == 0]
    if missing:
        raise StampError(f"the packet lacks stamps: {', '.join(missing)}", Reason.MISSING_STAMP)
    for stamp, (offset, length) in enumerate(spans):
        try:
            raw, start, shape = unpack(message[offset : offset + length], limit)
            top, left = (0, 0) if shape == (STAMP_SIDE, STAMP_SIDE) else place(row, shape)
        except StampError as problem:
            raise StampError(f"the {STAMPS[stamp]} stamp {problem}", problem.reason) from None
        pixels = np.frombuffer(raw, np.uint8)
        if not lay(pixels, start, *shape, top, left, turn and stamp == DIFFERENCE, triplets, row, stamp):
            raise StampError(f"the {STAMPS[stamp]} stamp has no valid pixel")


# one stamp


def read_image(stamp: bytes | memoryview, limit: int) -> NDArray[np.float32]:
    """Read one stamp as it is: its own shape, nothing masked, placed or turned. Raises StampError."""
    raw, start, (rows, columns) = unpack(stamp, limit)
    return np.frombuffer(raw, ">f4", rows * columns, start).reshape(rows, columns).astype(np.float32)


def unpack(stamp: bytes | memoryview, limit: int) -> tuple[bytes | bytearray, int, Shape]:
    """Give the bytes of a stamp, inflated, and where in them its big-endian float32 image begins, and its shape.

    Raises StampError: OVERSIZE beyond limit bytes before or after inflating, else BAD_STAMP.
    """
    if len(stamp) > limit:
        raise StampError(f"has {len(stamp)} bytes, more than the {limit} allowed", Reason.OVERSIZE)
    raw = _inflate(stamp, limit) if stamp[:2] == _GZIP else bytes(stamp)
    layout = _layout_of(raw)
    if layout is None:
        return _unusual(bytes(raw), limit)
    start, shape = layout
    stop = start + 4 * shape[0] * shape[1]
    if len(raw) < stop:
        raise StampError(f"ends at byte {len(raw)}, its {shape[0]} x {shape[1]} image needs {stop}")
    return raw, start, shape


def _inflate(packed: bytes | memoryview, limit: int) -> bytearray:
    """Inflate gzip into at most limit bytes, CRC checked. What libdeflate refuses, zlib judges and explains."""
    claimed = int.from_bytes(packed[-4:], "little")  # the last word of gzip is the size of what was packed
    if deflate is not None and 0 < claimed <= limit:
        try:
            inflated: bytearray = deflate.gzip_decompress(packed, claimed)
            return inflated
        except (deflate.DeflateError, ValueError):
            pass
    return _inflate_plain(packed, limit)


def _inflate_plain(packed: bytes | memoryview, limit: int) -> bytearray:
    """The same by zlib, at half the speed."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)  # gzip with header and CRC
    try:
        raw = inflater.decompress(packed, limit + 1)
    except zlib.error as problem:
        raise StampError(f"does not inflate ({problem})") from None
    if len(raw) > limit:
        raise StampError(f"inflates to more than the {limit} bytes allowed", Reason.OVERSIZE)
    if not inflater.eof:
        raise StampError("does not inflate (it is cut short)")
    return bytearray(raw)


def _header(raw: bytes | bytearray) -> bytes:
    """The whole primary header, END included, or b"" if it has no end."""
    end = raw.find(_END)
    while end > 0 and end % _CARD:
        end = raw.find(_END, end + 1)
    return bytes(raw[: end + _CARD]) if end > 0 else b""


_recent: tuple[tuple[bytes, tuple[int, Shape]], ...] = ()  # headers and what they say; replaced, never changed


def _layout_of(raw: bytes | bytearray) -> tuple[int, Shape] | None:
    """The layout that the header says. Stamps of a survey share their headers, which are compared where they lie."""
    global _recent
    for header, layout in _recent:
        if raw.startswith(header):
            return layout
    header = bytes(raw[:_BLOCK])
    if (found := _layout(header)) is None:
        header = _header(raw)
        found = _layout(header)
    if found is not None:
        _recent = ((header, found), *_recent[:7])
    return found


def _layout(header: bytes) -> tuple[int, Shape] | None:
    """Where the image begins and its shape (rows, columns); None unless it is a plain float32 image of two axes."""
    end = header.find(_END)
    cards = [header[at : at + _CARD] for at in range(0, max(end, 0), _CARD)]
    if end % _CARD or len(cards) < 5 or any(card[:8] in _SCALED for card in cards):
        return None
    values = [_value(card, key) for card, key in zip(cards, _MANDATORY, strict=False)]
    if values[:3] != [b"T", b"-32", b"2"] or not (values[3].isdigit() and values[4].isdigit()):
        return None
    rows, columns = int(values[4]), int(values[3])
    return (-(-(end + _CARD) // _BLOCK) * _BLOCK, (rows, columns)) if rows and columns else None


def _value(card: bytes, key: bytes) -> bytes:
    return card[10:].split(b"/")[0].strip() if card[:10] == key.ljust(8) + b"= " else b""


def _unusual(raw: bytes, limit: int) -> tuple[bytes, int, Shape]:
    """Read any other FITS through astropy: the first unit that holds an image of two axes.

    Tile-compressed images are refused: what a tile inflates to cannot be bounded beforehand, and no survey sends them.
    """
    if _COUNTED.search(raw):  # astropy would look for a card of every axis, be they 10^18
        raise StampError("is not FITS that can be read (it claims more axes or columns than FITS allows)")
    from astropy.io import fits  # imported only when met: it takes longer than a thousand stamps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what astropy repairs we accept; what it cannot read it raises
            with fits.open(io.BytesIO(raw), disable_image_compression=True) as units:
                for unit in units:
                    flat = isinstance(unit, fits.PrimaryHDU | fits.ImageHDU) and unit.header.get("NAXIS") == 2
                    if flat and 0 < 4 * math.prod(unit.shape) <= limit:
                        image = np.ascontiguousarray(unit.data, ">f4")
                        return image.tobytes(), 0, (image.shape[0], image.shape[1])
    except _UNUSUAL as problem:
        raise StampError(f"is not FITS that can be read ({problem or type(problem).__name__})") from None
    raise StampError("is FITS without an image of two axes of the allowed size")
