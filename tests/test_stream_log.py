"""Looking back on the topics: dead letters, the ledger, what is on hold."""

from __future__ import annotations

import json

import pytest
from rescore_cases import FIRST, packet, packets
from stream_cases import ANNOTATIONS, DEAD, OUTBOX, PARKED, TOPIC, Night, candids, destinations, header

from realbogus.cli import looking, main
from realbogus.cli.dlq import replay
from realbogus.cli.ledger import candid_of
from realbogus.config.sections import InputSettings, KafkaSettings
from realbogus.errors import StreamError
from realbogus.limits import Limits
from realbogus.packets.schemas import SchemaStore
from realbogus.stream.audit import Audit, audit, source_of
from realbogus.stream.exposure_breaker import ExposureBreaker
from realbogus.stream.holds import holds, release
from realbogus.stream.kafka import KafkaTransactions
from realbogus.stream.letters import Filter, counted, letters
from realbogus.stream.log import from_time, inputs_behind, is_input, night_of
from realbogus.stream.protocols import Message
from realbogus.stream.watching import still_held

ALERTS = packets(10)
GARBAGE = b"Obj\x01 this is no packet"
UNKNOWN = b"\x00\x00\x00\x03\x89" + bytes(50)  # schema id 905
OUTPUTS = [(ANNOTATIONS, "scored"), (DEAD, "rejected"), (PARKED, "parked")]


def dead(night, **wanted):
    return list(letters([*night.dead(), *night.parked()], Filter(**wanted)))


def a_bad_night():
    night = Night()
    night.send(*ALERTS[:4], GARBAGE, UNKNOWN, UNKNOWN, b"")
    night.run()
    return night


# Which topics, which night


def test_outputs_are_found_by_their_template_on_any_night():
    given = InputSettings(topics=("alerts",), pattern="ztf_%Y%m%d_programid1", group_id="g")
    known = ["alerts", "alerts.dlq", "other.dlq", "ztf_20261120_programid1.dlq", "ztf_2026_programid1.dlq", "x"]
    assert inputs_behind(known, "{topic}.dlq", given) == {
        "alerts.dlq": "alerts",
        "ztf_20261120_programid1.dlq": "ztf_20261120_programid1",
    }
    assert inputs_behind(known, "x", given) == {"x": ""}
    assert is_input("ztf_20270101_programid1", given)
    assert not is_input("ztf_20271301_programid1", given)


@pytest.mark.parametrize(
    ("time", "night"), [(1_763_683_200_000, "2025-11-20"), (1_763_639_999_000, "2025-11-19"), (-1, "")]
)
def test_a_night_goes_from_noon_to_noon(time, night):
    assert night_of(time) == night


# Dead letters


def test_letters_are_counted_by_night_topic_reason_and_schema():
    found = counted(dead(a_bad_night()))
    assert {key[1:]: number for key, number in found.items()} == {
        (TOPIC, "malformed", "unreadable header"): 1,
        (TOPIC, "malformed", "none"): 1,
        (TOPIC, "unknown_schema", "id 905"): 2,
    }


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ({}, 4),
        ({"reasons": ("malformed",)}, 2),
        ({"dispositions": ("schema_unknown",)}, 2),
        ({"schema": "905"}, 2),
        ({"since_s": 1_700_000_000.0}, 4),
        ({"until_s": 1_700_000_000.0}, 0),
        ({"attempts": 0}, 0),
    ],
)
def test_letters_are_found_by_what_they_say(wanted, number):
    assert len(dead(a_bad_night(), **wanted)) == number


def test_what_bears_no_reason_is_no_letter():
    night = a_bad_night()
    night.broker.produce(DEAD, b"somebody else's")
    assert len(dead(night)) == 4


def test_a_replay_after_the_upgrade_scores_what_was_parked_with_the_same_ids():
    right, night = Night(), Night(score=lambda values: right.score([]) and None)
    night = Night(score=type(right.score.__self__)(models={}).outcomes)  # the model is not there yet
    for one in (right, night):
        one.send(*ALERTS)
    right.run()
    night.run()
    assert len(night.parked()) == 10
    night.score = right.score
    sink = night.broker.sink()
    told = replay(iter(dead(night, reasons=("no_model",))), sink, "")
    assert told == {"replayed": 10, "to": {TOPIC: 10}, "left_out": {}, "dry_run": False}
    night.run()
    assert [(m.key, m.value) for m in night.annotated()] == [(m.key, m.value) for m in right.annotated()]
    assert [m.value for m in night.events()] == [m.value for m in right.events()]


def test_a_letter_keeps_count_of_how_often_it_was_dead():
    night = Night()
    night.send(GARBAGE)
    for attempt in (1, 2, 3):
        night.run()
        assert header(night.dead()[-1], "__rb.errors.attempt") == str(attempt)
        replay(iter(dead(night)[-1:]), night.broker.sink(), "")
    assert dead(night, attempts=2) == dead(night)[:2]
    assert night.dead()[-1].key == night.broker.messages(TOPIC)[0].key


def test_a_dry_run_writes_nothing_and_another_topic_may_be_told():
    night = a_bad_night()
    before = len(night.broker.messages(TOPIC))
    assert replay(iter(dead(night)), None, "again")["to"] == {"again": 4}
    assert len(night.broker.messages(TOPIC)) == before
    assert "again" not in night.broker.topics


def test_what_was_cut_or_empty_is_left_out_of_a_replay():
    night = Night()
    night.broker.room_bytes = 100_000
    night.send(b"Obj\x01" + bytes(200_000), None)
    night.run()
    assert replay(iter(dead(night)), None, "")["left_out"] == {
        "only the head of it was kept": 1,
        "it had no value": 1,
    }


# The ledger


def check(night: Night) -> Audit:
    """The account of everything that the group has committed."""
    log = night.broker.log()
    done = log.committed("group", log.extent([TOPIC]))
    read = {one: (0, done.get(one, 0)) for one in log.extent([TOPIC])}
    return audit(log, read, OUTPUTS, lambda value: candid_of(value, SchemaStore(), Limits(), None))


def test_a_night_balances():
    night = a_bad_night()
    found = check(night)
    (account,) = found.accounts.values()
    assert found.balanced
    assert (account.consumed, account.scored, account.rejected, account.parked) == (8, 4, 2, 2)
    assert vars(found.total())["consumed"] == night.run().ledger.total().consumed + 8


def test_a_duplicate_is_told_from_a_loss():
    night = Night(batch_size=3)
    night.send(*ALERTS[:5], ALERTS[2], ALERTS[0])
    night.run()
    found = check(night)
    assert found.balanced
    assert (found.total().scored, found.total().duplicates) == (5, 2)


@pytest.mark.parametrize("topic", [ANNOTATIONS, DEAD, PARKED])
def test_a_result_that_is_gone_is_found_missing(topic):
    night = a_bad_night()
    lost = night.broker.topics[topic][0].pop(0)
    place = "/".join(map(str, source_of(lost) or ()))
    found = check(night)
    assert not found.balanced
    assert found.total().missing == 1
    assert found.faults == [f"missing: {place}"]


@pytest.mark.parametrize("topic", [ANNOTATIONS, DEAD])
def test_a_result_that_is_there_twice_is_found(topic):
    night = a_bad_night()
    log = night.broker.topics[topic][0]
    log.append(log[0])
    found = check(night)
    assert found.total().double == 1
    assert found.faults[0].startswith("double: alerts/0/")


def test_positions_one_too_far_are_found():
    """The night was committed up to its end, and its last alert never read."""
    night = Night()
    night.send(*ALERTS[:5])
    night.run()
    night.send(ALERTS[5])
    night.broker.committed["group", (TOPIC, 0)] += 1
    assert check(night).total().missing == 1


def test_offsets_without_a_message_are_no_loss():
    """On Kafka the marker of a transaction takes an offset."""
    night = a_bad_night()
    night.broker.committed["group", (TOPIC, 0)] += 3
    assert check(night).balanced


def test_results_of_others_are_not_counted():
    night = a_bad_night()
    other = Message(ANNOTATIONS, 0, 99, 1, b"1", b"", (("source", b"elsewhere/0/1"),))
    night.broker.topics[ANNOTATIONS][0].append(other)
    found = check(night)
    assert found.balanced
    assert found.beyond == 1


@pytest.mark.parametrize("headers", [(), (("source", b"x"),), (("source", b"a/b/c"),), (("source", b"/0/1"),)])
def test_a_result_that_does_not_say_where_it_came_from_is_nobodys(headers):
    assert source_of(Message("t", 0, 0, 0, None, b"", headers)) is None


def test_a_topic_may_have_slashes_in_no_name_but_dots():
    assert source_of(Message("t", 0, 0, 0, None, b"", (("source", b"ztf.2026-11/3/17"),))) == ("ztf.2026-11", 3, 17)


def test_a_stretch_begins_at_a_time():
    night = Night()
    for at in range(6):
        night.broker.produce(TOPIC, ALERTS[at], timestamp_ms=1000 * at)
    log = night.broker.log()
    assert from_time(log, log.extent([TOPIC]), 2.5) == {(TOPIC, 0): (3, 6)}
    assert from_time(log, log.extent([TOPIC]), None) == {(TOPIC, 0): (0, 6)}


# What is on hold


class HoldAll(ExposureBreaker):
    """Every exposure is unlike the others."""

    def _decide(self, followed, place, *told):
        followed.hold(*place, "40000 candidates so far where 300 are usual")


def held_night() -> tuple[Night, Night]:
    """A night on hold, and the same night free."""
    free, night = Night(), Night(to=destinations(held="held"))
    for one in (free, night):
        one.send(*ALERTS)
    free.run()
    night.run(reviews=[HoldAll()])
    return night, free


def waiting(night):
    return {key: hold for key, hold in holds(night.broker.messages("held")).items() if hold.waiting}


def let_go(night, hold, **options):
    return sum(release(night.broker.log(), night.broker.transactions(), hold, OUTBOX, "me", **options))


def test_what_is_released_is_published_as_it_would_have_been_at_once():
    night, free = held_night()
    found = waiting(night)
    assert sum(len(hold.waiting) for hold in found.values()) == len(free.events()) > 0
    assert not night.events()
    for hold in found.values():
        let_go(night, hold)
    assert sorted((m.key, m.value, m.headers, m.timestamp_ms) for m in night.events()) == sorted(
        (m.key, m.value, m.headers, m.timestamp_ms) for m in free.events()
    )
    assert not waiting(night)


def test_a_second_release_finds_nothing_to_do():
    night, free = held_night()
    for _ in range(2):
        for hold in waiting(night).values():
            let_go(night, hold)
    assert len(night.events()) == len(free.events())


def test_a_release_that_dies_halfway_goes_on_where_it_ended():
    class OneExposure(HoldAll):
        def judge(self, messages, outcomes):
            for scored in outcomes:
                scored.alerts.columns["mjd"][:] = 61_000.25
            return super().judge(messages, outcomes)

    night = Night(to=destinations(held="held"))
    night.send(*(packet(FIRST + at) for at in range(20)))
    night.run(reviews=[OneExposure()])
    (hold,) = waiting(night).values()
    everything = len(hold.waiting)
    steps = release(night.broker.log(), night.broker.transactions(), hold, OUTBOX, "me", at_once=2)
    assert next(steps) == 2
    steps.close()
    (rest,) = waiting(night).values()
    assert len(rest.waiting) == everything - 2
    assert rest.released == 2
    let_go(night, rest)
    ids = [header(message, "ivorn") for message in night.events()]
    assert len(ids) == len(set(ids)) == everything


def test_what_comes_in_after_the_release_is_held_and_listed_again():
    night, _ = held_night()
    for hold in waiting(night).values():
        let_go(night, hold)
    night.send(*(packet(FIRST + 1000 * at) for at in range(1, 20)))
    night.run(reviews=[HoldAll()])
    assert waiting(night)


def test_a_worker_that_starts_again_knows_what_is_on_hold():
    night, _ = held_night()
    found = still_held(night.broker.log(), "held", 0.0)
    assert {hold.exposure for hold in found} == set(waiting(night))
    breaker = ExposureBreaker()
    breaker.restore((hold.exposure, hold.why) for hold in found)
    again = Night(to=destinations(held="held"))
    again.send(*ALERTS)
    again.run(reviews=[breaker])
    assert not again.events()
    assert candids(again.annotated()) == [FIRST + at for at in range(10)]


def test_a_hold_tells_itself_as_plain_values():
    night, _ = held_night()
    for hold in holds(night.broker.messages("held")).values():
        told = json.loads(json.dumps(hold.as_dict()))
        assert told["waiting"] == len(hold.waiting)
        assert "40000 candidates" in told["why"]


def test_a_tool_whose_broker_is_away_says_so_at_once_and_ends(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(looking, "SOON_S", 0.1)
    monkeypatch.setattr(looking, "PATIENCE_S", 0.2)
    file = tmp_path / "worker.toml"
    file.write_text(
        '[kafka]\nbootstrap = "127.0.0.1:1"\n[input]\ntopics = ["a"]\ngroup_id = "g"\n'
        '[voevent]\nauthority = "org.example.survey"\n'
    )
    for call in (["exposures", "release", "--all"], ["exposures", "list"], ["ledger", "check"], ["dlq", "list"]):
        assert main([*call, "--config", str(file)]) == 3
        told = capsys.readouterr().err
        assert told.startswith("waiting up to 0 s for a broker at 127.0.0.1:1\n")
        assert "no broker answers at 127.0.0.1:1; is kafka.bootstrap right, and Kafka running?" in told


def test_transactions_of_a_tool_are_not_waited_for_without_end():
    nobody = KafkaSettings(bootstrap="127.0.0.1:1", properties={"log_level": "0"})
    with pytest.raises(StreamError, match="has not answered for 0 s"):
        KafkaTransactions(nobody, transactional_id="x", timeout_s=1, patience_s=0.1, create=False)
