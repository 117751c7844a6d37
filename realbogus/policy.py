"""From scores to decisions: which alerts are forwarded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column

DECIMALS = 6  # of scores and thresholds, everywhere: what is printed is what was decided on


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Forward what scores at or above a threshold.

    The threshold is the model's own, chosen at the rate its manifest states, unless one is given here.
    """

    threshold: float | None = None  # 0 to 1, on the scale of score; None = the model's

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"a threshold lies between 0 and 1, not at {self.threshold}")

    def threshold_for(self, of_the_model: float) -> float:
        """The threshold in force, to six decimals."""
        return round(of_the_model if self.threshold is None else self.threshold, DECIMALS)

    def forward(self, score: Column, threshold: float) -> NDArray[np.bool_]:
        """Whether each alert is forwarded. score must already be rounded to six decimals."""
        return np.asarray(score >= threshold)
