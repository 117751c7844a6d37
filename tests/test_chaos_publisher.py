"""The campaign of scripts/chaos_publisher in short: whatever kills the publisher, receivers have each event once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import PROJECT

SCRIPT = PROJECT / "scripts" / "chaos_publisher.d"


@pytest.mark.kafka
def test_a_publisher_that_is_killed_again_and_again_loses_nothing_and_tells_nothing_twice(kafka, tmp_path):
    told = tmp_path / "campaign.json"
    options = ["--bootstrap", kafka, "--kills", "3", "--events", "240", "--json", str(told)]
    done = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(told.read_text())
    for name in ("archive", "Kafka topic", "VOEvent broker"):
        one = report["found"][name]
        assert (one["expected"], one["lost"], one["contents"], one["foreign"]) == (240, 0, 0, 0)
    assert report["found"]["archive"]["repeats"] == 0
    assert report["conflicts"] > 0
    assert report["kills"] == 3
