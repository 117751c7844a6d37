"""The central window of 21 x 21 pixels, and tables over it that never change.

All tables are (441,), row by row, float64 unless said otherwise; x runs along a row, y down the rows, both from
the candidate's pixel. Every table keeps the symmetries of the square, so that what is built from them can be
exact under flips and quarter turns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import CENTRE, STAMP_SIDE

HALF = 10  # pixels on each side of the candidate; 2.5 PSF widths in nearly all exposures (ZTF W is 2.4 to 4.8 px)
SIDE = 2 * HALF + 1
PIXELS = SIDE * SIDE
WINDOW = slice(CENTRE - HALF, CENTRE + HALF + 1)

Table = NDArray[np.float64]
Mask = NDArray[np.bool_]

AXIS: Table = np.arange(-HALF, HALF + 1, dtype=np.float64)
Y: Table = np.repeat(AXIS, SIDE)
X: Table = np.tile(AXIS, SIDE)
R2: Table = X**2 + Y**2
R: Table = np.sqrt(R2)
RING: NDArray[np.int64] = np.rint(R).astype(np.int64)  # rings of one pixel; ring 0 is the candidate's pixel
BOX5: Mask = np.maximum(np.abs(X), np.abs(Y)) <= 2  # [29:34, 29:34] of a 63 x 63 stamp, as ZTF counts nneg
BOX7: Mask = np.maximum(np.abs(X), np.abs(Y)) <= 3
LINE_OFFSET_PX = 2  # lines of the stamp are judged if they pass the candidate this near
APERTURE_PX = 5.0  # radius; that of autoScan

_STAMP_AXIS = np.arange(STAMP_SIDE) - CENTRE
STAMP_R: Table = np.hypot(_STAMP_AXIS[:, None], _STAMP_AXIS).ravel()  # (3969,) the same over the whole stamp

_SAFE_R = np.where(R > 0, R, 1.0)
COS1: Table = np.where(R > 0, X / _SAFE_R, 0.0)  # cos and sin of the position angle; 0 at the centre
SIN1: Table = np.where(R > 0, Y / _SAFE_R, 0.0)
COS2: Table = np.where(R > 0, (X**2 - Y**2) / _SAFE_R**2, 0.0)
SIN2: Table = np.where(R > 0, 2 * X * Y / _SAFE_R**2, 0.0)

# A pixel on an axis belongs half to each neighbouring quadrant, the centre a quarter to each: (4, 441).
QUADRANTS: Table = np.array([(1 + sx * np.sign(X)) * (1 + sy * np.sign(Y)) / 4 for sy in (-1, 1) for sx in (-1, 1)])


def circle_overlap(radius: float, samples: int = 400) -> Table:
    """Share of each pixel of the window inside a circle about the centre of the candidate's pixel.

    Exact along y, Simpson's rule along x with this many steps a pixel: within 1e-5 of the exact overlap.
    """
    steps = np.linspace(-0.5, 0.5, samples + 1)
    weights = np.where(np.arange(samples + 1) % 2, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    weights /= 3.0 * samples
    x = np.abs(X)[:, None] + steps
    chord = np.sqrt(np.maximum(radius**2 - x**2, 0.0))
    covered = np.clip(chord, (np.abs(Y) - 0.5)[:, None], (np.abs(Y) + 0.5)[:, None]) - (np.abs(Y) - 0.5)[:, None]
    below = np.clip(-chord, (np.abs(Y) - 0.5)[:, None], (np.abs(Y) + 0.5)[:, None]) - (np.abs(Y) - 0.5)[:, None]
    overlap = ((covered - below) * weights).sum(axis=1).reshape(SIDE, SIDE)
    symmetric: Table = ((overlap + overlap.T) / 2).ravel()  # what is left of the error must not favour an axis
    return symmetric


APERTURE: Table = circle_overlap(APERTURE_PX)


def lines_through_centre(
    n_angles: int = 24, offset_px: int = LINE_OFFSET_PX
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pixel lines over the whole stamp that pass the candidate within offset_px: flat indices, lengths, middles.

    (L, 63) indices into a 63 x 63 stamp, padded with 0 beyond the length (L,); the middle (L,) is the place in the
    line that is nearest to the candidate. n_angles is a multiple of 4, so the set of lines maps onto itself under
    flips and quarter turns. Last come the strips (S, 3): lines beside each other.
    """
    step, eighth = np.arange(-CENTRE, CENTRE + 1), n_angles // 4
    flat: list[NDArray[np.int64]] = []
    lengths, middles, strips = [], [], []
    for k in range(-eighth, eighth + 1):  # y rises slower than x, up to the diagonals
        slope = float(np.sign(k)) * (1.0 if abs(k) == eighth else float(np.tan(np.pi * abs(k) / n_angles)))
        first, ways = len(flat), 1 if abs(k) == eighth else 2
        for offset in range(-offset_px, offset_px + 1):
            other = np.rint(slope * step + offset * np.hypot(1.0, slope)).astype(np.int64)
            inside = np.abs(other) <= CENTRE
            for row, column in ((other, step), (step, other))[:ways]:
                index = (row[inside] + CENTRE) * STAMP_SIDE + column[inside] + CENTRE
                flat.append(np.pad(index, (0, STAMP_SIDE - len(index))))
                lengths.append(len(index))
                middles.append(int(inside[:CENTRE].sum()))
        strips += [[line, line + ways, line + 2 * ways] for line in range(first, len(flat) - 2 * ways)]
    return np.array(flat), np.array(lengths, np.int64), np.array(middles, np.int64), np.array(strips)


LINES, LINE_LENGTHS, LINE_MIDDLES, STRIPS = lines_through_centre()


def unblurred_segments() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Segments of 1, 3 and 5 px in four directions about the 3 x 3 central pixels: indices (S, 5) and lengths."""
    anywhere = ((0, 1), (1, 0), (1, 1), (1, -1))
    flat, lengths = [], []
    for y, x in ((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)):
        for length, directions in ((1, anywhere[:1]), (3, anywhere), (5, anywhere)):
            for dy, dx in directions:
                along = np.arange(length) - length // 2
                index = (y + dy * along + HALF) * SIDE + x + dx * along + HALF
                flat.append(np.pad(index, (0, 5 - length)))
                lengths.append(length)
    return np.array(flat), np.array(lengths, np.int64)


SEGMENTS, SEGMENT_LENGTHS = unblurred_segments()

# The second star of a dipole: separations in PSF widths, and 16 directions.
SEPARATIONS: Table = np.array([0.5, 0.75, 1.0, 1.5, 2.0])
_C, _S = np.cos(np.pi / 8 * np.arange(3)), np.sin(np.pi / 8 * np.arange(3))
_FIRST = [(1.0, 0.0), (_C[1], _S[1]), (_C[2], _C[2]), (_S[1], _C[1])]  # the first quarter, exact in its symmetry
DIRECTIONS: Table = np.array(
    [turned for x, y in _FIRST for turned in ((x, y), (-y, x), (-x, -y), (y, -x))]
)  # (16, 2) cosine and sine


ZERNIKE_MODES = tuple((n, m) for n in range(9) for m in range(n + 1) if (n - m) % 2 == 0)  # 25, n <= 8
