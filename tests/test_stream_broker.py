"""The brokers of tests and demo: they come up, go away, and say what they miss."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import PROJECT
from kafka_cases import new_topic, produce, read_all

from realbogus.errors import StreamError
from realbogus.stream.embedded import EmbeddedBroker

SCRIPT = PROJECT / "scripts" / "kafka"


def kafka_script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, **environment}
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False, env=told)


def accepts(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.kafka
def test_kafka_started_twice_is_one_broker_and_a_power_cut_keeps_its_data(kafka, tmp_path):
    folder = ["--dir", str(tmp_path)]
    try:
        first = kafka_script("start", *folder)
        assert kafka_script("start", *folder).stdout == kafka_script("status", *folder).stdout == first.stdout
        address = first.stdout.strip()
        topic = new_topic(address)
        produce(address, topic, [b"kept"], **{"acks": "all"})
        assert kafka_script("stop", "--kill", *folder).returncode == 0
        assert kafka_script("status", *folder).returncode == 1
        assert kafka_script("start", *folder).stdout == first.stdout
        assert [message.value() for message in read_all(address, topic)] == [b"kept"]
        assert "started" in kafka_script("logs", *folder).stdout
        port, of_clients = int(address.split(":")[1]), Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        assert port < int(of_clients.split()[0])  # else a client that waits for it might get its port, and keep it
        assert kafka_script("stop", *folder).returncode == 0
        with socket.create_server(("127.0.0.1", port)):
            told = kafka_script("start", *folder)  # not elsewhere: nobody would find it
        assert told.returncode == 1
        assert f"port {port} is in use" in told.stderr
    finally:
        kafka_script("stop", *folder)
    assert not accepts(address)
    assert kafka_script("stop", *folder).returncode == 0


def test_without_java_kafka_says_so_at_once_with_exit_code_3(tmp_path):
    told = kafka_script("start", "--dir", str(tmp_path / "data"), PATH=str(tmp_path), JAVA_HOME="")
    assert told.returncode == 3
    assert "Java 17 or newer" in told.stderr


@pytest.mark.kafka
def test_without_maven_and_without_jars_kafka_says_so_at_once(kafka, tmp_path):
    java = subprocess.run(["which", "java"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "java").symlink_to(java)
    told = kafka_script("jars", PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert told.returncode == 3
    assert "mvn is not installed" in told.stderr


@pytest.mark.kafka
def test_a_jar_that_was_altered_is_not_run(kafka, tmp_path):
    good = Path(kafka_script("jars").stdout.strip())
    kept = tmp_path / "realbogus" / good.name
    kept.mkdir(parents=True)
    for jar in good.iterdir():
        (kept / jar.name).symlink_to(jar)
    victim = next(kept.glob("kafka-server-common*"))
    victim.unlink()
    victim.write_bytes(b"something else")
    java = subprocess.run(["which", "java"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "java").symlink_to(java)
    told = kafka_script("jars", PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert told.returncode == 3  # it would fetch them again
    assert not victim.exists()


@pytest.mark.embedded
def test_the_embedded_broker_listens_on_loopback_and_leaves(embedded):
    with EmbeddedBroker() as broker:
        assert accepts(broker.bootstrap)
        topic = new_topic(broker.bootstrap)
        produce(broker.bootstrap, topic, [b"a", b"b"])
        assert len(read_all(broker.bootstrap, topic)) == 2
    assert not accepts(broker.bootstrap)


@pytest.mark.embedded
def test_the_embedded_broker_dies_with_its_parent_however_that_dies(embedded):
    program = (
        "import time\nfrom realbogus.stream.embedded import EmbeddedBroker\n"
        "with EmbeddedBroker() as broker:\n    print(broker.bootstrap, flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    address = parent.stdout.readline().strip()
    assert accepts(address)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 10
    while accepts(address):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_broker_binary_that_is_not_there_is_a_stream_error(monkeypatch, tmp_path):
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "none"))
    with pytest.raises(StreamError, match="no embedded broker"):
        EmbeddedBroker().__enter__()
