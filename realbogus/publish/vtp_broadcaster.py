"""VTP broadcaster: subscribers connect, and get every event, or those that their XPath filters find.

An event becomes a frame once and is written to everybody in one go; whoever does not take it at once has a bounded
queue, and is dropped when that is full. Filters are evaluated in another process (`vtp_filters`), each distinct one
once an event: subscribers without filters never wait for them. The protocol has no replay: who is not connected gets
nothing, and finds it in the archive or the Kafka topic.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import resource
import threading
from collections import deque
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress

from realbogus.errors import ConfigError, TransportError
from realbogus.publish import vtp
from realbogus.publish.sinks import SENT, Delivery
from realbogus.publish.vtp_filters import Judge
from realbogus.publish.vtp_xpath import CHARACTERS, FILTERS, INVALID, SLOW, YES
from realbogus.stream.protocols import Clock, SystemClock
from realbogus.voevent.validate import Event

log = logging.getLogger(__name__)

ALIVE_S = 60.0  # s between our signs of life
UNANSWERED = 2  # signs of life without an answer, after which a subscriber counts as gone
QUEUE = 500  # events that may wait for one subscriber; they share their bytes with those of the others
BUFFER_BYTES = 1 << 16  # that may wait to be taken by one subscriber's connection, beside its queue
SUBSCRIBERS = 2000  # connections at once
LEAVE_S = 2.0  # s that subscribers may take to accept what is said last
GIVE_S = 10.0  # s after which a batch counts as given, whatever the filters say


class Subscriber(asyncio.Protocol):
    """One connection."""

    def __init__(self, broadcaster: VtpBroadcaster) -> None:
        self._of = broadcaster
        self._received = bytearray()
        self._is_slow = False
        self._waiting: deque[bytes] = deque()
        self._unanswered = 0  # signs of life of ours
        self._alive: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self.peer = ""
        self.filters: tuple[str, ...] = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop: somebody is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, address = transport, transport.get_extra_info("peername")
        self.peer = str(address[0]) if address else "?"  # gone already
        transport.set_write_buffer_limits(BUFFER_BYTES)
        if why := self._of.admit(self):
            self.drop(why)
            return
        log.info("subscriber %s connected", self.peer)
        self.put(vtp.frame(self._of.message("authenticate")))
        self._live_on()

    def connection_lost(self, problem: Exception | None) -> None:
        """Called by the loop: it is gone."""
        log.info("subscriber %s is gone%s", self.peer, f": {problem}" if problem else "")
        if self._alive is not None:
            self._alive.cancel()
        self._waiting.clear()
        self._of.forget(self)

    def pause_writing(self) -> None:
        """Called by the loop: more than BUFFER_BYTES are not taken yet."""
        self._is_slow = True

    def resume_writing(self) -> None:
        """Called by the loop: they are."""
        self._is_slow = False
        while self._waiting and not self._is_slow:
            self._transport.write(self._waiting.popleft())

    def data_received(self, data: bytes) -> None:
        """Called by the loop: it says something."""
        self._received += data
        try:
            while (message := self._message()) is not None:
                self._hear(vtp.read(message))
        except TransportError as problem:
            self.drop(str(problem))

    def put(self, frame: bytes) -> None:
        """Send a frame as soon as the connection takes it; a subscriber whose queue is full is dropped."""
        if not self._is_slow:
            self._transport.write(frame)
        elif len(self._waiting) < QUEUE:
            self._waiting.append(frame)
        else:
            self.drop("does not keep up")

    def drop(self, why: str) -> None:
        """Close the connection, at once."""
        if not self._transport.is_closing():
            log.info("subscriber %s dropped: %s", self.peer, why)
        self._transport.abort()

    def has_all(self) -> bool:
        """Whether everything was taken."""
        return not self._waiting and not self._transport.get_write_buffer_size()

    def _message(self) -> bytes | None:
        """The next whole message of those received."""
        if len(self._received) < vtp.HEADER_BYTES:
            return None
        end = vtp.HEADER_BYTES + vtp.frame_size(bytes(self._received[: vtp.HEADER_BYTES]))
        if len(self._received) < end:
            return None
        message = bytes(self._received[vtp.HEADER_BYTES : end])
        del self._received[:end]
        return message

    def _hear(self, message: vtp.Transport) -> None:
        self._unanswered = 0  # any message shows life; pygcn answers nothing while it works
        if message.role == "nak":
            self.drop(f"refused an event: {message.result[:200]}")
        elif message.role == "authenticate":
            self.filters = _checked(message.filters)
            if self.filters:
                self._of.expect_filters()

    def _live_on(self) -> None:
        self._alive = asyncio.get_running_loop().call_later(self._of.alive_s, self._show_life)

    def _show_life(self) -> None:
        if self._unanswered >= UNANSWERED:
            self.drop("shows no life")
            return
        self._unanswered += 1
        self.put(vtp.frame(self._of.message("iamalive")))
        self._live_on()


class VtpBroadcaster:
    """A sink that gives events to whoever is connected. Runs in a thread of its own; `close` ends it.

    ivorn names us to subscribers. allow lists the networks that may connect, "127.0.0.0/8". Raises ConfigError where
    the address cannot be listened on.
    """

    name = "vtp-broadcast"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ivorn: str,
        allow: Sequence[str] = ("127.0.0.0/8", "::1/128"),
        alive_s: float = ALIVE_S,
        clock: Clock | None = None,
    ) -> None:
        self._host, self.port, self._ivorn, self.alive_s = host, port, ivorn, alive_s
        self._allowed = [ipaddress.ip_network(network) for network in allow]
        self._clock = clock or SystemClock()
        self._subscribers: set[Subscriber] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started, self._problem = threading.Event(), ""
        _allow_connections(SUBSCRIBERS + 256)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="vtp", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._problem:
            raise ConfigError([f"publish.vtp_port: cannot listen on {host}:{port}: {self._problem}"])

    def send(self, events: Sequence[Event]) -> list[Delivery]:
        """Give the events to all who are connected now; it never fails, for nobody is promised anything.

        Returns once they are written, or wait in the queues of those who are slow.
        """
        given: Future[None] = Future()
        self._loop.call_soon_threadsafe(self._give, [event.xml for event in events], given)
        with suppress(TimeoutError):
            given.result(GIVE_S)
        return [SENT] * len(events)

    def close(self) -> None:
        """Say good-bye, once what waits in the queues is written or LEAVE_S is over."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._leave.set)
            self._thread.join()

    @property
    def connected(self) -> int:
        """Subscribers at this moment."""
        return len(self._subscribers)

    # What subscribers ask, in the thread of the loop

    def admit(self, subscriber: Subscriber) -> str:
        """Count a subscriber in; why not, or ""."""
        if len(self._subscribers) >= SUBSCRIBERS:
            return "too many"
        if subscriber.peer == "?" or not self._is_allowed(ipaddress.ip_address(subscriber.peer)):
            return "not on the list"
        self._subscribers.add(subscriber)
        return ""

    def _is_allowed(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address in network for network in self._allowed)

    def forget(self, subscriber: Subscriber) -> None:
        """Count a subscriber out."""
        self._subscribers.discard(subscriber)

    def message(self, role: vtp.Role) -> bytes:
        """A message of ours."""
        return vtp.write(role, self._ivorn, self._clock.now())

    def expect_filters(self) -> None:
        """Make ready to evaluate filters before the next event comes."""
        self._do(self._judge.start())

    # The loop

    async def _run(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        self._to_filter: asyncio.Queue[tuple[Sequence[bytes], Future[None]]] = asyncio.Queue()
        self._judge = Judge()
        try:
            server = await self._loop.create_server(
                lambda: Subscriber(self), self._host, self.port, backlog=SUBSCRIBERS
            )
        except OSError as error:
            self._problem = error.strerror or str(error)
            self._started.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._do(self._filter())
        self._started.set()
        await self._leave.wait()
        server.close()
        await self._write_out()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for subscriber in list(self._subscribers):
            subscriber.drop("we leave")
        await self._judge.end()

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_out(self) -> None:
        """Let the queues run empty, for LEAVE_S at most."""
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._to_filter.join()
                while not all(subscriber.has_all() for subscriber in self._subscribers):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            log.info("subscribers did not take all in time")

    # Events

    def _give(self, events: Sequence[bytes], given: Future[None]) -> None:
        """To those without filters now, to the others once their filters are asked."""
        for frame in map(vtp.frame, events):
            for subscriber in list(self._subscribers):
                if not subscriber.filters:
                    subscriber.put(frame)
        if any(subscriber.filters for subscriber in self._subscribers):
            self._to_filter.put_nowait((events, given))
        else:
            given.set_result(None)

    async def _filter(self) -> None:
        while True:
            events, given = await self._to_filter.get()
            for xml in events:
                await self._give_filtered(xml)
            given.set_result(None)
            self._to_filter.task_done()

    async def _give_filtered(self, xml: bytes) -> None:
        asking: dict[str, list[Subscriber]] = {}
        for subscriber in self._subscribers:
            for expression in subscriber.filters:
                asking.setdefault(expression, []).append(subscriber)
        frame, served = vtp.frame(xml), set[Subscriber]()
        async for expression, verdict in self._judge.verdicts(xml, asking):
            for subscriber in asking[expression]:
                if verdict == SLOW:
                    subscriber.drop("its filter takes too long")
                elif verdict == INVALID:
                    subscriber.drop("its filter is no XPath that means something here")
                elif verdict == YES and subscriber not in served:
                    served.add(subscriber)
                    subscriber.put(frame)


def _checked(filters: Sequence[str]) -> tuple[str, ...]:
    """The filters, if they are few and short enough to be looked at."""
    if len(filters) > FILTERS or any(len(one) > CHARACTERS for one in filters):
        raise TransportError(f"filters: at most {FILTERS} of at most {CHARACTERS} characters")
    return tuple(filters)


def _allow_connections(many: int) -> None:
    """Raise our own limit of open files, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = many if hard == resource.RLIM_INFINITY else min(many, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
