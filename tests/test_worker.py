"""The worker as an operator runs it: a process, a broker, packets in; counted by somebody else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import rescore_cases
from conftest import PROJECT
from kafka_cases import committed, new_topic, produce, read_all

from realbogus.cli import main
from realbogus.model import load_model
from realbogus.packets import annotation
from realbogus.scoring import Scorer
from realbogus.stream.embedded import CONSUMER_PROPERTIES
from realbogus.voevent import validate

GARBAGE = (b"", b"Obj\x01", b"no packet at all", b"\x00\x00\x00\x03\x84" + b"x" * 100)
QUICK = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"}  # a dead worker is replaced in seconds


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    rescore_cases.model(folder)
    return folder


@pytest.fixture(
    params=[pytest.param("kafka", marks=pytest.mark.kafka), pytest.param("embedded", marks=pytest.mark.embedded)]
)
def broker(request: pytest.FixtureRequest) -> str:
    """Apache Kafka, and the embedded broker of the demo: the same stories."""
    return str(request.getfixturevalue(request.param))


def configuration(where: Path, bootstrap: str, topic: str, models: Path | None, **options: Any) -> Path:
    real = options.pop("real", True)
    properties = QUICK if real else CONSUMER_PROPERTIES
    delivery = {} if real else {"delivery": "at_least_once"}  # the embedded broker does not hide what was taken back
    sections = {
        "kafka": {"bootstrap": bootstrap},
        "kafka.consumer": properties,
        "input": {"topics": [topic], "group_id": f"group-{topic}", "batch_size": 16, **options},
        "output": {"topic": f"{topic}.annotated", "partitions": 2, **delivery},
        "models": {"folder": str(models)} if models else {},
        "policy": {"threshold": 0.35} if models else {},
        "voevent": {"authority": "org.example.survey"},
        "publish": {"outbox": f"{topic}.outbox"},
        "http": {"port": 0},
        "worker": {"memory_mb": 3000},
    }
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items())]
    file = where / "worker.toml"
    file.write_text("\n".join(lines))
    return file


@contextmanager
def started(file: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A worker; whatever is left of it at the end is killed."""
    command = [sys.executable, "-m", "realbogus", "worker", "--config", str(file), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def work(file: Path, *options: str, code: int = 0) -> dict[str, Any]:
    """Run a worker to its end; the counts that it tells."""
    with started(file, *options) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    told: dict[str, Any] = json.loads(out.splitlines()[-1]) if out else {}
    return told


def annotated(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    return [annotation.decode(message.value()) for message in read_all(bootstrap, f"{topic}.annotated")]


def wait_for(bootstrap: str, topic: str, count: int) -> None:
    """Until so many records are in a topic."""
    deadline = time.monotonic() + 60
    while len(read_all(bootstrap, topic)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def expect(bootstrap: str, topic: str, values: Sequence[bytes], scorer: Scorer) -> None:
    """Every message is annotated or dead exactly once, and the scores are those of the archive."""
    offline = scorer.outcomes(values)
    scores = {
        int(batch.alerts.candid[row]): (float(batch.score[row]), bool(batch.forward[row]))
        for batch in offline
        for row in range(len(batch))
    }
    online = annotated(bootstrap, topic)
    dead = read_all(bootstrap, f"{topic}.dlq") + read_all(bootstrap, f"{topic}.parked")
    assert len(online) + len(dead) == len(values)
    assert {one["candid"]: (one["score"], one["decision"] == "forward") for one in online} == scores
    reasons = sorted(dict(message.headers())["__rb.errors.reason"].decode() for message in dead)
    assert reasons == sorted(rejected.reason.value for rejected in offline.rejected)
    assert {message.value() or b"" for message in dead} == {values[one.index] for one in offline.rejected}
    events = [validate.read(message.value()) for message in read_all(bootstrap, f"{topic}.outbox")]
    assert {int(event.candid) for event in events} == {candid for candid, (_, forward) in scores.items() if forward}
    assert len(events) == sum(forward for _, forward in scores.values())


def test_every_packet_is_annotated_or_dead_and_scored_as_in_the_archive(broker, tmp_path, models, request):
    topic = new_topic(broker)
    values = [*rescore_cases.packets(40), *GARBAGE]
    produce(broker, topic, values)
    file = configuration(tmp_path, broker, topic, models, real="kafka" in request.node.name)
    told = work(file, "--until-idle", "2")
    assert (told["consumed"], told["scored"], told["rejected"], told["parked"]) == (44, 40, 3, 1)
    scorer = Scorer(models={"ztf": load_model(models / "small" / "1")}, policy=rescore_policy())
    expect(broker, topic, values, scorer)


def rescore_policy() -> Any:
    from realbogus.policy import Policy

    return Policy(threshold=0.35)


@pytest.mark.kafka
@pytest.mark.packets
def test_real_packets_and_damaged_ones_all_end_and_score_as_in_the_archive(kafka, tmp_path, real_packets):
    """The shipped model on packets as they came from the telescope."""
    from realbogus.registry import Registry
    from realbogus.resources import shipped

    files = sorted((real_packets / "ztf").rglob("*.avro"))[::8] + sorted((real_packets / "damaged").rglob("*.avro"))
    values = [file.read_bytes() for file in files]
    assert len(values) > 200
    topic = new_topic(kafka)
    produce(kafka, topic, values)
    told = work(configuration(tmp_path, kafka, topic, None), "--until-idle", "2", "--processes", "2")
    assert told["consumed"] == told["scored"] + told["rejected"] + told["parked"] == len(values)
    expect(kafka, topic, values, Scorer(models={"ztf": Registry(shipped("models")).load()}))


@pytest.mark.kafka
def test_a_worker_told_to_stop_leaves_in_time_and_the_next_one_goes_on(kafka, tmp_path, models):
    topic = new_topic(kafka)
    values = rescore_cases.packets(60)
    file = configuration(tmp_path, kafka, topic, models)
    produce(kafka, topic, values[:30])
    with started(file) as process:
        wait_for(kafka, f"{topic}.annotated", 1)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert time.monotonic() - began < 10
        first = json.loads(out)["consumed"]
        produce(kafka, topic, values[30:])
        assert first + work(file, "--until-idle", "2")["consumed"] == 60
        assert len(annotated(kafka, topic)) == 60


@pytest.mark.kafka
def test_a_worker_that_is_killed_loses_nothing_and_repeats_nothing(kafka, tmp_path, models):
    topic = new_topic(kafka)
    values = rescore_cases.packets(300)
    produce(kafka, topic, values)
    file = configuration(tmp_path, kafka, topic, models)
    with started(file) as process:
        wait_for(kafka, f"{topic}.annotated", 1)
        process.kill()
        process.communicate()
        work(file, "--until-idle", "8")
        found = annotated(kafka, topic)
        assert sorted(one["candid"] for one in found) == [rescore_cases.FIRST + at for at in range(300)]
        assert sum(committed(kafka, f"group-{topic}", topic, 3)) == 300


@pytest.mark.kafka
def test_a_member_that_dies_is_started_again_and_all_is_done(kafka, tmp_path, models):
    topic = new_topic(kafka)
    produce(kafka, topic, rescore_cases.packets(60))
    file = configuration(tmp_path, kafka, topic, models)
    with started(file, "--processes", "2") as process:
        wait_for(kafka, f"{topic}.annotated", 1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        subprocess.run(["kill", "-9", children[0]], check=True)
        produce(kafka, topic, rescore_cases.packets(90)[60:])
        deadline = time.monotonic() + 60
        while len({one["candid"] for one in annotated(kafka, topic)}) < 90:
            assert time.monotonic() < deadline
            time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert "starting it again" in err


@pytest.mark.kafka
def test_a_span_of_time_is_scored_from_the_command_line(kafka, tmp_path, models):
    topic, start_s = new_topic(kafka), 1_760_000_000  # 2025-10-09T08:53:20Z
    stamps = [(start_s + 60 * at) * 1000 for at in range(30)]
    produce(kafka, topic, rescore_cases.packets(30), timestamps_ms=stamps)
    file = configuration(tmp_path, kafka, topic, models)
    told = work(file, "--from", "2025-10-09T09:03:20Z", "--until", "2025-10-09T11:13:20+02:00")
    assert told["consumed"] == 10
    expected = {rescore_cases.FIRST + at for at in range(10, 20)}
    assert {one["candid"] for one in annotated(kafka, topic)} == expected


@pytest.mark.kafka
def test_a_night_that_begins_while_the_worker_runs_is_read(kafka, tmp_path, models):
    """The topic of tonight does not exist when the worker starts."""
    pattern = f"night-{new_topic(kafka)}-%Y%m%d"
    file = configuration(tmp_path, kafka, "x", models, topics=[], pattern=pattern, group_id=pattern)
    with started(file) as process:
        time.sleep(3)
        assert process.poll() is None
        tonight = time.strftime(pattern, time.gmtime())
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": kafka})
        admin.create_topics([NewTopic(tonight, 1, 1)])[tonight].result(20)
        produce(kafka, tonight, [*rescore_cases.packets(3), b"Obj\x01"])
        wait_for(kafka, "x.annotated", 3)
        wait_for(kafka, f"{tonight}.dlq", 1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0


@pytest.mark.kafka
def test_a_worker_outlives_a_restart_of_its_broker(kafka, tmp_path, models):
    """With a broker of its own; the shared one stays up. kafka is asked for so that a missing Java skips."""
    script = [sys.executable, str(PROJECT / "scripts" / "kafka")]
    folder = ["--dir", str(tmp_path / "kafka")]
    address = subprocess.run([*script, "start", *folder], check=True, capture_output=True, text=True).stdout.strip()
    try:
        topic = new_topic(address)
        produce(address, topic, rescore_cases.packets(60)[:30])
        with started(configuration(tmp_path, address, topic, models)) as process:
            wait_for(address, f"{topic}.annotated", 30)
            subprocess.run([*script, "stop", *folder], check=True)
            again = subprocess.run(
                [*script, "start", *folder], check=True, capture_output=True, text=True
            ).stdout.strip()
            assert again == address
            produce(address, topic, rescore_cases.packets(60)[30:])
            wait_for(address, f"{topic}.annotated", 60)
            found = sorted(one["candid"] for one in annotated(address, topic))
            assert found == [rescore_cases.FIRST + at for at in range(60)]
            subprocess.run([*script, "stop", "--kill", *folder], check=True)
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            _, err = process.communicate(timeout=30)
            assert process.returncode in (0, 75), err  # with no broker to say goodbye to, it may not wait
            assert time.monotonic() - began < 15
    finally:
        subprocess.run([*script, "stop", "--kill", *folder], check=True)


# What is wrong is said before anything connects


@pytest.mark.parametrize(
    ("options", "line", "part"),
    [
        (["--from", "yesterday"], "", "--from is 'yesterday'"),
        (["--until", "tomorrow"], "", "--until is 'tomorrow'"),
        (["--processes", "0"], "", "worker.processes is 0"),
        ([], "bare_schema = 'rubin/99'", "input.bare_schema"),
        ([], "[models.surveys]\nztf = 'no/1'", "there is no model no/1"),
        ([], "[models.surveys]\nmoon = 'small/1'", "no such survey"),
        ([], "[models.surveys]\nrubin = 'small/1'", "was not made for it"),
        ([], "[kafka.producer]\n'linger.mss' = 3", "linger.mss"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_why(tmp_path, models, capsys, options, line, part):
    file = tmp_path / "worker.toml"
    file.write_text(
        f"[kafka]\nbootstrap = '127.0.0.1:1'\n[models]\nfolder = '{models}'\n[http]\nport = 0\n"
        f"[input]\ntopics = ['a']\ngroup_id = 'g'\n{line}\n"
    )
    assert main(["worker", "--config", str(file), *options]) == 2
    assert part in capsys.readouterr().err
