"""What an event says, as plain values: for pages, searches and other formats.

Whatever is read here has passed `validate.read`, so names and number formats are those of our schema.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree

from realbogus.voevent.validate import Event, parser

_PLACE = "WhereWhen/ObsDataLocation/ObservationLocation/AstroCoords"
Params = Mapping[str, Mapping[str, str]]  # group ("" = none) -> name -> value


@dataclass(frozen=True)
class Reason:
    """A feature that moved the score."""

    feature: str
    share: float  # of the raw score; negative speaks against real
    words: str  # "peak_snr is 41.5, which speaks for real"


@dataclass(frozen=True)
class Citation:
    """An earlier event that this one answers."""

    kind: str  # "followup", "supersedes" or "retraction"
    ivorn: str


@dataclass(frozen=True)
class Told:
    """An event, read. Numbers that it does not state are NaN, texts ""."""

    event: Event
    params: Params
    ra_deg: float  # ICRS
    dec_deg: float
    error_deg: float  # 1 sigma
    observed: datetime  # UTC, mid-exposure
    half_exposure_s: float
    summary: str  # its one sentence
    how: str  # how it was judged
    model_card_url: str
    object_url: str
    why: float  # probability that it is real; NaN where the score is not calibrated
    reasons: tuple[Reason, ...]  # by falling share
    citations: tuple[Citation, ...]

    def text(self, group: str, name: str) -> str:
        """A parameter as it is printed; "" where it is not told."""
        return self.params.get(group, {}).get(name, "")

    def number(self, group: str, name: str) -> float:
        """A parameter as a number; NaN where it is not told."""
        value = self.text(group, name)
        return float(value) if value else math.nan

    @property
    def alert_type(self) -> str:
        """initial, subsequent, update or retraction."""
        return self.text("", "alert_type")

    @property
    def band(self) -> str:
        """Name of the filter, "g", "r", ...; "" = not told."""
        return self.text("photometry", "band")

    @property
    def score(self) -> float:
        """0 bogus to 1 real."""
        return self.number("real_bogus", "rb_score")

    @property
    def is_calibrated(self) -> bool:
        """Whether the score is a calibrated probability."""
        return self.text("real_bogus", "rb_score_calibrated") == "1"


def tell(event: Event) -> Told:
    """Read an event that was checked."""
    root = etree.fromstring(event.xml, parser())
    what, why = root.find("What"), root.find("Why")
    assert what is not None  # the schema wants it
    return Told(
        event=event,
        params=_params(what),
        ra_deg=_number(root, f"{_PLACE}/Position2D/Value2/C1"),
        dec_deg=_number(root, f"{_PLACE}/Position2D/Value2/C2"),
        error_deg=_number(root, f"{_PLACE}/Position2D/Error2Radius"),
        observed=datetime.fromisoformat(_text(root, f"{_PLACE}/Time/TimeInstant/ISOTime")).replace(tzinfo=UTC),
        half_exposure_s=_number(root, f"{_PLACE}/Time/Error"),
        summary=_text(root, "Description"),
        how=_text(root, "How/Description"),
        model_card_url=_link(root, "How/Reference"),
        object_url=_link(root, "What/Reference"),
        why=math.nan if why is None else float(why.get("importance", "nan")),
        reasons=_reasons(what),
        citations=tuple(
            Citation(str(node.get("cite")), node.text or "") for node in root.iterfind("Citations/EventIVORN")
        ),
    )


def _params(what: etree._Element) -> Params:
    found = {"": {str(node.get("name")): str(node.get("value")) for node in what.iterfind("Param")}}
    for group in what.iterfind("Group"):
        found[str(group.get("name"))] = {str(node.get("name")): str(node.get("value")) for node in group.iter("Param")}
    return found


def _reasons(what: etree._Element) -> tuple[Reason, ...]:
    nodes = what.iterfind("Group[@name='explanation']/Param")
    found = [
        Reason(str(node.get("name")), float(node.get("value", "nan")), node.findtext("Description") or "")
        for node in nodes
    ]
    return tuple(sorted(found, key=lambda one: -abs(one.share)))


def _text(root: etree._Element, path: str) -> str:
    return root.findtext(path) or ""


def _number(root: etree._Element, path: str) -> float:
    text = _text(root, path)
    return float(text) if text else math.nan


def _link(root: etree._Element, path: str) -> str:
    node = root.find(path)
    return "" if node is None else str(node.get("uri"))
