"""How unlike all that a model was trained on an alert is: a column of its own, never mixed into the score.

An isolation forest (Liu, Ting & Zhou 2008) splits at random until rows stand alone; what is unlike the others stands
alone soon. It is kept as a `Forest` whose leaves hold the length of the way to them, as a share of the longest: so it
is checked, walked and explained by the very code that serves scores, and nothing in it can run code. A missing value
takes the way of the training rows' median.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column, Matrix
from realbogus.errors import ModelError
from realbogus.forest import Forest

QUANTILES = (0.5, 0.9, 0.99, 0.999)  # of the novelty of training rows, told beside it


@dataclass(frozen=True, eq=False)
class Novelty:
    """Novelty of rows of features: 0.5 is usual, towards 1 is alone."""

    forest: Forest  # leaves hold the length of the way as a share of `longest`
    longest: float  # steps
    expected: float  # steps to a row of a sample of this size, on average
    quantiles: Mapping[str, float]  # share of training rows below -> novelty

    def __call__(self, X: Matrix) -> Column:
        """Novelty of each row of X (N, F): (N,) in (0, 1). A row's novelty does not depend on the others."""
        return np.asarray(2.0 ** (-self.forest.score(X) * (self.longest / self.expected)))

    def contributions(self, X: Matrix) -> NDArray[np.float64]:
        """By how many steps each feature made the way shorter than the mean of all, (N, F): what is odd about a row."""
        return -self.longest * self.forest.contributions(X)

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it, beside the arrays."""
        return {"longest": self.longest, "expected": self.expected, "quantiles": dict(self.quantiles)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any], forest: Forest) -> Novelty:
        """From a manifest. Raises ModelError where it is not the entry of a novelty."""
        try:
            longest, expected = float(found["longest"]), float(found["expected"])
            quantiles = {str(share): float(value) for share, value in found["quantiles"].items()}
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"novelty: {error!r}") from error
        if not (0 < longest < 1e6 and 0 < expected < 1e6):
            raise ModelError(f"novelty: ways of {longest} steps, {expected} expected, make no sense")
        return cls(forest, longest, expected, quantiles)
