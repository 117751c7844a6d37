"""A replay touches nothing that the live workers use."""

from __future__ import annotations

import dataclasses

import pytest

from realbogus import config
from realbogus.cli import main
from realbogus.config.replay import replay_name, replay_settings
from realbogus.errors import ConfigError

TEXT = """
[kafka]
bootstrap = "127.0.0.1:9092"
[input]
topics = ["alerts"]
group_id = "live"
instance = "w"
[voevent]
authority = "org.example.survey"
role = "observation"
[models.shadow]
ztf = "other/1"
"""
LIVE = config.settings(config.from_toml(TEXT))


def written(settings):
    """Every topic that a worker of these settings may write to."""
    output = settings.output
    return {
        output.topic,
        output.dead_letters,
        output.parked,
        output.shadow,
        settings.publish.outbox,
        settings.exposures.held,
    }


def test_a_replay_shares_no_topic_no_group_and_no_port_with_the_live_workers():
    replay = replay_settings(LIVE, "r1", "mine/2")
    assert not written(LIVE) & written(replay)
    assert all(topic.startswith("replay.r1.") for topic in written(replay))
    assert replay.need_input().group_id != LIVE.need_input().group_id
    assert replay.need_input().instance == ""
    assert replay.http.port == 0
    assert replay.need_input().topics == LIVE.need_input().topics


def test_no_topic_that_can_be_set_is_forgotten():
    """A topic added to the settings must be thought of here too."""
    topics = {
        f"{section.name}.{field.name}"
        for section in dataclasses.fields(LIVE)
        if section.name in ("output", "publish", "exposures")
        for field in dataclasses.fields(getattr(LIVE, section.name))
        if field.type == "str"
    }
    thought_of = {"output.topic", "output.dead_letters", "output.parked", "output.shadow"}
    thought_of |= {"publish.outbox", "exposures.held"}
    others = {name for name in topics - thought_of if "topic" in name and not name.startswith("publish.")}
    assert thought_of <= topics
    assert not others  # those of the publisher are its own: a replay runs none


def test_its_events_are_tests_unless_told_otherwise():
    assert replay_settings(LIVE, "r1", "mine/2").voevent.role == "test"
    assert replay_settings(LIVE, "r1", "mine/2", "observation").voevent.role == "observation"


def test_its_model_is_fixed_and_alone():
    replay = replay_settings(LIVE, "r1", "mine/2")
    assert replay.models.surveys == {"ztf": "mine/2"}
    assert replay.models.shadow == {}


def test_the_same_times_and_model_give_the_same_name():
    assert replay_name(0, 86_400, "mine/2") == "19700101T000000-19700102T000000-mine-2"


@pytest.mark.parametrize("name", ["", "a/b", "ä", ".a", "x" * 101])
def test_a_name_that_cannot_be_part_of_a_topic_is_refused(name):
    with pytest.raises(ConfigError, match="--name"):
        replay_settings(LIVE, name, "mine/2")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--replay"], "--replay needs --from and --until"),
        (["--replay", "--from", "2026-11-20"], "--replay needs --from and --until"),
        (["--model", "mine/2"], "are for --replay"),
    ],
)
def test_a_replay_that_is_not_wholly_told_is_a_wrong_call(options, problem, tmp_path, capsys):
    file = tmp_path / "worker.toml"
    file.write_text(TEXT)
    assert main(["worker", "--config", str(file), *options]) == 2
    assert problem in capsys.readouterr().err
