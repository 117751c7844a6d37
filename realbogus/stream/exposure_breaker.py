"""Hold the candidates of an exposure that is unlike the others: a camera or a subtraction that went wrong.

An exposure is a survey and a mid-exposure time. It is held from the moment that it has many times the usual number of
candidates, or that its scores are distributed unlike the usual ones. The same is asked of each of its detectors, where
it has several: a readout channel that floods is held while the rest of its exposure goes on. Alerts on hold are scored
and annotated as ever, with the decision "hold" and the header `held_by` for those above the threshold; their events
wait in a topic of their own until an operator releases them. What left before that moment has left.

What is usual is the median of the exposures that this worker has seen, and their scores; until it has seen enough of
them the scores that its model's manifest leads to expect. Partitions are shared among workers, and candidates are
spread evenly over them: each worker sees its share of every exposure, takes what it sees for that share of the whole,
and so finds a flood by itself, at the same size as a worker on its own would, whoever comes and goes. What was on hold
before it started it takes from the topic of held events.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from realbogus.alerts import Held, Outcomes, ScoredBatch
from realbogus.config.guards import ExposureSettings
from realbogus.drift import Counts, psi
from realbogus.stream.exposures import NO_DETECTOR, WHOLE, Followed, Tally, bins_of, key_of, numbers_of, place_of
from realbogus.stream.protocols import Message
from realbogus.stream.review import Review
from realbogus.telemetry import Metrics

log = logging.getLogger(__name__)

Place: TypeAlias = tuple[str, int]  # where a candidate was found: key of the exposure, number of the detector

LEAST_SCORES = 300  # candidates that this worker has seen, before their scores say anything


@dataclass
class ExposureBreaker(Review):
    """Counts candidates and scores by exposure and detector; takes forwarding away from those that are held."""

    settings: ExposureSettings = field(default_factory=ExposureSettings)
    metrics: Metrics = field(default_factory=Metrics)
    share: Callable[[], float] = lambda: 1.0  # of all candidates that this worker sees, more than 0 and up to 1
    reference: Callable[[str], Counts | None] = lambda survey: None  # the scores that its model leads to expect
    _surveys: dict[str, Followed] = field(default_factory=dict, init=False)

    def judge(self, messages: Sequence[Message], outcomes: Outcomes) -> Outcomes:
        """The outcomes, with candidates of held exposures and detectors held."""
        return replace(outcomes, scored=[self._judge(scored) for scored in outcomes])

    def restore(self, held: Iterable[tuple[str, str]]) -> None:
        """Take up what was on hold before this worker started: keys, and why."""
        for key, why in held:
            self._followed(key.partition("/")[0]).hold(*place_of(key), why)

    def held(self) -> dict[str, str]:
        """What is on hold of the exposures that are still followed, and why."""
        return {key: why for followed in list(self._surveys.values()) for key, why in followed.still().items()}

    def _followed(self, survey: str) -> Followed:
        return self._surveys.setdefault(survey, Followed())

    def _judge(self, scored: ScoredBatch) -> ScoredBatch:
        survey, columns = scored.alerts.survey, scored.alerts.columns
        followed = self._followed(survey)
        followed.judged_by(scored.model, lambda: self.reference(survey))
        mjd, number = np.unique(np.round(columns["mjd"], 5), return_inverse=True)
        keys = [f"{survey}/{when:.5f}" for when in mjd.tolist()]  # mid-exposure to the second
        places = list(zip([keys[at] for at in number.tolist()], numbers_of(columns["detector"]), strict=True))
        self._count(followed, scored, keys, places)
        self._look(followed, places)
        held = self._held_rows(followed, scored, places)
        followed.close()
        if followed.held:
            self.metrics.held_exposures.set(len(self.held()))
        if not held:
            return scored
        forward = scored.forward.copy()
        forward[list(held)] = False
        self.metrics.held.labels(survey).inc(len(held))
        return replace(scored, forward=forward, held={**scored.held, **held})

    def _count(self, followed: Followed, scored: ScoredBatch, keys: list[str], places: list[Place]) -> None:
        seen, weight = {key: followed.see(key) for key in keys}, 1 / self.share()
        rows = zip(places, scored.alerts.candid.tolist(), bins_of(scored.score), strict=True)
        for (key, detector), candid, score_bin in rows:
            seen[key].count(candid, detector, score_bin, weight)

    def _look(self, followed: Followed, places: list[Place]) -> None:
        """Hold the exposures that are unlike the usual ones by now, and such detectors of the others."""
        settings, usual = self.settings, followed.usual
        for key in dict(places):
            whole = followed.open[key].whole
            self._decide(followed, (key, WHOLE), whole, usual.candidates, settings.least)
        for key, detector in dict.fromkeys(places) if settings.least_on_detector else ():
            parts = followed.open[key].detectors
            if detector != NO_DETECTOR and len(parts) > 1:
                least = settings.least_on_detector
                self._decide(followed, (key, detector), parts[detector], usual.on_detector, least)

    def _decide(
        self, followed: Followed, place: Place, tally: Tally, usual: Callable[[int], float], least: float
    ) -> None:
        """Hold an exposure, or a detector of it, if what was counted of it is unlike the usual."""
        if tally.candidates < min(least, LEAST_SCORES) or followed.what_holds(*place):
            return
        why = self._too_many(tally, usual, least) or self._unlike(followed, tally)
        if why:
            log.error("%s is held: %s", key_of(*place), why)
            followed.hold(*place, why)
            followed.open[place[0]].is_example = followed.usual.scores(self.settings.learn) is None

    def _too_many(self, tally: Tally, usual: Callable[[int], float], least: float) -> str:
        settings = self.settings
        if not settings.times_usual or tally.candidates <= least:
            return ""
        typical = usual(settings.learn)
        if tally.candidates <= settings.times_usual * typical:
            return ""
        return f"{tally.candidates:.0f} candidates so far where {typical:.0f} are usual"

    def _unlike(self, followed: Followed, tally: Tally) -> str:
        """Why its scores are unlike the usual ones, or those that the model leads to expect while these are unknown."""
        settings, count = self.settings, sum(tally.scores)
        if not settings.score_psi or count < LEAST_SCORES:
            return ""
        known = followed.usual.scores(settings.learn)
        expected, whose = (known, "the usual ones") if known is not None else (followed.reference, "its model's")
        if expected is None or not (apart := psi(expected, np.array(tally.scores, np.float64))) > settings.score_psi:
            return ""
        return f"its scores are unlike {whose}: PSI {apart:.2f} over {count} candidates"

    @staticmethod
    def _held_rows(followed: Followed, scored: ScoredBatch, places: list[Place]) -> dict[int, Held]:
        """The rows that would be forwarded and may not, each with what holds it."""
        if not followed.held:
            return {}
        rows = np.flatnonzero(scored.forward).tolist()
        return {row: held for row in rows if (held := followed.what_holds(*places[row]))}
