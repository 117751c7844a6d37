"""VTP author: hands events to an existing broker, one connection an event, as the protocol wants it.

The ledger is the spool: what a broker did not take is tried again by the publisher, with growing waits.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from realbogus.errors import TransportError
from realbogus.publish import vtp
from realbogus.publish.sinks import SENT, Answer, Delivery
from realbogus.voevent.validate import Event

CONNECT_S = 5.0  # s
REPLY_S = 10.0  # s; Comet takes 20 s for the whole submission at most
SEEN = "previously seen"  # so a broker calls a repeat; for a retry of ours that means it has the event


class VtpAuthor:
    """A sink that submits events to the author port of a broker.

    refusal tells the reason for which this broker has refused an event before, "" if it has not. A broker notes the
    bytes before its checks are done: after a refusal "previously seen" does not mean that it has the event.
    """

    name = "vtp"

    def __init__(
        self, host: str, port: int, *, refusal: Callable[[Event], str] = lambda _: "", reply_s: float = REPLY_S
    ) -> None:
        self._address, self._reply_s = (host, port), reply_s
        self._refusal = refusal

    def send(self, events: Sequence[Event]) -> list[Delivery]:
        """Submit one after another; once the broker does not answer at all, the rest is not tried this time."""
        answers: list[Delivery] = []
        for event in events:
            try:
                answers.append(self._submit(event))
            except OSError as error:
                down = Delivery(Answer.FAILED, f"{self._address[0]}:{self._address[1]}: {error}")
                return answers + [down] * (len(events) - len(answers))
        return answers

    def close(self) -> None:
        """Nothing is held open."""

    def _submit(self, event: Event) -> Delivery:
        with socket.create_connection(self._address, CONNECT_S) as connection:
            connection.settimeout(self._reply_s)
            try:
                connection.sendall(vtp.frame(event.xml))
                reply = vtp.read(_take(connection, vtp.frame_size(_take(connection, vtp.HEADER_BYTES))))
            except TimeoutError:
                raise  # the next ones would wait as long
            except (OSError, TransportError) as error:  # it is there, but does not answer this one
                return Delivery(Answer.FAILED, f"no answer: {error}")
        return self._meaning(reply, event)

    def _meaning(self, reply: vtp.Transport, event: Event) -> Delivery:
        if reply.role == "ack":
            return SENT
        if reply.role != "nak":
            return Delivery(Answer.FAILED, f"answered {reply.role!r}, neither ack nor nak")
        before = self._refusal(event)
        if SEEN in reply.result.lower() and not before:
            return SENT
        return Delivery(Answer.REFUSED, before or reply.result or "refused without a reason")


def _take(connection: socket.socket, size: int) -> bytes:
    """So many bytes; ConnectionError where the peer closes before."""
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError("closed without an answer")
        data += more
    return data
