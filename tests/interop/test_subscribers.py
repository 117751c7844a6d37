"""The ways to subscribe that the documentation shows: each of its blocks is run as it stands, with other ports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from comet_cases import PATIENCE_S, until
from conftest import PROJECT
from kafka_cases import new_topic
from voevent_cases import STYLE, scored

from realbogus.publish.kafka_topic import KafkaTopic
from realbogus.publish.vtp_broadcaster import VtpBroadcaster
from realbogus.voevent import build

pytestmark = pytest.mark.interop

DOCUMENT = (PROJECT / "realbogus" / "docs" / "voevent.md").read_text("utf-8")
LIVE = replace(STYLE, role="observation")  # hop-client leaves out tests unless it is told not to
LOW = build(scored(candid=1, p_real=0.65, object_id="ZTF1"), 0, LIVE)
HIGH = build(scored(candid=2, p_real=0.95, object_id="ZTF2"), 0, LIVE)
SHOWN = {  # heading -> what its block prints of HIGH, and whether it leaves out LOW
    "pygcn": (HIGH.ivorn, False),
    "Python alone": ("initial ZTF2 0.950000", True),
    "confluent-kafka": ("initial ZTF2 0.950000 18.5300", True),
    "gcn-kafka": (HIGH.ivorn, False),
    "hop-client": (f"{HIGH.ivorn} observation", False),
}


def block(heading: str) -> str:
    """The code below a heading."""
    found = re.search(rf"^### {re.escape(heading)}\n.*?^```\w+\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found, f"no block below {heading}"
    return found[1]


def test_every_block_of_python_is_tried():
    headings = re.findall(r"^### (.*)$", DOCUMENT.partition("## Subscribing")[2], re.MULTILINE)
    assert set(headings) == {*SHOWN, "Comet"}


def test_the_client_of_python_alone_is_short():
    code = block("Python alone").partition("HEAD =")[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[Path]:
    """A process of a subscriber; gives its output."""
    out = folder / "out"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": ""}
    environment["PYTHONWARNINGS"] = "ignore"
    with out.open("wb") as to:
        process = subprocess.Popen(command, stdout=to, stderr=subprocess.STDOUT, cwd=folder, env=environment)
    try:
        yield out
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def changed(code: str, old: str, new: str) -> str:
    assert old in code
    return code.replace(old, new)


def shows(out: Path, what: str) -> bool:
    return what in out.read_text("utf-8").splitlines()


@pytest.mark.parametrize("heading", ["pygcn", "Python alone"])
def test_clients_of_the_broadcaster_show_what_they_promise(heading, tmp_path):
    pytest.importorskip("gcn", reason="needs pygcn")
    with closing(VtpBroadcaster("127.0.0.1", 0, ivorn="ivo://org.example.survey/realbogus")) as server:
        code = changed(block(heading), "8099", str(server.port))
        with running([sys.executable, "-c", code], tmp_path) as out:
            until(lambda: server.connected == 1, "did not connect")
            server.send([LOW, HIGH])
            until(lambda: shows(out, SHOWN[heading][0]), "showed nothing")
            assert server.connected == 1
    assert (LOW.object_id not in out.read_text()) == SHOWN[heading][1]


def test_the_comet_of_the_documentation_keeps_what_its_filters_find(tmp_path):
    pytest.importorskip("comet", reason="needs Comet")
    (tmp_path / "events").mkdir()
    with closing(VtpBroadcaster("127.0.0.1", 0, ivorn="ivo://org.example.survey/realbogus")) as server:
        command = "exec " + changed(block("Comet"), "8099", str(server.port))
        with running(["bash", "-c", command], tmp_path) as out:
            until(lambda: any(one.filters for one in server._subscribers), "Comet did not connect")
            server.send([LOW, HIGH])
            until(lambda: list((tmp_path / "events").iterdir()), f"Comet kept nothing: {out.read_text()}")
    assert [file.read_bytes() for file in (tmp_path / "events").iterdir()] == [HIGH.xml]


@pytest.mark.kafka
@pytest.mark.parametrize("heading", ["confluent-kafka", "gcn-kafka", "hop-client"])
def test_clients_of_the_topic_show_what_they_promise(heading, kafka, tmp_path):
    pytest.importorskip("hop", reason="needs hop-client", exc_type=ImportError)
    pytest.importorskip("gcn_kafka", reason="needs gcn-kafka")
    topic = new_topic(kafka, 1)
    with closing(KafkaTopic(topic, {"bootstrap.servers": kafka})) as sink:
        sink.send([LOW, HIGH])
    code = changed(changed(block(heading), "127.0.0.1:9092", kafka), "realbogus.voevents", topic)
    with running([sys.executable, "-c", code], tmp_path) as out:
        deadline = time.monotonic() + 60
        while not shows(out, SHOWN[heading][0]):
            assert time.monotonic() < deadline, out.read_text()
            time.sleep(0.1)
    assert (LOW.object_id not in out.read_text()) == SHOWN[heading][1]
