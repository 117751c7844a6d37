"""The ledger: what was published, in a file or on a server, the same by both."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from hashlib import sha256

import pytest
from publish_cases import Clock, Outbox, Place
from voevent_cases import MODEL, STYLE, scored

from realbogus.errors import ConfigError, StreamError
from realbogus.publish.desk import Entry
from realbogus.publish.handover import record, revisions, withdrawals
from realbogus.publish.ledger import Ledger
from realbogus.publish.outbox import Publisher
from realbogus.publish.postgres import Postgres
from realbogus.publish.settings import PublishSettings
from realbogus.publish.sinks import SENT, Answer, Delivery
from realbogus.voevent import build

SECOND = replace(MODEL, version="1.3.0", sha256="f" * 64)
DOWN, NEVER = Delivery(Answer.FAILED, "sink is \x00 down"), Delivery(Answer.REFUSED, "nobody wants this")


def draft(candid: int = 1, *, model=MODEL, p_real: float = 0.95, revision: int = 0, style=STYLE, **more):
    told = scored(candid=candid, model=model, score=p_real, p_real=p_real, **more)
    return build(told, 0, style, revision=revision)


class Books:
    """A ledger that can be closed and opened again."""

    def __init__(self, where) -> None:
        self.where = where

    def open(self, *, alone: bool = True) -> Ledger:
        return Ledger(self.where if not isinstance(self.where, str) else Postgres(self.where), alone=alone)


@pytest.fixture(params=["sqlite", "postgres"])
def books(request, tmp_path):
    if request.param == "sqlite":
        return Books(tmp_path / "ledger.sqlite")
    address, schema = request.getfixturevalue("postgres"), f"s{sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    with closing(Postgres(address)) as database:
        database.run(f"CREATE SCHEMA {schema}")
    return Books(f"{address}&options=-csearch_path%3D{schema}")


@pytest.fixture
def ledger(books):
    with closing(books.open()) as ledger:
        yield ledger


def entries(ledger, *drafts, sinks=("a",)):
    return [one.entry for one in ledger.enter(drafts, sinks, 1.0)]


def test_drafts_get_their_place_within_a_batch_and_across_batches(ledger):
    first = ledger.enter([draft(1), draft(2)], ["a"], 1.0)
    second = ledger.enter([draft(1, model=SECOND), draft(2, model=SECOND, p_real=0.1), draft(3)], ["a"], 2.0)
    assert [one.event.alert_type for one in first + second] == [
        "initial",
        "subsequent",
        "update",
        "retraction",
        "subsequent",
    ]
    assert first[0].event.ivorn.encode() in second[0].event.xml


def test_an_event_is_known_by_its_draft_whatever_place_it_got(ledger):
    ledger.enter([draft(1)], ["a"], 1.0)
    (placed,) = ledger.enter([draft(2)], ["a"], 1.0)
    (again,) = ledger.enter([draft(2)], ["a"], 9.0)
    assert (again.entry, again.event) == (Entry.KNOWN, placed.event)
    assert placed.event.xml != draft(2).xml


def test_other_bytes_under_a_known_name_are_a_conflict(ledger):
    assert entries(ledger, draft(1), draft(1, mag_psf=17.0), draft(1)) == [Entry.NEW, Entry.CONFLICT, Entry.KNOWN]
    (aside,) = ledger.things_set_aside()
    assert aside.reason.startswith("conflict: ivo://")
    assert aside.seen == 1
    assert entries(ledger, draft(1, mag_psf=17.0)) == [Entry.CONFLICT]
    assert ledger.things_set_aside()[0].seen == 2


def test_what_was_never_published_or_is_withdrawn_is_moot(ledger):
    gone, again = draft(1, model=SECOND, p_real=0.1), draft(1, p_real=0.1, revision=1)
    assert entries(ledger, draft(9, p_real=0.1), draft(1), gone, again) == [
        Entry.MOOT,
        Entry.NEW,
        Entry.NEW,
        Entry.MOOT,
    ]
    assert ledger.things_set_aside() == []


def test_tests_and_observations_do_not_know_of_each_other(ledger):
    live = replace(STYLE, role="observation")
    one, other = ledger.enter([draft(1), draft(2, style=live)], ["a"], 1.0)
    assert (one.event.alert_type, other.event.alert_type) == ("initial", "initial")


def test_surveys_do_not_know_of_each_other(ledger):
    one, other = ledger.enter([draft(1), draft(2, survey="rubin")], ["a"], 1.0)
    assert (one.event.alert_type, other.event.alert_type) == ("initial", "initial")


def test_candidates_without_an_object_are_each_alone(ledger):
    one, other = ledger.enter([draft(1, object_id=""), draft(2, object_id="")], ["a"], 1.0)
    assert (one.event.alert_type, other.event.alert_type) == ("initial", "initial")
    assert entries(ledger, draft(1, object_id="", model=SECOND, p_real=0.1)) == [Entry.NEW]


def test_what_is_sent_is_no_longer_pending_and_what_fails_is_until_it_is_parked(ledger):
    placed = [one.event for one in ledger.enter([draft(1), draft(2), draft(3)], ["a", "b"], 1.0)]
    assert ledger.pending("a") == [event.xml for event in placed]
    assert ledger.pending("a", 2) == [event.xml for event in placed[:2]]
    answers = list(zip(placed, [SENT, DOWN, NEVER], strict=True))
    assert ledger.settle("a", answers, attempts=2, now=2.0) == [(placed[2], NEVER.detail)]
    assert ledger.still_pending(placed, "a") == [placed[1]]
    assert ledger.still_pending(placed, "b") == placed
    assert ledger.settle("a", [(placed[1], DOWN)], attempts=2, now=3.0) == [(placed[1], DOWN.detail)]
    assert ledger.states() == {("a", "sent"): 1, ("a", "parked"): 2, ("b", "pending"): 3}
    parked = ledger.parked()
    assert [(one.ivorn, one.sink, one.attempts, one.since) for one in parked] == [
        (placed[2].ivorn, "a", 1, 2.0),
        (placed[1].ivorn, "a", 2, 3.0),
    ]
    assert parked[1].detail == "sink is \ufffd down"


def test_parked_events_are_released_all_or_one_or_those_of_a_sink(ledger):
    placed = [one.event for one in ledger.enter([draft(1), draft(2)], ["a", "b"], 1.0)]
    for sink in ("a", "b"):
        ledger.settle(sink, [(event, NEVER) for event in placed], attempts=2, now=2.0)
    assert ledger.unpark(3.0, ivorn=placed[0].ivorn, sink="a") == 1
    assert ledger.unpark(3.0, sink="b") == 2
    assert ledger.unpark(3.0) == 1
    assert ledger.unpark(3.0) == 0
    assert ledger.refusal(placed[0], "a") == NEVER.detail


def test_only_one_publisher_has_it_while_others_read_and_release(books):
    with closing(books.open()) as first:
        with pytest.raises(StreamError, match="another publisher"):
            books.open()
        (placed,) = first.enter([draft()], ["a"], 1.0)
        first.settle("a", [(placed.event, NEVER)], attempts=1, now=2.0)
        with closing(books.open(alone=False)) as reader:
            assert len(reader.parked()) == 1
            assert reader.unpark(3.0) == 1
        assert first.pending("a") == [placed.event.xml]
    with closing(books.open()) as second:
        assert second.event(placed.event.ivorn) == placed.event


def test_a_batch_that_fails_half_way_leaves_nothing(ledger):
    with pytest.raises((sqlite3.IntegrityError, StreamError)):
        ledger.enter([draft(1), draft(1, mag_psf=17.0)], [None], 1.0)
    assert ledger.things_set_aside() == []
    assert entries(ledger, draft(1)) == [Entry.NEW]


def test_a_reader_makes_no_ledger(books):
    with pytest.raises(StreamError, match="no ledger of this version"):
        books.open(alone=False)


def test_a_ledger_of_a_later_version_is_left_alone(books):
    with closing(books.open()) as one:
        one._db.run("UPDATE ledger SET version = 99")
    with pytest.raises(StreamError, match="version 99"):
        books.open()


VERSION_1 = """
CREATE TABLE events (id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, xml BLOB NOT NULL, entered REAL NOT NULL) STRICT;
CREATE TABLE deliveries (
    id TEXT NOT NULL REFERENCES events, sink TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'parked')), attempts INTEGER NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT '', refusal TEXT NOT NULL DEFAULT '', changed REAL NOT NULL, PRIMARY KEY (id, sink)
) STRICT, WITHOUT ROWID;
CREATE INDEX unsent ON deliveries (sink) WHERE state = 'pending';
CREATE TABLE set_aside (
    sha256 TEXT PRIMARY KEY, reason TEXT NOT NULL, data BLOB NOT NULL, seen INTEGER NOT NULL, first_seen REAL NOT NULL
) STRICT;
"""


def test_a_file_of_version_1_is_brought_up_to_date_with_all_it_knew(tmp_path):
    path, old = tmp_path / "ledger.sqlite", [draft(2), draft(1)]
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
        for event in old:
            db.execute(
                "INSERT INTO events VALUES (?, ?, ?, 7.0)",
                (event.ivorn, sha256(event.xml).hexdigest(), event.xml),
            )
        db.execute("INSERT INTO deliveries VALUES (?, 'a', 'sent', 1, '', '', 7.0)", (old[0].ivorn,))
        db.execute("INSERT INTO deliveries VALUES (?, 'a', 'parked', 1, 'x', 'x', 7.0)", (old[1].ivorn,))
        db.commit()
    with pytest.raises(StreamError, match="no ledger of this version"):
        Ledger(path, alone=False)
    for _ in range(2):
        with closing(Ledger(path)) as ledger:
            assert entries(ledger, *old) == [Entry.KNOWN] * 2
            assert ledger.states() == {("a", "sent"): 1, ("a", "parked"): 1}
    with closing(Ledger(path)) as ledger:
        (third,) = ledger.enter([draft(3)], ["a"], 1.0)
        assert old[0].ivorn.encode() in third.event.xml  # the first that was published
        assert ledger.unpark(2.0) == 1
        assert ledger.pending("a") == [old[1].xml, third.event.xml]


def test_a_publisher_on_a_server_loses_nothing_when_it_starts_again(books):
    xml = [draft(candid, object_id=f"ZTF{candid}").xml for candid in range(6)]
    outbox, place, clock = Outbox(xml), Place("a", rule=lambda _: DOWN), Clock()
    with closing(books.open()) as ledger:
        Publisher(outbox, ledger, [place], PublishSettings(batch=4), clock, clock.pause).step()
    outbox.close()
    place.rule = lambda _: SENT
    with closing(books.open()) as ledger:
        Publisher(outbox, ledger, [place], PublishSettings(batch=4), clock, clock.pause).run(until_idle_s=1)
    assert Counter(event.xml for event in place.got) == Counter(xml)


def test_without_a_server_it_says_so():
    with pytest.raises(StreamError, match="cannot be reached"):
        Postgres("postgresql://nobody@127.0.0.1:9/none")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:secret@host/name",
        "postgresql://me@host/name?password=x",
        "mysql://host/name",
        "host=x",
        "postgresql://",
    ],
)
def test_addresses_with_passwords_and_of_other_kinds_are_refused(address):
    with pytest.raises(ConfigError, match="ledger_database"):
        PublishSettings(ledger_database=address)


def test_a_withdrawal_is_a_draft_for_the_outbox(ledger):
    placed = [one.event for one in ledger.enter([draft(1), draft(2)], ["a"], 1.0)]
    (one,) = withdrawals(ledger, placed[1].ivorn, "a satellite")
    assert record(one, "outbox").key == b"ZTF20abcdefg"
    assert [entered.event.alert_type for entered in ledger.enter([one], ["a"], 2.0)] == ["retraction"]
    with pytest.raises(ConfigError, match="withdrawn already"):
        withdrawals(ledger, placed[1].ivorn, "again")
    with pytest.raises(ConfigError, match="never published"):
        withdrawals(ledger, placed[1].ivorn + "x", "why")


def test_all_candidates_of_an_object_are_withdrawn_by_its_name(ledger):
    ledger.enter([draft(1), draft(2), draft(3, object_id="ZTF9"), draft(2, model=SECOND)], ["a"], 1.0)
    both = withdrawals(ledger, "ZTF20abcdefg", "moving")
    assert [(one.candid, one.model) for one in both] == [("1", "forest/1.2.0"), ("2", "forest/1.3.0")]
    ledger.enter(both, ["a"], 2.0)
    with pytest.raises(ConfigError, match="no event of an object"):
        withdrawals(ledger, "ZTF20abcdefg", "again")


def test_an_event_that_was_superseded_is_withdrawn_by_withdrawing_what_is_in_force(ledger):
    first, _ = ledger.enter([draft(1), draft(1, model=SECOND)], ["a"], 1.0)
    (one,) = withdrawals(ledger, first.event.ivorn, "ghost")
    assert "1.3.0_r0-retraction" in one.ivorn


OLD, NEW = {"ZTF": ("forest/1.2.0", "0.500000")}, {"ZTF": ("forest/1.3.0", "0.500000")}
KEY = ("ZTF20abcdefg", "1")


def test_what_the_same_model_and_threshold_said_is_not_said_again(ledger):
    ledger.enter([draft(1)], ["a"], 1.0)
    assert revisions(ledger, STYLE, OLD) == {}
    assert revisions(ledger, STYLE, NEW) == {KEY: 0}
    assert revisions(ledger, STYLE, {"ZTF": ("forest/1.2.0", "0.700000")}) == {KEY: 1}
    assert revisions(ledger, STYLE, {"LSST": ("forest/1.3.0", "0.500000")}) == {}


def test_a_rollback_takes_the_next_revision(ledger):
    ledger.enter([draft(1), draft(1, model=SECOND, p_real=0.1)], ["a"], 1.0)
    assert revisions(ledger, STYLE, OLD) == {KEY: 1}
    ledger.enter([draft(1, revision=1)], ["a"], 1.0)
    assert revisions(ledger, STYLE, OLD) == {}
    assert revisions(ledger, STYLE, NEW) == {KEY: 1}


def test_what_a_person_withdrew_stays_withdrawn_unless_it_is_to_be_restored(ledger):
    (one,) = ledger.enter([draft(1)], ["a"], 1.0)
    ledger.enter(withdrawals(ledger, one.event.ivorn, "ghost"), ["a"], 1.0)
    assert revisions(ledger, STYLE, NEW) == {}
    assert revisions(ledger, STYLE, NEW, restore=True) == {KEY: 0}
    assert revisions(ledger, STYLE, OLD, restore=True) == {KEY: 1}


def test_events_of_another_stream_or_role_are_left_alone(ledger):
    ledger.enter([draft(1)], ["a"], 1.0)
    assert revisions(ledger, replace(STYLE, stream="other"), NEW) == {}
    assert revisions(ledger, replace(STYLE, role="observation"), NEW) == {}
