"""The long silence: begun before all other tests and ended after them, so that nobody waits for it twice."""

from __future__ import annotations

import pytest

BEGINS, ENDS = "test_silence_begins", "test_silence_ends"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = {BEGINS: -1, ENDS: 1}
    items.sort(key=lambda item: names.get(item.originalname if isinstance(item, pytest.Function) else "", 0))
