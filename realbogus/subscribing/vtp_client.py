"""Events of a VTP broadcaster, ours or any other: connect, answer, and connect again when the line goes dead."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Generator, Iterator, Sequence

from realbogus.errors import TransportError
from realbogus.publish import vtp

log = logging.getLogger(__name__)

NOBODY = b""  # stands for a pause without a connection
TICK_S = 0.5  # s; how often a silent line lets the caller think
SILENCE_S = 150.0  # s without a sign of life (one is due every 60), after which the line counts as dead
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0  # s between two attempts to connect, doubling
CONNECT_S = 10.0  # s
EVENT_BYTES = 1 << 20  # largest frame taken


def follow(
    host: str, port: int, *, filters: Sequence[str] = (), name: str = "ivo://realbogus.subscriber/anonymous"
) -> Generator[bytes | None, None, None]:
    """Events as bytes, unchecked, for ever; now and then None while nothing comes, NOBODY while there is no connection.

    An event is acked when asked on.

    filters are XPath expressions for the broadcaster, which sends what any of them finds.
    """
    wait_s = FIRST_WAIT_S
    while True:
        try:
            with socket.create_connection((host, port), CONNECT_S) as connection:
                log.info("connected to %s:%d", host, port)
                for event in _events(_Line(connection), filters, name):
                    wait_s = FIRST_WAIT_S
                    yield event
        except (OSError, TransportError) as problem:
            log.warning("%s:%d: %s; next try in %.0f s", host, port, problem, wait_s)
        yield from _pause(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _events(line: _Line, filters: Sequence[str], name: str) -> Iterator[bytes | None]:
    while True:
        frame = line.frame()
        if frame is None:
            yield None
            continue
        message = _transport(frame)
        if message is None:
            yield frame
            line.say(vtp.write("ack", _ivorn(frame), time.time(), response=name))
        elif message.role == "authenticate":
            line.say(vtp.write("authenticate", message.origin, time.time(), response=name, filters=filters))
        elif message.role == "iamalive":
            line.say(vtp.write("iamalive", message.origin, time.time(), response=name))


class _Line:
    """Frames of a connection."""

    def __init__(self, connection: socket.socket, now: Callable[[], float] = time.monotonic) -> None:
        self._connection, self._now = connection, now
        self._received, self._heard = bytearray(), now()
        connection.settimeout(TICK_S)

    def frame(self) -> bytes | None:
        """The next frame; None where it is not there yet. ConnectionError where the line is dead."""
        while (frame := self._whole()) is None:
            try:
                more = self._connection.recv(1 << 16)
            except TimeoutError:
                if self._now() - self._heard > SILENCE_S:
                    raise ConnectionError("no sign of life") from None
                return None
            if not more:
                raise ConnectionError("the broadcaster closed the connection")
            self._received += more
            self._heard = self._now()
        return frame

    def say(self, message: bytes) -> None:
        """Send a message."""
        self._connection.sendall(vtp.frame(message))

    def _whole(self) -> bytes | None:
        if len(self._received) < vtp.HEADER_BYTES:
            return None
        size = int.from_bytes(self._received[: vtp.HEADER_BYTES], "big")
        if not 0 < size <= EVENT_BYTES:
            raise TransportError(f"a frame of {size} bytes; expected 1 to {EVENT_BYTES}")
        end = vtp.HEADER_BYTES + size
        if len(self._received) < end:
            return None
        frame = bytes(self._received[vtp.HEADER_BYTES : end])
        del self._received[:end]
        return frame


def _transport(frame: bytes) -> vtp.Transport | None:
    """The message of the protocol in a frame; None where it is something else, such as an event."""
    if b"Transport" not in frame[:512]:
        return None
    try:
        return vtp.read(frame)
    except TransportError:
        return None


def _ivorn(event: bytes) -> str:
    """What an event calls itself, as far as an answer needs it."""
    _, _, after = event[:4096].partition(b'ivorn="')
    return after.partition(b'"')[0].decode("ascii", "replace") or "ivo://unknown/event#unknown"


def _pause(seconds: float) -> Iterator[bytes]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield NOBODY
        time.sleep(min(TICK_S, max(0.0, end - time.monotonic())))
