"""The VOEvent Transport Protocol: messages that brokers understand, and an author that knows what an answer means."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conftest import SHARED, need
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from publish_cases import Clock, Outbox
from voevent_cases import STYLE, scored

from realbogus.errors import TransportError
from realbogus.publish import vtp
from realbogus.publish.ledger import Ledger
from realbogus.publish.outbox import Publisher
from realbogus.publish.settings import PublishSettings
from realbogus.publish.sinks import SENT, Answer, Delivery
from realbogus.publish.vtp_author import VtpAuthor
from realbogus.voevent import build

EVENTS = [build(scored(3), row, STYLE) for row in range(3)]
NOW = 1_790_000_000.0
ACK = vtp.write("ack", "ivo://org.example/broker", NOW)

BARE = ACK.partition(b"\n")[2]  # without the XML declaration


def nak(why: str) -> bytes:
    return vtp.write("nak", "ivo://org.example/broker", NOW, result=why)


@pytest.mark.parametrize("role", ["iamalive", "authenticate", "ack", "nak"])
def test_our_messages_are_valid_by_the_schema_of_the_protocol(role):
    schema = etree.XMLSchema(etree.parse(need(SHARED / "voevent", "needs the official schema") / "transport-1.1.xsd"))
    message = vtp.write(role, "ivo://a.b/c#d&<e>", NOW, response="ivo://x.y/z", result="because <&>")
    schema.assertValid(etree.fromstring(message))
    read = vtp.read(message)
    assert (read.role, read.origin, read.response, read.result) == (
        role,
        "ivo://a.b/c#d&<e>",
        "ivo://x.y/z",
        "because <&>",
    )


@pytest.mark.parametrize("namespace", vtp.NAMESPACES)
def test_messages_of_all_namespaces_in_use_are_read(namespace):
    assert vtp.read(ACK.replace(vtp.NAMESPACE.encode(), namespace.encode())).role == "ack"


def test_filters_of_both_kinds_are_read():
    new, old = (
        b'<Param name="xpath-filter" value="//a"/><Param name="x" value="y"/>',
        b'<filter type="xpath">//b</filter>',
    )
    assert vtp.read(ACK.replace(b"</trn:", b"<Meta>" + new + old + b"</Meta></trn:")).filters == ("//a", "//b")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"x",
        ACK[:-5],
        EVENTS[0].xml,
        ACK.replace(b"Transport/v1.1", b"Transport/v9"),
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + BARE.replace(b"<Origin>", b"<Origin>&e;"),
        b"<!DOCTYPE x>" + BARE,
        ACK + b" " * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(message):
    with pytest.raises(TransportError):
        vtp.read(message)


@given(data=st.binary(max_size=200))
def test_any_bytes_raise_only_our_error(data):
    with pytest.raises(TransportError):
        vtp.read(data)


@pytest.mark.parametrize("header", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\x01\x86\xa0"])
def test_frames_of_nonsense_size_are_refused(header):
    with pytest.raises(TransportError, match="frame of"):
        vtp.frame_size(header)


@contextmanager
def broker(answer: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """A broker on loopback that answers each event as told; None = closes without a word. Gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                connection, _ = server.accept()
                with connection, connection.makefile("rb") as stream:
                    size = int.from_bytes(stream.read(4), "big")
                    if not size:
                        return
                    reply = answer(stream.read(size))
                    if reply is not None:
                        connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        with socket.create_connection(server.getsockname()) as last:
            last.sendall(bytes(4))
        thread.join()


def told(answer: Callable[[bytes], bytes | None], **more) -> list[Delivery]:
    with broker(answer) as port:
        return list(VtpAuthor("127.0.0.1", port, **more).send(EVENTS))


def test_each_event_goes_over_its_own_connection_byte_for_byte():
    got: list[bytes] = []
    assert told(lambda xml: got.append(xml) or vtp.frame(ACK)) == [SENT] * 3
    assert got == [event.xml for event in EVENTS]


def test_a_broker_that_has_seen_it_before_has_it():
    assert told(lambda _: vtp.frame(nak("Event rejected: Previously seen by this broker"))) == [SENT] * 3


def test_after_a_refusal_seen_before_is_not_success():
    answers = told(lambda _: vtp.frame(nak("Previously seen")), refusal=lambda _: "does not validate")
    assert answers == [Delivery(Answer.REFUSED, "does not validate")] * 3


def test_any_other_nak_is_final():
    assert told(lambda _: vtp.frame(nak("Does not validate"))) == [Delivery(Answer.REFUSED, "Does not validate")] * 3


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"",
        b"\0\0",
        b"\0\0\0\x05abc",
        b"\xff\xff\xff\xff",
        vtp.frame(b"nonsense"),
        vtp.frame(ACK.replace(b'"ack"', b'"?"')),
    ],
)
def test_no_answer_or_nonsense_is_a_failure_worth_a_retry(reply):
    assert [delivery.answer for delivery in told(lambda _: reply)] == [Answer.FAILED] * 3


def test_one_event_without_an_answer_does_not_hold_up_the_others():
    answers = told(lambda xml: None if xml == EVENTS[1].xml else vtp.frame(ACK))
    assert [delivery.answer for delivery in answers] == [Answer.SENT, Answer.FAILED, Answer.SENT]


def test_a_mute_broker_is_waited_for_once():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        answers = VtpAuthor(*mute.getsockname(), reply_s=0.05).send(EVENTS)
    assert [delivery.answer for delivery in answers] == [Answer.FAILED] * 3


def test_no_broker_at_all_is_a_failure_worth_a_retry():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    assert [delivery.answer for delivery in VtpAuthor(*address).send(EVENTS)] == [Answer.FAILED] * 3


def test_the_ledger_remembers_a_refusal_beyond_a_second_try(tmp_path):
    ledger, clock = Ledger(tmp_path / "ledger.sqlite"), Clock()
    replies = iter([nak("not an author of ours"), nak("Previously seen by this broker")])
    with broker(lambda _: vtp.frame(next(replies))) as port:
        author = VtpAuthor("127.0.0.1", port, refusal=lambda event: ledger.refusal(event, "vtp"))
        one = Publisher(Outbox([EVENTS[0].xml]), ledger, [author], PublishSettings(), clock, clock.pause)
        one.run(until_idle_s=1)
        assert ledger.unpark(0.0) == 1
        one.run(until_idle_s=10)
    assert ledger.states() == {("vtp", "parked"): 1}
    ledger.close()
