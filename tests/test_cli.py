"""The frame of the command line: help, wrong calls, readers that leave early."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from realbogus.cli import COMMANDS, main

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"realbogus {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_mentions_every_command(command):
    assert f"realbogus {command}" in README.read_text()


def test_an_unknown_command_is_a_wrong_call(capsys):
    with pytest.raises(SystemExit) as left:
        main(["wrker"])
    assert left.value.code == 2
    assert "wrker" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error():
    features = subprocess.Popen(
        [sys.executable, "-m", "realbogus.cli", "features", "--markdown"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert features.stdout is not None
    assert features.stderr is not None
    features.stdout.close()
    assert features.stderr.read() == b""
    features.stderr.close()
    assert features.wait() == 0
