"""What a feature is: a named number with a unit, a range, a rule for NaN, a source and a plain definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from realbogus.alerts import Column
from realbogus.features.view import View

Definition = Callable[[View], Column]

NAN_RULES = {
    "N0": "never NaN",
    "N1": "NaN where under 80 % of the pixels it looks at are valid",
    "N2": "NaN where a column it needs is missing",
    "N3": "NaN where a denominator is not positive or a fit fails",
}
FAMILIES = {
    "A": "local noise and negative pixels",
    "B": "PSF and Gaussian fits",
    "C": "aperture photometry and host contrast",
    "D": "shape moments",
    "E": "symmetry and rotation",
    "F": "morphology",
    "G": "cosmic rays, defects, edges",
    "H": "relations between the three stamps",
    "I": "surroundings in the stamp",
    "J": "detection columns",
    "K": "host and star columns",
    "L": "residuals of other stars, and the frame",
}


@dataclass(frozen=True)
class Feature:
    """One entry of the catalogue. `of` is its plain definition; a compiled twin, where there is one, must agree."""

    name: str
    family: str  # letter, see FAMILIES
    definition: str  # one sentence or formula
    unit: str  # "" = a pure number
    low: float  # the values of real packets lie in [low, high]; infinite = open
    high: float
    nan: str  # rules that apply, see NAN_RULES
    source: str  # paper, schema or "ours"
    stamps: str  # letters of the stamps it reads: D difference, S science, T template
    columns: tuple[str, ...]  # columns of the batch it reads
    surveys: tuple[str, ...]  # surveys whose packets can give it
    of: Definition
    caution: str = ""  # why training sets leave it out; "" = they may use it
    version: int = 1  # counted up whenever the values change; part of the digest

    def __call__(self, view: View) -> Column:
        """Its values (N,) by the plain definition; whatever is not finite becomes NaN."""
        with np.errstate(all="ignore"):
            values = np.asarray(self.of(view), np.float64)
        return np.where(np.isfinite(values), values, np.nan)


class Family:
    """Collects the features of one module, in the order they are written."""

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.features: list[Feature] = []

    def feature(
        self,
        low: float,
        high: float,
        nan: str,
        source: str,
        *,
        stamps: str = "",
        columns: str = "",
        unit: str = "",
        surveys: tuple[str, ...] = ("ztf", "rubin"),
        caution: str = "",
        version: int = 1,
    ) -> Callable[[Definition], Definition]:
        """Register a function of a View under its own name; the first line of its docstring is its definition."""

        def register(of: Definition) -> Definition:
            definition = (of.__doc__ or "").strip().split("\n")[0]
            self.features.append(
                Feature(
                    name=of.__name__,
                    family=self.letter,
                    definition=definition,
                    unit=unit,
                    low=low,
                    high=high,
                    nan=nan,
                    source=source,
                    stamps=stamps,
                    columns=tuple(columns.split()),
                    surveys=surveys,
                    of=of,
                    caution=caution,
                    version=version,
                )
            )
            return of

        return register
