"""The campaign of scripts/fuzz in small: spoilt packets and schemas are scored or rejected, bombs refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "fuzz.d"))

import bombs
import campaign


@pytest.mark.parametrize(("kind", "count"), [("packets", 640), ("schemas", 160)])
def test_spoilt_messages_end_once_each_and_raise_nothing(kind, count):
    tally = campaign.part(kind, 3, count)
    assert tally.violations == []
    assert tally.messages == count == tally.scored + tally.rejected.total()
    assert tally.scored > count / 20  # spoilt with measure: much of it gets as far as the scorer
    assert tally.rejected.total() > count / 4


@pytest.mark.parametrize("name", list(bombs.bombs(campaign.ZTF, campaign.sound()[0][2])))
def test_a_bomb_is_refused(name):
    message = bombs.bombs(campaign.ZTF, campaign.sound()[0][2])[name]
    assert bombs.refuse(campaign.scorer(), message)[0] in ("oversize", "malformed", "unknown_schema")


def test_the_campaign_notices_who_raises_and_who_is_lost(monkeypatch):
    class Broken:
        def outcomes(self, messages):
            raise ZeroDivisionError

    monkeypatch.setattr(campaign, "scorer", Broken)
    tally = campaign.Tally()
    campaign._score([b"one", b"two"], tally)
    assert [what for what, _ in tally.violations] == ["raised ZeroDivisionError()"] * 2
