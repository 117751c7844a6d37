"""VTP broadcaster: subscribers connect, and get every event, or those that their XPath filters find.

Each subscriber has a queue of its own and its own pace; one that is mute, slow or hostile is dropped and delays nobody.
Filters are evaluated in another process (`voevent.filters`): subscribers without filters never wait for them. The
protocol has no replay: who is not connected gets nothing, and finds it in the archive or the Kafka topic.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from realbogus.errors import ConfigError, TransportError
from realbogus.publish import vtp
from realbogus.publish.sinks import SENT, Delivery
from realbogus.stream.protocols import Clock, SystemClock
from realbogus.voevent.filters import CHARACTERS, FILTERS, INVALID, READY, YES
from realbogus.voevent.validate import Event

log = logging.getLogger(__name__)

ALIVE_S = 60.0  # s between our signs of life
UNANSWERED = 2  # signs of life without an answer, after which a subscriber counts as gone
QUEUE = 500  # events that may wait for one subscriber
BACKLOG = 5000  # events that may wait for the filters
SUBSCRIBERS = 2000  # connections at once
LEAVE_S = 2.0  # s that a subscriber may take to accept what is said last
VERDICT_S = 5.0  # s, wall; the filter process ends itself far sooner


@dataclass(eq=False)
class Subscriber:
    """One connection."""

    writer: asyncio.StreamWriter
    peer: str
    messages: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    filters: tuple[str, ...] = ()
    unanswered: int = 0  # signs of life of ours that it did not answer

    def put(self, message: bytes) -> None:
        """Queue a message; a subscriber whose queue is full is dropped."""
        try:
            self.messages.put_nowait(message)
        except asyncio.QueueFull:
            self.drop("does not keep up")

    def drop(self, why: str) -> None:
        """Close the connection, at once."""
        if not self.writer.is_closing():
            log.info("subscriber %s dropped: %s", self.peer, why)
        self.writer.transport.abort()


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
        self._host, self.port, self._ivorn, self._alive_s = host, port, ivorn, alive_s
        self._allowed = [ipaddress.ip_network(network) for network in allow]
        self._clock = clock or SystemClock()
        self._subscribers: set[Subscriber] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._started, self._problem = threading.Event(), ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="vtp", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._problem:
            raise ConfigError([f"publish.vtp_port: cannot listen on {host}:{port}: {self._problem}"])

    def send(self, events: Sequence[Event]) -> list[Delivery]:
        """Give the events to all who are connected now; it never fails, for nobody is promised anything."""
        for event in events:
            self._loop.call_soon_threadsafe(self._give, event.xml)
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

    async def _run(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        self._to_filter: asyncio.Queue[bytes] = asyncio.Queue(BACKLOG)
        self._judge = _Judge()
        try:
            server = await asyncio.start_server(self._connected, self._host, self.port)
        except OSError as error:
            self._problem = error.strerror or str(error)
            self._started.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        filtering = asyncio.create_task(self._filter())
        await self._leave.wait()
        server.close()
        await self._write_out()
        filtering.cancel()
        await asyncio.gather(filtering, return_exceptions=True)
        for subscriber in list(self._subscribers):
            subscriber.writer.transport.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._judge.end()

    async def _write_out(self) -> None:
        """Let the queues run empty, for LEAVE_S at most."""
        waiting = [subscriber.messages.join() for subscriber in self._subscribers]
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._to_filter.join()
                await asyncio.gather(*waiting)
        except TimeoutError:
            log.info("subscribers did not take all in time")

    # A connection

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("peername")
        subscriber = Subscriber(writer, str(address[0]))
        if len(self._subscribers) >= SUBSCRIBERS or not self._is_allowed(subscriber.peer):
            subscriber.drop("not on the list" if len(self._subscribers) < SUBSCRIBERS else "too many")
            return
        log.info("subscriber %s connected", subscriber.peer)
        self._subscribers.add(subscriber)
        subscriber.put(vtp.write("authenticate", self._ivorn, self._clock.now()))
        tasks = [asyncio.create_task(self._speak(subscriber)), asyncio.create_task(self._show_life(subscriber))]
        try:
            await self._listen(subscriber, reader)
        except (OSError, EOFError):
            log.info("subscriber %s left", subscriber.peer)
        except TransportError as problem:
            subscriber.drop(str(problem))
        finally:
            self._subscribers.discard(subscriber)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.transport.abort()

    def _is_allowed(self, peer: str) -> bool:
        address = ipaddress.ip_address(peer)
        return any(address in network for network in self._allowed)

    async def _speak(self, subscriber: Subscriber) -> None:
        while True:
            message = await subscriber.messages.get()
            subscriber.writer.write(vtp.frame(message))
            await subscriber.writer.drain()
            subscriber.messages.task_done()

    async def _show_life(self, subscriber: Subscriber) -> None:
        while True:
            await asyncio.sleep(self._alive_s)
            if subscriber.unanswered >= UNANSWERED:
                subscriber.drop("shows no life")
                return
            subscriber.unanswered += 1
            subscriber.put(vtp.write("iamalive", self._ivorn, self._clock.now()))

    async def _listen(self, subscriber: Subscriber, reader: asyncio.StreamReader) -> None:
        """Read what the subscriber says until it leaves."""
        while True:
            size = vtp.frame_size(await reader.readexactly(vtp.HEADER_BYTES))
            message = vtp.read(await reader.readexactly(size))
            subscriber.unanswered = 0  # any message shows life; pygcn answers nothing while it works
            if message.role == "nak":
                subscriber.drop(f"refused an event: {message.result[:200]}")
            elif message.role == "authenticate":
                subscriber.filters = _checked(message.filters)
                if subscriber.filters:
                    await self._judge.start()

    # Events

    def _give(self, xml: bytes) -> None:
        """To those without filters now, to the others once their filters are asked."""
        for subscriber in list(self._subscribers):
            if not subscriber.filters:
                subscriber.put(xml)
        if any(subscriber.filters for subscriber in self._subscribers):
            try:
                self._to_filter.put_nowait(xml)
            except asyncio.QueueFull:
                log.error("too many events wait for filters; one is not given to subscribers with filters")

    async def _filter(self) -> None:
        while True:
            xml = await self._to_filter.get()
            verdicts: dict[str, bytes | None] = {}
            for subscriber in list(self._subscribers):
                for expression in subscriber.filters:
                    if expression not in verdicts:
                        verdicts[expression] = await self._judge.verdict(expression, xml)
                self._deliver(subscriber, xml, [verdicts[expression] for expression in subscriber.filters])
            self._to_filter.task_done()

    @staticmethod
    def _deliver(subscriber: Subscriber, xml: bytes, verdicts: Sequence[bytes | None]) -> None:
        if None in verdicts:
            subscriber.drop("its filter takes too long")
        elif INVALID in verdicts:
            subscriber.drop("its filter is no XPath that means something here")
        elif YES in verdicts:
            subscriber.put(xml)


def _checked(filters: Sequence[str]) -> tuple[str, ...]:
    """The filters, if they are few and short enough to be looked at."""
    if len(filters) > FILTERS or any(len(one) > CHARACTERS for one in filters):
        raise TransportError(f"filters: at most {FILTERS} of at most {CHARACTERS} characters")
    return tuple(filters)


class _Judge:
    """The process that evaluates filters; another one takes its place when a filter was the end of it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._event = b""  # that the process holds
        self._one_at_a_time = asyncio.Lock()

    async def verdict(self, expression: str, xml: bytes) -> bytes | None:
        """YES, NO or INVALID; None where the evaluation took too long."""
        async with self._one_at_a_time:
            to, back = await self._streams()
            question = vtp.frame(b"F" + expression.encode("utf-8"))
            if self._event != xml:
                question, self._event = vtp.frame(b"E" + xml) + question, xml
            try:
                async with asyncio.timeout(VERDICT_S):
                    to.write(question)
                    await to.drain()
                    return await back.readexactly(1)
            except (OSError, EOFError, TimeoutError):
                await self.end()
                return None

    async def start(self) -> None:
        """Start the process before it is first needed."""
        async with self._one_at_a_time:
            await self._streams()

    async def _streams(self) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
        """Where to ask and where to listen, once the process is ready."""
        process = self._process
        if process is None:
            command = (sys.executable, "-m", "realbogus.voevent.filters")
            pipe = asyncio.subprocess.PIPE
            process = self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
            self._event = b""
            assert process.stdout is not None
            await process.stdout.readexactly(len(READY))
        assert process.stdin is not None
        assert process.stdout is not None
        return process.stdin, process.stdout

    async def end(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.communicate()
