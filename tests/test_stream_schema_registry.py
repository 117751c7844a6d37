"""A schema registry: asked once an id, never the packet's fault, waited for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from packets_cases import RECORD, SMALL, all_fields, assert_holds, encode, read_all
from rescore_cases import FIRST, packets
from stream_cases import Night, candids, scorer

from realbogus.errors import PacketError, StreamError, Unavailable
from realbogus.packets import SchemaStore
from realbogus.packets.avrotypes import resolve
from realbogus.stream.schema_registry import KNOCK_EVERY_S, SchemaRegistry
from realbogus.testing import ManualClock

ALERTS = packets(6)


@contextmanager
def serving(answers: dict[str, tuple[int, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """A schema registry on this machine, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            code, body = answers.get(self.path, (404, b"{}"))
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_a_registry_is_asked_once_for_an_id():
    answer = json.dumps({"schema": json.dumps(SMALL)}).encode()
    with serving({"/schemas/ids/900": (200, answer)}) as (url, asked):
        store = SchemaStore(SchemaRegistry(url + "/"))
        message = b"\0" + (900).to_bytes(4, "big") + encode(SMALL, RECORD)
        (group,), rejected = read_all([message, message], store=store)
        assert not rejected
        assert asked == ["/schemas/ids/900"]
        assert_holds(group, 1, all_fields(resolve(SMALL)), RECORD)
        assert store.by_id(1000).name == "lsst.v10_0.alert"  # the registry does not know it, the bundle does
        with pytest.raises(PacketError, match="schema id 5"):
            store.by_id(5)


@pytest.mark.parametrize("answer", [(500, b""), (200, b"no JSON"), (200, b"{}"), (200, b" " * (1 << 21))])
def test_a_registry_out_of_order_is_not_the_packets_fault(answer):
    with serving({"/schemas/ids/900": answer}) as (url, asked):
        with pytest.raises(StreamError, match="schema registry"):
            read_all([b"\0\0\0\x03\x84rest"], store=SchemaStore(SchemaRegistry(url)))
        assert len(asked) == 3


def test_a_registry_has_a_web_address():
    with pytest.raises(ValueError, match="expected http"):
        SchemaRegistry("file:///etc/passwd")


def test_a_silent_registry_is_waited_for_and_its_answer_ends_the_wait():
    answers: dict[str, tuple[int, bytes]] = {"/schemas/ids/900": (500, b"")}
    with serving(answers) as (url, asked):
        clock = ManualClock()
        registry = SchemaRegistry(url, clock=clock)
        assert registry.waiting() == ""
        with pytest.raises(Unavailable):
            registry(900)
        registry.knock()
        assert "does not answer" in registry.waiting()
        assert len(asked) == 4
        answers["/schemas/ids/900"] = (404, b"{}")
        clock.advance(KNOCK_EVERY_S)
        assert "does not answer" in registry.waiting()  # asks on the side
        assert registry._knocking is not None
        registry._knocking.join()
        assert registry.waiting() == ""


def test_the_password_of_a_registry_is_not_told():
    registry = SchemaRegistry("http://me:hush@127.0.0.1:1/", timeout_s=0.1)
    with pytest.raises(StreamError) as caught:
        registry(900)
    assert "hush" not in str(caught.value) + registry.waiting()
    assert "127.0.0.1:1" in str(caught.value)


def test_alerts_wait_for_a_silent_registry_and_none_is_lost_rejected_or_parked():
    away = True

    def score(values: Any) -> Any:
        if away:
            raise Unavailable("schema registry: no answer")
        return scorer().outcomes(values)

    night = Night(score=score)
    night.send(*ALERTS)
    worker = night.worker(hold=lambda: "the schema registry does not answer" if away else "")
    worker.hold = lambda: ""  # the first batch finds out
    worker.turn()
    worker.hold = lambda: "the schema registry does not answer" if away else ""
    for _ in range(3):
        worker.turn()
    assert not night.broker.committed
    away = False
    worker.run(lambda: False)
    assert candids(night.annotated()) == [FIRST + at for at in range(6)]
    assert not night.dead() + night.parked()
