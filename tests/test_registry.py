"""The registry: one line says which model is current; every change is verified first and logged."""

from __future__ import annotations

import json

import pytest
from model_cases import files, write

from realbogus.cli import main
from realbogus.errors import ModelError
from realbogus.registry import Registry

WHEN = {"who": "tester", "when": "2026-11-22T20:00:00+00:00"}


@pytest.fixture
def registry(tmp_path):
    """Three versions of a small model, none promoted."""
    registry = Registry(tmp_path / "models")
    for version in ("1", "2", "3"):
        registry.add(f"small/{version}", files(version=version))
    return registry


def test_it_lists_what_there_is(registry):
    assert registry.names() == ["small/1", "small/2", "small/3"]


def test_nothing_is_current_until_something_is_promoted(registry):
    with pytest.raises(ModelError, match="no model is promoted"):
        registry.current()
    with pytest.raises(ModelError, match="no model is promoted"):
        registry.load()


def test_the_promoted_model_is_loaded(registry):
    registry.promote("small/2", **WHEN)
    assert registry.current() == "small/2"
    assert registry.load().id.version == "2"
    assert registry.load("small/1").id.version == "1"


def test_the_pointer_is_one_line_and_no_draft_is_left(registry):
    registry.promote("small/2", **WHEN)
    assert (registry.folder / "current").read_text() == "small/2\n"
    assert {path.name for path in registry.folder.iterdir()} == {"current", "log.jsonl", "small"}
    assert {path.name for path in (registry.folder / "small").iterdir()} == {"1", "2", "3"}


def test_rollback_walks_back_the_way_it_came(registry):
    for version in ("1", "2", "3"):
        registry.promote(f"small/{version}", **WHEN)
    assert registry.rollback(**WHEN) == "small/2"
    assert registry.rollback(**WHEN) == "small/1"
    assert registry.current() == "small/1"
    with pytest.raises(ModelError, match="no model before small/1"):
        registry.rollback(**WHEN)
    registry.promote("small/3", **WHEN)
    assert registry.rollback(**WHEN) == "small/1"


def test_rollback_works_from_a_pointer_that_was_shipped(registry):
    (registry.folder / "current").write_text("small/1\n")
    with pytest.raises(ModelError, match="no model before small/1"):
        registry.rollback(**WHEN)
    assert registry.promote("small/2", **WHEN) == "small/1"
    assert registry.rollback(**WHEN) == "small/1"


def test_every_change_is_in_the_log(registry):
    registry.promote("small/1", why="first", **WHEN)
    registry.promote("small/2", **WHEN)
    registry.rollback(why="too many", **WHEN)
    changes = [(entry["action"], entry["from"], entry["to"], entry["why"]) for entry in registry.log()]
    assert changes == [
        ("promote", "", "small/1", "first"),
        ("promote", "small/1", "small/2", ""),
        ("rollback", "small/2", "small/1", "too many"),
    ]
    assert all(entry["who"] == "tester" and entry["when"].startswith("2026") for entry in registry.log())


def test_an_unsound_model_is_not_promoted(registry):
    registry.promote("small/1", **WHEN)
    forest = registry.path("small/2") / "forest.npz"
    forest.write_bytes(forest.read_bytes()[:-9])
    with pytest.raises(ModelError, match="damaged"):
        registry.promote("small/2", **WHEN)
    assert registry.current() == "small/1"
    assert len(registry.log()) == 1


def test_rollback_to_a_model_that_was_damaged_leaves_the_current_one(registry):
    registry.promote("small/1", **WHEN)
    registry.promote("small/2", **WHEN)
    (registry.path("small/1") / "forest.npz").unlink()
    with pytest.raises(ModelError, match=r"forest\.npz"):
        registry.rollback(**WHEN)
    assert registry.current() == "small/2"


def test_a_version_is_never_overwritten(registry):
    with pytest.raises(ModelError, match="never overwritten"):
        registry.add("small/1", files(version="1"))


def test_a_model_that_says_it_is_another_is_refused(registry):
    write(registry.path("small/9"), files(version="1"))
    with pytest.raises(ModelError, match="says that it is small/1"):
        registry.load("small/9")


@pytest.mark.parametrize(
    "spec", ["small", "small/1/2", "../etc/passwd", "small/..", "/small/1", "", "Small/1", "a b/1"]
)
def test_only_plain_names_are_names(registry, spec):
    with pytest.raises(ModelError, match="not the name of a model"):
        registry.load(spec)


def test_a_pointer_that_leads_outside_is_refused(registry):
    (registry.folder / "current").write_text("../../elsewhere\n")
    with pytest.raises(ModelError, match="not the name of a model"):
        registry.load()


def test_a_model_that_is_not_there_is_told_with_those_that_are(registry):
    with pytest.raises(ModelError, match="there are: small/1, small/2, small/3"):
        registry.load("small/4")


def test_a_damaged_log_is_an_error_of_ours(registry):
    registry.promote("small/1", **WHEN)
    (registry.folder / "log.jsonl").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        registry.rollback(**WHEN)


# the command


def call(registry, *words):
    return main(["models", "--models", str(registry.folder), *words])


def test_the_command_lists_and_marks_the_current_model(registry, capsys):
    registry.promote("small/2", **WHEN)
    assert call(registry, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert [line.split()[0] for line in lines if line.startswith("*")] == ["*"]
    assert call(registry, "list", "--json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["model"] for line in found if line["current"]] == ["small/2"]


def test_the_command_promotes_and_rolls_back(registry, capsys):
    assert call(registry, "promote", "small/1", "--why", "new season") == 0
    assert call(registry, "promote", "small/3") == 0
    assert call(registry, "rollback") == 0
    assert registry.current() == "small/1"
    assert capsys.readouterr().out.splitlines() == [
        "small/1 is current",
        "small/3 is current, after small/1",
        "small/1 is current again",
    ]
    assert registry.log()[0]["why"] == "new season"


def test_the_command_shows_card_and_manifest(registry, capsys):
    registry.promote("small/1", **WHEN)
    assert call(registry, "show") == 0
    assert capsys.readouterr().out.startswith("# Model small/1\n")
    assert call(registry, "show", "small/2", "--manifest") == 0
    assert json.loads(capsys.readouterr().out)["version"] == "2"


def test_the_command_verifies_all_and_says_which_failed(registry, capsys):
    assert call(registry, "verify") == 0
    assert capsys.readouterr().out.count("sound") == 3
    (registry.path("small/2") / "golden.npz").write_bytes(b"")
    assert call(registry, "verify") == 1
    told = capsys.readouterr()
    assert told.out.count("sound") == 2
    assert "golden.npz is damaged" in told.err


def test_an_empty_registry_is_listed_as_such(tmp_path, capsys):
    assert call(Registry(tmp_path), "list") == 0
    assert capsys.readouterr().out.strip() == "no models"
    assert call(Registry(tmp_path), "show") == 1
