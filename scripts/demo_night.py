"""A simulated night, end to end on this machine: broker, alerts, worker, publisher, and what came of it.

Every step is the command that an operator would call; the counts at the end are read back from the topics and from
the folder of VOEvents by this script, and compared with the simulator's truth.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
TOPIC, ANNOTATIONS, DEAD_LETTERS = "ztf_simulated", "realbogus.annotations", "ztf_simulated.dlq"
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
[voevent]
authority = "org.example.realbogus"
role = "test"
[publish]
archive = "{out}/voevents"
ledger = "{out}/ledger.sqlite"
topic = "realbogus.voevents"
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
            config.write_text(configuration(bootstrap, out, {} if options.kafka else CONSUMER_PROPERTIES))
            create(bootstrap, TOPIC)
            # Compile once, and while the frames are painted.
            subprocess.Popen([sys.executable, "-c", COMPILE], stderr=subprocess.DEVNULL)
            night = ["--alerts", str(options.alerts), "--seed", str(options.seed), "--jobs", "2"]
            sink = ["--kafka", bootstrap, "--topic", TOPIC, "--truth", str(out / "truth.csv")]
            command("simulating a night", "simulate", *night, *sink)
            damaged = spoil(bootstrap)
            worker = command("scoring it", "worker", "--config", str(config), "--until-idle", str(IDLE_S))
            command("publishing VOEvents", "publish", "--config", str(config), "--until-idle", str(IDLE_S))
            report(bootstrap, out, worker, damaged)
    except StreamError as error:
        console.print(f"realbogus: {error}")
        return error.exit_code
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        console.print("interrupted; the broker and all processes of the demo have ended")
        return 130
    console.print(f"[dim]the demo took {time.monotonic() - started:.0f} s[/dim]")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--alerts", type=int, default=1200, help="alerts in the simulated night (default: 1200)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulator: the same seed gives the same night")
    parser.add_argument("--kafka", action="store_true", help="use Apache Kafka (needs Java 17 and mvn)")
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


def configuration(bootstrap: str, out: Path, consumer: Mapping[str, str]) -> str:
    """worker.toml of the demo."""
    lines = "\n".join(f'"{name}" = "{value}"' for name, value in consumer.items())
    return CONFIG.format(bootstrap=bootstrap, topic=TOPIC, annotations=ANNOTATIONS, out=out.as_posix(), consumer=lines)


def create(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)]).values():
        future.result(20)


def command(what: str, *words: str) -> dict[str, Any]:
    """Run one realbogus command, its progress on the screen; give the JSON that it prints at the end, if any."""
    console.rule(f"[bold]{what}[/bold]: realbogus {words[0]}", align="left", style="dim")
    done = subprocess.run(
        [sys.executable, "-m", "realbogus.cli", *words], stdout=subprocess.PIPE, text=True, check=False
    )
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
    dead = list(read(bootstrap, DEAD_LETTERS))
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
        ("forwarded", f"{len(forwarded)}, of which {found} are real; {len(real)} of the night's alerts are real"),
        ("throughput", f"{worker['alerts_per_s']:.0f} alerts/s, one worker process"),
        ("VOEvents", f"{len(events)} files below {out / 'voevents'}"),
        ("one of them", str(events[0]) if events else "-"),
        ("picture", f"{picture}: the best and the worst scores"),
        ("judged by", f"{forwarded[0]['model_name']} {forwarded[0]['model_version']}" if forwarded else "-"),
    ):  # fmt: skip
        table.add_row(*row)
    console.print(table)
    if len(annotations) + len(dead) != len(truth) + damaged:
        raise StreamError("the counts do not add up: some alerts are neither scored nor rejected", 1)


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
                batch, _ = SURVEYS[group.survey].to_batch(group, Limits())
                triplets[int(batch.candid[0])] = batch.triplets[0]
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
