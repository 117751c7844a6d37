"""Where a pixel of a science frame lies: on the reference grid, and on the sky."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.simulation.optics import polynomial


@dataclass(frozen=True)
class Place:
    """The astrometric solution of an exposure, as the pipeline believes it."""

    terms: NDArray[np.float64]  # (2, 6) displacement from the reference to the science grid, see optics.polynomial
    side: int  # pixels of the frame
    ra: float  # of its centre, deg
    dec: float
    pixel_arcsec: float

    def on_reference(self, x: Any, y: Any) -> tuple[Any, Any]:
        """From the science to the reference grid, one place or many."""
        u, v = x - float(self.terms[0, 0]), y - float(self.terms[1, 0])
        for _ in range(2):
            surface = polynomial(2.0 * u / self.side - 1.0, 2.0 * v / self.side - 1.0)
            dx, dy = (sum(c * term for c, term in zip(row, surface, strict=True)) for row in self.terms.tolist())
            u, v = x - dx, y - dy
        return u, v

    def sky(self, x: float, y: float) -> tuple[float, float]:
        """ra, dec in degrees of a place on the reference grid, by the tangent plane; north up, east left."""
        scale = np.radians(self.pixel_arcsec / 3600.0)
        xi, eta = -(x - self.side / 2) * scale, (y - self.side / 2) * scale
        ra0, dec0 = np.radians(self.ra), np.radians(self.dec)
        below = np.cos(dec0) - eta * np.sin(dec0)
        ra = ra0 + np.arctan2(xi, below)
        dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, below))
        return float(np.degrees(ra) % 360.0), float(np.degrees(dec))
