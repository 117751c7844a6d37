"""Medians of frames, found by one partition; NaN and infinities count as no pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def median(values: NDArray[Any]) -> float:
    """The median of the values that are finite, NaN if none is: numpy's own takes ten times as long."""
    there = values[np.isfinite(values)]
    if there.size == 0:
        return np.nan
    half = there.size // 2
    there.partition(half)
    upper = float(there[half])
    return upper if there.size % 2 else 0.5 * (upper + float(there[:half].max()))


def spread(values: NDArray[Any]) -> float:
    """1.4826 times the median absolute deviation of the values that are finite."""
    return 1.4826 * median(np.abs(values - median(values)))
