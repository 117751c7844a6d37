"""The publisher: whatever fails or dies, each event reaches each sink once and with the same bytes."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections import Counter
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from publish_cases import Clock, Outbox, Place
from voevent_cases import STYLE, scored

from realbogus.errors import ConfigError, StreamError
from realbogus.publish.archive import Archive
from realbogus.publish.desk import Entered, Entry
from realbogus.publish.ledger import Ledger
from realbogus.publish.metrics import PublisherMetrics
from realbogus.publish.outbox import Publisher, at_once
from realbogus.publish.settings import PublishSettings
from realbogus.publish.sinks import SENT, Answer, Delivery
from realbogus.telemetry import Metrics
from realbogus.voevent import build

SETTINGS = PublishSettings(batch=4, attempts=5, retry_s=1.0, retry_longest_s=4.0)
OBJECTS = [f"ZTF20aaaaaa{letter}" for letter in "abcdefghij"]  # an object each: all their packets are first ones
EVENTS = [build(scored(10, object_id=OBJECTS), row, STYLE) for row in range(10)]
XML = [event.xml for event in EVENTS]
OTHER = build(scored(10, object_id=OBJECTS, mag_psf=17.0), 0, STYLE).xml  # the id of EVENTS[0], another magnitude
DOWN, NEVER = Delivery(Answer.FAILED, "sink is down"), Delivery(Answer.REFUSED, "nobody wants this")


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def publisher(ledger, outbox, *sinks, clock=None, settings=SETTINGS):
    clock = clock or Clock()
    return Publisher(outbox, ledger, sinks, settings, clock, clock.pause)


def drained(ledger, values, *sinks, **more):
    """The publisher after it drained these values; the outbox is all committed."""
    outbox = Outbox(list(values))
    done = publisher(ledger, outbox, *sinks, **more)
    done.run(until_idle_s=1)
    assert outbox.committed == len(values)
    counts = done.counts
    assert counts.taken == counts.new + counts.known + counts.conflicts + counts.moot + counts.invalid
    return done


def test_every_event_reaches_every_sink_in_order(ledger):
    places = Place("a"), Place("b")
    counts = drained(ledger, XML, *places).counts
    assert [place.got for place in places] == [EVENTS, EVENTS]
    assert (counts.taken, counts.new, counts.sent) == (10, 10, {"a": 10, "b": 10})


def test_a_repeat_is_not_sent_again(ledger):
    place = Place()
    counts = drained(ledger, [*XML, *XML], place).counts
    assert place.got == EVENTS
    assert (counts.new, counts.known) == (10, 10)


def test_a_repeat_within_one_batch_is_sent_once(ledger):
    place = Place()
    drained(ledger, [XML[0], XML[0], XML[1]], place)
    assert place.got == EVENTS[:2]


def test_the_same_id_with_other_bytes_is_counted_kept_and_never_sent(ledger, tmp_path):
    place = Place()
    counts = drained(ledger, [XML[0], OTHER, OTHER], place).counts
    assert place.got == EVENTS[:1]
    assert (counts.new, counts.conflicts) == (1, 2)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        assert db.execute("SELECT data, seen FROM set_aside").fetchall() == [(OTHER, 2)]


def test_authorities_are_compared_without_regard_to_case(ledger):
    shouting = build(scored(10, object_id=OBJECTS), 0, replace(STYLE, authority="ORG.example.survey"))
    counts = drained(ledger, [XML[0], shouting.xml], Place()).counts
    assert counts.conflicts == 1


@pytest.mark.parametrize(
    "value", [b"", b"not an event", b"<!DOCTYPE x>", XML[0][:-30], XML[0].replace(b' role="test"', b"")]
)
def test_what_is_no_event_is_set_aside_and_stops_nothing(ledger, value):
    place = Place()
    counts = drained(ledger, [XML[0], value, XML[1]], place).counts
    assert place.got == EVENTS[:2]
    assert counts.invalid == 1


def test_a_failing_sink_is_tried_again_with_growing_waits(ledger):
    clock, failures, tries = Clock(), iter([DOWN, DOWN, DOWN, DOWN]), []
    place = Place(rule=lambda _: tries.append(clock.time) or next(failures, SENT))
    counts = drained(ledger, XML[:1], place, clock=clock).counts
    waits = [after - before for before, after in itertools.pairwise(tries)]
    assert all(told <= wait < told + 2 for wait, told in zip(waits, [1.0, 2.0, 4.0, 4.0], strict=True))
    assert (counts.failed["place"], counts.sent["place"], counts.parked["place"]) == (4, 1, 0)


def test_a_failing_sink_does_not_delay_the_others(ledger):
    bad, good = Place("bad", rule=lambda _: DOWN), Place("good")
    one = publisher(ledger, Outbox(list(XML)), bad, good)
    for _ in range(3):
        one.step()
    assert good.got == EVENTS
    assert one.counts.failed["bad"] <= 3 * SETTINGS.batch


def test_a_sink_that_takes_its_time_does_not_delay_the_others(ledger):
    slow, good, jobs = Place("slow"), Place("good"), []

    def aside(job):
        jobs.append((job, Future()))
        return jobs[-1][1]

    one = Publisher(Outbox(list(XML)), ledger, [slow, good], SETTINGS, clock := Clock(), clock.pause, aside=aside)
    one.step()
    (_, _), (job, done) = jobs
    done.set_result(job())
    one.step()
    job, done = jobs[2]
    assert len(jobs) == 3  # the slow one still has its first batch
    done.set_result(job())
    assert (good.got, slow.got) == (EVENTS[:8], [])
    one.aside = at_once
    job, done = jobs[0]
    done.set_result(job())
    one.run(until_idle_s=1)
    assert (good.got, slow.got) == (EVENTS, EVENTS)


def test_what_fails_too_often_is_parked_and_can_wait_again(ledger):
    place = Place(rule=lambda event: DOWN if event == EVENTS[2] else SENT)
    counts = drained(ledger, XML[:4], place).counts
    assert place.got == [EVENTS[0], EVENTS[1], EVENTS[3]]
    assert (counts.failed["place"], counts.parked["place"]) == (5, 1)
    assert ledger.states() == {("place", "sent"): 3, ("place", "parked"): 1}
    assert ledger.unpark(0.0) == 1
    well = Place()
    drained(ledger, [], well)
    assert well.got == [EVENTS[2]]


def test_what_is_refused_for_good_is_parked_at_once(ledger):
    counts = drained(ledger, XML[:3], Place(rule=lambda _: NEVER)).counts
    assert (counts.failed["place"], counts.parked["place"]) == (3, 3)


def test_told_to_stop_while_a_sink_is_down_nothing_is_lost(ledger):
    outbox, stop = Outbox(list(XML)), threading.Event()
    one = Publisher(outbox, ledger, [Place(rule=lambda _: DOWN)], SETTINGS, Clock(), stop.wait, lambda _: stop.set())
    one.run()
    assert outbox.committed == 4
    assert ledger.states() == {("place", "pending"): 4}
    up = Place()
    publisher(ledger, outbox, up).run(until_idle_s=1)
    assert up.got == EVENTS
    assert outbox.committed == 10


def test_what_is_released_while_the_publisher_runs_is_sent_without_a_new_start(ledger):
    rule = [NEVER]
    place = Place(rule=lambda _: rule[0])
    one = publisher(ledger, Outbox(XML[:2]), place)
    one.run(until_idle_s=1)
    rule[0] = SENT
    ledger.unpark(0.0)
    one.run(until_idle_s=10)
    assert place.got == EVENTS[:2]


def test_a_stop_ends_the_run_between_batches(ledger):
    stop, outbox = threading.Event(), Outbox(list(XML))
    one = Publisher(outbox, ledger, [Place()], SETTINGS, Clock(), stop.wait, lambda _: stop.set())
    assert one.run().taken == 4
    assert outbox.committed == 4


def test_idle_time_counts_only_while_messages_could_come(ledger):
    clock, outbox = Clock(), Outbox(not_ready=["no broker answers"] * 40)
    publisher(ledger, outbox, Place(), clock=clock).run(until_idle_s=1)
    assert outbox.not_ready == []


def test_a_sink_added_later_gets_what_comes_later(ledger):
    drained(ledger, XML[:5], Place("old"))
    new = Place("new")
    drained(ledger, XML[5:], Place("old"), new)
    assert new.got == EVENTS[5:]


def test_the_counts_are_told_as_metrics(ledger):
    metrics = Metrics()
    place = Place("archive", rule=lambda event: NEVER if event == EVENTS[1] else SENT)
    done = drained(ledger, [*XML[:3], XML[0], OTHER, b"x"], place)
    metrics.registry.register(PublisherMetrics(done.counts))
    told = metrics.text().decode()
    for line in (
        'realbogus_outbox_records_total{result="new"} 3.0',
        'realbogus_outbox_records_total{result="known"} 1.0',
        'realbogus_outbox_records_total{result="conflict"} 1.0',
        'realbogus_outbox_records_total{result="invalid"} 1.0',
        'realbogus_events_sent_total{sink="archive"} 2.0',
        'realbogus_events_parked_total{sink="archive"} 1.0',
    ):
        assert line in told


class Killed(BaseException):
    pass


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_killed_anywhere_nothing_is_lost_and_all_sends_have_the_same_bytes(tmp_path_factory, data):
    """Kill the publisher at random steps, before or after the deed; in the end all is there, in the archive once."""
    folder = tmp_path_factory.mktemp("publisher")
    outbox, kafka, archive = Outbox(list(XML)), Place("kafka"), Archive(folder / "events")
    lives = data.draw(st.lists(st.integers(0, 30), max_size=6))
    for steps in [*lives, 10_000]:
        left = [steps]

        def mortal(deed, left=left):
            def wrapped(*given, **named):
                left[0] -= 1
                if left[0] == 0:
                    raise Killed
                result = deed(*given, **named)
                left[0] -= 1
                if left[0] == 0:
                    raise Killed
                return result

            return wrapped

        ledger = Ledger(folder / "ledger.sqlite")
        one = publisher(ledger, outbox, Mortal(archive, mortal), Mortal(kafka, mortal))
        outbox_commit, ledger_enter, ledger_settle = outbox.commit, ledger.enter, ledger.settle
        outbox.commit, ledger.enter, ledger.settle = map(mortal, (outbox_commit, ledger_enter, ledger_settle))
        try:
            one.run(until_idle_s=1)
        except Killed:
            outbox.close()
        finally:
            outbox.commit = outbox_commit
            ledger.close()
    assert outbox.committed == 10
    assert set(kafka.got) == set(EVENTS)  # an event has its bytes among its fields: each id came with one content only
    assert max(Counter(event.ivorn for event in kafka.got).values()) <= 1 + len(lives)
    assert sorted(file.read_bytes() for file in (folder / "events").rglob("*.xml")) == sorted(XML)


class Mortal:
    """A sink that may be killed around its sending."""

    def __init__(self, sink, mortal):
        self.name, self.send, self.close = sink.name, mortal(sink.send), sink.close


def test_only_one_publisher_has_the_ledger(tmp_path):
    first = Ledger(tmp_path / "ledger.sqlite")
    with pytest.raises(StreamError, match="another publisher"):
        Ledger(tmp_path / "ledger.sqlite")
    first.close()
    Ledger(tmp_path / "ledger.sqlite").close()


def test_the_ledger_is_durable_and_keeps_what_it_knew(tmp_path):
    first = Ledger(tmp_path / "new folder" / "ledger.sqlite")
    assert [one.entry for one in first.enter(EVENTS[:2], ["a"], 1.0)] == [Entry.NEW] * 2
    first.settle("a", [(EVENTS[0], SENT)], attempts=3, now=2.0)
    first.close()
    again = Ledger(tmp_path / "new folder" / "ledger.sqlite")
    assert again.enter(EVENTS[:1], ["a"], 3.0) == [Entered(Entry.KNOWN, EVENTS[0])]
    assert again.pending("a") == [XML[1]]
    assert again._db.run("PRAGMA synchronous") == [(2,)]  # FULL
    assert again._db.run("PRAGMA journal_mode") == [("wal",)]
    again.close()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"archive": None}, "go nowhere"),
        ({"topic": "realbogus.voevent.outbox"}, "feed on its own"),
        ({"outbox": ""}, "outbox is empty"),
        ({"batch": 0}, "at least 1"),
        ({"retry_s": 0.0}, "more than 0"),
        ({"vtp_author": "broker.example.org"}, "host:port"),
        ({"port": 70000}, "0 to 65535"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(setting, says):
    with pytest.raises(ConfigError, match=says):
        PublishSettings(**setting)
