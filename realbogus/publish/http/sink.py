"""The HTTP sink: what the publisher gives it is in the catalogue for good, and at once with everybody who follows."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from aiohttp import web

from realbogus.errors import ConfigError, PacketError, Unavailable, VOEventError
from realbogus.publish.archive import INDEX, read_index
from realbogus.publish.evidence import EvidenceReader
from realbogus.publish.http.catalogue import Catalogue
from realbogus.publish.http.following import ALIVE_S, Following
from realbogus.publish.http.server import Site
from realbogus.publish.sinks import SENT, Answer, Delivery
from realbogus.stream.protocols import Clock, Headers, SystemClock
from realbogus.stream.results import ALERT
from realbogus.voevent import validate
from realbogus.voevent.validate import Event

log = logging.getLogger(__name__)

IDLE_S = 20.0  # s that a connection without a request is kept
LEAVE_S = 2.0  # s that answers under way may take when we leave
FILL = 500  # events entered at once
LOOK = 50  # alerts in memory


class HttpSink:
    """A sink that keeps events in a catalogue and serves them. The server has a thread of its own; `close` ends it.

    Raises ConfigError where the address cannot be listened on. Port 0 takes a free one.
    """

    name = "http"

    def __init__(
        self,
        host: str,
        port: int,
        catalogue: Path,
        *,
        reader: EvidenceReader | None = None,
        clock: Clock | None = None,
        alive_s: float = ALIVE_S,
    ) -> None:
        self._host, self.port, self._alive_s = host, port, alive_s
        self._reader, self._clock = reader or EvidenceReader(), clock or SystemClock()
        self.catalogue = Catalogue(catalogue)
        self._started, self._problem = threading.Event(), ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="http", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._problem:
            self.catalogue.close()
            raise ConfigError([f"publish.http_port: cannot listen on {host}:{port}: {self._problem}"])

    @property
    def address(self) -> str:
        """Where it is served."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    def lay(self, draft: Event, headers: Headers) -> None:
        """Keep the alert that lies beside a record of the outbox, if there is one, until the event is sent."""
        alert = next((value for name, value in headers if name == ALERT), None)
        if alert is not None:
            self.catalogue.lay(draft, alert)

    def fill(self, events: Iterable[Event]) -> int:
        """Enter what was published before there was a catalogue, in its order; tells how many."""
        waiting, entered = iter(events), 0
        while some := list(islice(waiting, FILL)):
            entered += len(self.catalogue.enter(some, self._clock.now()))
        return entered

    def send(self, events: Sequence[Event]) -> list[Delivery]:
        """Enter the events and tell the followers; see `sinks.EventSink`."""
        try:
            self._look_at_alerts()
            numbers = self.catalogue.enter(events, self._clock.now())
        except sqlite3.OperationalError as error:  # a full disk, for one
            return [Delivery(Answer.FAILED, f"catalogue: {error}")] * len(events)
        if numbers:
            self._loop.call_soon_threadsafe(self._following.tell, self.catalogue.entries(numbers))
        return [SENT] * len(events)

    def _look_at_alerts(self) -> None:
        """Make pictures of what was laid. A damaged alert costs its event the pictures and nothing else."""
        while laid := self.catalogue.laid(LOOK):
            for object_id, candid, alert in laid:
                try:
                    found = self._reader.read(alert)
                except Unavailable as problem:
                    log.warning("stamps have to wait: %s", problem)
                    return
                except PacketError as problem:
                    log.warning("candidate %s of %s has no stamps: %s", candid, object_id, problem)
                    found = None
                self.catalogue.keep(object_id, candid, found)

    def close(self) -> None:
        """Send followers home, finish answers under way, close the catalogue."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._leave.set)
            self._thread.join()
        self.catalogue.close()

    async def _run(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        self._following = Following(self.catalogue.last(), alive_s=self._alive_s)
        runner = web.AppRunner(
            Site(self.catalogue, self._following).application(),
            access_log=None,
            keepalive_timeout=IDLE_S,
            shutdown_timeout=LEAVE_S,
        )
        try:
            await runner.setup()
            site = web.TCPSite(runner, self._host, self.port)
            await site.start()
            self.port = runner.addresses[0][1]
        except OSError as error:
            self._problem = error.strerror or str(error)
            await runner.cleanup()
            self._started.set()
            return
        self._started.set()
        await self._leave.wait()
        self._following.end()
        await runner.cleanup()


def archived(folder: Path) -> Iterator[Event]:
    """The events of an archive, by their days; what cannot be read is left out, and the log says so."""
    for index in sorted(folder.rglob(INDEX)):
        for line in read_index(index.parent):
            path = index.parent / Path(str(line.get("file", ""))).name
            try:
                yield validate.read(path.read_bytes())
            except (OSError, VOEventError) as problem:
                log.warning("%s of the archive is left out: %s", path, problem)
