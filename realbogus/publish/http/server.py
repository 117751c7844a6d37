"""The answers: what each address gives. Every look-up runs beside the event loop, so that a slow one delays nobody.

================================== =====================================================================
``/``                              page of the newest candidates; any search in its query
``/events``                        list as JSON; any search, paging by cursors
``/events/{id}`` ``.xml .json``    one event: by suffix, or by what the client accepts (a browser gets a page)
``/events/{id}/{stamp}.png``       science, template, difference
``/objects/{object}``              page of an object; ``.../{candid}/{stamp}.png`` its stamps
``/feed.atom``                     Atom feed; any search
``/stream``                        server-sent events; any search; goes on behind ``Last-Event-ID``
``/healthz``                       whether it works, and how many events there are
================================== =====================================================================
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from aiohttp import web

from realbogus.publish.http import search as searching
from realbogus.publish.http.catalogue import STAMPS, Catalogue, Entry, TooMuch
from realbogus.publish.http.following import Following
from realbogus.publish.http.search import BadRequest, Search
from realbogus.voevent import validate
from realbogus.voevent.reading import tell
from realbogus.web import pages

log = logging.getLogger(__name__)
Value = TypeVar("Value")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

FOLLOWERS = 1000  # at once
TAKE_S = 30.0  # s that a follower may take to accept what it is sent
LOOKING = 4  # look-ups at once
XML, JSON, HTML = "application/xml", "application/json", "text/html"
_LASTING = "public, max-age=31536000, immutable"
_SHORT = "no-cache"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "realbogus",
}


class Site:
    """The application over a catalogue. Lives in one event loop."""

    def __init__(self, catalogue: Catalogue, following: Following) -> None:
        self.catalogue, self.following = catalogue, following
        self.followers = 0
        self._threads = ThreadPoolExecutor(LOOKING, thread_name_prefix="look-up")

    def application(self) -> web.Application:
        """All the addresses."""
        app = web.Application(middlewares=[_guarded])
        app.router.add_get("/", self.candidates)
        app.router.add_get("/cards", self.cards)
        app.router.add_get("/events", self.events)
        app.router.add_get("/events/{id}/{stamp}.png", self.stamp)
        app.router.add_get("/events/{id:.+}", self.event)
        app.router.add_get("/objects/{object:.+}/{candid}/{stamp}.png", self.stamp_of_candidate)
        app.router.add_get("/objects/{object:.+}", self.object)
        app.router.add_get("/feed.atom", self.feed)
        app.router.add_get("/stream", self.stream)
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/static/{name}", _static)
        app.router.add_get("/favicon.ico", _icon)  # browsers ask for it beside answers that are no pages
        app.on_cleanup.append(self._close)
        app.on_response_prepare.append(_add_headers)
        return app

    async def _close(self, _: web.Application) -> None:
        self._threads.shutdown(cancel_futures=True)

    def look(self, what: Callable[..., Value], *values: Any) -> asyncio.Future[Value]:
        """Run a look-up beside the loop."""
        return asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(what, *values))

    # Pages

    async def candidates(self, request: web.Request) -> web.Response:
        """The first page; a search that means nothing is shown with what is wrong with it."""
        try:
            search = searching.read(request.query.items())
        except BadRequest as bad:
            asked = {name: text[: searching.LONGEST] for name, text in request.query.items()}
            text = await self.look(pages.candidates, self.catalogue, Search(), (), bad.problems, asked)
            return _page(text, status=400)

        def draw() -> str:
            return pages.candidates(self.catalogue, search, self.catalogue.search(search))

        return _page(await self.look(draw))

    async def cards(self, request: web.Request) -> web.Response:
        """The cards that came after a cursor, for the first page to add."""
        search = searching.read(request.query.items())

        def draw() -> tuple[str, int]:
            found = self.catalogue.search(replace(search, after=search.after or 0))
            last = max((entry.number for entry in found), default=search.after or 0)
            return pages.fragment(self.catalogue, found), last

        text, cursor = await self.look(draw)
        answer = _page(text)
        answer.headers["X-Cursor"] = str(cursor)
        return answer

    async def object(self, request: web.Request) -> web.Response:
        """The page of an object."""
        name = request.match_info["object"][: searching.LONGEST]

        def draw() -> str | None:
            found = self.catalogue.search(Search(object=name, limit=100))
            return pages.object_page(self.catalogue, found) if found else None

        text = await self.look(draw)
        if text is None:
            raise web.HTTPNotFound(text=f"no event of an object {name!r} was published here")
        return _page(text)

    # Events

    async def events(self, request: web.Request) -> web.Response:
        """A list of events as JSON."""
        search = searching.read(request.query.items())
        found = await self.look(self.catalogue.search, search)
        listed, paging = ",\n".join(map(_listed, found)), json.dumps(_paging(search, found))
        return _json_text(f'{{"events": [\n{listed}\n],\n{paging[1:]}\n')

    async def event(self, request: web.Request) -> web.Response:
        """One event, in the form asked for."""
        name = request.match_info["id"]
        stem, dot, suffix = name.rpartition(".")
        by_suffix = {"xml": XML, "json": JSON, "html": HTML}.get(suffix) if dot else None
        entry = await self._entry(stem if by_suffix else name)
        form = by_suffix or _preferred(request.headers.get("Accept", ""))
        if form == JSON:
            answer = _json({**entry.twin, "state": entry.state})
        elif form == HTML:
            answer = _page(await self.look(self._draw, entry))
        else:
            xml = await self.look(self.catalogue.xml, entry.number)
            answer = web.Response(body=xml, content_type=XML, headers={"Cache-Control": _LASTING})
        if not by_suffix:
            answer.headers.update({"Vary": "Accept", "Cache-Control": _SHORT})
        return answer

    def _draw(self, entry: Entry) -> str:
        told = tell(validate.read(self.catalogue.xml(entry.number)))
        return pages.event(self.catalogue, entry, {"how": told.how, "model_card_url": told.model_card_url})

    async def _entry(self, name: str) -> Entry:
        entry = await self.look(self.catalogue.entry, name) if len(name) <= searching.LONGEST else None
        if entry is None:
            raise web.HTTPNotFound(text=f"no event {name[:80]!r} was published here")
        return entry

    async def stamp(self, request: web.Request) -> web.Response:
        """A stamp of an event."""
        entry = await self._entry(request.match_info["id"])
        return await self._stamp(entry.object_id, entry.candid, request.match_info["stamp"])

    async def stamp_of_candidate(self, request: web.Request) -> web.Response:
        """A stamp by object and candidate, for links made before an event had a name."""
        at = request.match_info
        return await self._stamp(at["object"], at["candid"], at["stamp"])

    async def _stamp(self, object_id: str, candid: str, stamp: str) -> web.Response:
        png = await self.look(self.catalogue.stamp, object_id, candid, stamp) if stamp in STAMPS else None
        if png is None:
            raise web.HTTPNotFound(text="there is no such stamp")
        return web.Response(body=png, content_type="image/png", headers={"Cache-Control": _LASTING})

    async def feed(self, request: web.Request) -> web.Response:
        """The Atom feed."""
        search = searching.read(request.query.items())
        base = f"{request.scheme}://{request.host}"

        def draw() -> str:
            return pages.feed(self.catalogue, search, self.catalogue.search(search), base)

        text = await self.look(draw)
        return web.Response(text=text, content_type="application/atom+xml", headers={"Cache-Control": _SHORT})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, from now on or from where the follower was."""
        search = searching.read(request.query.items())
        after = _resumed(request) if "Last-Event-ID" in request.headers else search.after
        if search.since is not None:
            raise BadRequest(["since is for /events; here after, or Last-Event-ID, says where to go on"])
        if self.followers >= FOLLOWERS:
            raise web.HTTPServiceUnavailable(text=f"{FOLLOWERS} followers are connected already")
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        answer.headers["X-Accel-Buffering"] = "no"  # nginx would hold it back
        await answer.prepare(request)
        self.followers += 1
        try:
            begin = self.following.last if after is None else after
            async for message in self.following.events(
                search, begin, functools.partial(self.look, self.catalogue.search)
            ):
                async with asyncio.timeout(TAKE_S):
                    await answer.write(message)
        except (TimeoutError, ConnectionError):
            log.info("a follower left or does not keep up")
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.followers -= 1
        return answer

    async def healthz(self, _: web.Request) -> web.Response:
        """Whether it works."""
        count, last = await self.look(self.catalogue.count), await self.look(self.catalogue.last)
        return _json({"status": "ok", "events": count, "cursor": last, "followers": self.followers})


def _listed(entry: Entry) -> str:
    """An event in a list, as JSON: its twin with cursor, state and address before it."""
    about = json.dumps({"cursor": entry.number, "state": entry.state, "url": f"/events/{entry.local}"})
    return f"{about[:-1]}, {entry.document[1:]}"


def _paging(search: Search, found: Sequence[Entry]) -> Mapping[str, Any]:
    """Where to go on: next, or null where there is nothing more now; cursor is for following later."""
    full = len(found) == search.limit
    edge = found[-1].number if found else search.after or 0
    way = {"after": edge} if search.is_forward else {"before": edge}
    following = pages.query(search, **way, limit=search.limit)
    cursor = max((entry.number for entry in found), default=search.after or 0)
    return {"next": f"/events?{following}" if full else None, "cursor": cursor}


def _resumed(request: web.Request) -> int | None:
    return searching.read([("after", request.headers["Last-Event-ID"])]).after


def _preferred(accept: str) -> str:
    """What a client wants most among XML, JSON and HTML; XML where it does not care."""
    best, weight = XML, 0.0
    for part in accept[:1000].split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        known = {XML: XML, "text/xml": XML, JSON: JSON, HTML: HTML, "application/xhtml+xml": HTML, "*/*": XML}.get(kind)
        quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        try:
            value = float(quality)
        except ValueError:
            value = 0.0
        if known and value > weight:
            best, weight = known, value
    return best


def _page(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type=HTML, headers={"Cache-Control": _SHORT})


def _json(value: Mapping[str, Any], status: int = 200) -> web.Response:
    return _json_text(json.dumps(value, indent=1) + "\n", status)


def _json_text(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type=JSON, headers={"Cache-Control": _SHORT})


async def _static(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in pages.STATIC:
        raise web.HTTPNotFound(text="there is no such file")
    return web.Response(
        body=pages.static(name), headers={"Content-Type": pages.STATIC[name], "Cache-Control": _LASTING}
    )


async def _icon(_: web.Request) -> web.Response:
    return web.Response(body=pages.static("icon.svg"), headers={"Content-Type": pages.STATIC["icon.svg"]})


async def _add_headers(_: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.update(_HEADERS)


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong, said in the form that the client reads, and never more than it needs to know."""
    try:
        return await handler(request)
    except BadRequest as bad:
        return _problem(request, 400, "That means nothing here", bad.problems)
    except TooMuch as error:
        return _problem(request, 503, "Too much at once", [str(error)])
    except web.HTTPException as error:
        if error.status < 400:
            raise
        answer = _problem(request, error.status, error.reason, [error.text or error.reason])
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except Exception:  # ours; nobody else is harmed, and nothing of it is told
        log.exception("%s %s cannot be answered", request.method, request.rel_url.raw_path[:200])
        return _problem(request, 500, "Internal error", ["the log of the publisher tells more"])


def _problem(request: web.Request, status: int, title: str, problems: Sequence[str]) -> web.Response:
    if _preferred(request.headers.get("Accept", "")) == HTML:
        return _page(pages.problem(status, title, problems), status)
    return _json({"status": status, "error": title, "problems": list(problems)}, status)
