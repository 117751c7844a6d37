"""The operator's tools on Apache Kafka: ledger, dead letters, exposures on hold, replay."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import rescore_cases
from confluent_kafka import Producer
from kafka_cases import committed, new_topic, produce, read_all
from rescore_cases import FIRST, packet

from realbogus import config
from realbogus.cli import main
from realbogus.cli.worker import report_of
from realbogus.config.replay import replay_settings
from realbogus.errors import StreamError
from realbogus.packets import annotation
from realbogus.scoring import Scorer
from realbogus.stream import assembly
from realbogus.stream.kafka import KafkaLog
from realbogus.stream.protocols import SystemClock
from realbogus.stream.tasks import Task
from realbogus.stream.worker import Worker
from realbogus.telemetry import Health, JsonLines, Metrics, serve
from realbogus.voevent import validate

pytestmark = pytest.mark.kafka
UNKNOWN = b"\x00\x00\x00\x03\x89" + bytes(50)  # schema id 905


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for version, seed in (("2", 2), ("1", 1)):
        rescore_cases.model(folder, version, seed)
    return folder


class Stand:
    """A topic, a configuration and what was called with it."""

    def __init__(self, bootstrap: str, folder: Path, models: Path, more: str = "", partitions: int = 2) -> None:
        self.bootstrap, self.topic = bootstrap, new_topic(bootstrap, partitions)
        self.file = folder / "worker.toml"
        self.file.write_text(f"""
[kafka]
bootstrap = "{bootstrap}"
[input]
topics = ["{self.topic}"]
group_id = "g-{self.topic}"
batch_size = 16
[output]
topic = "{{topic}}.annotated"
partitions = 2
[models]
folder = "{models}"
[policy]
threshold = 0.35
[voevent]
authority = "org.example.survey"
[publish]
outbox = "{self.topic}.outbox"
[exposures]
held = "{self.topic}.held"
{more}
""")

    @property
    def settings(self) -> config.Settings:
        return config.load(self.file, os.environ)

    def work(self, settings: config.Settings | None = None, **options: Any) -> Worker:
        """Read everything there is."""
        settings = settings or self.settings
        opened = assembly.open_worker(
            settings, assembly.scorer_for(settings), metrics=Metrics(), health=Health(), lasting=False, **options
        )
        with opened as worker:
            worker.run(lambda: False, until_idle_s=1.0)
        return worker

    def call(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict[str, Any]]]:
        """What a command gives: exit code and JSON lines."""
        capsys.readouterr()
        code = main([*words, "--config", str(self.file)])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]

    def read(self, what: str) -> list[Any]:
        return read_all(self.bootstrap, f"{self.topic}.{what}")


@pytest.fixture
def stand(kafka: str, tmp_path: Path, models: Path) -> Stand:
    return Stand(kafka, tmp_path, models)


def test_the_ledger_is_proven_from_the_topics_and_sees_what_does_not_belong(stand, capsys):
    packets = rescore_cases.packets(40)
    produce(stand.bootstrap, stand.topic, [*packets, b"Obj\x01", UNKNOWN, packets[3], packets[7]])
    stand.work()
    code, (row,) = stand.call(capsys, "ledger", "check", "--json")
    assert code == 0
    counts = {name: row[name] for name in ("consumed", "scored", "rejected", "parked", "missing", "double")}
    assert counts == {"consumed": 44, "scored": 40, "rejected": 1, "parked": 1, "missing": 0, "double": 0}
    assert row["duplicates"] == 2
    forged = stand.read("annotated")[0]
    producer = Producer({"bootstrap.servers": stand.bootstrap})
    producer.produce(f"{stand.topic}.annotated", forged.value(), forged.key(), headers=forged.headers())
    assert producer.flush(20) == 0
    code, (row,) = stand.call(capsys, "ledger", "check", "--json")
    assert (code, row["double"]) == (1, 1)
    assert stand.call(capsys, "ledger", "--json")[0] == 0  # showing judges nothing


def test_parked_alerts_are_listed_and_sent_back(stand, capsys):
    produce(stand.bootstrap, stand.topic, [UNKNOWN, b"Obj\x01", None, *rescore_cases.packets(3)])
    stand.work()
    code, rows = stand.call(capsys, "dlq", "list", "--json")
    assert code == 0
    assert sorted((row["reason"], row["schema"], row["letters"]) for row in rows) == [
        ("malformed", "none", 1),
        ("malformed", "unreadable header", 1),
        ("unknown_schema", "id 905", 1),
    ]
    _, (told,) = stand.call(capsys, "dlq", "replay", "--reason", "unknown_schema", "--reason", "malformed")
    assert told["replayed"] == 2
    assert told["left_out"] == {"it had no value": 1}
    stand.work()
    _, rows = stand.call(capsys, "dlq", "list", "--rows", "--json", "--reason", "unknown_schema")
    assert [row["attempt"] for row in rows] == ["1", "2"]
    assert main(["dlq", "show", rows[0]["place"], "--config", str(stand.file)]) == 0
    assert "00 00 00 03 89" in capsys.readouterr().out
    assert main(["dlq", "show", f"{stand.topic}.parked/0/999", "--config", str(stand.file)]) == 2


def test_a_change_of_schema_stops_the_worker_and_loses_nothing(stand, capsys, monkeypatch):
    produce(stand.bootstrap, stand.topic, [*rescore_cases.packets(20), *[UNKNOWN] * 200])
    with pytest.raises(StreamError, match="with the schema 'id 905'") as caught:
        stand.work()
    assert caught.value.exit_code == 4
    assert len(stand.read("parked")) < 50
    assert stand.call(capsys, "ledger", "check", "--json")[0] == 0
    monkeypatch.setenv("REALBOGUS_BREAKER_REJECTED_SHARE", "1")
    stand.work()
    code, (row,) = stand.call(capsys, "ledger", "check", "--json")
    assert (code, row["scored"], row["parked"]) == (0, 20, 200)


class Crew:
    """Workers of one group, each its turn in this one thread."""

    def __init__(self, stand: Stand, size: int) -> None:
        self._stand, self._open = stand, ExitStack()
        self.workers = [self._open.enter_context(self._worker()) for _ in range(size)]
        self.turn_until(lambda: all(len(worker.source.assigned) == 4 // size for worker in self.workers))

    def _worker(self) -> Any:
        settings = self._stand.settings
        scorer = assembly.scorer_for(settings)
        return assembly.open_worker(settings, scorer, metrics=Metrics(), health=Health(), lasting=False)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def turn_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not done():
            assert time.monotonic() < deadline
            for worker in self.workers:
                worker.turn()

    def work(self, packets: Sequence[bytes]) -> None:
        """Spread alerts evenly over the partitions, and turn until all are done."""
        before = self.consumed()
        producer = Producer({"bootstrap.servers": self._stand.bootstrap})
        for number, value in enumerate(packets):
            producer.produce(self._stand.topic, value, partition=number % 4)
        assert producer.flush(30) == 0
        self.turn_until(lambda: self.consumed() == before + len(packets))

    def consumed(self) -> int:
        return sum(worker.ledger.total().consumed for worker in self.workers)

    def metric(self, name: str) -> list[float]:
        found = (worker.metrics.registry.get_sample_value(name, {"survey": "ztf"}) for worker in self.workers)
        return [value or 0.0 for value in found]


def of_exposure(number: int, count: int) -> list[bytes]:
    """Alerts of one exposure."""
    return [packet(FIRST + number + 1000 * at) for at in range(count)]


def test_workers_that_share_a_flood_hold_it_together_and_it_is_released_once(kafka, tmp_path, models, capsys):
    stand = Stand(kafka, tmp_path, models, "times_usual = 3.0\nleast = 12\nlearn = 5\nscore_psi = 0.0\n", 4)
    quiet, flood, after = [of_exposure(at, 4) for at in range(24)], of_exposure(500, 120), of_exposure(600, 8)
    with Crew(stand, 2) as crew:
        for at in range(0, 24, 8):  # eight at a time: an exposure is complete when fifteen others have begun after it
            crew.work([one for exposure in quiet[at : at + 8] for one in exposure])
        assert crew.metric("realbogus_held_total") == [0, 0]
        crew.work([*flood, *after])
        held = crew.metric("realbogus_held_total")
        assert min(held) > 0  # each found it by itself
        events = sum(worker.ledger.total().events for worker in crew.workers)
    offline = assembly.scorer_for(stand.settings)
    promising = {name: forwarded(offline, some) for name, some in (("flood", flood), ("after", after))}
    others = promising["after"] | {one for exposure in quiet for one in forwarded(offline, exposure)}
    waiting = stand.read("held")
    assert len(waiting) == sum(held)
    _, (row,) = stand.call(capsys, "exposures", "list", "--json")
    (by,) = {dict(message.headers())["held_by"].decode() for message in waiting}
    assert (row["exposure"], row["waiting"], row["released"]) == (by, len(waiting), 0)
    out = {event_candid(message) for message in stand.read("outbox")}
    assert others <= out  # what else came by that time went out
    assert len(stand.read("outbox")) == len(out) == events
    assert len(out - others) <= 12  # of the flood no more than what is never too many
    assert {event_candid(message) for message in waiting} == promising["flood"] - out
    on_hold = [message for message in stand.read("annotated") if "held_by" in dict(message.headers())]
    assert {annotation.decode(message.value())["decision"] for message in on_hold} == {"hold"}
    assert len(on_hold) == len(waiting)
    assert stand.call(capsys, "exposures", "release")[0] == 2  # which ones?
    code, (told,) = stand.call(capsys, "exposures", "release", by)
    assert (code, told) == (0, {"released": {by: len(waiting)}})
    assert stand.call(capsys, "exposures", "release", "--all")[1] == [{"released": {}}]
    assert stand.call(capsys, "exposures", "list", "--waiting", "--json") == (0, [])
    ids = [dict(message.headers())["ivorn"] for message in stand.read("outbox")]
    assert len(ids) == len(set(ids)) == len(others | promising["flood"])
    assert stand.call(capsys, "ledger", "check", "--json")[0] == 0


def forwarded(scorer: Scorer, values: Sequence[bytes]) -> set[int]:
    """The candids that the policy forwards."""
    return {int(one) for scored in scorer.outcomes(values) for one in scored.alerts.candid[scored.forward]}


def event_candid(message: Any) -> int:
    return int(validate.read(message.value()).candid)


def test_a_worker_tells_how_far_it_is_while_it_waits_for_alerts(stand):
    """The client lets other threads wait as long as the loop is in it, which an idle loop nearly always is."""
    produce(stand.bootstrap, stand.topic, rescore_cases.packets(5))
    settings, stop = stand.settings, threading.Event()
    scorer = assembly.scorer_for(settings)
    with assembly.open_worker(settings, scorer, metrics=Metrics(), health=Health(), lasting=False) as worker:
        work = Task(lambda: worker.run(stop.is_set), "loop")
        try:
            deadline = time.monotonic() + 60
            while worker.ledger.total().consumed < 5:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            for _ in range(20):
                asked = Task(lambda: report_of(worker), "asks")
                assert asked.done(30)
                assert asked.result()["lag"] == 0
        finally:
            stop.set()
            assert work.done(30)


def test_a_replay_leaves_offsets_and_topics_of_the_live_workers_alone(stand):
    now = time.time()
    stamps = [round(1000 * (now - 3600 + at)) for at in range(30)]
    produce(stand.bootstrap, stand.topic, rescore_cases.packets(30), timestamps_ms=stamps)
    stand.work()
    live = committed(stand.bootstrap, f"g-{stand.topic}", stand.topic, 2)
    annotated, outbox = stand.read("annotated"), stand.read("outbox")
    settings = replay_settings(stand.settings, "r1", "small/2")
    since, until = now - 3590, now - 3580
    assembly.begin_at(settings, since, SystemClock())
    total = stand.work(settings, from_s=since, until_s=until).ledger.total()
    assert total.consumed == total.scored == 10
    assert committed(stand.bootstrap, f"g-{stand.topic}", stand.topic, 2) == live
    assert len(stand.read("annotated")) == len(annotated)
    assert len(stand.read("outbox")) == len(outbox)
    found = read_all(stand.bootstrap, f"replay.r1.{stand.topic}.annotated")
    assert {dict(message.headers())["model"] for message in found} == {b"small/2"}
    assert {annotation.decode(message.value())["candid"] for message in found} == {FIRST + at for at in range(10, 20)}
    events = read_all(stand.bootstrap, f"replay.r1.{stand.topic}.outbox")
    assert {dict(message.headers())["role"] for message in events} == {b"test"}


def test_a_log_reads_what_is_there_and_no_further(stand):
    produce(stand.bootstrap, stand.topic, [b"%d" % at for at in range(100)])
    log = KafkaLog(stand.settings.kafka)
    extent = log.extent([stand.topic, "no such topic"])
    assert sum(stop for _, stop in extent.values()) == 100
    assert sorted(int(message.value) for message in log.read(extent)) == list(range(100))
    assert [message.offset for message in log.read({(stand.topic, 0): (3, 5)})] == [3, 4]
    assert list(log.read({(stand.topic, 0): (10_000, 10_001), ("no such topic", 0): (0, 9)})) == []
    assert stand.topic in log.topics()
    assert log.committed("nobody at all", extent) == {}
    log.close()


def test_a_secret_is_in_no_log_no_status_and_no_answer(stand, capsys, caplog, monkeypatch):
    monkeypatch.setenv("REALBOGUS_KAFKA_PROPERTIES_SASL_PASSWORD", "hush-hush")
    caplog.set_level(logging.DEBUG)
    produce(stand.bootstrap, stand.topic, rescore_cases.packets(5))
    metrics, health, settings = Metrics(), Health(), stand.settings
    assert settings.kafka.properties == {"sasl.password": "hush-hush"}
    opened = assembly.open_worker(
        settings, assembly.scorer_for(settings), metrics=metrics, health=health, lasting=False
    )
    with serve(metrics, health, "127.0.0.1", 0) as url, opened as worker:
        worker.run(lambda: False, until_idle_s=0.5)
        told = [urllib.request.urlopen(f"{url}/{path}", timeout=5).read().decode() for path in ("status", "metrics")]
    assert stand.call(capsys, "ledger", "--json")[0] == 0
    told += [*capsys.readouterr(), caplog.text, repr(settings), *(JsonLines().format(one) for one in caplog.records)]
    assert json.loads(told[0])["models"]["in_force"] == {"ztf": "small/1"}
    assert not [text for text in told if "hush" in text]
