"""What people do beside the running publisher: withdraw, look at what is parked, release it, republish."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import rescore_cases
from kafka_cases import new_topic, produce, read_all
from publisher_cases import Publishing
from voevent_cases import STYLE, scored

from realbogus.cli import main
from realbogus.voevent import build
from realbogus.voevent.validate import Event, read

OBJECTS = ["ZTF20aaaaaaa", "ZTF20aaaaaaa", "ZTF20bbbbbbb"]
DRAFTS = [build(scored(3, object_id=OBJECTS), row, STYLE) for row in range(3)]


@dataclass(frozen=True)
class Story(Publishing):
    """A publisher that runs when told, in this process, until its outbox is drained."""

    def call(self, *arguments: object) -> int:
        return main([str(one) for one in arguments] + ["--config", str(self.config)])

    def publish(self) -> None:
        assert self.call("publish", "--until-idle", "1") == 0

    def published(self) -> dict[str, Event]:
        return {event.ivorn: event for event in map(read, self.archived())}


@pytest.fixture
def story(kafka: str, tmp_path: Path) -> Story:
    return Story(tmp_path, kafka, new_topic(kafka, 1), {"attempts": 2, "retry_s": 0.01})


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.kafka
def test_an_object_and_an_event_are_withdrawn_once(story, capsys):
    produce(story.bootstrap, story.outbox, [draft.xml for draft in DRAFTS])
    story.publish()
    capsys.readouterr()
    assert story.call("publish", "retract", "ZTF20aaaaaaa", "--reason", "a satellite") == 0
    assert [one["candid"] for one in lines(capsys)] == [DRAFTS[0].candid, DRAFTS[1].candid]
    assert story.call("publish", "retract", DRAFTS[2].ivorn, "--reason", "a ghost") == 0
    assert story.call("publish", "retract", DRAFTS[2].ivorn, "--reason", "told twice before it was sent") == 0
    story.publish()
    gone = {name: event for name, event in story.published().items() if event.alert_type == "retraction"}
    assert sorted(gone) == sorted(f"{draft.ivorn}-retraction" for draft in DRAFTS)
    assert b"withdrawn by a person. a ghost<" in gone[f"{DRAFTS[2].ivorn}-retraction"].xml
    assert story.call("publish", "retract", DRAFTS[2].ivorn, "--reason", "again") == 2
    assert "withdrawn already" in capsys.readouterr().err
    assert story.call("publish", "retract", "ZTF20zzzzzzz", "--reason", "who?") == 2
    assert story.call("publish", "retract", DRAFTS[0].ivorn, "--reason", " ") in (1, 2)


@pytest.mark.kafka
def test_what_is_parked_is_listed_and_released(story, capsys):
    (story.folder / "events").write_text("in the way")
    produce(story.bootstrap, story.outbox, [DRAFTS[0].xml, DRAFTS[2].xml, b"no event"])
    story.publish()
    capsys.readouterr()
    assert story.call("publish", "parked") == 0
    told = lines(capsys)
    assert [(one["ivorn"], one["sink"], one["attempts"]) for one in told[:2]] == [
        (DRAFTS[0].ivorn, "archive", 2),
        (DRAFTS[2].ivorn, "archive", 2),
    ]
    assert (told[2]["seen"], "begin" in str(told[2]["reason"])) == (1, True)
    (story.folder / "events").unlink()
    assert story.call("publish", "release", DRAFTS[2].ivorn, "--sink", "archive") == 0
    story.publish()
    assert list(story.published()) == [DRAFTS[2].ivorn]
    assert story.call("publish", "release") == 0
    story.publish()
    assert set(story.published()) == {DRAFTS[0].ivorn, DRAFTS[2].ivorn}


@pytest.mark.kafka
def test_a_new_threshold_withdraws_what_was_published_and_nothing_else(story, capsys):
    """Seven packets, five of them published; all are judged again, twice, and the two others stay unknown."""
    packets = rescore_cases.packets(7)
    models = rescore_cases.model(story.folder / "models").parents[1]
    night = rescore_cases.night(story.folder / "night.tar", {f"{n}.avro": raw for n, raw in enumerate(packets)})
    out, folder = story.folder / "a.parquet", story.folder / "drafts"
    common = ["rescore", str(night), "--models", str(models), "--jobs", "1"]
    first = [*common, "--out", str(out), "--threshold", "0", "--voevents", str(folder)]
    assert main([*first, "--authority", "org.example.survey"]) == 0
    drafts = sorted(file.read_bytes() for file in folder.rglob("*.xml"))[:5]
    produce(story.bootstrap, story.outbox, drafts)
    story.publish()

    def again(threshold: str) -> int:
        before = len(read_all(story.bootstrap, story.outbox))
        options = ["--out", story.folder / "b.parquet", "--threshold", threshold, "--republish"]
        assert story.call(*common, *options) == 0
        return len(read_all(story.bootstrap, story.outbox)) - before

    assert again("0") == 0
    assert again("1") == 5
    story.publish()
    kinds = [event.alert_type for event in story.published().values()]
    assert sorted(kinds) == ["initial"] * 5 + ["retraction"] * 5
    assert {name.partition("#")[2].split("_r")[-1] for name in story.published()} == {"0", "1-retraction"}
    assert again("1") == 0
    assert again("0") == 5
    story.publish()
    updates = [event for event in story.published().values() if event.alert_type == "update"]
    assert len(updates) == 5
    assert all(event.ivorn.endswith("_r2") and b'cite="supersedes"' in event.xml for event in updates)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["publish"], "--config FILE is needed"),
        (["rescore", "x", "--out", "a.csv", "--republish"], "belong together"),
        (["rescore", "x", "--out", "a.csv", "--restore"], "belong together"),
    ],
)
def test_calls_that_lack_something_say_what(capsys, arguments, says):
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("action", [["parked"], ["release"], ["retract", "x", "--reason", "y"]])
def test_nothing_can_be_done_about_a_ledger_that_is_not_there(tmp_path, capsys, action):
    story = Story(tmp_path, "127.0.0.1:9", "outbox")
    assert story.call("publish", *action) == 2
    assert "there is no ledger" in capsys.readouterr().err
