"""How soon a follower has an event, and how many requests the HTTP sink answers.

    .venv/bin/python scripts/design/following.py              # 300 events at 10/s, 10 000 events in the catalogue
    .venv/bin/python scripts/design/following.py --bootstrap 127.0.0.1:9092

Events of simulated alerts are laid into an outbox, each with its alert beside it, as the worker does; the command
`realbogus publish` drains it into a file archive and the HTTP sink; a follower of /stream takes the time. Then lists,
events, stamps and pages are asked for by eight clients. Broker, publisher, follower and clients share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory

import aiohttp
import numpy as np
from confluent_kafka import Producer

from realbogus.policy import Policy
from realbogus.publish.http.sink import HttpSink
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.scoring import Scorer
from realbogus.stream.embedded import CONSUMER_PROPERTIES, EmbeddedBroker
from realbogus.stream.results import ALERT
from realbogus.voevent import Event, EventStyle, build

STYLE = EventStyle(authority="org.example.realbogus")
OUTBOX = "following.outbox"
CLIENTS = 8
FILTERED = "/events?min_score=0.9&max_mag=20&ra=27.5&dec=47.6&radius=5"
PATHS = ("/events", FILTERED, "{event}.xml", "{event}.json", "{event}/science.png", "/", "{event}.html")


def main() -> None:
    options = arguments()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        alerts, events = simulated(folder)
        with nullcontext() if options.bootstrap else EmbeddedBroker() as broker:
            bootstrap = options.bootstrap or broker.bootstrap
            with publisher(folder, bootstrap, embedded=not options.bootstrap) as address:
                drafts = numbered(events, options.events, seed=1)
                delays = asyncio.run(followed(address, bootstrap, drafts, alerts, options.rate))
        told("outbox record to follower, ms", 1000 * np.array(delays))
        asyncio.run(loaded(folder, numbered(events, options.catalogue, seed=2), alerts, options.seconds))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", default="", help="a Kafka to use (default: the embedded broker)")
    parser.add_argument("--events", type=int, default=300, help="followed, at --rate")
    parser.add_argument("--rate", type=float, default=10.0, help="events/s")
    parser.add_argument("--catalogue", type=int, default=10_000, help="events to be searched")
    parser.add_argument("--seconds", type=float, default=5.0, help="of load, a path")
    return parser.parse_args()


def simulated(folder: Path) -> tuple[list[bytes], list[tuple[object, int]]]:
    """Alerts that are forwarded, and where each stands in a scored batch."""
    night = folder / "night"
    subprocess.run(
        [sys.executable, "-m", "realbogus", "simulate", "--alerts", "60", "--seed", "4", "--out", str(night)],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    packets = [path.read_bytes() for path in sorted(night.glob("*.avro"))]
    scorer = Scorer(models={"ztf": Registry(shipped("models")).load(None)}, policy=Policy())
    (scored,) = scorer.outcomes(packets).scored
    rows = np.flatnonzero(scored.forward).tolist()
    return [packets[int(scored.alerts.index[row])] for row in rows], [(scored, row) for row in rows]


def numbered(places: list, count: int, seed: int) -> list[tuple[Event, int]]:
    """So many events of candidates of their own, with the alert that each shows."""
    made = []
    for number in range(count):
        scored, row = places[number % len(places)]
        candid = scored.alerts.candid.copy()
        candid[row] = 10**18 * seed + number + 1
        alerts = replace(scored.alerts, candid=candid, object_id=[f"SIM{seed}x{number:06d}"] * len(candid))
        made.append((build(replace(scored, alerts=alerts), row, STYLE), number % len(places)))
    return made


@contextmanager
def publisher(folder: Path, bootstrap: str, *, embedded: bool) -> Iterator[str]:
    """The address of a publisher at work."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    consumer = "\n".join(f'"{name}" = "{value}"' for name, value in CONSUMER_PROPERTIES.items()) if embedded else ""
    config = folder / "publish.toml"
    config.write_text(
        f'[kafka]\nbootstrap = "{bootstrap}"\n[kafka.consumer]\n{consumer}\n'
        f'[voevent]\nauthority = "org.example.realbogus"\n'
        f'[publish]\noutbox = "{OUTBOX}"\ngroup_id = "following-{port}"\nledger = "{folder}/ledger.sqlite"\n'
        f'archive = "{folder}/voevents"\ncatalogue = "{folder}/catalogue.sqlite"\nhttp_port = {port}\n'
    )
    words = [sys.executable, "-m", "realbogus", "publish", "--config", str(config)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


async def followed(
    address: str, bootstrap: str, drafts: list[tuple[Event, int]], alerts: list[bytes], rate: float
) -> list[float]:
    """Seconds from an event's entry into the outbox to its follower; the first event only wakes everybody up."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
    sent: dict[str, float] = {}
    delays: list[float] = []

    def produce(event: Event, at: int) -> None:
        sent[event.ivorn] = time.perf_counter()
        producer.produce(OUTBOX, event.xml, key=event.object_id, headers=[(ALERT, alerts[at])])
        producer.poll(0)

    async def produce_others() -> None:
        for draft in drafts[1:]:
            produce(*draft)
            await asyncio.sleep(1 / rate)

    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout, read_bufsize=1 << 20) as client:
        stream = await connected(client, f"{address}/stream")
        produce(*drafts[0])
        others = None
        async for line in stream.content:
            if line.startswith(b"data: "):
                delays.append(time.perf_counter() - sent[json.loads(line[6:])["ivorn"]])
                others = others or asyncio.create_task(produce_others())
                if len(delays) == len(drafts):
                    break
    producer.flush(10)
    return delays[1:]


async def connected(client: aiohttp.ClientSession, url: str) -> aiohttp.ClientResponse:
    """An answer of a server that is about to start."""
    for _ in range(600):
        try:
            return await client.get(url)
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


async def loaded(folder: Path, events: list[tuple[Event, int]], alerts: list[bytes], seconds: float) -> None:
    """Requests a second of a sink with many events."""
    path = folder / "many.sqlite"
    sink = HttpSink("127.0.0.1", 0, path)
    for start in range(0, len(events), 500):
        sink.send([event for event, _ in events[start : start + 500]])
    for event, at in events[-50:]:
        sink.lay(event, ((ALERT, alerts[at]),))
    sink.send([])
    sink.close()
    serve = (
        "import sys, time; from pathlib import Path; from realbogus.publish.http.sink import HttpSink; "
        "print(HttpSink('127.0.0.1', 0, Path(sys.argv[1])).address, flush=True); time.sleep(3600)"
    )
    process = subprocess.Popen([sys.executable, "-c", serve, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    address = process.stdout.readline().strip()
    try:
        async with aiohttp.ClientSession() as client:
            for template in PATHS:
                one = template.format(event=f"/events/{events[-1][0].ivorn.partition('#')[2]}")
                await asked(client, f"{address}{one}", template, seconds)
    finally:
        process.kill()
        process.wait()


async def asked(client: aiohttp.ClientSession, url: str, name: str, seconds: float) -> None:
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def ask() -> None:
        while (start := time.perf_counter()) < end:
            async with client.get(url) as answer:
                await answer.read()
                assert answer.status == 200, url
            times.append(time.perf_counter() - start)

    await asyncio.gather(*(ask() for _ in range(CLIENTS)))
    print(f"{name}: {len(times) / seconds:.0f} requests/s")
    told(f"  {name}, ms", 1000 * np.array(times))


def told(what: str, values: np.ndarray) -> None:
    median, high, longest = np.percentile(values, (50, 99, 100))
    print(f"{what}: median {median:.1f}, p99 {high:.1f}, longest {longest:.1f} (n = {len(values)})")


if __name__ == "__main__":
    main()
