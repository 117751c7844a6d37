"""Round numbers for axes."""

from __future__ import annotations

import math


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high, about so many; [low] where there is no range."""
    if not high > low:
        return [low]
    rough = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def plain(value: float) -> str:
    """A number without needless digits: 20, 0.5, -3."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
