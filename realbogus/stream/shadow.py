"""A shadow model scores the same alerts into a second column, and nothing follows from what it says.

Its annotations go to a topic of their own, in the schema of all annotations and under the same candid, so that a join
of the two topics compares the models alert by alert. Its decisions are "hold" and "reject", never "forward". Features
are those measured for the model in force where both use the same set. A fault of the shadow is logged and counted,
and costs nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from realbogus import __version__
from realbogus.alerts import Outcomes, ScoredBatch
from realbogus.config.sections import topic_for
from realbogus.model import Model
from realbogus.packets import annotation
from realbogus.policy import Policy
from realbogus.scoring import score_batch
from realbogus.stream.protocols import Clock, Message, Record, SystemClock
from realbogus.stream.review import Review
from realbogus.telemetry import Metrics

log = logging.getLogger(__name__)

QUIET_LOG_S = 60.0  # s; a fault is not repeated in the log before


@dataclass
class Shadow(Review):
    """Second opinions on the alerts of some surveys."""

    models: Mapping[str, Model]  # by survey
    topic: str  # "{topic}" stands for the input topic
    policy: Policy = field(default_factory=Policy)
    metrics: Metrics = field(default_factory=Metrics)
    clock: Clock = field(default_factory=SystemClock)
    _logged: float = field(default=float("-inf"), init=False)

    def records(self, messages: Sequence[Message], outcomes: Outcomes) -> Sequence[Record]:
        """The annotations of the shadow model."""
        found: list[Record] = []
        for scored in outcomes:
            if scored.alerts.survey in self.models:
                try:
                    found += self._records(messages, scored)
                except Exception:
                    self._failed(scored)
        return found

    def _records(self, messages: Sequence[Message], scored: ScoredBatch) -> list[Record]:
        second = self._second(scored)
        agree = (second.score >= second.model.threshold) == (scored.score >= scored.model.threshold)
        same = int(agree.sum())
        self.metrics.shadow.labels(scored.alerts.survey, "same").inc(same)
        self.metrics.shadow.labels(scored.alerts.survey, "other").inc(len(scored) - same)
        values = annotation.encode(second, __version__)
        rows = zip(second.alerts.index.tolist(), second.alerts.candid.tolist(), values, strict=True)
        return [self._record(messages[index], candid, value, second) for index, candid, value in rows]

    def _second(self, scored: ScoredBatch) -> ScoredBatch:
        model = self.models[scored.alerts.survey]
        measured = scored.features if scored.model.feature_set == model.id.feature_set else None
        second = score_batch(scored.alerts, model, self.policy, measured)
        return replace(second, forward=np.zeros(len(second), np.bool_))

    def _record(self, message: Message, candid: int, value: bytes, second: ScoredBatch) -> Record:
        headers = (
            ("schema", f"realbogus/{annotation.VERSION}/annotation".encode()),
            ("model", f"{second.model.name}/{second.model.version}".encode()),
            ("survey", second.alerts.survey.encode()),
            ("shadow", b"true"),
            ("source", f"{message.topic}/{message.partition}/{message.offset}".encode()),
        )
        return Record(topic_for(self.topic, message.topic), b"%d" % candid, value, headers, message.timestamp_ms)

    def _failed(self, scored: ScoredBatch) -> None:
        self.metrics.shadow.labels(scored.alerts.survey, "failed").inc(len(scored))
        if self.clock.monotonic() - self._logged >= QUIET_LOG_S:
            self._logged = self.clock.monotonic()
            log.exception("the shadow model fails; the model in force goes on without it")
