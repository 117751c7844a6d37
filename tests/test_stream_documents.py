"""What docs/operations.md says is what the code does."""

from __future__ import annotations

import re

import pytest
from conftest import PROJECT

from realbogus.errors import Reason
from realbogus.stream.dead_letters import DISPOSITION
from realbogus.stream.kafka.settings import CONSUMER, PRODUCER
from realbogus.telemetry import Metrics

TEXT = (PROJECT / "realbogus" / "docs" / "operations.md").read_text()
ROWS = dict(re.findall(r"^\| (`.+?) \| (.+?) \|", TEXT, re.MULTILINE))


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained_with_its_disposition(reason):
    (row,) = re.findall(rf"^\| `{reason.value}` \| (.+) \| `(\w+)` \|$", TEXT, re.MULTILINE)
    assert row[1] == DISPOSITION[reason]


def test_every_metric_is_explained_with_its_labels():
    for family in Metrics().registry.collect():
        name = family.name.removeprefix("realbogus_") + ("_total" if family.type == "counter" else "")
        assert f"`{name}`" in ROWS, name


@pytest.mark.parametrize(("name", "value"), [*CONSUMER.items(), *PRODUCER.items()])
def test_settings_of_the_client_are_told_as_they_are(name, value):
    told = {}
    for names, values in ROWS.items():
        keys = re.findall(r"`([\w.]+)`", names)
        told |= dict(zip(keys, values.split(", "), strict=False))
    if name in told:
        assert told[name] == str(value).lower()


def test_the_settings_that_the_promise_rests_on_are_told():
    assert {"`enable.auto.commit`", "`isolation.level`", "`enable.idempotence`"} <= ROWS.keys()
