"""From settings to a worker that is ready to start: models verified, code compiled, then the first connection."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

from realbogus import features
from realbogus.config import Settings
from realbogus.config.sections import KafkaSettings, OutputSettings, topic_for
from realbogus.errors import ConfigError, FeatureMismatch, ModelError, PacketError
from realbogus.model import Model
from realbogus.packets.schemas import SchemaStore, read_schema
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.scoring import Scorer
from realbogus.stream.delivery import AtLeastOnce, ExactlyOnce
from realbogus.stream.duplicates import Window
from realbogus.stream.hot_swap import HotSwap, followers
from realbogus.stream.kafka import KafkaLog, KafkaSink, KafkaSource, KafkaTransactions, move_group
from realbogus.stream.nightly import MOST_NIGHTS, topics_of_the_night
from realbogus.stream.protocols import Clock, SystemClock
from realbogus.stream.results import Destinations
from realbogus.stream.schema_registry import SchemaRegistry
from realbogus.stream.slots import Place, place_in
from realbogus.stream.watching import reviews_of, still_held
from realbogus.stream.worker import DAY_S, Worker
from realbogus.surveys import SURVEYS
from realbogus.telemetry import Health, Metrics

log = logging.getLogger(__name__)


def scorer_for(settings: Settings) -> Scorer:
    """The scorer that a configuration asks for. ConfigError with every model or schema that cannot be had."""
    given, problems = settings.need_input(), []
    models = Registry(settings.models.folder or shipped("models"))
    loaded: dict[str, Model] = {}
    for survey, spec in settings.models.surveys.items():
        try:
            loaded[survey] = _model(models, survey, spec)
        except (ModelError, FeatureMismatch) as error:
            problems.append(f"models.surveys.{survey}: {error}")
    try:
        if given.bare_schema:
            read_schema(given.bare_schema)
    except PacketError as error:
        problems.append(f"input.bare_schema: {error}")
    if problems:
        raise ConfigError(problems)
    fetch = SchemaRegistry(given.schema_registry_url, limits=settings.limits) if given.schema_registry_url else None
    return Scorer(
        models=loaded,
        policy=settings.policy,
        limits=settings.limits,
        store=SchemaStore(fetch),
        bare_schema=given.bare_schema or None,
    )


def _model(models: Registry, survey: str, spec: str) -> Model:
    if survey not in SURVEYS:
        raise ModelError(f"there is no such survey; known are {', '.join(SURVEYS)}")
    model = models.load(None if spec == "current" else spec)
    if survey not in model.surveys:
        raise ModelError(f"{model.id.name}/{model.id.version} was not made for it but for {', '.join(model.surveys)}")
    return model


def hot_swap(settings: Settings, scorer: Scorer, metrics: Metrics) -> HotSwap:
    """The scorer, for surveys that follow the promoted model replaced as soon as another is promoted."""
    models = Registry(settings.models.folder or shipped("models"))
    return HotSwap(scorer, models, followers(settings.models.surveys), metrics)


def warm_up(scorer: Scorer) -> None:
    """Compile, or load from the cache, all that the first batch would wait for."""
    features.warm_up()
    for model in scorer.models.values():
        model.warm_up()


def begin_at(settings: Settings, from_s: float, clock: Clock) -> None:
    """Set the group's offsets to a time (Unix, s), before anybody of the group reads."""
    given = settings.need_input()
    topics = topics_of_the_night(given.topics, given.pattern, clock.now(), from_s)
    found = move_group(settings.kafka, given.group_id, topics, from_s)
    log.info("group %s begins at a time, in %d partitions", given.group_id, len(found))


@contextmanager
def open_worker(
    settings: Settings,
    scorer: Scorer,
    *,
    metrics: Metrics,
    health: Health,
    slot: int | None = None,
    lasting: bool = True,
    from_s: float | None = None,
    until_s: float | None = None,
    clock: Clock | None = None,
) -> Iterator[Worker]:
    """A worker of these settings, connected; it leaves its group at the end.

    slot is its number among several processes, lasting tells whether it stays until told to stop; see `slots.place_in`.
    """
    given, clock = settings.need_input(), clock or SystemClock()
    to = _destinations(settings, scorer)
    with ExitStack() as stack:
        kafka, instance = settings.kafka, given.instance
        place = stack.enter_context(
            place_in(given.group_id, cluster=kafka.bootstrap, instance=instance, slot=slot, lasting=lasting)
        )
        sink = stack.enter_context(closing(open_sink(settings.output, kafka, place, metrics)))
        sink.prepare([*to.topics(given.topics), *_shadow_topics(settings)])
        source = stack.enter_context(closing(_source(settings, place, from_s, until_s, metrics, clock)))
        with closing(KafkaLog(kafka)) as before:
            held = still_held(before, settings.exposures.held, clock.now() - DAY_S)
        swap = hot_swap(settings, replace(scorer, timed=metrics.timed), metrics)
        stack.enter_context(swap.watching())
        health.parts["models"] = swap.status
        yield Worker(
            source=source,
            delivery=ExactlyOnce(source, sink) if isinstance(sink, KafkaTransactions) else AtLeastOnce(source, sink),
            score=swap,
            to=to,
            room=sink.room,
            batch_size=given.batch_size,
            wait_s=given.wait_s,
            clock=clock,
            metrics=metrics,
            health=health,
            window=Window(given.duplicates_window),
            stay_s=settings.breaker.stay_s if lasting else 0.0,
            reviews=reviews_of(settings, lambda: swap.scorer, metrics, health, held, source.share),
            hold=fetch.waiting if isinstance(fetch := scorer.store.fetch, SchemaRegistry) else lambda: "",
        )


def _destinations(settings: Settings, scorer: Scorer) -> Destinations:
    """Where each kind of result goes, and how it is written."""
    given, output = settings.need_input(), settings.output
    if settings.voevent is None:
        log.info("no section [voevent]: alerts are annotated, no events are made")
    return Destinations(
        annotations=output.topic,
        dead_letters=output.dead_letters,
        parked=output.parked,
        held=settings.exposures.held,
        outbox=settings.publish.outbox,
        style=settings.voevent,
        format=output.format,
        store=scorer.store,
        limits=settings.limits,
        bare_schema=given.bare_schema or None,
        with_alert=bool(settings.publish.http_port),
    )


def _shadow_topics(settings: Settings) -> list[str]:
    """Where a model in the shadow writes."""
    return [topic_for(settings.output.shadow, one) for one in settings.need_input().topics if settings.models.shadow]


def _source(
    settings: Settings, place: Place, from_s: float | None, until_s: float | None, metrics: Metrics, clock: Clock
) -> KafkaSource:
    """The topics of the night, as a member of the group."""
    given = settings.need_input()

    def topics() -> tuple[str, ...]:
        recent = from_s is not None and clock.now() - from_s < (MOST_NIGHTS - 3) * DAY_S
        return topics_of_the_night(given.topics, given.pattern, clock.now(), from_s if recent else None)

    return KafkaSource(
        settings.kafka,
        group_id=given.group_id,
        topics=topics,
        always=given.topics if given.pattern and until_s is None else None,
        instance=place.name if place.kept else "",
        until_s=until_s,
        batch_bytes=given.batch_mb << 20,
        metrics=metrics,
        clock=clock,
    )


def open_sink(output: OutputSettings, kafka: KafkaSettings, place: Place, metrics: Metrics) -> KafkaSink:
    """Where results go, with transactions or without, as the settings say."""
    options: dict[str, Any] = {
        "compression": "zstd" if output.format == "record" else "lz4",  # stamps are compressed already
        "create": output.create,
        "partitions": output.partitions,
        "replication": output.replication,
        "metrics": metrics,
    }
    if output.delivery == "at_least_once":
        log.warning("delivery is at_least_once: after a crash or a change of the group alerts may be annotated twice")
        return KafkaSink(kafka, **options)
    timeout_s = output.transaction_timeout_s
    return KafkaTransactions(kafka, transactional_id=place.transactional_id, timeout_s=timeout_s, **options)
