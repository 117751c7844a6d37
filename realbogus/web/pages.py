"""The pages: what is found in the catalogue, put into the templates. Everything is escaped by the engine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from realbogus import __version__
from realbogus.features import CATALOGUE
from realbogus.publish.http.catalogue import STAMPS, Catalogue, Entry
from realbogus.publish.http.search import STATES, TYPES, Search
from realbogus.web import cards
from realbogus.web.cards import BADGES, Card
from realbogus.web.lightcurve import legend, light_curve
from realbogus.web.sky import sky

_ROOM = Path(__file__).resolve().parent
STATIC = {  # name -> kind
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
BANDS = ("u", "g", "r", "i", "z", "y")
_HIDDEN = {"role", "survey"}  # parameters without a field of their own in the form


@cache
def static(name: str) -> bytes:
    """A file that belongs to the pages."""
    return (_ROOM / "static" / name).read_bytes()


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_ROOM / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    digest = hashlib.sha256(b"".join(static(name) for name in STATIC)).hexdigest()[:12]
    made.globals.update(
        version=__version__,
        digest=digest,
        stamps=STAMPS,
        badges=BADGES,
        bands=BANDS,
        links_out=cards.links_out,
        is_safe=cards.is_safe,
    )
    made.filters["utc"] = lambda when: when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    made.filters["iso"] = lambda when: when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made.filters["signed"] = lambda value: f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
    return made


def candidates(
    catalogue: Catalogue,
    search: Search,
    entries: Sequence[Entry],
    problems: Sequence[str] = (),
    asked: Mapping[str, str] | None = None,
) -> str:
    """The first page: what was found, newest first. asked fills the form where the search means nothing."""
    shown = sorted(_cards(catalogue, entries), key=lambda one: -one.entry.number)
    oldest = min((one.entry.number for one in shown), default=0)
    more = len(entries) == search.limit and not search.is_forward
    return _render(
        "candidates.html",
        cards=shown,
        total=catalogue.count(),
        cursor=max((one.entry.number for one in shown), default=catalogue.last()),
        search=search,
        asked={name: (asked or {}).get(name, _text(search.asked.get(name, ""))) for name in vars(search)},
        is_filtered=bool(search.asked or asked),
        hidden=_HIDDEN,
        query=query(search),
        older=query(search, before=oldest) if more else "",
        is_newest=search.before is None and not search.is_forward,
        sky=sky([(one.ra, one.dec, one.entry.object_id, one.url) for one in shown]),
        problems=problems,
        types=TYPES,
        states=STATES,
    )


def fragment(catalogue: Catalogue, entries: Sequence[Entry]) -> str:
    """The cards alone, newest first, to be put into the first page."""
    return _render("cards.html", cards=_cards(catalogue, sorted(entries, key=lambda one: -one.number)))


def event(catalogue: Catalogue, entry: Entry, xml_summary: Mapping[str, Any]) -> str:
    """The page of one event. xml_summary holds what its XML says and its twin does not: how, model_card_url."""
    history, side = catalogue.history([entry])
    shown = cards.card(entry, history)
    others = [one for one in catalogue.search(Search(object=entry.object_id, limit=100)) if one.number != entry.number]
    return _render(
        "event.html",
        card=replace(shown, reasons=tuple(_meaning(one) for one in shown.reasons)),
        longest=max((abs(one.share) for one in shown.reasons), default=1.0),
        history=history,
        curve=light_curve(history, shown.mjd),
        legend=legend(history),
        sky=sky([(shown.ra, shown.dec, entry.object_id, "")]),
        galactic_latitude=cards.galactic_latitude(shown.ra, shown.dec),
        side_arcsec=side,
        cites=[(kind, ivorn, catalogue.entry(ivorn)) for ivorn, kind in shown.told.get("reference", {}).items()],
        cited_by=catalogue.citing(entry.ivorn),
        others=[cards.card(one) for one in others],
        **xml_summary,
    )


def object_page(catalogue: Catalogue, entries: Sequence[Entry]) -> str:
    """The page of one object: its events, newest first, and their light curves in one."""
    shown = _cards(catalogue, entries)
    history, _ = catalogue.history(entries)
    newest = shown[0]
    return _render(
        "object.html",
        cards=shown,
        newest=newest,
        history=history,
        curve=light_curve(history, newest.mjd, since="the newest event"),
        legend=legend(history),
        sky=sky([(newest.ra, newest.dec, newest.entry.object_id, "")]),
    )


def feed(catalogue: Catalogue, search: Search, entries: Sequence[Entry], base: str) -> str:
    """The Atom feed of what was found; base is the address that the reader asked."""
    shown = _cards(catalogue, entries)
    updated = max((one.published for one in shown), default=datetime.fromtimestamp(0, UTC))
    return _render("feed.xml", cards=shown, base=base, query=query(search), updated=updated)


def problem(status: int, title: str, problems: Sequence[str]) -> str:
    """A page that says what went wrong."""
    return _render("problem.html", status=status, title=title, problems=problems)


def query(search: Search, **more: Any) -> str:
    """The query string of a search, with cursors given apart; "" where it asks for everything."""
    pairs = {name: _text(value) for name, value in {**search.asked, **more}.items()}
    return urlencode(pairs)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _cards(catalogue: Catalogue, entries: Sequence[Entry]) -> list[Card]:
    return [cards.card(entry, catalogue.history([entry])[0]) for entry in entries]


def _meaning(reason: cards.Reason) -> cards.Reason:
    known = CATALOGUE.get(reason.feature)
    return replace(reason, meaning=known.definition) if known else reason


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values, isnan=math.isnan)
