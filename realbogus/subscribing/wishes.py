"""Which events a subscriber wants to see, and how they are told in a line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from realbogus.errors import ConfigError
from realbogus.voevent.reading import Told


@dataclass(frozen=True)
class Cone:
    """A circle on the sky."""

    ra_deg: float
    dec_deg: float
    radius_deg: float

    def holds(self, ra_deg: float, dec_deg: float) -> bool:
        """Whether a position lies in it, by the haversine formula, which is exact for small distances, too."""
        ra, dec, here_ra, here_dec = map(math.radians, (ra_deg, dec_deg, self.ra_deg, self.dec_deg))
        squared = (
            math.sin((dec - here_dec) / 2) ** 2 + math.cos(dec) * math.cos(here_dec) * math.sin((ra - here_ra) / 2) ** 2
        )
        return math.degrees(2 * math.asin(min(1.0, math.sqrt(squared)))) <= self.radius_deg


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What an event must be to be seen. Retractions are seen whatever their score: they may concern what was."""

    min_score: float = 0.0
    max_mag: float = math.inf  # the faintest; an event without magnitude is not seen if one is asked for
    bands: frozenset[str] = frozenset()  # empty = all
    cone: Cone | None = None
    tests: bool = True

    def want(self, told: Told) -> bool:
        """Whether to show this one."""
        if self.cone is not None and not self.cone.holds(told.ra_deg, told.dec_deg):
            return False
        if told.event.role == "test" and not self.tests:
            return False
        if told.alert_type == "retraction":
            return True
        if math.isfinite(self.max_mag) and not told.number("photometry", "mag_psf") <= self.max_mag:
            return False
        return told.score >= self.min_score and (not self.bands or told.band in self.bands)


def cone(text: str) -> Cone:
    """A circle from "RA,DEC,RADIUS" in degrees; ConfigError where that is none."""
    try:
        ra, dec, radius = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError([f"--cone is {text!r}; expected RA,DEC,RADIUS in degrees, such as 150.1,2.2,0.5"]) from None
    if not (0 <= ra <= 360 and -90 <= dec <= 90 and 0 < radius <= 180):
        raise ConfigError([f"--cone is {text!r}; expected RA 0 to 360, DEC -90 to 90, RADIUS above 0, up to 180"])
    return Cone(ra, dec, radius)


def as_json(told: Told) -> dict[str, Any]:
    """An event in a few plain values; what is not told is left out."""
    values = {
        "ivorn": told.event.ivorn,
        "alert_type": told.alert_type,
        "role": told.event.role,
        "survey": told.event.survey,
        "object_id": told.event.object_id,
        "candid": told.event.candid,
        "score": told.score,
        "calibrated": told.is_calibrated,
        "decision": told.event.decision,
        "band": told.band,
        "mag": told.number("photometry", "mag_psf"),
        "ra_deg": told.ra_deg,
        "dec_deg": told.dec_deg,
        "observed": told.observed.isoformat().replace("+00:00", "Z"),
        "model": told.event.model,
        "cites": [one.ivorn for one in told.citations],
        "page": told.object_url,
    }
    return {name: value for name, value in values.items() if value not in ("", []) and value == value}  # NaN != NaN


def as_text(told: Told) -> str:
    """An event in a line for people."""
    return " ".join(_columns(told)).rstrip()


def _columns(told: Told) -> Iterator[str]:
    mag = told.number("photometry", "mag_psf")
    yield f"{told.observed:%Y-%m-%d %H:%M:%S}"
    yield f"{told.alert_type:<10}"
    yield f"{told.event.object_id:<14}"
    yield f"{told.band or '-':>2} " + ("    -" if math.isnan(mag) else f"{mag:5.2f}")
    yield f"{'P' if told.is_calibrated else 'score'} {told.score:.3f}"
    yield f"{told.ra_deg:9.5f} {told.dec_deg:+9.5f}"
    yield told.event.model
    if told.event.role == "test":
        yield "(test)"
