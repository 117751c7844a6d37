"""Packets and models in, outcomes out: the front door of the core.

The stream worker and the archive command call the same `Scorer`, so their scores are the same to the last bit.
No clock, random generator, environment or path is read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from realbogus import packets
from realbogus.alerts import AlertBatch, Matrix, ModelId, Outcomes, Rejected, ScoredBatch
from realbogus.errors import Reason
from realbogus.features import extract
from realbogus.limits import Limits
from realbogus.model import Model
from realbogus.packets.fields import Decoded
from realbogus.packets.schemas import SchemaStore
from realbogus.policy import DECIMALS, Policy
from realbogus.surveys import SURVEYS, recognise

WANTED = {name: survey.fields for name, survey in SURVEYS.items()}


Timed = Callable[[str], AbstractContextManager[None]]  # the name of a stage -> what takes its time


def untimed(stage: str) -> AbstractContextManager[None]:
    """Takes nobody's time."""
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Scores batches of messages with one model a survey."""

    models: Mapping[str, Model]  # by survey; a survey without one is rejected with that reason
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    store: SchemaStore = field(default_factory=SchemaStore)
    bare_schema: str | None = None  # name of the schema of records that come without any header
    timed: Timed = untimed  # told of the stages decode, stamps and classify; changes no result

    def outcomes(self, messages: Sequence[bytes]) -> Outcomes:
        """Score messages together; each comes back once, as a row of a ScoredBatch or as Rejected.

        The result of a message does not depend on its neighbours, nor on how many they are.
        """
        with self.timed("decode"):
            decoded, rejected = packets.read(
                messages,
                wanted=WANTED,
                recognise=recognise,
                store=self.store,
                limits=self.limits,
                bare_schema=self.bare_schema,
            )
        scored = []
        for group in sorted(decoded, key=lambda group: group.survey):
            batch, refused = self._score_survey(group)
            rejected += refused
            if batch is not None:
                scored.append(batch)
        rejected.sort(key=lambda one: one.index)
        return Outcomes(len(messages), scored, rejected)

    def _score_survey(self, group: Decoded) -> tuple[ScoredBatch | None, list[Rejected]]:
        with self.timed("stamps"):
            alerts, rejected = SURVEYS[group.survey].to_batch(group, self.limits)
        model = self.models.get(group.survey)
        if model is None:
            return None, rejected + [_without_model(alerts, row) for row in range(len(alerts))]
        with self.timed("classify"):
            return (score_batch(alerts, model, self.policy) if len(alerts) else None), rejected


def score_batch(alerts: AlertBatch, model: Model, policy: Policy, features: Matrix | None = None) -> ScoredBatch:
    """Measure and score readable alerts of one survey. Contributions are computed for what is forwarded.

    features (N, F), if given, were measured before for a model with the same feature set.
    """
    features = extract(alerts, model.feature_names) if features is None else features
    raw = model.score(features)
    score = np.round(raw, DECIMALS)
    threshold = policy.threshold_for(model.id.threshold)
    forward = policy.forward(score, threshold)
    return ScoredBatch(
        alerts=alerts,
        model=_in_force(model, threshold),
        features=features,
        feature_names=model.feature_names,
        score=score,
        p_real=np.round(model.p_real(raw), DECIMALS),
        forward=forward,
        contributions=_contributions(model, features, np.flatnonzero(forward)),
    )


def _in_force(model: Model, threshold: float) -> ModelId:
    """Who judges, with the threshold in force on both scales."""
    as_p_real = float(np.round(model.p_real(np.array([threshold])), DECIMALS)[0]) if model.id.calibrated else None
    return replace(model.id, threshold=threshold, threshold_p_real=as_p_real)


def _contributions(
    model: Model, features: NDArray[np.float32], rows: NDArray[np.intp]
) -> dict[int, NDArray[np.float64]]:
    """Each feature's share of the score for these rows only: it costs more than the score itself."""
    if not len(rows):
        return {}
    return dict(zip(rows.tolist(), model.contributions(features[rows]), strict=True))


def _without_model(alerts: AlertBatch, row: int) -> Rejected:
    return Rejected(
        index=int(alerts.index[row]),
        reason=Reason.NO_MODEL,
        detail=f"no model is configured for survey {alerts.survey}; `realbogus models list` tells what there is",
        survey=alerts.survey,
        candid=int(alerts.candid[row]),
        object_id=alerts.object_id[row],
    )
