"""From an alert in the stream to its stamps on a page: worker, outbox, publisher, HTTP sink."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
from publish_cases import Clock
from rescore_cases import packets
from stream_cases import OUTBOX, Night, destinations
from web_cases import event, get

from realbogus import config
from realbogus.cli import publish
from realbogus.errors import ConfigError
from realbogus.publish.archive import Archive
from realbogus.publish.http.sink import HttpSink
from realbogus.publish.ledger import Ledger
from realbogus.publish.outbox import Publisher
from realbogus.publish.settings import PublishSettings
from realbogus.stream.results import ALERT

ALERTS = packets(10)


def night(**options) -> Night:
    """A night that is over."""
    one = Night(to=destinations(**options))
    one.send(*ALERTS)
    one.run()
    assert one.events()
    return one


def publish_all(one: Night, sink: HttpSink, folder) -> None:
    source = one.broker.source("publisher", OUTBOX)
    source.ends, clock = True, Clock()
    with closing(Ledger(folder / "ledger.sqlite")) as ledger:
        Publisher(source, ledger, [sink], PublishSettings(), clock, clock.pause).run()


def test_every_published_candidate_has_its_stamps_and_its_light_curve(tmp_path):
    with closing(HttpSink("127.0.0.1", 0, tmp_path / "catalogue.sqlite")) as sink:
        one = night(with_alert=True)
        publish_all(one, sink, tmp_path)
        listed = get(sink, "/events").json["events"]
        assert len(listed) == len(one.events())
        for told in listed:
            assert get(sink, f"{told['url']}/difference.png").body.startswith(b"\x89PNG")
            assert "Light curve:" in get(sink, told["url"], accept="text/html").text


def test_alerts_lie_beside_their_events_only_where_there_is_a_page():
    assert not [message for message in night().events() if ALERT in dict(message.headers)]
    for message in night(with_alert=True).events():
        assert dict(message.headers)[ALERT] in ALERTS


def test_the_events_are_the_same_with_and_without():
    assert [message.value for message in night().events()] == [
        message.value for message in night(with_alert=True).events()
    ]


def test_an_alert_that_fits_no_record_stays_behind_and_its_event_goes():
    one = Night(to=destinations(with_alert=True))
    one.send(*ALERTS)
    one.run(room=lambda topic: 20_000 if topic == OUTBOX else 1_000_000)
    assert one.events()
    assert not [message for message in one.events() if ALERT in dict(message.headers)]


def settings(tmp_path, **more):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {"http_port": port, "catalogue": tmp_path / "catalogue.sqlite", "archive": tmp_path / "archive"}
    layer = config.Layer({"kafka": {"bootstrap": "127.0.0.1:1"}, "publish": told | more}, "call")
    return config.settings(layer)


def test_a_publisher_that_gets_a_page_later_shows_what_it_published_before(tmp_path):
    Archive(tmp_path / "archive").send([event(1), event(2)])
    with closing(publish._http(settings(tmp_path))) as sink:
        assert get(sink, "/healthz").json["events"] == 2


def test_a_page_may_be_the_only_sink_and_its_port_must_be_one():
    assert PublishSettings(archive=None, http_port=8100)
    with pytest.raises(ConfigError, match=r"publish\.http_port is 70000"):
        PublishSettings(http_port=70000)
    with pytest.raises(ConfigError, match=r"publish\.json_topic is the outbox"):
        PublishSettings(outbox="events", json_topic="events")
