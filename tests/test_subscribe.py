"""`realbogus subscribe`: what a subscriber asked for is shown, kept and drawn, each event once."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
import pytest
from kafka_cases import new_topic, produce
from PIL import Image
from voevent_cases import MODEL, STYLE, scored

from realbogus.cli import main
from realbogus.errors import ConfigError
from realbogus.publish import vtp
from realbogus.publish.vtp_broadcaster import VtpBroadcaster
from realbogus.subscribing import cutouts, vtp_client
from realbogus.subscribing.wishes import Cone, Wishes, as_json, as_text, cone
from realbogus.voevent import build
from realbogus.voevent.lifecycle import place, published
from realbogus.voevent.reading import tell

LOW = build(scored(candid=1, p_real=0.65, object_id="ZTF1"), 0, STYLE)
HIGH = build(scored(candid=2, p_real=0.95, object_id="ZTF2"), 0, STYLE)
FAINT = build(scored(candid=3, mag_psf=np.nan, band="", object_id="ZTF3"), 0, STYLE)
SECOND = replace(MODEL, version="2")
GONE = place(
    build(scored(candid=2, score=0.1, p_real=0.1, object_id="ZTF2", model=SECOND), 0, STYLE), [published(HIGH)]
)


@contextmanager
def broadcasting(*events) -> Iterator[str]:
    """A broadcaster that gives these events again and again, until nobody asks any more; its address."""
    with closing(VtpBroadcaster("127.0.0.1", 0, ivorn="ivo://org.example.survey/realbogus")) as server:
        stop = threading.Event()

        def give() -> None:
            while not stop.wait(0.05):
                if server.connected:
                    server.send(events)

        thread = threading.Thread(target=give)
        thread.start()
        try:
            yield f"127.0.0.1:{server.port}"
        finally:
            stop.set()
            thread.join()


def seen(capsys, *arguments: str) -> list[dict]:
    assert main(["subscribe", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_events_are_told_once_however_often_they_come(capsys):
    with broadcasting(LOW, LOW, HIGH, LOW, FAINT) as address:
        found = seen(capsys, "--vtp", address, "--limit", "3")
    assert [one["ivorn"] for one in found] == [LOW.ivorn, HIGH.ivorn, FAINT.ivorn]
    assert (found[1]["score"], found[1]["mag"], found[1]["object_id"]) == (0.95, 18.53, "ZTF2")
    assert "mag" not in found[2]


def test_whoever_waits_for_somebody_who_never_answers_is_told(capsys, monkeypatch):
    monkeypatch.setattr(vtp_client, "FIRST_WAIT_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    assert main(["subscribe", "--vtp", address, "--until-idle", "0.05"]) == 3
    assert "nobody answers" in capsys.readouterr().err


def test_an_xpath_expression_is_applied_by_the_broadcaster(capsys):
    with broadcasting(LOW, HIGH) as address:
        (one,) = seen(
            capsys, "--vtp", address, "--limit", "1", "--xpath", "//Param[@name='rb_score' and number(@value) > 0.9]"
        )
    assert one["ivorn"] == HIGH.ivorn


def test_wishes_choose_and_retractions_come_in_any_case(capsys):
    with broadcasting(LOW, FAINT, HIGH, GONE) as address:
        found = seen(capsys, "--vtp", address, "--limit", "2", "--min-score", "0.9", "--max-mag", "19", "--band", "r")
    assert [one["alert_type"] for one in found] == ["initial", "retraction"]
    assert found[1]["cites"] == [HIGH.ivorn]


def test_events_are_kept_as_the_archive_keeps_them(capsys, tmp_path):
    with broadcasting(LOW, HIGH) as address:
        seen(capsys, "--vtp", address, "--limit", "2", "--save", str(tmp_path))
    assert {file.read_bytes() for file in tmp_path.rglob("*.xml")} == {LOW.xml, HIGH.xml}


@pytest.mark.embedded
def test_a_topic_is_read_from_its_beginning(capsys, embedded):
    topic = new_topic(embedded, 1)
    produce(embedded, topic, [LOW.xml, b"no event", HIGH.xml, HIGH.xml])
    found = seen(capsys, "--kafka", embedded, "--topic", topic, "--from-beginning", "--limit", "2")
    assert [one["ivorn"] for one in found] == [LOW.ivorn, HIGH.ivorn]


@pytest.mark.kafka
def test_a_group_goes_on_where_it_ended(capsys, kafka):
    topic = new_topic(kafka, 1)
    produce(kafka, topic, [LOW.xml, HIGH.xml])
    options = ["--kafka", kafka, "--topic", topic, "--group", topic, "--from-beginning"]
    assert [one["ivorn"] for one in seen(capsys, *options, "--limit", "1")] == [LOW.ivorn]
    assert HIGH.ivorn in [one["ivorn"] for one in seen(capsys, *options, "--until-idle", "5")]


@pytest.mark.embedded
def test_a_topic_that_is_not_there_is_told(capsys, embedded):
    assert main(["subscribe", "--kafka", embedded, "--topic", "no-such-topic"]) == 3
    assert "cannot read no-such-topic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--vtp", "nonsense"], "host:port"),
        (["--vtp", "h:1", "--topic", "x"], "belong to --kafka"),
        (["--kafka", "h:1"], "needs --topic"),
        (["--kafka", "h:1", "--topic", "x", "--property", "a"], "KEY=VALUE"),
        (["--vtp", "h:1", "--cone", "1,2"], "RA,DEC,RADIUS"),
        (["--vtp", "h:1", "--min-score", "7"], "0 to 1"),
    ],
)
def test_calls_that_cannot_work_say_why(capsys, arguments, says):
    assert main(["subscribe", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_cone_holds_what_lies_in_it_also_across_0_h_and_at_the_pole():
    assert Cone(359.9, 0.0, 0.5).holds(0.2, 0.1)
    assert not Cone(359.9, 0.0, 0.2).holds(0.2, 0.1)
    assert Cone(0.0, 89.9, 0.3).holds(180.0, 89.9)
    assert Cone(10.0, 10.0, 180.0).holds(190.0, -10.0)


@pytest.mark.parametrize("text", ["", "1,2", "a,b,c", "400,0,1", "0,91,1", "0,0,0", "nan,0,1", "0,0,inf"])
def test_cones_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="--cone"):
        cone(text)


def test_what_is_not_told_is_not_wished_for():
    assert Wishes().want(tell(FAINT))
    assert not Wishes(max_mag=30.0).want(tell(FAINT))
    assert not Wishes(bands=frozenset("g")).want(tell(FAINT))
    assert not Wishes(tests=False).want(tell(HIGH))
    assert not Wishes(cone=Cone(0, 0, 1)).want(tell(GONE))
    assert Wishes(cone=Cone(123.4567891, -12.3456789, 1e-6), min_score=0.95).want(tell(HIGH))


@pytest.mark.parametrize("event", [LOW, HIGH, FAINT, GONE], ids=["low", "high", "faint", "gone"])
def test_a_line_tells_object_kind_and_score(event):
    line, values = as_text(tell(event)), as_json(tell(event))
    assert event.object_id in line
    assert event.alert_type in line
    assert f"{float(event.score):.3f}" in line
    assert not [value for value in values.values() if isinstance(value, float) and math.isnan(value)]


PNG = BytesIO()
Image.fromarray(np.random.default_rng(1).integers(0, 255, (63, 63), np.uint8)).save(PNG, "PNG")


@contextmanager
def web(answer: bytes) -> Iterator[str]:
    """A server that gives the same for every address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def linked(address: str):
    style = replace(STYLE, cutout_url=address + "/{candid}/{stamp}.png")
    return build(scored(candid=2), 0, style)


def test_cutouts_are_drawn_side_by_side(capsys, tmp_path):
    with web(PNG.getvalue()) as address, broadcasting(event := linked(address)) as vtp_address:
        seen(capsys, "--vtp", vtp_address, "--limit", "1", "--cutouts", str(tmp_path / "pictures"))
    (file,) = (tmp_path / "pictures").iterdir()
    assert file.name == event.ivorn.partition("#")[2] + ".png"
    with Image.open(file) as picture:
        assert picture.size == (3 * cutouts.SIDE + 2 * cutouts.GAP, cutouts.SIDE)


BOMB = BytesIO()
Image.new("L", (5000, 5000)).save(BOMB, "PNG")


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"GIF89a" + bytes(50), PNG.getvalue()[:2000], bytes(cutouts.PICTURE_BYTES + 1), BOMB.getvalue()],
    ids=["nothing", "html", "gif", "torn", "large", "bomb"],
)
def test_what_is_no_picture_of_a_stamp_costs_the_picture_only(tmp_path, answer):
    with web(answer) as address:
        assert cutouts.draw(tell(linked(address)), tmp_path / "x.png").startswith(address)
    assert not (tmp_path / "x.png").exists()


def test_only_the_web_is_asked_for_pictures(tmp_path):
    with pytest.raises(ValueError, match="not an address of the web"):
        cutouts.download("file:///etc/passwd")
    bare = build(scored(), 0, replace(STYLE, cutout_url=""))
    assert cutouts.draw(tell(bare), tmp_path / "x.png") == "the event names no cutouts"


def test_a_subscriber_answers_acks_and_comes_back(monkeypatch):
    monkeypatch.setattr(vtp_client, "FIRST_WAIT_S", 0.01)
    heard, given = [], []

    def serve(server: socket.socket) -> None:
        for event in (LOW, HIGH):
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as stream:
                for message in (
                    vtp.write("authenticate", "ivo://a/b", 0),
                    vtp.write("iamalive", "ivo://a/b", 0),
                    event.xml,
                ):
                    connection.sendall(vtp.frame(message))
                for _ in range(3):
                    heard.append(vtp.read(stream.read(int.from_bytes(stream.read(4), "big"))))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        following = vtp_client.follow(*server.getsockname(), filters=["//a < '\"'"], name="ivo://me/x")
        while len(given) < 2:
            event = next(following)
            given += [event] if event else []
        next(following)  # whoever asks on has taken the last one
        thread.join()
        following.close()
    assert given == [LOW.xml, HIGH.xml]
    assert [(one.role, one.origin) for one in heard[:3]] == [
        ("authenticate", "ivo://a/b"),
        ("iamalive", "ivo://a/b"),
        ("ack", LOW.ivorn),
    ]
    assert heard[0].filters == ("//a < '\"'",)
    assert {one.response for one in heard} == {"ivo://me/x"}


def test_a_line_that_shows_no_life_is_dead():
    times = iter([0.0, 100.0, 151.0])
    near, far = socket.socketpair()
    with near, far:
        line = vtp_client._Line(near, lambda: next(times))
        near.settimeout(0.001)
        assert line.frame() is None
        with pytest.raises(ConnectionError, match="no sign of life"):
            line.frame()
