"""The page about failures of other systems names a test for each, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "realbogus" / "docs" / "failures.md"
ROWS = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d+ \|", line)]


def test_all_fifteen_are_told_and_each_names_a_test():
    assert [int(row.split("|")[1]) for row in ROWS] == list(range(1, 16))
    assert all("`test_" in row for row in ROWS)


def test_every_test_that_is_named_is_there():
    there = {
        name for path in TESTS.rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    named = {name for row in ROWS for name in re.findall(r"`(test_\w+)`", row)}
    assert named - there - {"test_failures"} == set()
