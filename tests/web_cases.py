"""Events with stamps and light curves, and an HTTP sink that serves them on loopback."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from survey_cases import packet, ztf
from voevent_cases import MODEL, STYLE, scored

from realbogus.packets import write_container
from realbogus.publish.http.sink import HttpSink
from realbogus.stream.results import ALERT
from realbogus.voevent import build
from realbogus.voevent.lifecycle import place, published
from realbogus.voevent.validate import Event

ALERT_BYTES = packet("ztf", ztf())
PATIENCE_S = 20.0


def event(candid: int = 1, *, p_real: float = 0.95, revision: int = 0, model=MODEL, style=STYLE, **more: Any) -> Event:
    return build(scored(candid=candid, p_real=p_real, score=p_real, model=model, **more), 0, style, revision=revision)


def lived(*drafts: Event) -> list[Event]:
    """What becomes of drafts of one object, one after the other."""
    events: list[Event] = []
    for one in drafts:
        if (placed := place(one, [published(before) for before in events])) is not None:
            events.append(placed)
    return events


def alert_with_history(*rows: Mapping[str, Any]) -> bytes:
    """A packet of ZTF with earlier detections (jd, fid, magpsf, ...), all of them nullable."""
    record = ztf()
    names = sorted({name for row in rows for name in row})
    kinds = {name: "string" if name == "isdiffpos" else "double" for name in names}
    fields = [{"name": name, "type": ["null", kind]} for name, kind in kinds.items()]
    plain = _schema_of(record)
    item = {"type": "record", "name": "row", "fields": fields}
    plain["fields"].append({"name": "prv_candidates", "type": {"type": "array", "items": item}})
    record["prv_candidates"] = [{name: row.get(name) for name in names} for row in rows]
    return write_container(plain, record)


def _schema_of(record: Mapping[str, Any]) -> dict[str, Any]:
    from survey_cases import NAMES, _schema

    return _schema(NAMES["ztf"], record) | {"version": "9.9"}


@contextmanager
def serving(folder: Path, *events: Event, alert: bytes | None = None, **more: Any) -> Iterator[HttpSink]:
    """A sink that has these events, each with the alert beside it."""
    with closing(HttpSink("127.0.0.1", 0, folder / "catalogue.sqlite", **more)) as sink:
        give(sink, *events, alert=alert)
        yield sink


def give(sink: HttpSink, *events: Event, alert: bytes | None = None) -> None:
    for one in events:
        if alert is not None:
            sink.lay(one, ((ALERT, alert),))
    sink.send(events)


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(sink: HttpSink, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask; Accept is given as accept="..."."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(sink.address + path, headers=told, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())
