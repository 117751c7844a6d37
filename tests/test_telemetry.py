"""Metrics, health and logs of a process."""

from __future__ import annotations

import json
import logging
import re
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest

from realbogus.alerts import ModelId
from realbogus.errors import ConfigError
from realbogus.telemetry import Health, JsonLines, Metrics, serve
from realbogus.telemetry import metrics as module
from realbogus.testing import ManualClock


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def names_of(metrics: Metrics) -> set[str]:
    found = set()
    for family in metrics.registry.collect():
        suffix = "_total" if family.type == "counter" else ""
        found.add(family.name.removeprefix("realbogus_") + suffix)
    return found


def used() -> Metrics:
    metrics = Metrics()
    for spread in (metrics.latency, metrics.age):
        spread.observe(np.array([0.2, 3.0, np.nan]))
    metrics.score.observe(np.array([0.05, 0.051, 1.0]), "ztf")
    return metrics


def test_the_table_of_metrics_is_the_list_of_metrics():
    told = set(re.findall(r"^(\w+) +(?:counter|histogram|gauge) ", module.__doc__ or "", re.MULTILINE))
    assert told == names_of(Metrics())


def test_every_metric_says_what_it_means():
    for family in Metrics().registry.collect():
        assert len(family.documentation) > 5


def test_two_sets_of_metrics_do_not_meet():
    first, second = Metrics(), Metrics()
    first.batches.labels("committed").inc()
    assert second.registry.get_sample_value("realbogus_batches_total", {"result": "committed"}) is None


def test_an_array_is_counted_as_its_values_are():
    value = used().registry.get_sample_value
    counts = [value("realbogus_score_bucket", {"survey": "ztf", "le": le}) for le in ("0.05", "0.1", "1.0", "+Inf")]
    assert counts == [1, 2, 3, 3]
    assert value("realbogus_score_sum", {"survey": "ztf"}) == pytest.approx(1.101)
    assert value("realbogus_latency_seconds_count") == 2  # NaN: no timestamp, no latency


def test_the_model_in_force_is_named():
    metrics = Metrics()
    metrics.model_in_force("ztf", ModelId("forest", "1", "ab", "full-1:cd", 0.5, calibrated=True), 0.25)
    assert 'model="forest/1"' in metrics.text().decode()
    assert 'threshold="0.250000"' in metrics.text().decode()


def test_lag_is_told_by_partition_in_messages_and_in_seconds_and_forgotten_with_the_partition():
    metrics = Metrics()
    value = metrics.registry.get_sample_value
    first, second = {"topic": "a", "partition": "0"}, {"topic": "a", "partition": "1"}
    metrics.show_lag({("a", 0): 5, ("a", 1): 0}, {("a", 0): 90_000, ("a", 1): 10_000}, 100.0)
    assert (value("realbogus_consumer_lag", first), value("realbogus_lag_seconds", first)) == (5, 10)
    assert (value("realbogus_consumer_lag", second), value("realbogus_lag_seconds", second)) == (0, 0)
    metrics.show_lag({("a", 0): 5}, {}, 100.0)  # one moved away; the other has no timestamps
    assert value("realbogus_consumer_lag", second) is None
    assert value("realbogus_lag_seconds", first) == 0


# Health


def test_a_loop_that_does_not_turn_is_stuck_and_one_that_waits_for_a_broker_is_not():
    clock = ManualClock()
    health = Health(clock=clock.monotonic)
    assert health.stuck() == ""  # not yet started
    health.turn()
    clock.advance(29)
    assert health.stuck() == ""
    clock.advance(2)
    assert "31 s" in health.stuck()
    health.waiting_in_client = True
    assert health.stuck() == ""


def test_the_server_answers_its_paths_and_no_other():
    clock = ManualClock()
    health = Health(clock=clock.monotonic, status=lambda: {"consumed": 3})
    with serve(used(), health, "127.0.0.1", 0) as url:
        assert get(f"{url}/livez") == get(f"{url}/healthz") == (200, "alive\n")
        assert get(f"{url}/readyz") == (503, "starting\n")
        health.turn()
        assert get(f"{url}/readyz") == (200, "ready\n")
        clock.advance(60)
        assert get(f"{url}/healthz")[0] == 503
        code, text = get(f"{url}/metrics?name[]=x")
        assert (code, "realbogus_latency_seconds_bucket" in text) == (200, True)
        assert json.loads(get(f"{url}/status")[1])["consumed"] == 3
        assert get(f"{url}/")[0] == 404


def test_a_port_that_is_taken_is_a_problem_of_the_configuration():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"http.port: cannot listen on 127.0.0.1:{port}"):
            serve(Metrics(), Health(), "127.0.0.1", port).__enter__()


# Logs


def test_a_log_line_for_machines_is_one_object_with_its_own_fields():
    record = logging.makeLogRecord(
        {"name": "x", "levelname": "INFO", "msg": "read %d\nlines", "args": (3,), "topic": "a"}
    )
    line = JsonLines().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert {name: told[name] for name in ("level", "logger", "event", "topic")} == {
        "level": "INFO",
        "logger": "x",
        "event": "read 3\nlines",
        "topic": "a",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["time"])


def test_a_log_line_names_the_process_among_several():
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": "read"})
    assert json.loads(JsonLines("worker-3").format(record))["process"] == "worker-3"
    assert "process" not in json.loads(JsonLines().format(record))
