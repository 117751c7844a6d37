"""What each process of a rescoring run does: chunks of packets in, rows and events out."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from realbogus import __version__, archives, features, tables
from realbogus.alerts import Column, Matrix, Outcomes, Rejected, ScoredBatch
from realbogus.archives import Found
from realbogus.errors import PacketError, VOEventError
from realbogus.limits import Limits
from realbogus.model import Model, load_model
from realbogus.packets.blocks import MAGIC, SYNC_BYTES, decode_long
from realbogus.packets.container import split
from realbogus.policy import DECIMALS, Policy
from realbogus.scoring import Scorer
from realbogus.voevent.build import build
from realbogus.voevent.style import EventStyle
from realbogus.voevent.text import printed
from realbogus.voevent.validate import Event

_ELSEWHERE = ("models", "republish")
BATCH = 128  # messages scored together; 64 to 256 are fastest


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to compute: all that the output depends on beside the packets."""

    models: Mapping[str, Path]  # folder of the model that judges each survey
    sha256: Mapping[str, str] = field(default_factory=dict)  # of each model's content
    threshold: float | None = None  # None = the models' own
    limits: Limits = field(default_factory=Limits)
    bare_schema: str | None = None  # schema of records without any header
    features: Sequence[str] = ()  # features to be told beside the scores
    also: Sequence[str] = ()  # of tables.ALSO
    style: EventStyle | None = None  # of the VOEvents of what would be forwarded; None = no events
    republish: Mapping[tuple[str, str], int] | None = None  # events of these published candidates instead, real or
    # bogus: object and candidate as printed -> revision

    def told(self) -> dict[str, str]:
        """The plan as text, to be compared with that of an earlier run.

        Where the models lie does not matter; what is published already changes while its publisher works.
        """
        told = {one.name: repr(getattr(self, one.name)) for one in fields(self) if one.name not in _ELSEWHERE}
        return {**told, "realbogus": __version__}

    def scorer(self) -> Scorer:
        """The models loaded, checked and warm."""
        loaded = {folder: load_model(folder) for folder in set(self.models.values())}
        features.warm_up()
        for model in loaded.values():
            model.warm_up()
        return Scorer(
            models={survey: loaded[folder] for survey, folder in self.models.items()},
            policy=Policy(threshold=self.threshold),
            limits=self.limits,
            bare_schema=self.bare_schema,
        )


@dataclass(frozen=True)
class Chunk:
    """Packets that one process scores, one after the other."""

    number: int
    found: Sequence[Found]
    passed: int  # bytes of input behind these packets, for the progress bar

    def digest(self) -> bytes:
        """Of the names and sizes of the packets: equal for equal input."""
        return hashlib.sha256("".join(f"{one.path}\0{one.size}\n" for one in self.found).encode()).digest()


@dataclass(frozen=True)
class Judged:
    """What became of a chunk."""

    rows: pa.Table
    events: Sequence[Event] = ()
    untold: Sequence[str] = ()  # what should have been an event and could not, with the reason

    @property
    def rejected(self) -> int:
        """Rows with a reason instead of a score."""
        return len(self.rows) - int(self.rows["reason"].null_count)


def judge(chunk: Chunk, plan: Plan, scorer: Scorer) -> Judged:
    """Score the packets of a chunk. A container of several records gives a row for each: "night.avro#2"."""
    paths, messages, refused = _records(chunk.found)
    rows = tables.Rows(paths, plan.features, plan.also)
    for rejected in refused:
        rows.reject(rejected, rejected.index)
    readable = np.setdiff1d(np.arange(len(paths)), [rejected.index for rejected in refused])
    events: list[Event] = []
    untold: list[str] = []
    for start in range(0, len(messages), BATCH):
        outcomes = scorer.outcomes(messages[start : start + BATCH])
        rows.add(outcomes, readable[start : start + BATCH])
        for scored in outcomes if plan.also else ():
            where = readable[start : start + BATCH][scored.alerts.index]
            for name in plan.also:
                rows.tell(name, _ALSO[name](scorer.models[scored.alerts.survey], scored.features), where)
        if plan.style is not None:
            _tell(outcomes, plan, plan.style, events, untold)
    return Judged(rows.table(), events, untold)


def _spread(model: Model, X: Matrix) -> Column:
    return np.round(model.forest.spread(X), DECIMALS)


def _novelty(model: Model, X: Matrix) -> Column:
    """NaN where the model cannot tell."""
    return np.full(len(X), np.nan) if model.novelty is None else np.round(model.novelty(X), DECIMALS)


_ALSO: Mapping[str, Callable[[Model, Matrix], Column]] = {"spread": _spread, "novelty": _novelty}


def _records(found: Sequence[Found]) -> tuple[list[str], list[bytes], list[Rejected]]:
    """Path of every row, message of every readable one, and refusals whose index is their row."""
    paths: list[str] = []
    messages: list[bytes] = []
    refused: list[Rejected] = []
    contents = iter(archives.read([one for one in found if one.reason is None]))
    for one in found:
        if one.reason is not None:
            refused.append(Rejected(len(paths), one.reason, one.detail))
            paths.append(one.path)
            continue
        records = _records_in(next(contents))
        messages += records
        paths += [one.path] if len(records) == 1 else [f"{one.path}#{number}" for number in range(1, len(records) + 1)]
    return paths, messages, refused


def _records_in(raw: bytes) -> list[bytes]:
    """The messages of one file. That it is a container of one record is seen at a glance: parsing costs more."""
    if raw.startswith(MAGIC):
        start = raw.find(raw[-SYNC_BYTES:]) + SYNC_BYTES
        with suppress(PacketError):
            records, start = decode_long(raw, start)
            size, start = decode_long(raw, start)
            if records == 1 and start + size + SYNC_BYTES == len(raw):
                return [raw]
    return split(raw)


def _tell(outcomes: Outcomes, plan: Plan, style: EventStyle, events: list[Event], untold: list[str]) -> None:
    """Build the event of everything that is forwarded, or that is to be republished."""
    for scored in outcomes:
        for row, revision in _to_tell(scored, plan.republish):
            try:
                events.append(build(scored, row, style, revision=revision))
            except VOEventError as problem:
                untold.append(f"{scored.alerts.candid[row]}: {problem}")


def _to_tell(scored: ScoredBatch, republish: Mapping[tuple[str, str], int] | None) -> list[tuple[int, int]]:
    """Rows and revisions."""
    if republish is None:
        return [(row, 0) for row in np.flatnonzero(scored.forward).tolist()]
    keys = zip(map(printed, scored.alerts.object_id), map(str, scored.alerts.candid.tolist()), strict=True)
    return [(row, republish[key]) for row, key in enumerate(keys) if key in republish]


# -- in a process of the pool --------------------------------------------------------------------------------------

_judge: Callable[[Chunk], Judged] | None = None  # set once in each process, by `start`


def start(plan: Plan) -> None:
    """Make this process ready: leave Ctrl-C to the parent, end with it, load and warm the models."""
    global _judge
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _judge = partial(judge, plan=plan, scorer=plan.scorer())


def run(chunk: Chunk) -> Judged:
    """Judge a chunk in a process that `start` made ready."""
    if _judge is None:
        raise RuntimeError("this process was not made ready to judge")
    return _judge(chunk)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
