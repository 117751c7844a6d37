"""scripts/bench_publisher: its ways agree on what they build, and its table can be made."""

from __future__ import annotations

import json
import subprocess
import sys

from conftest import PROJECT


def test_the_costs_of_an_event_are_told(tmp_path):
    told = tmp_path / "bench.json"
    (PROJECT / ".cache").mkdir(exist_ok=True)
    command = [sys.executable, PROJECT / "scripts" / "bench_publisher.d", "--memory-only", "--rounds", "1"]
    done = subprocess.run([*command, "--json", told], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    costs = json.loads(told.read_text())["us_per_event"]
    assert "events/s a core" in done.stdout
    assert len(costs) == 7
    assert all(10 < us < 100_000 for us in costs.values())
