"""Search: which events somebody asks for. Made of the query of a URL, which is hostile until it is read here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from realbogus.errors import RealbogusError

LIMIT, MOST = 50, 500  # events on a page: by default, and at most
LONGEST = 300  # characters of a value
DEEPEST = 2**62  # of a cursor

TYPES = ("initial", "subsequent", "update", "retraction")
STATES = ("current", "superseded", "retracted")
ROLES = ("observation", "test")


class BadRequest(RealbogusError):
    """A query that means nothing; problems holds a sentence each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is asked for; None and () stand for "whatever". The docs name each parameter of a URL as its field here."""

    min_score: float | None = None
    max_score: float | None = None
    min_mag: float | None = None  # mag; the brightest
    max_mag: float | None = None  # mag; the faintest
    band: tuple[str, ...] = ()
    ra: float | None = None  # deg, ICRS, centre of the cone
    dec: float | None = None  # deg
    radius: float | None = None  # deg
    role: str | None = None
    type: tuple[str, ...] = ()
    state: str | None = None
    object: str | None = None
    survey: str | None = None
    since: float | None = None  # Unix time, s: published then or later; given as UTC, 2026-11-22T04:00:00Z
    after: int | None = None  # cursor: published after that event, the oldest first
    before: int | None = None  # cursor: published before that event, the newest first
    limit: int = LIMIT

    @property
    def is_forward(self) -> bool:
        """Whether the oldest come first: where somebody catches up from a time or a cursor."""
        return self.after is not None or self.since is not None

    @property
    def asked(self) -> dict[str, Any]:
        """What narrows the search, without cursors and limit."""
        paging = {"after", "before", "limit", "since"}
        return {name: value for name, value in vars(self).items() if name not in paging and value not in (None, ())}

    def matches(self, twin: Mapping[str, Any], state: str) -> bool:
        """Whether an event is asked for, by its JSON twin and its state; cursors and times are not looked at."""
        judged = twin["real_bogus"]
        return (
            _within(judged["score"], self.min_score, self.max_score)
            and _within(twin.get("mag"), self.min_mag, self.max_mag)
            and (not self.band or twin.get("filter", "") in self.band)
            and (not self.type or twin["alert_type"] in self.type)
            and self.state in (None, state)
            and self.role in (None, "test" if twin["alert_tense"] == "test" else "observation")
            and self.object in (None, twin["event_name"])
            and self.survey in (None, twin["mission"])
            and self._in_cone(twin["ra"], twin["dec"])
        )

    def _in_cone(self, ra: float, dec: float) -> bool:
        if self.ra is None or self.dec is None or self.radius is None:
            return True
        return separation_deg(ra, dec, self.ra, self.dec) <= self.radius


def _within(value: float | None, low: float | None, high: float | None) -> bool:
    """Whether a value lies in a range that may be open; no value lies in no range."""
    if low is None and high is None:
        return True
    return value is not None and (low is None or value >= low) and (high is None or value <= high)


def read(query: Iterable[tuple[str, str]]) -> Search:
    """The search that the pairs of a query string ask for; BadRequest with every problem at once. "" = not asked."""
    given: dict[str, Any] = {}
    problems = []
    for name, text in query:
        text = text.strip()
        if name not in _READERS:
            problems.append(f"{name[:40]!r} is no parameter; known are {', '.join(_READERS)}")
        elif name in given:
            problems.append(f"{name} is given twice")
        elif text:
            try:
                given[name] = _READERS[name](_short(text))
            except ValueError as problem:
                problems.append(f"{name} is {text[:60]!r}; expected {problem}")
    problems += _clashes(given) if not problems else []
    if problems:
        raise BadRequest(problems[:10])
    return Search(**given)


def _clashes(given: Mapping[str, Any]) -> list[str]:
    cone = {"ra", "dec", "radius"}
    problems = []
    if (told := cone & given.keys()) and told != cone:
        problems.append(f"a cone needs ra, dec and radius; {' and '.join(sorted(cone - told))} is missing")
    if "before" in given and {"after", "since"} & given.keys():
        problems.append("before goes back in time, after and since go forward: give one of them")
    for what in ("score", "mag"):
        if given.get(f"min_{what}", -math.inf) > given.get(f"max_{what}", math.inf):
            problems.append(f"min_{what} is above max_{what}")
    return problems


def _short(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"at most {LONGEST} characters")
    return text


def _number(low: float, high: float, unit: str = "") -> Callable[[str], float]:
    expected = f"a number from {low:g} to {high:g}{unit}"

    def number(text: str) -> float:
        if not re.fullmatch(r"[+-]?(\d{1,12}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,3})?", text, re.ASCII):
            raise ValueError(expected)
        value = float(text)
        if not low <= value <= high:
            raise ValueError(expected)
        return value

    return number


def _cursor(text: str) -> int:
    if not re.fullmatch(r"\d{1,19}", text, re.ASCII) or int(text) > DEEPEST:
        raise ValueError("a cursor, as an earlier answer gave it")
    return int(text)


def _limit(text: str) -> int:
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or not 1 <= int(text) <= MOST:
        raise ValueError(f"a whole number from 1 to {MOST}")
    return int(text)


def _time(text: str) -> float:
    expected = "a time in UTC, such as 2026-11-22T04:00:00Z"
    if not re.fullmatch(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?Z?", text, re.ASCII):
        raise ValueError(expected)
    try:
        return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise ValueError(expected) from None


def _one_of(known: tuple[str, ...]) -> Callable[[str], str]:
    def one(text: str) -> str:
        if text not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return text

    return one


def _some_of(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def some(text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_one_of(known)(part.strip()) for part in text.split(",")))

    return some


def _bands(text: str) -> tuple[str, ...]:
    bands = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if not all(re.fullmatch(r"[A-Za-z0-9_.'-]{1,16}", band) for band in bands) or len(bands) > 10:
        raise ValueError("names of filters, with commas between them, such as g,r")
    return bands


_READERS: Mapping[str, Callable[[str], Any]] = {
    "min_score": _number(0, 1),
    "max_score": _number(0, 1),
    "min_mag": _number(-30, 50, " mag"),
    "max_mag": _number(-30, 50, " mag"),
    "band": _bands,
    "ra": _number(0, 360, " deg"),
    "dec": _number(-90, 90, " deg"),
    "radius": _number(0, 180, " deg"),
    "role": _one_of(ROLES),
    "type": _some_of(TYPES),
    "state": _one_of(STATES),
    "object": lambda text: text,
    "survey": lambda text: text,
    "since": _time,
    "after": _cursor,
    "before": _cursor,
    "limit": _limit,
}
assert set(_READERS) == {one.name for one in fields(Search)}


def separation_deg(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Angle between two directions, deg, exact for small and large ones (haversine)."""
    phi1, phi2 = math.radians(dec1), math.radians(dec2)
    up = math.sin((phi2 - phi1) / 2) ** 2
    along = math.sin(math.radians(ra2 - ra1) / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(min(1.0, up + math.cos(phi1) * math.cos(phi2) * along))))
