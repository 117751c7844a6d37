"""An event as a page shows it: texts with their units, and where the links lead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from markupsafe import Markup

from realbogus.publish.http.catalogue import Entry
from realbogus.surveys.history import Point
from realbogus.web.lightcurve import sparkline

MJD_OF_UNIX_ZERO = 40587.0  # d; 1970-01-01
SIMBAD_ARCSEC = 10
SHOWN = 3  # reasons of a kind

BADGES = {  # type -> what a person calls it
    "initial": "new",
    "subsequent": "follow-up",
    "update": "update",
    "retraction": "retraction",
}


@dataclass(frozen=True)
class Reason:
    """A feature that moved the score, with the bar that shows how much."""

    feature: str
    share: float
    words: str
    meaning: str = ""  # what the feature is

    @property
    def measured(self) -> str:
        """What was measured, without what it speaks for: "peak_snr is 41.5"."""
        return self.words.partition(", which speaks")[0].replace(" is -", " is \N{MINUS SIGN}")


@dataclass(frozen=True)
class Card:
    """An event, ready to be shown. Texts are not escaped: the template does that."""

    entry: Entry
    told: dict[str, Any]  # its JSON twin
    url: str
    object_url: str
    when: datetime  # UTC, mid-exposure
    magnitude: str  # "18.53 ± 0.08 mag"; "" = not told
    band: str
    score: float
    threshold: float
    score_words: str  # "P(real) 0.953"
    reasons: tuple[Reason, ...]
    sparkline: Markup
    ra: float
    dec: float
    sexagesimal: str
    is_test: bool

    @property
    def mjd(self) -> float:
        """UTC modified Julian date of mid-exposure."""
        return mjd_of(self.when)

    @property
    def badge(self) -> str:
        """What kind of event it is, in a word."""
        return BADGES.get(str(self.told["alert_type"]), str(self.told["alert_type"]))

    @property
    def speaking_for(self) -> list[Reason]:
        """The largest reasons to call it real."""
        return [one for one in self.reasons if one.share >= 0][:SHOWN]

    @property
    def speaking_against(self) -> list[Reason]:
        """The largest reasons not to."""
        return [one for one in self.reasons if one.share < 0][:SHOWN]

    @property
    def published(self) -> datetime:
        """UTC."""
        return datetime.fromtimestamp(self.entry.published, UTC)


def card(entry: Entry, history: Sequence[Point] = ()) -> Card:
    """The card of an event."""
    told, judged = entry.twin, entry.twin["real_bogus"]
    when = datetime.fromisoformat(told["trigger_time"])
    return Card(
        entry=entry,
        told=told,
        url=f"/events/{entry.local}",
        object_url=f"/objects/{quote(entry.object_id, safe='')}",
        when=when,
        magnitude=_magnitude(told),
        band=told.get("filter", ""),
        score=judged["score"],
        threshold=judged["threshold"],
        score_words=("P(real) " if judged["calibrated"] else "score ") + f"{judged['score']:.3f}",
        reasons=tuple(Reason(**one) for one in judged.get("contributions", ())),
        sparkline=sparkline(history, mjd_of(when)) if len(history) > 1 else Markup(""),
        ra=told["ra"],
        dec=told["dec"],
        sexagesimal=sexagesimal(told["ra"], told["dec"]),
        is_test=told["alert_tense"] == "test",
    )


def mjd_of(when: datetime) -> float:
    """UTC modified Julian date."""
    return MJD_OF_UNIX_ZERO + when.timestamp() / 86400


def _magnitude(told: dict[str, Any]) -> str:
    if "mag" not in told:
        return ""
    error = f" ± {told['mag_error']:.2f}" if "mag_error" in told else ""
    return f"{told['mag']:.2f}{error} mag"


def sexagesimal(ra_deg: float, dec_deg: float) -> str:
    """ "08 13 49.63 -12 20 44.4": hours and degrees as catalogues print them."""
    centis = round(ra_deg / 15 * 360_000) % (24 * 360_000)
    tenths = round(abs(dec_deg) * 36_000)
    sign = "-" if dec_deg < 0 else "+"
    hours, minutes, seconds = centis // 360_000, centis // 6000 % 60, centis % 6000 / 100
    degrees, arcmin, arcsec = tenths // 36_000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours:02d} {minutes:02d} {seconds:05.2f} {sign}{degrees:02d} {arcmin:02d} {arcsec:04.1f}"


def galactic_latitude(ra_deg: float, dec_deg: float) -> float:
    """Galactic latitude, deg."""
    pole, dec = math.radians(27.12825), math.radians(dec_deg)
    away = math.radians(ra_deg - 192.85948)
    return math.degrees(math.asin(math.sin(dec) * math.sin(pole) + math.cos(dec) * math.cos(pole) * math.cos(away)))


def links_out(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Where others tell more: (name, address)."""
    name, survey = quote(str(told["event_name"]), safe=""), told.get("mission")
    position = {"Coord": f"{told['ra']:.6f} {told['dec']:+.6f}", "Radius": SIMBAD_ARCSEC, "Radius.unit": "arcsec"}
    found = []
    if survey == "ZTF":
        found = [
            ("ALeRCE", f"https://alerce.online/object/{name}"),
            ("Fink", f"https://ztf.fink-portal.org/{name}"),
            ("Lasair", f"https://lasair-ztf.lsst.ac.uk/objects/{name}/"),
        ]
    elif survey == "LSST":
        found = [
            ("ALeRCE", f"https://alerce.online/object/{name}?survey=lsst"),
            ("Fink", f"https://lsst.fink-portal.org/{name}"),
            ("Lasair", f"https://lasair.lsst.ac.uk/objects/{name}/"),
        ]
    return [*found, ("SIMBAD", f"https://simbad.cds.unistra.fr/simbad/sim-coo?{urlencode(position)}")]


def is_safe(url: str) -> bool:
    """Whether a link may be followed: only the web, whatever an event says."""
    return urlsplit(url).scheme in ("http", "https")
