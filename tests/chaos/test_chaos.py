"""The campaign of scripts/chaos in its short form: workers and broker are struck, and every alert ends exactly once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import PROJECT

CAMPAIGN = [sys.executable, str(PROJECT / "scripts" / "chaos.d")]


@pytest.mark.kafka
def test_whatever_strikes_workers_and_broker_every_alert_ends_exactly_once(kafka):
    """With a broker of its own; the shared one is asked for so that a missing Java skips."""
    done = subprocess.run([*CAMPAIGN, "--n", "20000"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    assert "0 missing, 0 twice" in done.stdout
    assert "controls: " in done.stdout


def test_a_campaign_says_what_it_does():
    told = subprocess.run([*CAMPAIGN, "--help"], capture_output=True, text=True, check=True).stdout
    assert "exactly once" in told
    assert "Exit codes" in told
