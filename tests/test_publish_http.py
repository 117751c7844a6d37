"""The HTTP sink from outside: lists, single events, feeds and followers, for friends and for others."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from lxml import etree
from voevent_cases import MODEL
from web_cases import ALERT_BYTES, PATIENCE_S, alert_with_history, event, get, give, lived, serving

from realbogus.errors import ConfigError, Unavailable
from realbogus.publish.archive import Archive
from realbogus.publish.evidence import EvidenceReader
from realbogus.publish.http import catalogue as catalogues
from realbogus.publish.http.search import Search
from realbogus.publish.http.sink import HttpSink, archived
from realbogus.publish.sinks import SENT, Answer
from realbogus.voevent.lifecycle import withdrawal

ATOM = "{http://www.w3.org/2005/Atom}"
HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def sink(tmp_path_factory):
    """Twenty-five events of five objects, with stamps."""
    events = [event(candid, object_id=f"ZTF20aaaaaa{'abcde'[candid % 5]}") for candid in range(1, 26)]
    with serving(tmp_path_factory.mktemp("http"), *events, alert=ALERT_BYTES) as one:
        yield one


# Lists


def test_the_list_has_the_newest_first_as_twins_with_cursor_state_and_address(sink):
    told = get(sink, "/events?limit=2").json
    assert [one["id"] for one in told["events"]] == ["25", "24"]
    first = told["events"][0]
    assert (first["cursor"], first["state"]) == (25, "current")
    assert get(sink, first["url"] + ".json").json["ivorn"] == first["ivorn"]


def test_pages_go_back_to_the_beginning_and_no_event_is_missed_while_others_arrive(tmp_path):
    with serving(tmp_path, *(event(candid) for candid in range(1, 8))) as sink:
        found, path = [], "/events?limit=3"
        while path:
            told = get(sink, path).json
            found += [one["id"] for one in told["events"]]
            give(sink, event(100 + len(found)))  # somebody publishes meanwhile
            path = told["next"]
    assert found == ["7", "6", "5", "4", "3", "2", "1"]


def test_who_catches_up_goes_forward_and_knows_where_to_go_on(tmp_path):
    with serving(tmp_path, *(event(candid) for candid in range(1, 6))) as sink:
        first = get(sink, "/events?since=2001-01-01&limit=3").json
        assert [one["id"] for one in first["events"]] == ["1", "2", "3"]
        second = get(sink, first["next"]).json
        assert [one["id"] for one in second["events"]] == ["4", "5"]
        assert second["next"] is None
        give(sink, event(6))
        assert [one["id"] for one in get(sink, f"/events?after={second['cursor']}").json["events"]] == ["6"]


def test_filters_stay_in_the_address_of_the_next_page(sink):
    told = get(sink, "/events?object=ZTF20aaaaaaa&max_mag=19&limit=2").json
    assert "object=ZTF20aaaaaaa" in told["next"]
    assert "max_mag=19" in told["next"]
    assert {one["event_name"] for one in get(sink, told["next"]).json["events"]} == {"ZTF20aaaaaaa"}


def test_nonsense_is_told_with_all_its_problems(sink):
    answer = get(sink, "/events?min_score=2&colour=blue")
    assert answer.status == 400
    assert len(answer.json["problems"]) == 2
    page = get(sink, "/?min_score=2", **HTML)
    assert page.status == 400
    assert "expected a number from 0 to 1" in page.text


# One event


def test_an_event_is_the_very_bytes_that_were_published(sink):
    one = event(25, object_id="ZTF20aaaaaaa")
    local = one.ivorn.partition("#")[2]
    for path in (f"/events/{local}", f"/events/{local}.xml", f"/events/{quote(one.ivorn, safe='')}"):
        answer = get(sink, path)
        assert (answer.body, answer.headers["Content-Type"]) == (one.xml, "application/xml")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/xml"), ("*/*", "application/xml"), ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("text/xml", "application/xml"),
        ("application/json;q=0.5, application/xml;q=0.4", "application/json"), ("image/png", "application/xml"),
        ("application/json;q=x, text/html;q=0.1", "text/html"), ("," * 5000, "application/xml"),
    ],
)  # fmt: skip
def test_the_form_is_what_the_client_prefers(sink, accept, kind):
    answer = get(sink, get(sink, "/events?limit=1").json["events"][0]["url"], accept=accept)
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.headers["Vary"] == "Accept"


def test_the_stamps_are_pictures_also_by_object_and_candidate(sink):
    for stamp in ("science", "template", "difference"):
        answer = get(sink, get(sink, "/events?limit=1").json["events"][0]["url"] + f"/{stamp}.png")
        assert answer.body.startswith(b"\x89PNG")
        assert "immutable" in answer.headers["Cache-Control"]
        assert get(sink, f"/objects/ZTF20aaaaaaa/25/{stamp}.png").body == answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/events/nobody", "/events/nobody.json", "/events/nobody/science.png", "/objects/nobody", "/events/..%2f..%2fx",
        "/objects/ZTF20aaaaaaa/25/xml.png", "/objects/a/b/science.png", "/static/..%2fpages.py",
        "/static/%2e%2e/pages.py", "/nowhere", "/events/" + "x" * 4000, "/objects/%00", "/events/%ff%fe",
        "/objects/" + quote("'; DROP TABLE events"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found(sink, path):
    answer = get(sink, path)
    assert answer.status == 404
    assert len(answer.body) < 2000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed_from_outside(sink, method):
    answer = get(sink, "/events", method=method)
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]


def test_every_answer_forbids_scripts_of_others_frames_and_guessing(sink):
    for path in ("/", "/events", "/nowhere", "/feed.atom", "/static/page.js", "/events?limit=x"):
        headers = get(sink, path).headers
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_health_tells_how_many_there_are(sink):
    assert get(sink, "/healthz").json == {"status": "ok", "events": 25, "cursor": 25, "followers": 0}


def test_a_fault_of_ours_is_told_in_few_words_and_logged(sink, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("secret of ours")

    monkeypatch.setattr(sink.catalogue, "count", broken)
    answer = get(sink, "/healthz")
    assert answer.status == 500
    assert "secret" not in answer.text
    assert "secret of ours" in caplog.text


def test_a_search_that_takes_too_long_is_given_up(sink, monkeypatch):
    monkeypatch.setattr(catalogues, "PATIENCE_S", -1.0)
    monkeypatch.setattr(catalogues, "_CHECK_EVERY", 1)
    answer = get(sink, "/events?ra=1&dec=1&radius=90")
    assert answer.status == 503
    assert "ask for less" in answer.json["problems"][0]


# Text that came with a packet

HOSTILE = "\"><script>alert(1)</script>'&{{7*7}}"


def test_text_of_a_packet_never_becomes_markup(tmp_path):
    with serving(tmp_path, event(1, object_id=HOSTILE, band="<b>"), alert=ALERT_BYTES) as sink:
        first = get(sink, "/events").json["events"][0]
        assert first["event_name"] == HOSTILE
        for path in ("/", first["url"], f"/objects/{quote(HOSTILE, safe='')}", "/cards", f"/?object={quote(HOSTILE)}"):
            page = get(sink, path, **HTML)
            assert page.status == 200, path
            assert "<script>alert" not in page.text
            assert "<b>" not in page.text
            assert "&lt;script&gt;alert(1)" in page.text
        assert etree.fromstring(get(sink, "/feed.atom").body).findtext(f"{ATOM}entry/{ATOM}title").startswith(HOSTILE)


def test_only_links_to_the_web_are_made():
    from realbogus.web.cards import is_safe

    assert is_safe("https://example.org/x")
    assert not any(
        is_safe(url) for url in ("javascript:alert(1)", "data:text/html,x", "", "//example.org", "file:///x")
    )


# The feed


def test_the_feed_is_atom_with_an_entry_an_event(sink):
    feed = etree.fromstring(get(sink, "/feed.atom?limit=3&min_score=0.5").body)
    assert feed.tag == f"{ATOM}feed"
    entries = feed.findall(f"{ATOM}entry")
    assert len(entries) == 3
    for entry in (feed, *entries):
        assert entry.findtext(f"{ATOM}id")
        assert entry.findtext(f"{ATOM}updated").endswith("Z")
    assert entries[0].findtext(f"{ATOM}id").startswith("ivo://org.example.survey/")
    link = entries[0].find(f"{ATOM}link[@rel='enclosure']").get("href")
    assert get(sink, urlsplit(link).path).body.startswith(b"<?xml")


# Followers


class Follower:
    """A client of the stream, by hand."""

    def __init__(self, sink: HttpSink, query: str = "", last: str = "") -> None:
        self.connection = socket.create_connection(("127.0.0.1", sink.port), PATIENCE_S)
        resume = f"Last-Event-ID: {last}\r\n" if last else ""
        self.connection.sendall(f"GET /stream{query} HTTP/1.1\r\nHost: x\r\n{resume}\r\n".encode())
        self.lines = self.connection.makefile("rb")
        self.status = int(self.lines.readline().split()[1])
        while self.status == 200 and b"retry:" not in self.lines.readline():
            pass

    def event(self) -> tuple[str, dict]:
        """The next event: its id and its twin."""
        told = {}
        while "data" not in told:
            name, _, value = self.lines.readline().decode().rstrip("\n").partition(": ")
            told[name] = value
        return told["id"], json.loads(told["data"])

    def close(self) -> None:
        self.lines.close()
        self.connection.close()


def test_a_follower_gets_what_is_published_from_now_on(tmp_path):
    with serving(tmp_path, event(1)) as sink, closing(Follower(sink)) as follower:
        give(sink, event(2))
        number, told = follower.event()
        assert (number, told["id"]) == ("2", "2")


def test_a_follower_that_was_away_goes_on_where_it_was(tmp_path):
    with serving(tmp_path, *(event(candid) for candid in range(1, 6))) as sink:
        with closing(Follower(sink, last="2")) as follower:
            assert [follower.event()[1]["id"] for _ in range(3)] == ["3", "4", "5"]
        with closing(Follower(sink, "?after=4")) as follower:
            assert follower.event()[1]["id"] == "5"


def test_a_follower_that_was_away_over_a_restart_goes_on_too(tmp_path):
    with serving(tmp_path, event(1), event(2)):
        pass
    with serving(tmp_path, event(3)) as sink, closing(Follower(sink, last="1")) as follower:
        assert [follower.event()[1]["id"] for _ in range(2)] == ["2", "3"]


def test_a_follower_gets_only_what_it_asked_for(tmp_path):
    with (
        serving(tmp_path, event(1, p_real=0.99)) as sink,
        closing(Follower(sink, "?min_score=0.9&after=0")) as follower,
    ):
        give(sink, event(2, p_real=0.7))
        give(sink, event(3, p_real=0.95))
        assert [follower.event()[1]["id"] for _ in range(2)] == ["1", "3"]


@pytest.mark.parametrize(
    ("query", "last"), [("?min_score=x", ""), ("", "x"), ("", "1; DROP"), ("?since=2026-01-01", "")]
)
def test_a_follower_that_asks_nonsense_is_told_so(tmp_path, query, last):
    with serving(tmp_path) as sink, closing(Follower(sink, query, last)) as follower:
        assert follower.status == 400


def test_there_is_an_end_to_followers(tmp_path, monkeypatch):
    monkeypatch.setattr("realbogus.publish.http.server.FOLLOWERS", 1)
    with serving(tmp_path) as sink, closing(Follower(sink)), closing(Follower(sink)) as second:
        assert second.status == 503


def test_mute_followers_harm_nobody(tmp_path):
    with serving(tmp_path) as sink:
        mute = [Follower(sink) for _ in range(20)]
        with closing(Follower(sink)) as follower:
            for candid in range(1, 301):  # 300 events of 2 kB: more than a mute connection takes
                give(sink, event(candid))
                assert follower.event()[1]["id"] == str(candid)
        for one in mute:
            one.close()


def test_who_is_behind_what_is_kept_in_memory_reads_the_catalogue(tmp_path, monkeypatch):
    monkeypatch.setattr("realbogus.publish.http.following.RECENT", 3)
    monkeypatch.setattr("realbogus.publish.http.following.PAGE", 4)
    with serving(tmp_path) as sink:
        give(sink, *(event(candid) for candid in range(1, 21)))
        with closing(Follower(sink, last="0")) as follower:
            assert [follower.event()[1]["id"] for _ in range(20)] == [str(candid) for candid in range(1, 21)]


def test_signs_of_life_are_sent_where_nothing_comes(tmp_path):
    with serving(tmp_path, alive_s=0.05) as sink, closing(Follower(sink)) as follower:
        while follower.lines.readline() != b": alive\n":
            pass


# The life of events


def test_what_cites_an_event_says_whether_it_stands(tmp_path):
    first, second, better = lived(event(1), event(2), event(1, model=replace(MODEL, version="1.3.0")))
    ghost = lived(event(1), event(2), event(1, model=replace(MODEL, version="1.3.0")), withdrawal(better, "a ghost"))[3]
    with serving(tmp_path, ghost, better, second, first) as sink:  # in whatever order they come
        states = {one["ivorn"]: one["state"] for one in get(sink, "/events").json["events"]}
        assert states == {
            first.ivorn: "superseded", second.ivorn: "current", better.ivorn: "retracted", ghost.ivorn: "current",
        }  # fmt: skip
        assert [one["ivorn"] for one in get(sink, "/events?state=retracted").json["events"]] == [better.ivorn]
        page = get(sink, "/events/" + better.ivorn.partition("#")[2], **HTML).text
        assert "This event was withdrawn" in page
        assert "withdrawn by" in page


def test_every_event_of_a_candidate_has_its_stamps(tmp_path):
    first, better = lived(event(1), event(1, model=replace(MODEL, version="1.3.0")))
    with serving(tmp_path, first, alert=ALERT_BYTES) as sink:
        give(sink, better)
        assert get(sink, f"/events/{better.ivorn.partition('#')[2]}/science.png").status == 200


# The sink


def test_an_event_sent_twice_is_there_once(tmp_path):
    with serving(tmp_path, event(1), event(1)) as sink:
        assert sink.send([event(1)]) == [SENT]
        assert get(sink, "/healthz").json["events"] == 1


def test_all_is_there_after_a_restart_and_numbers_go_on(tmp_path):
    with serving(tmp_path, event(1), alert=ALERT_BYTES):
        pass
    with serving(tmp_path, event(2)) as sink:
        assert [one["cursor"] for one in get(sink, "/events").json["events"]] == [2, 1]
        assert get(sink, get(sink, "/events").json["events"][1]["url"] + "/template.png").status == 200


@pytest.mark.parametrize("alert", [b"", b"Obj\x01", ALERT_BYTES[:-40], b"<html>"])
def test_a_damaged_alert_costs_its_event_the_stamps_and_nothing_else(tmp_path, alert, caplog):
    with serving(tmp_path, event(1), alert=alert) as sink:
        url = get(sink, "/events").json["events"][0]["url"]
        assert get(sink, f"{url}/science.png").status == 404
        assert "No stamps came with this event" in get(sink, url, **HTML).text
        assert "has no stamps" in caplog.text


def test_stamps_wait_for_a_schema_registry_that_is_silent(tmp_path):
    class Silent(EvidenceReader):
        answers = False

        def read(self, alert):
            if not Silent.answers:
                raise Unavailable("no answer")
            return super().read(alert)

    with serving(tmp_path, event(1), alert=ALERT_BYTES, reader=Silent()) as sink:
        url = get(sink, "/events").json["events"][0]["url"]
        assert get(sink, f"{url}/science.png").status == 404
        Silent.answers = True
        give(sink, event(2))
        assert get(sink, f"{url}/science.png").status == 200


def test_the_light_curve_of_the_packet_is_drawn(tmp_path):
    alert = alert_with_history(
        {"jd": 2459998.5, "fid": 1.0, "magpsf": 18.9, "sigmapsf": 0.1, "isdiffpos": "t"},
        {"jd": 2459999.5, "fid": 2.0, "diffmaglim": 20.1},
    )
    with serving(tmp_path, event(1), alert=alert) as sink:
        page = get(sink, get(sink, "/events").json["events"][0]["url"], **HTML).text
        assert "Light curve: 2 detections" in page
        assert "1 upper limits" in page


def test_a_new_catalogue_takes_what_the_archive_holds(tmp_path):
    events = [event(1), event(2, mjd=60001.5), event(3, mjd=60002.5)]
    archive = Archive(tmp_path / "archive")
    archive.send(events)
    archive.path(events[1]).write_bytes(b"damaged")
    with serving(tmp_path) as sink:
        assert sink.fill(archived(archive.folder)) == 2
        assert sink.fill(archived(archive.folder)) == 0
        assert [one["id"] for one in get(sink, "/events").json["events"]] == ["3", "1"]


def test_a_port_that_is_taken_is_a_problem_of_the_configuration(tmp_path):
    with serving(tmp_path) as sink, pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1"):
        HttpSink("127.0.0.1", sink.port, tmp_path / "other.sqlite")


def test_a_catalogue_that_cannot_be_written_is_tried_again(tmp_path, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    with serving(tmp_path) as sink:
        monkeypatch.setattr(sink.catalogue, "enter", full)
        (delivery,) = sink.send([event(1)])
        assert delivery.answer is Answer.FAILED
        assert "disk is full" in delivery.detail


def test_readers_and_the_writer_do_not_wait_for_each_other(tmp_path):
    with serving(tmp_path, event(1)) as sink:
        statuses: list[int] = []

        def read() -> None:
            statuses.extend(get(sink, "/events").status for _ in range(20))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for candid in range(2, 60):
            give(sink, event(candid), alert=ALERT_BYTES if candid % 20 == 0 else None)
        for thread in threads:
            thread.join()
        assert statuses == [200] * 80


# The documentation

PAGE = (Path(__file__).resolve().parent.parent / "realbogus" / "docs" / "web.md").read_text()


def test_every_parameter_is_documented_and_no_other():
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {one.name for one in fields(Search)}


def test_the_addresses_in_the_documentation_answer(tmp_path):
    name = "ZTF26abcdefg_2879_realbogus-ztf_1_r0"
    with serving(tmp_path, event(2879, object_id="ZTF26abcdefg", mag_psf=17.0), alert=ALERT_BYTES) as sink:
        local = get(sink, "/events").json["events"][0]["url"].removeprefix("/events/")
        urls = re.findall(r"curl .*?http://127\.0\.0\.1:8100(/[^'\s]*)", PAGE)
        assert len(urls) > 10
        for url in urls:
            stream = quote("ivo://org.example.survey/realbogus#", safe="")
            if url.startswith("/stream") or stream in url:
                continue  # the one does not end, the other is tried above
            assert get(sink, url.replace(name, local)).status == 200, url


def test_the_client_in_the_documentation_prints_what_is_published(tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    with serving(tmp_path) as sink:
        program = program.replace("http://127.0.0.1:8100/stream?min_score=0.9", f"{sink.address}/stream?after=0")
        give(sink, event(1))
        client = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        with client:
            assert client.stdout.readline() == "initial ZTF20abcdefg 123.4567891 -12.3456789 18.53\n"
            client.kill()
