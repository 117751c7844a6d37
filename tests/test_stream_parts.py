"""The pure parts of the stream: positions, nights, dead letters."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realbogus.alerts import Rejected
from realbogus.errors import ConfigError, Reason
from realbogus.stream.dead_letters import DISPOSITION, HEAD_BYTES, PREFIX, STAGE, dead_letter, size_of
from realbogus.stream.kafka.ownership import mender, partitions_in
from realbogus.stream.nightly import MOST_NIGHTS, topics_of_the_night
from realbogus.stream.protocols import Message, positions_after
from realbogus.stream.waiting import Waiting

PATTERN = "ztf_%Y%m%d_programid1"


def at(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()


# Positions


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3)), max_size=200), st.integers(0, 50))
def test_positions_are_one_past_the_last_message_of_each_partition_and_of_no_other(order, start):
    offsets: dict[tuple[str, int], int] = {}
    messages = []
    for partition in order:
        offsets[partition] = offsets.get(partition, start - 1) + 1
        messages.append(Message(*partition, offsets[partition], 0, None, b""))
    assert positions_after(messages) == {partition: offset + 1 for partition, offset in offsets.items()}


# Who reads what


def encoded(assignment: dict[str, list[int]]) -> bytes:
    """As the consumer protocol of Kafka writes it: version, topics, user data."""
    out = struct.pack(">hi", 0, len(assignment))
    for topic, numbers in assignment.items():
        name = topic.encode()
        out += struct.pack(f">h{len(name)}si{len(numbers)}i", len(name), name, len(numbers), *numbers)
    return out + struct.pack(">i", 0)


@given(st.dictionaries(st.text(max_size=20), st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=4))
def test_an_assignment_is_read_as_it_was_written(assignment):
    wanted = [(topic, number) for topic, numbers in assignment.items() for number in numbers]
    assert list(partitions_in(encoded(assignment))) == wanted


@given(st.binary(max_size=60), st.integers(0, 60))
def test_whatever_a_member_says_it_was_assigned_is_read_to_an_end(noise, cut):
    good = encoded({"night": [0, 1, 2], "day": [7]})
    for damaged in (noise, good[:cut], good[:cut] + noise):
        assert len(list(partitions_in(damaged))) <= len(damaged) // 4


def test_the_group_is_mended_by_one_member_that_owns_something():
    assert mender({"a": set(), "c": {("t", 1)}, "b": {("t", 0)}}) == "b"
    assert mender({"a": set()}) == ""


# Nights


def test_a_pattern_stands_for_yesterday_today_and_tomorrow_utc():
    topics = topics_of_the_night(("always",), PATTERN, at(2026, 3, 1, 0, 30))
    days = ("20260228", "20260301", "20260302")
    assert topics == ("always", *(f"ztf_{day}_programid1" for day in days))


def test_the_window_moves_at_midnight_utc_and_its_neighbours_overlap():
    before = topics_of_the_night((), PATTERN, at(2025, 12, 31, 23, 59, 59))
    after = topics_of_the_night((), PATTERN, at(2026, 1, 1))
    assert before[1:] == after[:-1]


def test_reading_since_a_time_takes_in_the_nights_from_then_on():
    topics = topics_of_the_night((), PATTERN, at(2026, 1, 10, 12), since=at(2026, 1, 5, 3))
    assert topics[0] == "ztf_20260104_programid1"
    assert topics[-1] == "ztf_20260111_programid1"
    assert len(topics) == 8


def test_topics_without_a_pattern_stay_as_they_are():
    assert topics_of_the_night(("a", "b"), "", at(2026, 1, 1), since=0.0) == ("a", "b")


def test_reading_since_the_beginning_of_time_is_refused():
    with pytest.raises(ConfigError, match=f"at most {MOST_NIGHTS}"):
        topics_of_the_night((), PATTERN, at(2026, 1, 1), since=at(2020, 1, 1))


# Dead letters


def message(value: bytes = b"value", **options) -> Message:
    return Message("in", 3, 17, 1_700_000_000_123, b"key", value, **options)


def letter_headers(rejected: Rejected, one: Message | None = None) -> dict[str, str]:
    letter = dead_letter(one or message(), rejected, "in.dlq", 1 << 20)
    return {name.removeprefix(PREFIX): value.decode() for name, value in letter.headers}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_disposition_and_a_stage(reason):
    headers = letter_headers(Rejected(0, reason, "why"))
    assert headers["reason"] == reason.value
    assert headers["disposition"] == DISPOSITION[reason]
    assert headers["stage"] == STAGE[reason]


def test_headers_say_where_and_when_it_was_read_and_who_it_is():
    headers = letter_headers(Rejected(0, Reason.BAD_VALUE, "ra is NaN", "ztf", 123, "ZTF20a"))
    told = {
        name: headers[name] for name in ("topic", "partition", "offset", "timestamp", "survey", "candid", "object_id")
    }
    expected = ("in", "3", "17", "1700000000123", "ztf", "123", "ZTF20a")
    assert told == dict(zip(told, expected, strict=True))
    assert headers["message"] == "ra is NaN"


def test_what_is_not_known_has_no_header():
    assert not {"survey", "candid", "object_id"} & letter_headers(Rejected(0, Reason.MALFORMED, "why")).keys()


def test_a_long_reason_is_cut_between_characters():
    text = letter_headers(Rejected(0, Reason.MALFORMED, "ä" * 1001))["message"]
    assert text == "ä" * 500


def test_headers_of_others_stay_and_ours_of_an_earlier_attempt_are_replaced():
    one = message(headers=(("trace", b"x"), (f"{PREFIX}attempt", b"4"), (f"{PREFIX}reason", b"old")))
    headers = letter_headers(Rejected(0, Reason.MALFORMED, "why"), one)
    assert (headers["trace"], headers["attempt"], headers["reason"]) == ("x", "5", "malformed")


@pytest.mark.parametrize("nonsense", [b"", b"-3", b"many", b"9" * 5000, b"\xff"])
def test_nonsense_in_the_attempt_header_does_no_harm(nonsense):
    one = message(headers=((f"{PREFIX}attempt", nonsense),))
    assert letter_headers(Rejected(0, Reason.MALFORMED, "why"), one)["attempt"] == "1"


@given(st.integers(0, 300_000), st.integers(0, 3000), st.integers(0, 200_000), st.sampled_from([80_000, 1 << 20]))
def test_a_dead_letter_always_fits_its_topic(value, key, foreign, room):
    one = Message("in", 0, 0, 0, b"k" * key, b"v" * value, (("foreign", b"f" * foreign),))
    letter = dead_letter(one, Rejected(0, Reason.MALFORMED, "x" * 5000), "in.dlq", room)
    assert size_of(letter) <= room
    assert letter.value in (one.value, one.value[:HEAD_BYTES])


def test_what_keeps_alerts_from_coming_is_told_once_it_lasts_and_when_it_is_over(caplog):
    caplog.set_level("INFO")
    waiting = Waiting()
    brief = ["starting"] * 4
    for now, why in enumerate(
        ["", *brief, *["there is no topic x yet"] * 8, "", *brief, "", *["no broker answers"] * 9, *brief, ""]
    ):
        waiting.look(why, float(now))
    assert caplog.messages == [
        "waiting: there is no topic x yet", "no longer waiting", "waiting: no broker answers", "no longer waiting",
    ]  # fmt: skip
