"""A broker of the benchmark's own, topics filled with the corpus, and processes watched from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from corpus import Corpus, renumbered

from realbogus.stream.kafka.positions import committed

PROJECT = Path(__file__).resolve().parents[2]
FILLING = {"linger_ms": "20", "queue_buffering_max_kbytes": "262144"}
PARTITIONS = 4  # of every topic
PATIENCE_S = 60.0  # longest wait for a coordinator that is just coming up
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LOG_APPEND = {"message.timestamp.type": "LogAppendTime"}


@dataclass
class Broker:
    """A running broker."""

    bootstrap: str
    name: str  # as the table says it
    retains: bool = True  # whether topics can be bounded in bytes
    admin: AdminClient = field(init=False)

    def __post_init__(self) -> None:
        self.admin = AdminClient(self.client())

    def topic(self, name: str, **settings: str) -> str:
        """Make a topic of PARTITIONS partitions; give its name."""
        config = LOG_APPEND | {key.replace("_", "."): value for key, value in settings.items()}
        try:
            self.admin.create_topics([NewTopic(name, PARTITIONS, 1, config=config if self.retains else {})])[
                name
            ].result()
        except KafkaException as problem:
            raise RuntimeError(f"cannot make topic {name}: {problem}") from problem
        while not self.serves(name):
            time.sleep(0.05)
        return name

    def serves(self, name: str) -> bool:
        """Whether every partition of a topic has its leader: just after the topic was made they need not."""
        partitions = self.admin.list_topics(name, timeout=10).topics[name].partitions.values()
        return len(partitions) == PARTITIONS and all(one.leader >= 0 for one in partitions)

    def client(self, **settings: str) -> dict[str, str]:
        """Settings of a client; it says nothing when the broker is stopped at the end."""
        named = {name.replace("_", "."): value for name, value in settings.items()}
        return {"bootstrap.servers": self.bootstrap, "log_level": "2"} | named

    def drop(self, *names: str) -> None:
        for future in self.admin.delete_topics(list(names)).values():
            with contextlib.suppress(KafkaException):
                future.result()


@contextmanager
def running(cores: set[int]) -> Iterator[Broker]:
    """Apache Kafka where Java and its jars are to be had, else the embedded broker; on these cores."""
    with tempfile.TemporaryDirectory(prefix="realbogus-bench-") as folder:
        kafka = [sys.executable, str(PROJECT / "scripts" / "kafka")]
        with pinned(cores):
            started = start_of(kafka, folder)
        if started.returncode == 0:
            try:
                yield Broker(started.stdout.strip(), "Apache Kafka")
            finally:
                subprocess.run([*kafka, "stop", "--dir", folder], capture_output=True, check=False)
            return
        print(f"without Apache Kafka ({started.stderr.strip()}): embedded broker instead", file=sys.stderr)
        from realbogus.stream.embedded import EmbeddedBroker

        with pinned(cores), EmbeddedBroker() as embedded:
            yield Broker(embedded.bootstrap, "embedded broker", retains=False)


def start_of(kafka: Sequence[str], folder: str) -> subprocess.CompletedProcess[str]:
    """Start Kafka, a second and third time if the machine is too busy; code 3 says that something is missing."""
    command = [*kafka, "start", "--dir", folder, "--heap", "1g"]
    for _ in range(3):
        started = subprocess.run(command, capture_output=True, text=True, check=False)
        if started.returncode in (0, 3):
            break
    return started


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Whatever is started in here runs on these cores; a thread of its own for each process would be no help."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def fill(broker: Broker, topic: str, corpus: Corpus, count: int, skip: int = 0) -> None:
    """Put so many alerts into a topic, keyed by their place in the corpus; skip those that were sent before."""
    producer = Producer(broker.client(**FILLING))
    for number, message in enumerate(renumbered(corpus, count, skip), skip):
        put(producer, topic, message, str(number % len(corpus)))
    producer.flush()


def fill_at_once(broker: Broker, topic: str, corpus: Corpus, count: int, skip: int) -> float:
    """Put so many alerts into a topic so that readers see all of them from one moment on; that moment.

    They are written in a transaction, which stays invisible until it is committed. The embedded broker has none: there
    they appear while they are written, and the moment is that of the last one.
    """
    if not broker.retains:
        fill(broker, topic, corpus, count, skip)
        return time.monotonic()
    producer = Producer(broker.client(transactional_id=f"{topic}-burst", transaction_timeout_ms="300000", **FILLING))
    producer.init_transactions()
    producer.begin_transaction()
    for number, message in enumerate(renumbered(corpus, count, skip), skip):
        put(producer, topic, message, str(number % len(corpus)))
    producer.flush()
    begun = time.monotonic()
    producer.commit_transaction()
    return begun


def put(producer: Producer, topic: str, message: bytes, key: str) -> None:
    while True:
        try:
            producer.produce(topic, message, key=key)
        except BufferError:
            producer.poll(0.05)
        else:
            producer.poll(0)
            return


def spans_file(corpus: Corpus, folder: Path) -> Path:
    """The places of the stamps by key, for the floor."""
    file = folder / "spans.json"
    file.write_text(json.dumps({str(row): corpus.spans(row) for row in range(len(corpus))}))
    return file


@dataclass
class Watched:
    """A process whose use of the processor and memory is read from outside, threads included."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls, command: Sequence[str], cores: set[int], env: Mapping[str, str] | None = None, log: Path | None = None
    ):
        with pinned(cores), contextlib.ExitStack() as stack:
            out = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
            return cls(subprocess.Popen(command, env=dict(env or os.environ), stdout=out, stderr=out))

    def cpu_s(self) -> float:
        """CPU seconds so far, of the process and those it has started, all threads."""
        return sum(cpu_of(pid) for pid in family(self.process.pid))

    def rss_mb(self) -> float:
        """Memory in use, of the largest process of the family."""
        return max((memory_of(pid, "VmRSS") for pid in family(self.process.pid)), default=0.0)

    def peak_mb(self) -> float:
        """The most it has been."""
        return max((memory_of(pid, "VmHWM") for pid in family(self.process.pid)), default=0.0)

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, within_s: float = 20.0) -> None:
        """SIGTERM, then patience, then SIGKILL."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def family(pid: int) -> list[int]:
    """A process and those it has started, which still run."""
    below: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            below += map(int, (task / "children").read_text().split())
    return [pid, *(one for child in below for one in family(child))]


def cpu_of(pid: int) -> float:
    """CPU seconds of a process, 0 if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(stat[11]) + int(stat[12])) / TICKS_PER_S


def memory_of(pid: int, name: str) -> float:
    """MB, 0 if the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return 0.0


class Counter:
    """How many alerts a group is done with: what it has committed, which with exactly once is what readers see.

    The ends of the output topics would count the marks of transactions too, one for each of their partitions.
    """

    def __init__(self, broker: Broker, topic: str, group: str) -> None:
        self._client = Consumer(broker.client(group_id=group))
        self._places = [(topic, partition) for partition in range(PARTITIONS)]

    def count(self) -> int:
        return sum(committed(self._client, self._places, PATIENCE_S).values())

    def close(self) -> None:
        self._client.close()


@dataclass(frozen=True)
class Drained:
    """What watching a process drain a topic has shown, start and end left out."""

    alerts: int
    cpu_us: float  # an alert, all threads
    per_s: float  # alerts a second of wall time
    peak_mb: float


def drain(
    counter: Counter, processes: Sequence[Watched], count: int, timeout_s: float = 300.0,
    tick: Callable[[int], object] = lambda n: None,
) -> Drained:  # fmt: skip
    """Watch processes until so many alerts are done; measured between 15 and 97 % of them."""
    seen: list[tuple[int, float, float]] = []
    deadline = time.monotonic() + timeout_s
    try:
        while not seen or seen[-1][0] < count:
            if time.monotonic() > deadline or not all(process.alive() for process in processes):
                raise RuntimeError(f"only {seen[-1][0] if seen else 0} of {count} were done; see the log of the worker")
            done = counter.count()
            seen.append((done, sum(process.cpu_s() for process in processes), time.monotonic()))
            tick(done)
            time.sleep(0.1)
    finally:
        counter.close()
    inner = [one for one in seen if 0.15 * count <= one[0] <= 0.97 * count]
    (first, cpu_a, wall_a), (last, cpu_b, wall_b) = inner[0], inner[-1]
    alerts = max(last - first, 1)
    peak = max(process.peak_mb() for process in processes)
    return Drained(alerts, (cpu_b - cpu_a) / alerts * 1e6, alerts / (wall_b - wall_a), peak)
