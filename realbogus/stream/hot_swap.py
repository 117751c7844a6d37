"""The scorer in force: a promoted model takes over between two batches, once it has shown that it can.

A thread beside the loop looks at `models/current` once a second. It loads and compiles what was promoted, with every
check of `load_model` (digests, structure, features, golden scores), while the loop goes on with the model it has. The
loop asks for the scorer once a batch, so that a batch never mixes models, and takes the new one there: one assignment.
Whatever goes wrong, the old model stays, and the log, a metric and /status say why. It is kept until the new one has
scored a batch: a model that fails on its first batch is taken back, and that batch is scored by the old one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from realbogus.alerts import ModelId, Outcomes
from realbogus.errors import ModelError, StreamError
from realbogus.model import Model
from realbogus.registry import Registry
from realbogus.scoring import Scorer
from realbogus.stream.guard import Score
from realbogus.stream.protocols import Clock, SystemClock
from realbogus.telemetry import Metrics

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0  # s; how often the promoted model is looked up, which costs one stat
RETRY_S = 30.0  # s; after that a refused model is tried again: its files may still have been on their way


@dataclass
class HotSwap:
    """Asked by the loop for the scorer, once a batch: `Worker(score=HotSwap(...))`."""

    scorer: Scorer  # in force
    registry: Registry
    surveys: Sequence[str]  # that follow the promoted model; others keep theirs
    metrics: Metrics = field(default_factory=Metrics)
    clock: Clock = field(default_factory=SystemClock)
    refused: str = field(default="", init=False)  # why the promoted model is not the one in force
    _next: Scorer | None = field(default=None, init=False)  # ready to take over
    _before: Scorer | None = field(default=None, init=False)  # until the one in force has scored a batch
    _seen: tuple[int, ...] = field(default=(), init=False)
    _retry_at: float = field(default=float("inf"), init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        for survey, model in self.scorer.models.items():
            self._tell(survey, model)
        for result in ("swapped", "refused"):  # from 0 on: a counter that begins at its first event rings no alarm
            self.metrics.model_swaps.labels(result)

    def __call__(self) -> Score:
        """How to score the next batch."""
        with self._lock:
            candidate, self._next = self._next, None
        if candidate is not None:
            self._before, self.scorer = self.scorer, candidate
            self._swapped(candidate)
        return self.scorer.outcomes if self._before is None else self._first_batch

    def look(self) -> None:
        """Notice a promotion and make its model ready. Never raises: the model in force goes on."""
        stamp = self.registry.stamp()
        if stamp == self._seen and self.clock.monotonic() < self._retry_at:
            return
        self._seen, self._retry_at = stamp, float("inf")
        try:
            candidate = self._promoted()
        except Exception as error:
            self._retry_at = self.clock.monotonic() + RETRY_S
            self._refuse(str(error) or repr(error))
            return
        self.refused = ""
        with self._lock:
            self._next = candidate

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look again and again, in a thread of its own, while the body runs."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(LOOK_EVERY_S):
                self.look()

        thread = threading.Thread(target=watch, name="promotions", daemon=True)
        if self.surveys:
            thread.start()
        try:
            yield
        finally:
            ended.set()

    def status(self) -> dict[str, Any]:
        """What is in force, what waits for the next batch, what was refused; for /status."""
        with self._lock:
            ready = self._next
        return {
            "in_force": {survey: spec_of(model.id) for survey, model in self.scorer.models.items()},
            "ready": {survey: spec_of(ready.models[survey].id) for survey in self.surveys} if ready else {},
            "refused": self.refused,
        }

    def _promoted(self) -> Scorer | None:
        """A scorer with the promoted model, loaded, checked and compiled; None where it is in force already."""
        wanted = self.registry.current()
        if all(spec_of(self.scorer.models[survey].id) == wanted for survey in self.surveys):
            return None
        log.info("%s was promoted; loading and checking it", wanted)
        model = self.registry.load(wanted)
        if foreign := [survey for survey in self.surveys if survey not in model.surveys]:
            raise ModelError(f"{wanted} was not made for {', '.join(foreign)} but for {', '.join(model.surveys)}")
        model.warm_up()
        return replace(self.scorer, models={**self.scorer.models, **dict.fromkeys(self.surveys, model)})

    def _first_batch(self, values: Sequence[bytes]) -> Outcomes:
        """Score with the new model; with the old one where the new one fails and the old one does not."""
        try:
            outcomes = self.scorer.outcomes(values)
        except StreamError:
            raise
        except Exception as error:
            assert self._before is not None
            outcomes = self._before.outcomes(values)  # raises too where the batch is to blame
            self.scorer, failed = self._before, self.scorer
            self._refuse(f"{_specs(failed, self.surveys)} failed on its first batch: {error!r}")
            self._say(self.scorer)
        self._before = None
        return outcomes

    def _swapped(self, scorer: Scorer) -> None:
        self.metrics.model_swaps.labels("swapped").inc()
        self._say(scorer)
        log.info("%s judges from now on", _specs(scorer, self.surveys))

    def _refuse(self, why: str) -> None:
        self.metrics.model_swaps.labels("refused").inc()
        if why != self.refused:
            log.error("the promoted model is refused, %s goes on: %s", _specs(self.scorer, self.surveys), why)
        self.refused = why

    def _say(self, scorer: Scorer) -> None:
        for survey in self.surveys:
            self._tell(survey, scorer.models[survey])

    def _tell(self, survey: str, model: Model) -> None:
        threshold = self.scorer.policy.threshold_for(model.id.threshold)
        self.metrics.model_in_force(survey, model.id, threshold, model.golden_difference)


def spec_of(model: ModelId) -> str:
    """ "name/version", as the registry knows it."""
    return f"{model.name}/{model.version}"


def followers(surveys: Mapping[str, str]) -> tuple[str, ...]:
    """The surveys of [models.surveys] that follow the promoted model."""
    return tuple(survey for survey, spec in surveys.items() if spec == "current")


def _specs(scorer: Scorer, surveys: Sequence[str]) -> str:
    return ", ".join(sorted({spec_of(scorer.models[survey].id) for survey in surveys}))
