"""Small pictures of single stamps, as PNG: a pixel a pixel, grey for the sky, blue and red for what became of it."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from realbogus.alerts import DIFFERENCE
from realbogus.pictures import HATCH, MISSING, levels

_FAINTER, _SAME, _BRIGHTER = (23, 64, 139), (246, 246, 244), (168, 28, 44)  # of the difference: low, background, high
_NONE, _STRIPE, _FIRST = 0, 1, 2  # places in the palette: no pixel, the stripes on it, the darkest level


def thumbnail(image: NDArray[np.float32], stamp: int) -> bytes:
    """One stamp (63, 63) as PNG, stretched as `pictures` does, first row at the bottom; missing pixels are striped."""
    level = levels(image, stamp)
    valid = np.isfinite(level)
    places = _FIRST + np.rint(np.where(valid, level, 0) * (255 - _FIRST)).astype(np.uint8)
    rows, columns = np.indices(image.shape)
    places = np.where(valid, places, np.where((rows + columns) % 6 < 2, _STRIPE, _NONE)).astype(np.uint8)
    picture = Image.fromarray(places[::-1], mode="L")
    picture.putpalette(_palette(stamp))
    data = BytesIO()
    picture.save(data, "PNG", compress_level=6)
    return data.getvalue()


def _palette(stamp: int) -> bytes:
    """256 colours, three bytes each."""
    share = np.linspace(0, 1, 256 - _FIRST)
    ends = (_FAINTER, _SAME, _BRIGHTER) if stamp == DIFFERENCE else ((0, 0, 0), (128, 128, 128), (255, 255, 255))
    ramp = np.stack([np.interp(share, (0, 0.5, 1), one) for one in zip(*ends, strict=True)], axis=1)
    return bytes.fromhex(MISSING[1:]) + bytes.fromhex(HATCH[1:]) + np.rint(ramp).astype(np.uint8).tobytes()
