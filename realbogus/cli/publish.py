"""Drain the VOEvent outbox into its sinks: archive folder, Kafka topics, VOEvent brokers and subscribers, web pages.

How it is called: `realbogus.cli.calls.publish`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace

from rich.console import Console

from realbogus import config
from realbogus.cli.calls.publish import ONCE_S
from realbogus.errors import ConfigError
from realbogus.packets.schemas import SchemaStore
from realbogus.publish.archive import Archive
from realbogus.publish.handover import Handover, withdrawals
from realbogus.publish.kafka_topic import JsonTopic, KafkaTopic
from realbogus.publish.ledger import Ledger
from realbogus.publish.metrics import PublisherMetrics
from realbogus.publish.outbox import Counts, Publisher
from realbogus.publish.postgres import Postgres
from realbogus.publish.settings import PublishSettings
from realbogus.publish.sinks import EventSink
from realbogus.publish.vtp_author import VtpAuthor
from realbogus.publish.vtp_broadcaster import VtpBroadcaster
from realbogus.stream.kafka import KafkaSink, KafkaSource, client_settings
from realbogus.stream.protocols import SystemClock
from realbogus.stream.schema_registry import SchemaRegistry
from realbogus.telemetry import Health, Metrics, log_to_stderr, serve

log = logging.getLogger(__name__)

Show = Callable[[Counts], None]

ALONE_AS = "publisher"  # static membership: whoever starts after a kill has the partitions at once
ALONE: Mapping[str, str] = {  # a group of one
    "max.poll.interval.ms": "3600000",  # a sink may be down for long; nobody else waits for our partitions
    "session.timeout.ms": "10000",  # after a kill the successor has them so soon
    "heartbeat.interval.ms": "2000",
}


def run(options: argparse.Namespace) -> int:
    """Publish, or do what the action says."""
    if options.config is None:
        raise ConfigError(["--config FILE is needed; 'realbogus config example' prints one to start from"])
    settings = config.load(options.config, os.environ)
    actions = {None: _publish, "retract": _retract, "parked": _parked, "release": _release}
    return actions[options.action](settings, options)


def _publish(settings: config.Settings, options: argparse.Namespace) -> int:
    """Publish until told to stop, show the counts, print them at the end."""
    log_to_stderr(settings.log.level, settings.log.format, "publisher")
    until_idle_s = ONCE_S if options.once else options.until_idle
    metrics, health, clock = Metrics(), Health(), SystemClock()
    with ExitStack() as stack:
        stop = stack.enter_context(_stopped_by_signals())
        show = stack.enter_context(_shown())
        if settings.publish.port:
            address = stack.enter_context(serve(metrics, health, settings.http.host, settings.publish.port))
            log.info("metrics at %s/metrics", address)
        ledger = stack.enter_context(closing(open_ledger(settings.publish)))
        if options.retry_parked:
            log.info("%d deliveries wait again", ledger.unpark(clock.now()))
        sinks = [stack.enter_context(closing(sink)) for sink in _sinks(settings, ledger)]
        source = stack.enter_context(closing(_source(settings, metrics)))

        def seen(counts: Counts) -> None:
            health.turn(source.waiting_for())
            show(counts)

        threads = stack.enter_context(ThreadPoolExecutor(len(sinks), "sink"))
        publisher = Publisher(source, ledger, sinks, settings.publish, clock, stop.wait, seen, threads.submit)
        health.waiting_in_client = True  # a sink may be down for hours; starting again would not bring it back
        metrics.registry.register(PublisherMetrics(publisher.counts))
        counts = publisher.run(until_idle_s=until_idle_s)
    _tell(counts, settings.publish)
    return 0


def open_ledger(publish: PublishSettings, *, alone: bool = True) -> Ledger:
    """The ledger of a configuration; readers, who are not alone, do not make one."""
    if publish.ledger_database:
        return Ledger(Postgres(publish.ledger_database), alone=alone)
    if not alone and not publish.ledger.exists():
        raise ConfigError(
            [f"there is no ledger {str(publish.ledger)!r}: nothing was published with this configuration"]
        )
    return Ledger(publish.ledger, alone=alone)


def open_outbox(settings: config.Settings) -> Handover:
    """The outbox, to lay drafts into."""
    output = settings.output
    sink = KafkaSink(settings.kafka, create=output.create, partitions=output.partitions, replication=output.replication)
    return Handover(sink, settings.publish.outbox)


def _retract(settings: config.Settings, options: argparse.Namespace) -> int:
    """Hand the retractions to the outbox and print their ids."""
    with closing(open_ledger(settings.publish, alone=False)) as ledger:
        drafts = withdrawals(ledger, options.name, options.reason)
    with closing(open_outbox(settings)) as outbox:
        outbox.send(drafts)
    for draft in drafts:
        print(json.dumps({"ivorn": draft.ivorn, "object_id": draft.object_id, "candid": draft.candid}))
    Console(stderr=True).print(
        f"in the outbox, for the publisher to send: {len(drafts)} retraction{'s' * (len(drafts) != 1)}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _parked(settings: config.Settings, _: argparse.Namespace) -> int:
    """Print what is parked and what is set aside."""
    with closing(open_ledger(settings.publish, alone=False)) as ledger:
        parked, aside = ledger.parked(), ledger.things_set_aside()
    for told in [asdict(one) for one in parked] + [asdict(one) for one in aside]:
        print(json.dumps(told))
    Console(stderr=True).print(
        f"{len(parked)} deliveries are parked, {len(aside)} records of the outbox are set aside for good",
        *(["'realbogus publish release' lets parked ones wait for their sinks again"] if parked else []),
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _release(settings: config.Settings, options: argparse.Namespace) -> int:
    """Let parked events wait again; the publisher sees them within seconds."""
    with closing(open_ledger(settings.publish, alone=False)) as ledger:
        released = ledger.unpark(SystemClock().now(), ivorn=options.ivorn, sink=options.sink)
    Console(stderr=True).print(f"{released} deliveries wait again", highlight=False)
    return 0


def _sinks(settings: config.Settings, ledger: Ledger) -> Iterator[EventSink]:
    """The sinks of the configuration; topics that are missing are made."""
    publish, output = settings.publish, settings.output
    topics = KafkaSink(
        settings.kafka, create=output.create, partitions=output.partitions, replication=output.replication
    )
    with closing(topics):
        topics.prepare([topic for topic in (publish.outbox, publish.topic, publish.json_topic) if topic])
    if publish.archive is not None:
        yield Archive(publish.archive)
    properties = client_settings(settings.kafka, settings.kafka.producer)
    if publish.topic:
        yield KafkaTopic(publish.topic, properties, delivery_s=publish.delivery_s)
    if publish.json_topic:
        yield JsonTopic(publish.json_topic, properties, delivery_s=publish.delivery_s)
    if publish.vtp_author:
        yield VtpAuthor(*publish.vtp_address, refusal=lambda event: ledger.refusal(event, VtpAuthor.name))
    if publish.vtp_port:
        if settings.voevent is None:
            raise ConfigError(["publish.vtp_port needs section [voevent]: subscribers are told whose events they get"])
        ivorn = settings.voevent.prefix.rstrip("#")
        yield VtpBroadcaster(publish.vtp_host, publish.vtp_port, ivorn=ivorn, allow=publish.vtp_allow)
    if publish.http_port:
        yield _http(settings)


def _http(settings: config.Settings) -> EventSink:
    """The sink that people look at. A new catalogue takes what the archive holds."""
    from realbogus.publish.evidence import EvidenceReader  # loads compiled code, which nobody else here needs
    from realbogus.publish.http.sink import HttpSink, archived

    publish, given = settings.publish, settings.input
    address = given.schema_registry_url if given else ""
    fetch = SchemaRegistry(address, limits=settings.limits) if address else None
    reader = EvidenceReader(SchemaStore(fetch), settings.limits, (given and given.bare_schema) or None)
    sink = HttpSink(publish.http_host, publish.http_port, publish.catalogue, reader=reader)
    log.info("candidates at %s", sink.address)
    if publish.archive is not None and sink.catalogue.is_empty() and (count := sink.fill(archived(publish.archive))):
        log.info("%d events of the archive are in the new catalogue", count)
    return sink


def _source(settings: config.Settings, metrics: Metrics) -> KafkaSource:
    kafka = replace(settings.kafka, consumer={**ALONE, **settings.kafka.consumer})
    group_id, topic = settings.publish.group_id, settings.publish.outbox
    return KafkaSource(kafka, group_id=group_id, topics=lambda: [topic], instance=ALONE_AS, metrics=metrics)


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that the first SIGTERM or Ctrl-C sets; a second one ends the process at once, which loses nothing."""
    stop = threading.Event()

    def ask(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown() -> Iterator[Show]:
    """A line on stderr that tells the counts, where somebody is looking."""
    console = Console(stderr=True)
    with console.status("waiting for events") as status:
        yield lambda counts: status.update(f"{counts.taken} events taken, {_line(counts)}")


def _line(counts: Counts) -> str:
    parts = [f"{number} to {sink}" for sink, number in counts.sent.items()]
    parts += [f"{number} parked at {sink}" for sink, number in counts.parked.items() if number]
    parts += [f"{number} {what}" for what in ("conflicts", "moot", "invalid") if (number := getattr(counts, what))]
    return ", ".join(parts) or "none sent"


def _tell(counts: Counts, publish: PublishSettings) -> None:
    """The counts as JSON to stdout, and for people where the events lie to stderr."""
    print(json.dumps(counts.told()))
    where = [str(publish.archive)] if publish.archive is not None else []
    where += [f"topic {topic}" for topic in (publish.topic, publish.json_topic) if topic]
    where += [f"broker {publish.vtp_author}"] if publish.vtp_author else []
    where += [f"http://{publish.http_host}:{publish.http_port}/"] if publish.http_port else []
    where += [f"subscribers at {publish.vtp_host}:{publish.vtp_port}"] if publish.vtp_port else []
    Console(stderr=True).print(
        f"{counts.taken} events taken, {_line(counts)}: {', '.join(where)}", highlight=False, soft_wrap=True
    )
