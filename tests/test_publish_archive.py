"""The archive: one file an event, whole or not at all, and an index."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from voevent_cases import STYLE, scored

from realbogus.errors import VOEventError
from realbogus.publish.archive import Archive, read_index
from realbogus.publish.sinks import SENT, Answer
from realbogus.voevent import build

EVENTS = [build(scored(5, mjd=60000.5), row, STYLE) for row in range(5)]
DAY = "2023/02/25"


def test_events_lie_in_a_tree_of_their_dates(tmp_path):
    assert Archive(tmp_path).send(EVENTS) == [SENT] * 5
    files = sorted((tmp_path / DAY).glob("*.xml"))
    assert [file.name for file in files] == [
        f"test_ZTF20abcdefg_{1234567890123456789 + row}_forest_1.2.0_r0.xml" for row in range(5)
    ]
    assert [file.read_bytes() for file in files] == [event.xml for event in EVENTS]


def test_the_index_names_file_digest_and_object(tmp_path):
    Archive(tmp_path).send(EVENTS)
    entries = list(read_index(tmp_path / DAY))
    assert [entry["ivorn"] for entry in entries] == [event.ivorn for event in EVENTS]
    first = entries[0]
    assert sha256((tmp_path / DAY / first["file"]).read_bytes()).hexdigest() == first["sha256"]
    assert (first["object_id"], first["role"], first["model"]) == ("ZTF20abcdefg", "test", "forest/1.2.0")


def test_an_event_sent_again_changes_nothing(tmp_path):
    Archive(tmp_path).send(EVENTS)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert Archive(tmp_path).send([*EVENTS, EVENTS[0]]) == [SENT] * 6
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_other_bytes_under_a_known_name_are_refused(tmp_path):
    archive = Archive(tmp_path)
    path = archive.keep(EVENTS[0])
    other = replace(EVENTS[0], xml=EVENTS[0].xml + b"\n")
    assert archive.send([other])[0].answer is Answer.REFUSED
    with pytest.raises(VOEventError, match="another event under the same name"):
        archive.keep(other)
    assert path.read_bytes() == EVENTS[0].xml


def test_two_contents_under_one_name_in_a_batch_leave_the_first(tmp_path):
    other = replace(EVENTS[0], xml=EVENTS[0].xml + b"\n")
    answers = Archive(tmp_path).send([EVENTS[0], other, EVENTS[1], EVENTS[0]])
    assert [one.answer for one in answers] == [Answer.SENT, Answer.REFUSED, Answer.SENT, Answer.SENT]
    assert sorted(file.read_bytes() for file in tmp_path.rglob("*.xml")) == [EVENTS[0].xml, EVENTS[1].xml]


def test_a_line_missing_after_a_crash_is_added_when_the_event_comes_again(tmp_path):
    Archive(tmp_path).send(EVENTS)
    index = tmp_path / DAY / "index.jsonl"
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    assert len(list(read_index(tmp_path / DAY))) == 3
    assert Archive(tmp_path).send(EVENTS) == [SENT] * 5
    assert {entry["ivorn"] for entry in read_index(tmp_path / DAY)} == {event.ivorn for event in EVENTS}
    assert len(list(read_index(tmp_path / DAY))) == 5


def test_no_draft_is_left_behind(tmp_path):
    Archive(tmp_path).send(EVENTS)
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} == {".xml", ".jsonl"}


def test_a_file_in_the_way_is_a_failure_worth_a_retry(tmp_path):
    (tmp_path / "2023").write_text("in the way")
    assert {delivery.answer for delivery in Archive(tmp_path).send(EVENTS)} == {Answer.FAILED}
    with pytest.raises(OSError, match="2023"):
        Archive(tmp_path).keep(EVENTS[0])


def test_a_day_without_index_has_no_entries(tmp_path):
    assert list(read_index(tmp_path)) == []


def test_index_lines_are_plain_json(tmp_path):
    Archive(tmp_path).send(EVENTS)
    for line in (tmp_path / DAY / "index.jsonl").read_text("ascii").splitlines():
        assert set(json.loads(line)) == {"ivorn", "file", "sha256", "role", "object_id", "candid", "model"}
