"""The frame of the command line: help, wrong calls, readers that leave early."""

from __future__ import annotations

import argparse
import importlib
import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from realbogus.cli import COMMANDS, _parser, main
from realbogus.cli.calls import names, train

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"realbogus {command}" in capsys.readouterr().out


def test_help_loads_nothing_that_takes_long():
    asking = f"""
import sys
from realbogus.cli import main
for command in {list(COMMANDS)}:
    try:
        main([command, "--help"])
    except SystemExit:
        pass
print(*sorted({{"numpy", "numba", "scipy", "sklearn", "pyarrow", "rich", "confluent_kafka"}} & sys.modules.keys()))
"""
    told = subprocess.run([sys.executable, "-c", asking], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == ""


def examples() -> Iterator[tuple[str, str]]:
    """Every call of realbogus in README and docs, where # begins a comment, and in help, where two blanks do."""
    docs = [README, *sorted((README.parent / "realbogus" / "docs").glob("*.md"))]
    texts = [(f.name, r"\s#\s", "".join(re.findall(r"```[a-z]*\n(.*?)```", f.read_text(), re.DOTALL))) for f in docs]
    texts += [(name, r"\s{2,}", importlib.import_module(f"realbogus.cli.calls.{name}").__doc__) for name in COMMANDS]
    for where, comment, text in texts:
        for call in re.findall(r"^ *(?:\w+=\w+ )?realbogus (\w.*)$", re.sub(r"\\\n\s*", "", text), re.MULTILINE):
            yield where, re.split(comment, call)[0]


def test_every_example_of_readme_docs_and_help_is_a_call_that_is_understood(capsys):
    calls = list(examples())
    assert len(calls) > 120
    for where, call in calls:
        words = list(itertools.takewhile(lambda word: word not in (">", "|"), shlex.split(call)))
        words = [word.strip("[]") for word in words] if "[NAME" in call else words
        assert is_understood(words), f"{where}: {call}: {capsys.readouterr().err}"


def is_understood(words: list[str]) -> bool:
    try:
        _parser(load=words[0]).parse_args(words)
    except SystemExit as left:
        return left.code == 0
    return True


def test_the_names_that_help_tells_are_those_of_the_rooms():
    from realbogus.features import FAMILIES, FEATURE_SETS
    from realbogus.labels.importers import IMPORTERS
    from realbogus.labels.sources import SOURCES
    from realbogus.simulation import RECIPES
    from realbogus.stream.dead_letters import DISPOSITION
    from realbogus.surveys import SURVEYS
    from realbogus.tables import ALSO
    from realbogus.training.fit import KINDS
    from realbogus.training.held_out import SEEN
    from realbogus.voevent.style import Role

    assert tuple(SURVEYS) == names.SURVEYS
    assert tuple(FEATURE_SETS) == names.FEATURE_SETS
    assert tuple(FAMILIES) == names.FAMILIES
    assert names.KINDS == KINDS
    assert names.SEEN == SEEN
    assert tuple(RECIPES) == names.RECIPES
    assert tuple(IMPORTERS) == names.IMPORTERS
    assert tuple(SOURCES) == names.SOURCES
    assert names.ALSO == ALSO
    assert get_args(Role) == names.ROLES
    assert tuple(sorted(set(DISPOSITION.values()))) == names.DISPOSITIONS


def test_the_recipe_that_train_starts_from_is_the_recipe_of_training_but_for_its_boosted_trees():
    from realbogus.training.fit import Recipe

    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    given = vars(parser.parse_args(["--name", "mine", "--version", "1"]))
    recipe = {name: value for name, value in vars(Recipe()).items() if name in given}
    assert len(recipe) == 11
    assert recipe == {name: given[name] for name in recipe} | {"boosted": 0}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_mentions_every_command(command):
    assert f"realbogus {command}" in README.read_text()


def test_without_a_command_all_of_them_are_told(capsys):
    assert main([]) == 2
    told = capsys.readouterr().err
    assert all(f"    {command}" in told for command in COMMANDS)


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        (["rescore", "nowhere", "--out", "out.csv"], 2, "nowhere: no such file or folder, and nothing matches it"),
        (["rescore", "nowhere", "--out", "out.txt"], 2, "a table's name ends with one of .parquet, .csv, .jsonl"),
        (["models", "show", "mine/7"], 1, "there is no model mine/7 in"),
        (["config", "check", "nowhere.toml"], 2, "'nowhere.toml' cannot be read: No such file or directory\n"),
        (["nights", "nowhere.csv", "--budget", "-3"], 2, "--budget is -3; expected at least one alert a night"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence_and_by_the_exit_code(call, code, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(call) == code
    found = capsys.readouterr()
    assert told in found.err
    assert found.out == ""


def test_an_unknown_command_is_a_wrong_call(capsys):
    with pytest.raises(SystemExit) as left:
        main(["wrker"])
    assert left.value.code == 2
    assert "wrker" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error():
    features = subprocess.Popen(
        [sys.executable, "-m", "realbogus", "features", "--markdown"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert features.stdout is not None
    assert features.stderr is not None
    features.stdout.close()
    assert features.stderr.read() == b""
    features.stderr.close()
    assert features.wait() == 0
