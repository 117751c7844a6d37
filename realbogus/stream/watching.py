"""Everything that looks at each batch of a worker, as its settings ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from realbogus.alerts import ModelId, Outcomes, ScoredBatch
from realbogus.config import Settings
from realbogus.drift import Counts, FeatureDrift, ScoreDrift, reference_of
from realbogus.errors import ConfigError, FeatureMismatch, ModelError
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.scoring import Scorer
from realbogus.stream.circuit_breaker import CircuitBreaker
from realbogus.stream.exposure_breaker import ExposureBreaker
from realbogus.stream.holds import Hold, holds
from realbogus.stream.log import Log, from_time
from realbogus.stream.protocols import Message
from realbogus.stream.review import Review
from realbogus.stream.shadow import Shadow
from realbogus.telemetry import Health, Metrics

FEATURES = 6  # that are followed


@dataclass
class DriftWatch(Review):
    """Tells how far the scores of late are from those that the model is known for, and the features it asks most."""

    scorer: Callable[[], Scorer]  # in force
    metrics: Metrics = field(default_factory=Metrics)
    _followed: dict[str, tuple[ModelId, ScoreDrift]] = field(default_factory=dict, init=False)
    _features: dict[str, tuple[list[int], FeatureDrift]] = field(default_factory=dict, init=False)

    def judge(self, messages: Sequence[Message], outcomes: Outcomes) -> Outcomes:
        """The same outcomes; their scores are counted."""
        for scored in outcomes:
            survey = scored.alerts.survey
            model, drift = self._followed.get(survey, (None, ScoreDrift()))
            if model != scored.model:  # another model has other scores: begin again
                drift = ScoreDrift(self.reference(survey))
                self._followed[survey] = scored.model, drift
                self._begin_features(survey, scored)
            drift.add(scored.score)
            if not math.isnan(apart := drift.psi()):
                self.metrics.score_psi.labels(survey).set(round(apart, 4))
            self._look_at_features(survey, scored)
        return outcomes

    def _begin_features(self, survey: str, scored: ScoredBatch) -> None:
        """Follow the features that most branches of the model in force ask."""
        model = self.scorer().models.get(survey)
        if model is None or tuple(model.feature_names) != tuple(scored.feature_names):
            self._features.pop(survey, None)
            return
        forest = model.forest
        asked = np.bincount(forest.feature[forest.left >= 0], minlength=forest.n_features)
        chosen = np.argsort(-asked, kind="stable")[:FEATURES].tolist()
        self._features[survey] = chosen, FeatureDrift(len(chosen))

    def _look_at_features(self, survey: str, scored: ScoredBatch) -> None:
        if survey not in self._features:
            return
        chosen, drift = self._features[survey]
        drift.add(scored.features[:, chosen])
        for at, apart in zip(chosen, drift.psi(), strict=True):
            if not math.isnan(apart):
                self.metrics.feature_psi.labels(survey, scored.feature_names[at]).set(round(apart, 4))

    def reference(self, survey: str) -> Counts | None:
        """The scores that the model in force leads to expect of a survey, (M, BINS); None where it does not tell."""
        model = self.scorer().models.get(survey)
        return reference_of(model.manifest) if model else None


def reviews_of(
    settings: Settings,
    scorer: Callable[[], Scorer],
    metrics: Metrics,
    health: Health,
    held: Iterable[Hold] = (),
    share: Callable[[], float] = lambda: 1.0,
) -> list[Review]:
    """The reviews in their order: what stops comes first, what only looks comes last.

    held are the exposures that were on hold before this worker began; share tells which part of all alerts it sees.
    """
    reviews: list[Review] = [CircuitBreaker(settings.breaker, metrics, health)]
    drift = DriftWatch(scorer, metrics)
    exposures = ExposureBreaker(settings.exposures, metrics, share, drift.reference)
    exposures.restore((hold.exposure, hold.why) for hold in held)
    health.parts["held_exposures"] = exposures.held
    reviews += [exposures, drift]
    if settings.models.shadow:
        reviews.append(shadow_of(settings, metrics))
    return reviews


def still_held(log: Log, topic: str, since_s: float) -> list[Hold]:
    """The exposures of which events wait that were held at or after a time (Unix, s)."""
    found = holds(log.read(from_time(log, log.extent([topic]), since_s)))
    return [hold for hold in found.values() if hold.waiting]


def shadow_of(settings: Settings, metrics: Metrics) -> Shadow:
    """The shadow models, loaded with every check; ConfigError with those that cannot be had."""
    registry, problems, models = Registry(settings.models.folder or shipped("models")), [], {}
    for survey, spec in settings.models.shadow.items():
        try:
            models[survey] = registry.load(None if spec == "current" else spec)
        except (ModelError, FeatureMismatch) as error:
            problems.append(f"models.shadow.{survey}: {error}")
            continue
        models[survey].warm_up()
    if problems:
        raise ConfigError(problems)
    return Shadow(models, settings.output.shadow, settings.policy, metrics)
