"""A simulated night, end to end on this machine: broker, alerts, worker, publisher, and what came of it.

Every step is the command that an operator would call; the counts at the end are read back from the topics and from
the folder of VOEvents by this script, and compared with the simulator's truth. At the end the candidates can be looked
at in a browser; on a terminal the demo stays for that until Ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from rich.console import Console
from rich.table import Column, Table

from realbogus import packets
from realbogus.errors import StreamError
from realbogus.limits import Limits
from realbogus.packets import annotation
from realbogus.packets.schemas import SchemaStore
from realbogus.pictures import draw_triplets
from realbogus.stream.embedded import CONSUMER_PROPERTIES, EmbeddedBroker
from realbogus.surveys import SURVEYS, recognise

PROJECT = Path(__file__).resolve().parent.parent
TOPIC, ANNOTATIONS = "ztf_simulated", "realbogus.annotations"
DEAD_LETTERS, PARKED = f"{TOPIC}.dlq", f"{TOPIC}.parked"
IDLE_S = 2.0  # without a new alert for so long, worker and publisher leave
CONFIG = """\
[kafka]
bootstrap = "{bootstrap}"
[kafka.consumer]
{consumer}
[input]
topics = ["{topic}"]
group_id = "realbogus-demo"
[output]
topic = "{annotations}"
delivery = "{delivery}"
[voevent]
authority = "org.example.realbogus"
role = "test"
object_url = "{pages}/objects/{{object_id}}"
cutout_url = "{pages}/objects/{{object_id}}/{{candid}}/{{stamp}}.png"
[publish]
archive = "{out}/voevents"
ledger = "{out}/ledger.sqlite"
catalogue = "{out}/catalogue.sqlite"
topic = "realbogus.voevents"
http_port = {http_port}
[http]
port = 0
[log]
level = "WARNING"
"""
COMPILE = "from realbogus import features, packets; features.warm_up()"
console = Console(stderr=True, highlight=False)


def main() -> int:
    options = arguments()
    started = time.monotonic()
    out = options.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        with broker(options.kafka, out) as bootstrap:
            config = out / "worker.toml"
            port = free_port()
            config.write_text(configuration(bootstrap, out, {} if options.kafka else CONSUMER_PROPERTIES, port))
            create(bootstrap, TOPIC)
            # Compile once, and while the frames are painted.
            subprocess.Popen([sys.executable, "-c", COMPILE], stderr=subprocess.DEVNULL)
            night = ["--alerts", str(options.alerts), "--seed", str(options.seed), "--jobs", "2"]
            sink = ["--kafka", bootstrap, "--topic", TOPIC, "--truth", str(out / "truth.csv")]
            command("simulating a night", "simulate", *night, *sink)
            damaged = spoil(bootstrap)
            worker = command("scoring it", "worker", "--config", str(config), "--until-idle", str(IDLE_S))
            command("publishing VOEvents", "publish", "--config", str(config), "--until-idle", str(IDLE_S))
            with pages(config, out, port) if options.look else nullcontext() as address:
                report(bootstrap, out, worker, damaged)
                console.print(f"[dim]the demo took {time.monotonic() - started:.0f} s[/dim]")
                if address:
                    console.print(f"\n[bold]Look at the candidates: {address}[/bold]   (Ctrl-C ends the demo)")
                    wait_for_interrupt()
    except StreamError as error:
        console.print(f"realbogus: {error}")
        return error.exit_code
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        console.print("interrupted; the broker and all processes of the demo have ended")
        return 130
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--alerts", type=int, default=1200, help="alerts in the simulated night (default: 1200)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulator: the same seed gives the same night")
    parser.add_argument("--kafka", action="store_true", help="use Apache Kafka (needs Java 17 and mvn)")
    parser.add_argument(
        "--look",
        action=argparse.BooleanOptionalAction,
        default=sys.stdin.isatty() and sys.stderr.isatty(),
        help="serve the candidates as web pages until Ctrl-C (default: on a terminal)",
    )
    parser.add_argument("--out", type=Path, default=PROJECT / "out" / "demo", help="folder, emptied first")
    return parser.parse_args()


@contextmanager
def broker(apache: bool, out: Path) -> Iterator[str]:
    """Address of a broker on loopback that ends with the demo."""
    script = [sys.executable, str(PROJECT / "scripts" / "kafka")]
    if apache:
        started = subprocess.run(
            [*script, "start", "--dir", str(out / "kafka")], capture_output=True, text=True, check=False
        )
        if started.returncode:
            raise StreamError(f"Apache Kafka cannot be had here: {started.stderr.strip()}", started.returncode)
        console.print(f"Apache Kafka listens on {started.stdout.strip()}")
        try:
            yield started.stdout.strip()
        finally:
            subprocess.run([*script, "stop", "--dir", str(out / "kafka")], check=False)
        return
    if not shutil.which("java"):
        console.print("no Java here: Apache Kafka, and with it the check of exactly-once delivery, is left out")
    with EmbeddedBroker() as embedded:
        console.print(f"the embedded broker listens on {embedded.bootstrap} (memory only, no transactions)")
        yield embedded.bootstrap


def configuration(bootstrap: str, out: Path, consumer: Mapping[str, str], port: int) -> str:
    """worker.toml of the demo."""
    lines = "\n".join(f'"{name}" = "{value}"' for name, value in consumer.items())
    return CONFIG.format(
        bootstrap=bootstrap,
        topic=TOPIC,
        annotations=ANNOTATIONS,
        delivery="at_least_once" if consumer else "exactly_once",  # the embedded broker shows what was taken back
        out=out.as_posix(),
        consumer=lines,
        pages=f"http://127.0.0.1:{port}",
        http_port=port,
    )


def free_port(wanted: int = 8100) -> int:
    """The port wanted for the pages, or another one where that is taken."""
    for port in (wanted, 0):
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise StreamError("there is no free port on 127.0.0.1", 1)


@contextmanager
def pages(config: Path, out: Path, port: int) -> Iterator[str]:
    """The address of the night's candidates, served by the publisher until the end."""
    words = [sys.executable, "-m", "realbogus", "publish", "--config", str(config)]
    with (out / "publisher.log").open("wb") as log:
        publisher = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        publisher.terminate()
        publisher.wait()


def wait_for_interrupt() -> None:
    """Until somebody has seen enough."""
    with suppress(KeyboardInterrupt):
        signal.pause()


def create(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)]).values():
        future.result(20)


def command(what: str, *words: str) -> dict[str, Any]:
    """Run one realbogus command, its progress on the screen; give the JSON that it prints at the end, if any."""
    console.rule(f"[bold]{what}[/bold]: realbogus {words[0]}", align="left", style="dim")
    done = subprocess.run([sys.executable, "-m", "realbogus", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        console.print(f"realbogus {' '.join(words)} ended with exit code {done.returncode}")
        raise subprocess.CalledProcessError(done.returncode, words)
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}


def spoil(bootstrap: str) -> int:
    """Send three damaged messages after the night: one cut short, one with a bad stamp, one that is no Avro at all."""
    good = bytes(next(read(bootstrap, TOPIC)).value())
    stamp = good.rfind(b"\x1f\x8b")  # the last gzip stream: the difference stamp
    spoilt = [
        good[: len(good) // 2],
        good[: stamp + 40] + bytes(60) + good[stamp + 100 :],
        b"<html>502 Bad Gateway</html>",
    ]
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in spoilt:
        producer.produce(TOPIC, value)
    producer.flush(20)
    return len(spoilt)


def read(bootstrap: str, topic: str) -> Iterator[Message]:
    """All messages of a topic now, by a reader of its own that commits nothing.

    It ends when nothing more comes: the embedded broker's high watermark is not to be relied on.
    """
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "demo-reader", "enable.auto.commit": False})
    try:
        numbers = consumer.list_topics(topic, 20).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        wait_s = 10.0
        while messages := consumer.consume(500, wait_s):
            yield from messages
            wait_s = IDLE_S
    finally:
        consumer.close()


def report(bootstrap: str, out: Path, worker: dict[str, Any], damaged: int) -> None:
    """What came of the night, counted from the topics and the folder of events."""
    annotations = {one["candid"]: one for one in (annotation.decode(m.value()) for m in read(bootstrap, ANNOTATIONS))}
    dead, parked = list(read(bootstrap, DEAD_LETTERS)), list(read(bootstrap, PARKED))
    with (out / "truth.csv").open() as file:
        truth = {int(row["candid"]): row for row in csv.DictReader(file)}
    events = sorted((out / "voevents").rglob("*.xml"))
    forwarded = [one for one in annotations.values() if one["decision"] == "forward"]
    picture = draw_extremes(bootstrap, annotations, truth, out / "best_and_worst.png")
    real = [one for candid, one in annotations.items() if truth[candid]["real"] == "1"]
    found = sum(one["decision"] == "forward" for one in real)
    table = Table("", Column(overflow="fold"), title="What came of the night", show_header=False, title_justify="left")
    for row in (
        ("alerts in", f"{len(truth) + damaged}, {damaged} of them damaged on purpose"),
        ("scored", f"{len(annotations)} annotations read back from topic {ANNOTATIONS}"),
        ("rejected", f"{len(dead)} in topic {DEAD_LETTERS}: " + ", ".join(reasons(dead))),
        ("parked", f"{len(parked)} in topic {PARKED}, to be replayed after an upgrade: " + ", ".join(reasons(parked))),
        ("forwarded", f"{len(forwarded)}, of which {found} are real; {len(real)} of the night's alerts are real"),
        ("throughput", f"{worker['alerts_per_s']:.0f} alerts/s, one worker process"),
        ("VOEvents", f"{len(events)} files below {out / 'voevents'}"),
        ("one of them", str(events[0]) if events else "-"),
        ("picture", f"{picture}: the best and the worst scores"),
        ("judged by", f"{forwarded[0]['model_name']} {forwarded[0]['model_version']}" if forwarded else "-"),
    ):  # fmt: skip
        table.add_row(*row)
    console.print(table)
    if len(annotations) + len(dead) + len(parked) != len(truth) + damaged:
        raise StreamError("the counts do not add up: some alerts are neither scored nor rejected nor parked", 1)


def reasons(dead: list[Message]) -> list[str]:
    """Why, from the headers of the dead letters."""
    return [dict(message.headers() or [])["__rb.errors.reason"].decode() for message in dead]


def draw_extremes(bootstrap: str, annotations: dict[int, dict], truth: dict[int, dict], path: Path) -> Path:  # type: ignore[type-arg]
    """Draw the four highest and the four lowest scores, one a kind of truth where that can be had."""
    ranked = sorted(annotations.values(), key=lambda one: one["score"])
    best, worst = one_a_kind(ranked[::-1], truth), one_a_kind(ranked, truth)
    chosen = [one["candid"] for one in (*best, *worst)]
    fields = {name: survey.fields for name, survey in SURVEYS.items()}
    triplets = {}
    for message in read(bootstrap, TOPIC):
        decoded, _ = packets.read(
            [message.value()], wanted=fields, recognise=recognise, store=SchemaStore(), limits=Limits()
        )
        for group in decoded:
            if int(group.integers[0, 0]) in chosen:
                batch, _ = SURVEYS[group.survey].to_batch(group, Limits())  # empty for the twin with the bad stamp
                triplets |= dict(zip(batch.candid.tolist(), batch.triplets, strict=True))
    titles = [f"{annotations[candid]['score']:.3f}  {truth[candid]['kind'].replace('_', ' ')}" for candid in chosen]
    draw_triplets(
        np.stack([triplets[candid] for candid in chosen]),
        titles,
        path,
        heading="Best and worst of the night: score and what it truly is",
        across=2,
    )
    return path


def one_a_kind(ranked: list[dict], truth: dict[int, dict], count: int = 4) -> list[dict]:  # type: ignore[type-arg]
    """The first of each true kind among the first hundred, filled up in order."""
    kinds: dict[str, dict] = {}  # type: ignore[type-arg]
    for one in ranked[:100]:
        kinds.setdefault(truth[one["candid"]]["kind"], one)
    first = list(kinds.values())[:count]
    return first + [one for one in ranked if one not in first][: count - len(first)]


if __name__ == "__main__":
    sys.exit(main())
