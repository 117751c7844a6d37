"""What a batch becomes on the wire: annotations, dead letters, events for the outbox. Pure: values in, records out.

An annotation is keyed by its candid and carries the timestamp of its alert, so that a repeat is byte for byte the
same record. Its headers:

============ ==========================================================================================
schema       "realbogus/1.0/annotation", or "realbogus/1.0/packet" for a whole packet with its annotation
model        "name/version" that judged
survey       "ztf", "rubin", ...
source       "topic/partition/offset" of the alert
source_key   its key, where it had one
held_by      the exposure that is held, where the alert would be forwarded otherwise; its decision is "hold"
held_why     the reason for that
============ ==========================================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace

from realbogus import __version__
from realbogus.alerts import Outcomes, Rejected, ScoredBatch
from realbogus.config.sections import Format, topic_for
from realbogus.errors import PacketError, Reason, VOEventError
from realbogus.limits import Limits
from realbogus.packets import annotation, splice
from realbogus.packets.schemas import SchemaStore
from realbogus.stream.dead_letters import PARKED, dead_letter, size_of
from realbogus.stream.protocols import Headers, Message, Record
from realbogus.voevent.build import build
from realbogus.voevent.style import EventStyle

log = logging.getLogger(__name__)

ALERT = "alert"  # header of an event in the outbox: the alert that it was made of, as it came


@dataclass(frozen=True, kw_only=True)
class Destinations:
    """Where results go, and in which form."""

    annotations: str  # topic; "{topic}" stands for the input topic
    dead_letters: str  # likewise
    parked: str = "{topic}.parked"  # likewise; what waits for a schema, a survey's reader or a model
    outbox: str = ""  # topic of events; used where there is a style
    held: str = ""  # topic of events that wait until their exposure is released; likewise
    style: EventStyle | None = None  # None = no events are made
    format: Format = "record"
    store: SchemaStore = field(default_factory=SchemaStore)  # the scorer's: for packets that name their schema by id
    limits: Limits = field(default_factory=Limits)
    bare_schema: str | None = None
    with_alert: bool = False  # lay the alert beside its event, for the publisher's pages

    def topics(self, inputs: Sequence[str]) -> list[str]:
        """Every topic that results of these input topics may go to."""
        templates = (self.annotations, self.dead_letters, self.parked)
        found = [topic_for(template, topic) for topic in inputs for template in templates]
        return list(dict.fromkeys([*found, *filter(None, (self.outbox, self.held))] if self.style else found))


@dataclass
class Results:
    """Records in the order of their messages, and how each message ended: once, in scored, rejected or duplicates."""

    records: list[Record] = field(default_factory=list)
    scored: list[int] = field(default_factory=list)  # positions of the messages among those given
    forwarded: list[int] = field(default_factory=list)  # likewise; some of scored
    held: list[int] = field(default_factory=list)  # likewise; none of forwarded
    rejected: list[Rejected] = field(default_factory=list)  # by rising index; parked ones too
    duplicates: list[int] = field(default_factory=list)  # positions of alerts that were annotated before
    events: int = 0
    events_refused: int = 0  # promising alerts of which no valid event could be made
    refusal: str = ""  # why, of the first of them


def results_of(
    messages: Sequence[Message],
    outcomes: Outcomes,
    to: Destinations,
    room: Callable[[str], int],
    repeated: Container[int] = (),
) -> Results:
    """The results of a batch. room gives the largest record that a topic takes, in bytes.

    repeated are the positions of scored alerts that the survey has sent before: nothing is written for them.

    An alert whose annotated form fits no record of the output topic, or whose packet cannot be extended, is rejected.
    """
    results = Results(rejected=list(outcomes.rejected))
    placed: list[tuple[int, Record]] = []
    for scored in outcomes:
        _annotate(messages, scored, to, room, repeated, results, placed)
    results.rejected.sort(key=lambda one: one.index)
    for rejected in results.rejected:
        message = messages[rejected.index]
        topic = topic_for(to.parked if rejected.reason in PARKED else to.dead_letters, message.topic)
        placed.append((rejected.index, dead_letter(message, rejected, topic, room(topic))))
    if results.events_refused:  # a line a batch, not one an alert
        log.warning("%d promising alerts have no event; the first, %s", results.events_refused, results.refusal)
    placed.sort(key=lambda pair: pair[0])  # stable: an annotation stays before its event
    results.records = [record for _, record in placed]
    return results


def _annotate(
    messages: Sequence[Message],
    scored: ScoredBatch,
    to: Destinations,
    room: Callable[[str], int],
    repeated: Container[int],
    results: Results,
    placed: list[tuple[int, Record]],
) -> None:
    alerts = scored.alerts
    common = _common_headers(scored, to.format)
    rows = zip(
        alerts.index.tolist(),
        alerts.candid.tolist(),
        scored.forward.tolist(),
        annotation.encode(scored, __version__),
        strict=True,
    )
    for row, (index, candid, forward, annotated) in enumerate(rows):
        if index in repeated:
            results.duplicates.append(index)
            continue
        message = messages[index]
        try:
            record = _annotated(message, candid, annotated, (*common, *_held_by(scored, row)), to, room)
        except PacketError as problem:
            named = Rejected(index, problem.reason, str(problem), alerts.survey, candid, alerts.object_id[row])
            results.rejected.append(named)
            continue
        results.scored.append(index)
        placed.append((index, record))
        if forward or row in scored.held:
            (results.forwarded if forward else results.held).append(index)
            topic = to.outbox if forward else to.held
            if to.style is not None and topic and (event := _event(scored, row, to.style, message, topic, results)):
                fuller = to.with_alert and forward  # held ones may be many, and wait for long
                placed.append((index, _with_alert(event, message, room(topic)) if fuller else event))


def _annotated(
    message: Message, candid: int, annotated: bytes, common: Headers, to: Destinations, room: Callable[[str], int]
) -> Record:
    if to.format == "packet":
        annotated = splice.append(
            message.value, annotated, store=to.store, limits=to.limits, bare_schema=to.bare_schema
        )
    source = f"{message.topic}/{message.partition}/{message.offset}".encode()
    key = (("source_key", message.key),) if message.key is not None else ()
    topic = topic_for(to.annotations, message.topic)
    record = Record(topic, b"%d" % candid, annotated, (*common, ("source", source), *key), message.timestamp_ms)
    if size_of(record) > room(topic):
        raise PacketError(
            f"with its annotation it takes {size_of(record)} bytes, the topic {topic} takes {room(topic)}",
            Reason.OVERSIZE,
        )
    return record


def _held_by(scored: ScoredBatch, row: int) -> Headers:
    """What holds an alert, and why; nothing where nothing does."""
    held = scored.held.get(row)
    return (("held_by", held.by.encode()), ("held_why", held.why.encode())) if held else ()


def _common_headers(scored: ScoredBatch, form: Format) -> Headers:
    kind = "annotation" if form == "record" else "packet"
    model = f"{scored.model.name}/{scored.model.version}"
    return (
        ("schema", f"realbogus/{annotation.VERSION}/{kind}".encode()),
        ("model", model.encode()),
        ("survey", scored.alerts.survey.encode()),
    )


def _event(
    scored: ScoredBatch, row: int, style: EventStyle, message: Message, outbox: str, results: Results
) -> Record | None:
    """The outbox record of a forwarded alert: finished bytes, keyed by object so that its events stay in order."""
    try:
        event = build(scored, row, style)
    except VOEventError as problem:
        results.events_refused += 1
        results.refusal = results.refusal or f"candid {scored.alerts.candid[row]}: {problem}"
        return None
    results.events += row not in scored.held
    headers: Headers = (
        ("ivorn", event.ivorn.encode()),
        ("content-type", b"application/xml"),
        ("role", event.role.encode()),
    )
    key = event.object_id.encode()
    if row in scored.held:  # what is held together lies together, in order with the note of its release
        headers, key = (*headers, ("key", key), *_held_by(scored, row)), scored.held[row].by.encode()
    return Record(outbox, key, event.xml, headers, message.timestamp_ms)


def _with_alert(event: Record, message: Message, room: int) -> Record:
    """The event with its alert beside it, where both fit into a record."""
    fuller = replace(event, headers=(*event.headers, (ALERT, message.value)))
    return fuller if size_of(fuller) <= room else event
