"""What can spoil a frame, and the map of it beside each, which is how detections are told apart afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray


class Defect(IntFlag):
    """Bits of the map of defects."""

    COSMIC_RAY = 1
    HOT_PIXEL = 2
    BAD_COLUMN = 4
    SATURATION = 8
    SPIKE = 16
    TRAIL = 32
    GHOST = 64
    BAD_FLAT = 128
    TEMPLATE = 256
    CROSSTALK = 512
    AMPLIFIER = 1024
    FLUX_SCALE = 2048
    GLINT = 4096


@dataclass(frozen=True)
class Damage:
    """Where a frame is spoilt: bits of Defect, and pixels that the pipeline masks (NaN in stamps)."""

    bits: NDArray[np.uint16]
    masked: NDArray[np.bool_]
    scale_rms: float = 0.0  # mag: of what flat and clouds did to the calibrators, about the zero point fitted to them
