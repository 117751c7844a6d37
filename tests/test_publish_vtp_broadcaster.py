"""Subscribers of the broadcaster: each gets its events at once, whatever the others do."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from xml.sax.saxutils import escape

import pytest
from lxml import etree
from voevent_cases import STYLE, scored

from realbogus.errors import ConfigError
from realbogus.publish import vtp, vtp_broadcaster
from realbogus.publish import vtp_xpath as filters
from realbogus.publish.sinks import SENT
from realbogus.publish.vtp_broadcaster import VtpBroadcaster
from realbogus.publish.vtp_filters import Judge
from realbogus.voevent import build

LOW = build(scored(candid=1, p_real=0.65), 0, STYLE)
HIGH = build(scored(candid=2, p_real=0.95), 0, STYLE)
BOMB = "//*[count(//*[count(//*[count(//*[count(//*)>0])>0])>0])>0]"
PATIENCE_S = 30.0


@contextmanager
def broadcaster(**more) -> Iterator[VtpBroadcaster]:
    with closing(VtpBroadcaster("127.0.0.1", 0, ivorn="ivo://org.example/stream", **more)) as one:
        yield one


def until(what: Callable[[], object], why: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.005)


def asking(*expressions: str) -> bytes:
    """A subscriber's answer to authenticate, with filters."""
    params = "".join(f'<Param name="xpath-filter" value="{escape(one)}"/>' for one in expressions)
    answer = vtp.write("authenticate", "ivo://org.example/stream", 0, response="ivo://me/x")
    return answer.replace(b"</trn:", f"<Meta>{params}</Meta></trn:".encode())


class Client:
    """A subscriber, by hand."""

    def __init__(self, server: VtpBroadcaster, *expressions: str, quiet: bool = False) -> None:
        before = server.connected
        self.connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        self.stream = self.connection.makefile("rb")
        until(lambda: server.connected > before, "not connected")
        if not quiet:
            assert vtp.read(self.take()).role == "authenticate"
        if expressions:
            self.say(asking(*expressions))
            until(lambda: any(len(one.filters) == len(expressions) for one in server._subscribers), "no filter")

    def take(self) -> bytes:
        return self.stream.read(int.from_bytes(self.stream.read(4), "big"))

    def say(self, message: bytes) -> None:
        self.connection.sendall(vtp.frame(message))

    def is_dropped(self) -> bool:
        """Whether the connection ends without another message."""
        try:
            return self.take() == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.stream.close()
        self.connection.close()


def clients(stack: ExitStack, server: VtpBroadcaster, many: int, **more) -> Sequence[Client]:
    return [stack.enter_context(closing(Client(server, **more))) for _ in range(many)]


def test_every_subscriber_gets_every_event_byte_for_byte():
    with broadcaster() as server, ExitStack() as stack:
        those = clients(stack, server, 5)
        assert server.send([LOW, HIGH]) == [SENT, SENT]
        assert [[one.take(), one.take()] for one in those] == [[LOW.xml, HIGH.xml]] * 5


def test_what_waits_is_written_before_the_end():
    with ExitStack() as stack:
        with broadcaster() as server:
            (one,) = clients(stack, server, 1)
            server.send([LOW, HIGH])
        assert [one.take(), one.take(), one.stream.read()] == [LOW.xml, HIGH.xml, b""]


def test_filters_are_any_of_several():
    with broadcaster() as server, ExitStack() as stack:
        expressions = ["//Param[@name='rb_score' and number(@value) > 0.9]", "//Param[@name='no such thing']"]
        picky = stack.enter_context(closing(Client(server, *expressions)))
        server.send([LOW, HIGH])
        assert picky.take() == HIGH.xml


@pytest.mark.parametrize("expression", ["//a[", "unknown()", "x:y", "$v", BOMB])
def test_a_filter_that_fails_or_overruns_costs_its_owner_the_connection_and_nobody_else_an_event(expression):
    with broadcaster() as server, ExitStack() as stack:
        bad = stack.enter_context(closing(Client(server, expression)))
        (plain,) = clients(stack, server, 1)
        picky = stack.enter_context(closing(Client(server, "//Who", "//What")))
        server.send([LOW])
        assert plain.take() == LOW.xml
        assert bad.is_dropped()
        assert picky.take() == LOW.xml
        server.send([HIGH])
        assert [plain.take(), picky.take()] == [HIGH.xml, HIGH.xml]


@pytest.mark.parametrize(
    "message",
    [
        b"\xff\xff\xff\xff",
        vtp.frame(b"nonsense"),
        vtp.frame(b"<!DOCTYPE x>" + vtp.write("ack", "x", 0).partition(b"\n")[2]),
        vtp.frame(vtp.write("nak", "x", 0, result="no")),
        vtp.frame(asking("1", "2", "3", "4", "5", "6", "7", "8", "9")),
        vtp.frame(asking("1" * 513)),
    ],
    ids=["size", "nonsense", "doctype", "nak", "many filters", "long filter"],
)
def test_who_talks_nonsense_is_dropped(message):
    with broadcaster() as server, ExitStack() as stack:
        bad, good = clients(stack, server, 2)
        bad.connection.sendall(message)
        until(lambda: server.connected == 1, "not dropped")
        server.send([LOW])
        assert good.take() == LOW.xml


def test_signs_of_life_are_sent_and_who_shows_none_is_dropped():
    with broadcaster(alive_s=0.2) as server, ExitStack() as stack:
        mute, alive = clients(stack, server, 2)
        for _ in range(5):
            assert vtp.read(alive.take()).role == "iamalive"
            alive.say(vtp.write("iamalive", "ivo://org.example/stream", 0, response="ivo://me/x"))
        assert server.connected == 1
        assert mute.stream  # it only listened


def test_who_does_not_read_is_dropped_and_delays_nobody(monkeypatch):
    monkeypatch.setattr(vtp_broadcaster, "QUEUE", 20)
    with broadcaster() as server, ExitStack() as stack:
        clients(stack, server, 10, quiet=True)
        (good,) = clients(stack, server, 1)
        for _ in range(2000):
            server.send([HIGH])
            assert good.take() == HIGH.xml
            if server.connected == 1:
                return
    pytest.fail("those who do not read are still there")


def test_only_networks_on_the_list_may_connect():
    with broadcaster(allow=("192.0.2.0/24",)) as server:
        stranger = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        with stranger, suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
        assert server.connected == 0


def test_a_port_in_use_is_told_before_anything_else():
    with broadcaster() as server, pytest.raises(ConfigError, match="cannot listen"):
        VtpBroadcaster("127.0.0.1", server.port, ivorn="ivo://org.example/stream")


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("//Param[@name='rb_score' and number(@value) > 0.9]", filters.YES),
        ("//Param[@name='rb_score' and number(@value) < 0.9]", filters.NO),
        ("count(//Param)", filters.YES),
        ("number('x')", filters.NO),
        ("0", filters.NO),
        ("string(//Who/Date)", filters.YES),
        ("''", filters.NO),
        ("true()", filters.YES),
        ("re:test('a', 'a')", filters.INVALID),
        ("document('file:///etc/passwd')", filters.INVALID),
        ("//a[", filters.INVALID),
        ("", filters.INVALID),
        ("\x00", filters.INVALID),
        ("\ufffe", filters.INVALID),
    ],
)
def test_filters_mean_what_xpath_means(expression, verdict):
    assert filters.answer(expression, etree.fromstring(HIGH.xml)) == verdict


def asked(xml: bytes, *expressions: str) -> list[bytes]:
    """What the filter process says, one after the other."""
    command = [sys.executable, "-I", filters.__file__]
    done = subprocess.run(command, input=filters.question(xml, expressions), capture_output=True, check=True)
    assert done.stdout[:1] == filters.READY
    return [verdict for verdict, _ in filters.ANSWER.iter_unpack(done.stdout[1:])]


def test_the_filter_process_goes_on_after_what_kills_its_child():
    told = asked(HIGH.xml, "//Who", BOMB, "//no", "//a[", BOMB.replace("0", "1"), "//What")
    assert told == [filters.YES, filters.SLOW, filters.NO, filters.INVALID, filters.SLOW, filters.YES]


def test_many_filters_each_within_bounds_are_cut_off_together(monkeypatch):
    slow = "//*[count(//*[count(//*[count(ancestor::*) > {n}]) > 0]) > 0]"  # some ms each
    told = asked(HIGH.xml, "//Who", *(slow.replace("{n}", str(n % 7)) + " " * (n // 7) for n in range(300)))
    assert told[0] == filters.YES
    assert len(told) == 301
    assert filters.SLOW in told[1:]


@pytest.mark.parametrize("size", [10, 100, 500])
def test_deep_expressions_do_not_bring_the_filter_process_down(size):
    expressions = ["(" * size, "//*[" * (size // 5) + "1" + "]" * (size // 5), "//*" * (size // 3), "-" * size + "1"]
    told = asked(HIGH.xml, *expressions, "//Who")
    assert len(told) == 5
    assert told[0] == filters.INVALID
    assert told[-1] == filters.YES


def test_each_distinct_filter_is_asked_once_and_the_cheapest_first():
    async def twice() -> list[list[str]]:
        judge = Judge()
        costly, cheap = "//*[count(//*[count(//*) > 0]) > 0]", "//Who"
        runs = []
        for _ in range(2):
            runs.append([one async for one, _ in judge.verdicts(HIGH.xml, [costly, cheap, costly, cheap])])
        runs.append([one async for one, _ in judge.verdicts(LOW.xml, [BOMB, costly, cheap])])
        await judge.end()
        return runs

    first, second, third = asyncio.run(twice())
    assert sorted(first) == sorted(second)
    assert second == ["//Who", "//*[count(//*[count(//*) > 0]) > 0]"]
    assert third == [*second, BOMB]


def test_a_filter_process_that_is_ended_from_outside_is_replaced():
    async def killed() -> list[bytes]:
        judge = Judge()
        await judge.start()
        judge._process.kill()
        told = [verdict async for _, verdict in judge.verdicts(HIGH.xml, ["//Who"])]
        await judge.end()
        return told

    assert asyncio.run(killed()) == [filters.YES]


THOUSAND = r"""
import json, selectors, socket, sys, time
port, readers, mute, events = map(int, sys.argv[1:])
ANSWER = sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))
select, found = selectors.DefaultSelector(), []
sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(readers + mute)]
for one in sockets[mute:]:
    one.setblocking(False)
    select.register(one, selectors.EVENT_READ, bytearray())
for one in sockets[mute + readers // 2:]:
    one.sendall(len(ANSWER).to_bytes(4, "big") + ANSWER)
print("ready", flush=True)
while len(found) < readers * events:
    for key, _ in select.select(20) or sys.exit("nothing came"):
        data = key.data
        data += key.fileobj.recv(1 << 16)
        while len(data) >= 4 and len(data) >= 4 + (size := int.from_bytes(data[:4], "big")):
            if b"<What>" in data[4:4 + size]:
                found.append(time.time())
            del data[:4 + size]
print(json.dumps(found), flush=True)
sys.stdin.buffer.read(1)
"""


def test_with_a_thousand_subscribers_half_of_them_mute_the_others_get_each_event_within_100_ms():
    """Five hundred mute ones, five hundred that read, half of these with filters; a bomb comes with every event."""
    readers, mute, rounds = 500, 500, 10
    answer = asking("//Param[@name='rb_score' and number(@value) > 0.9]", "//Param[@name='Retraction']")
    with broadcaster() as server, ExitStack() as stack:
        command = [sys.executable, "-c", THOUSAND, *map(str, (server.port, readers, mute, rounds))]
        process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        process.stdin.write(b"%d\n%b" % (len(answer), answer))
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        until(lambda: server.connected == readers + mute, "not all are connected")
        until(lambda: sum(bool(one.filters) for one in server._subscribers) == readers // 2, "not all filters are set")
        sent = []
        for _ in range(rounds):
            until(lambda: server.connected == readers + mute, "the last bomb is still there")
            stack.enter_context(closing(Client(server, BOMB)))
            sent.append(time.time())
            server.send([HIGH])
        arrived = sorted(json.loads(process.stdout.readline()))
        process.stdin.close()
    late = [arrived[(number + 1) * readers - 1] - begun for number, begun in enumerate(sent)]  # the last of each event
    # Whatever else the machine does delays some of them; what we do would delay all.
    assert sorted(late)[len(late) // 4] < 0.1, late
