"""Cutouts of Rubin: small FITS files of image, variance and PSF."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.simulation.optics import Image
from realbogus.simulation.rubin.plate import PSF_SIDE, Plate

SMALLEST, LARGEST = 30, 93  # pixels of a stamp's side


def cutouts(plate: Plate, x: float, y: float, corner: tuple[int, int], source: dict[str, Any]) -> dict[str, bytes]:
    """The three cutouts: FITS of image, variance and PSF; even sides, the candidate half a pixel off the middle."""
    side = int(np.clip(2 * ((source["bboxSize"] + 14) // 2), SMALLEST, LARGEST - 1))
    left, low = math.floor(x) - side // 2, math.floor(y) - side // 2
    wide = PSF_SIDE // 2 - 10
    files = {}
    for name, image, variance, profile in (
        ("cutoutDifference", plate.difference, plate.variance, plate.profile),
        ("cutoutScience", plate.science, plate.science_variance, plate.science_profile),
        ("cutoutTemplate", plate.template, plate.template_variance, plate.template_profile),
    ):
        parts = [_cut(frame, left, low, side) for frame in (image, variance)]
        cards = {"CUTMINX": left + corner[0], "CUTMINY": low + corner[1]}
        files[name] = _fits_file(parts[0], parts[1], np.pad(profile, wide), cards)
    return files


def _cut(frame: Image, left: int, low: int, side: int) -> NDArray[np.float32]:
    """A square of a frame, NaN where the frame ends."""
    out = np.full((side, side), np.nan, np.float32)
    top, first = max(low, 0), max(left, 0)
    part = frame[top : max(low + side, 0), first : max(left + side, 0)]
    out[top - low : top - low + part.shape[0], first - left : first - left + part.shape[1]] = part
    return out


def _fits_file(
    image: NDArray[np.float32], variance: NDArray[np.float32], profile: Image, cards: dict[str, int]
) -> bytes:
    """Three units: the image in nJy, UNCERT (its variance) and PSFIMAGE."""
    return b"".join(
        (
            _unit(
                "SIMPLE  =                    T", image.astype(">f4"), {"EXTEND": "T", **cards, "BUNIT": "'nJy     '"}
            ),
            _unit("XTENSION= 'IMAGE   '", variance.astype(">f4"), {"PCOUNT": 0, "GCOUNT": 1, "EXTNAME": "'UNCERT  '"}),
            _unit("XTENSION= 'IMAGE   '", profile.astype(">f8"), {"PCOUNT": 0, "GCOUNT": 1, "EXTNAME": "'PSFIMAGE'"}),
        )
    )


def _unit(first: str, pixels: NDArray[Any], cards: dict[str, Any]) -> bytes:
    """One FITS unit: header and data, both padded to 2880 bytes."""
    rows, columns = pixels.shape
    sizes = {"BITPIX": -8 * pixels.itemsize, "NAXIS": 2, "NAXIS1": columns, "NAXIS2": rows}
    lines = [first, *(f"{name:8s}= {value!s:>20s}" for name, value in (sizes | cards).items()), "END"]
    head = "".join(line.ljust(80) for line in lines)
    body = pixels.tobytes()
    return head.ljust(-(-len(head) // 2880) * 2880).encode("ascii") + body + bytes(-len(body) % 2880)
