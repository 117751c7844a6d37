"""A triplet as one small PNG, to be shown enlarged within a page: no file, no library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import DIFFERENCE, STAMP_SIDE
from realbogus.pictures import levels

GAP = 2  # pixels between stamps
BLUE, WHITE, RED = (33, 102, 172), (247, 247, 247), (178, 24, 43)  # fainter, background, brighter
MISSING = (233, 216, 200)  # no pixel


def data_uri(triplet: NDArray[np.float32]) -> str:
    """The source of an <img>: science, template, difference (3, 63, 63) side by side, one pixel a pixel."""
    return "data:image/png;base64," + base64.b64encode(png(strip(triplet))).decode()


def strip(triplet: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The colours (63, 193, 3) of a triplet, first row on top as on the sky. Stretched as `pictures` does."""
    out = np.full((STAMP_SIDE, 3 * STAMP_SIDE + 2 * GAP, 3), 255, dtype=np.uint8)
    for stamp in range(3):
        shown = levels(triplet[stamp], stamp)[::-1]
        level = np.nan_to_num(shown)[..., None]
        if stamp == DIFFERENCE:
            low, middle, high = (np.array(colour, dtype=np.float64) for colour in (BLUE, WHITE, RED))
            colours = np.where(
                level < 0.5, low + 2 * level * (middle - low), middle + (2 * level - 1) * (high - middle)
            )
        else:
            colours = np.repeat(255 * level, 3, axis=2)
        colours[np.isnan(shown)] = MISSING
        start = stamp * (STAMP_SIDE + GAP)
        out[:, start : start + STAMP_SIDE] = np.clip(np.round(colours), 0, 255)
    return out


def png(colours: NDArray[np.uint8]) -> bytes:
    """The PNG file of colours (rows, columns, 3). The same colours give the same bytes with the same zlib."""
    rows, columns, _ = colours.shape
    raw = b"".join(b"\0" + row.tobytes() for row in colours)  # each row says that it is not filtered
    head = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
