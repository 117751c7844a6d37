"""The soak in its short form: nights come and go, workers stay, the ledger balances; and how it judges memory."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import PROJECT

SOAK = [sys.executable, str(PROJECT / "scripts" / "soak.d")]


@pytest.fixture(scope="module")
def soak() -> Iterator[SimpleNamespace]:
    """The modules of scripts/soak, which live outside the package."""
    folders = [str(PROJECT / "scripts" / name) for name in ("soak.d", "chaos.d", "bench.d")]
    before = set(sys.modules)
    sys.path[:0] = folders
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in ("memory", "week", "feed", "alerts")})
    finally:
        del sys.path[: len(folders)]
        for name in sys.modules.keys() - before:
            if str(PROJECT / "scripts") in (getattr(sys.modules[name], "__file__", None) or ""):
                del sys.modules[name]


@pytest.mark.kafka
def test_nights_come_and_go_and_nothing_is_lost(kafka, tmp_path):
    """With a broker of its own; the shared one is asked for so that a missing Java skips."""
    plot = tmp_path / "soak.svg"
    done = subprocess.run([*SOAK, "--short", "--plot", str(plot)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    assert "in 3 nights" in done.stdout
    assert "0 missing, 0 double" in done.stdout
    told = json.loads(plot.with_suffix(".json").read_text())
    total = {end: sum(night[end] for night in told["nights"].values()) for end in ("scored", "rejected", "duplicates")}
    # Repeats whose partition had just moved: the worker that has it now did not know them.
    again = total["scored"] - (20_000 - total["rejected"])
    assert 0 <= again <= 0.1 * total["duplicates"]
    assert all(night["duplicates"] and night["parked"] for night in told["nights"].values())
    assert plot.read_text().lstrip().startswith("<?xml")


def test_memory_that_grows_is_noticed_and_memory_that_is_flat_is_not(soak):
    alerts = np.arange(100) * 1000.0
    start = np.minimum(alerts, 20_000) / 100  # what a worker takes until it is warm does not count
    assert soak.memory.rise(alerts, 400 + start) == pytest.approx(0.0, abs=1e-9)
    leak = soak.memory.rise(alerts, 400 + start + alerts / 1000)
    assert leak == pytest.approx(50 / (600 + 75), rel=0.05)
    assert soak.memory.too_much({"worker-0 (1)": leak, "supervisor (2)": 1.0}, 0.05)
    assert not soak.memory.too_much({"worker-0 (1)": 0.01}, 0.05)
    assert soak.memory.too_much({"worker-0 (1)": float("nan")}, 0.05), "who was there too shortly proves nothing"


def test_a_week_ends_now_with_a_topic_a_night(soak):
    now = datetime(2026, 3, 3, 0, 30, tzinfo=UTC).timestamp()
    nights = soak.week.nights_of(3, 100, "ztf_%Y%m%d_programid1", now)
    assert [night.topic for night in nights] == [
        f"ztf_{day}_programid1" for day in ("20260228", "20260301", "20260302")
    ]
    assert [len(night.numbers) for night in nights] == [33, 33, 34]
    assert nights[0].numbers.stop == nights[1].numbers.start
    assert nights[-1].begin_s < now


def test_the_clock_of_the_processes_is_that_of_the_soak(soak, tmp_path):
    clock = soak.week.Clock(tmp_path / "clock")
    clock.set(1_700_000_000.0)
    env = {"PYTHONPATH": str(PROJECT / "scripts" / "soak.d" / "clock"), "SOAK_CLOCK": str(tmp_path / "clock")}
    told = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"], env=env, capture_output=True, text=True, check=True
    )
    assert 0 <= float(told.stdout) - 1_700_000_000.0 < 60


def test_packets_are_sent_under_other_candids_and_times(soak):
    alerts = soak.alerts.simulated(1)
    stamped = soak.feed.Stamped(alerts.templates[0], alerts.candids[0])
    assert stamped.message(alerts.candids[0], soak.feed.jd_of(alerts.templates[0])) == alerts.templates[0]
    again = soak.feed.Stamped(stamped.message(alerts.first + 5, 2460000.5), alerts.first + 5)
    assert again.message(alerts.candids[0], soak.feed.jd_of(alerts.templates[0])) == alerts.templates[0]
