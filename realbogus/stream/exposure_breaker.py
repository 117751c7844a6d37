"""Hold the candidates of an exposure that is unlike the others: a camera or a subtraction that went wrong.

An exposure is a survey and a mid-exposure time. It is held from the moment that it has many times the usual number of
candidates, or that its scores are distributed unlike the usual ones. Its alerts are scored and annotated as ever, with
the decision "hold" and the header `held_by` for those above the threshold; their events wait in a topic of their own
until an operator releases them. What left before that moment has left.

What is usual is the median of the exposures that this worker has seen, and their scores. Partitions are shared among
workers, and candidates are spread evenly over them: each worker sees its share of every exposure, takes what it sees
for that share of the whole, and so finds a flood by itself, at the same size as a worker on its own would, whoever
comes and goes. A worker that starts knows nothing of the usual and holds nothing until it has learnt; what was on hold
it takes from the topic of held events.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Held, Outcomes, ScoredBatch
from realbogus.config.guards import ExposureSettings
from realbogus.drift import BINS, Counts, counted, psi
from realbogus.stream.protocols import Message
from realbogus.stream.review import Review
from realbogus.telemetry import Metrics

log = logging.getLogger(__name__)

REMEMBERED = 200  # exposures that the usual is of
OPEN = 256  # exposures followed at a time
DONE_D = 600 / 86_400  # d; an exposure so much older than the newest is complete
LEAST_SCORES = 300  # candidates of an exposure that this worker has seen, before their scores say anything


@dataclass
class Exposure:
    """What was seen of an exposure."""

    mjd: float
    candidates: float = 0.0  # of the whole exposure, as far as can be told from ours
    scores: Counts = field(default_factory=lambda: np.zeros(BINS))
    held: str = ""  # why; "" = not held
    seen: set[int] = field(default_factory=set)  # candids: a batch that is taken back comes again

    def count(self, candid: NDArray[np.int64], score: NDArray[np.float64], share: float) -> None:
        """Count those that were not counted before; share is what part of all candidates comes by here."""
        new = np.array([one not in self.seen for one in candid.tolist()], bool)
        self.seen.update(candid.tolist())
        self.candidates += int(new.sum()) / share
        self.scores += counted(score[new])


@dataclass
class ExposureBreaker(Review):
    """Counts candidates and scores by exposure; takes forwarding away from those that are held."""

    settings: ExposureSettings = field(default_factory=ExposureSettings)
    metrics: Metrics = field(default_factory=Metrics)
    share: Callable[[], float] = lambda: 1.0  # of all candidates that this worker sees, more than 0 and up to 1
    _open: OrderedDict[str, Exposure] = field(default_factory=OrderedDict, init=False)  # by key, last seen last
    _usual: dict[str, deque[float]] = field(default_factory=dict, init=False)  # survey -> candidates an exposure
    _scores: dict[str, deque[Counts]] = field(default_factory=dict, init=False)

    def judge(self, messages: Sequence[Message], outcomes: Outcomes) -> Outcomes:
        """The outcomes, with candidates of held exposures held."""
        return replace(outcomes, scored=[self._judge(scored) for scored in outcomes])

    def restore(self, held: Iterable[tuple[str, float, str]]) -> None:
        """Take up what was on hold before this worker started: key, mid-exposure (MJD) and why."""
        for key, mjd, why in held:
            self._open[key] = Exposure(mjd, held=why)
        self.metrics.held_exposures.set(len(self.held()))

    def held(self) -> dict[str, str]:
        """The exposures on hold that are still followed, and why."""
        return {key: one.held for key, one in list(self._open.items()) if one.held}

    def _judge(self, scored: ScoredBatch) -> ScoredBatch:
        mjd, number = np.unique(np.round(scored.alerts.columns["mjd"], 5), return_inverse=True)
        held: dict[int, Held] = {}
        for at, when in enumerate(mjd.tolist()):
            rows = np.flatnonzero(number == at)
            key = key_of(scored.alerts.survey, when)
            if why := self._look(scored, key, when, rows):
                held |= {row: Held(key, why) for row in rows[scored.forward[rows]].tolist()}
        self._close(scored.alerts.survey, float(mjd.max(initial=0.0)))
        if not held:
            return scored
        forward = scored.forward.copy()
        forward[list(held)] = False
        self.metrics.held.labels(scored.alerts.survey).inc(len(held))
        return replace(scored, forward=forward, held={**scored.held, **held})

    def _look(self, scored: ScoredBatch, key: str, mjd: float, rows: NDArray[np.intp]) -> str:
        """Count some candidates of an exposure; why it is held, "" if it is not."""
        one = self._open.setdefault(key, Exposure(mjd))
        self._open.move_to_end(key)
        one.count(scored.alerts.candid[rows], scored.score[rows], self.share())
        if not one.held and (why := self._unlike(scored.alerts.survey, one)):
            one.held = why
            log.error("exposure %s is held: %s", key, why)
            self.metrics.held_exposures.set(len(self.held()))
        return one.held

    def _unlike(self, survey: str, one: Exposure) -> str:
        usual, settings = self._usual.get(survey, ()), self.settings
        if len(usual) < settings.learn:
            return ""
        if settings.times_usual and one.candidates > settings.least:
            typical = median(usual)
            if one.candidates > settings.times_usual * typical:
                return f"{one.candidates:.0f} candidates so far where {typical:.0f} are usual"
        if settings.score_psi and one.scores.sum() >= LEAST_SCORES:
            apart = psi(np.sum(self._scores[survey], axis=0), one.scores)
            if apart > settings.score_psi:
                return f"its scores are unlike the usual ones: PSI {apart:.2f} over {one.scores.sum():.0f} candidates"
        return ""

    def _close(self, survey: str, newest: float) -> None:
        """Learn from exposures that are complete; those held are no example."""
        complete = [key for key, one in self._open.items() if newest - one.mjd > DONE_D and _survey(key) == survey]
        complete += list(self._open)[: max(len(self._open) - len(complete) - OPEN, 0)]
        for key in dict.fromkeys(complete):
            one = self._open.pop(key)
            if not one.held:
                self._usual.setdefault(_survey(key), deque(maxlen=REMEMBERED)).append(one.candidates)
                self._scores.setdefault(_survey(key), deque(maxlen=REMEMBERED)).append(one.scores)
        if complete:
            self.metrics.held_exposures.set(len(self.held()))


def key_of(survey: str, mjd: float) -> str:
    """The name of an exposure: survey and mid-exposure to the second, "ztf/61000.25123"."""
    return f"{survey}/{mjd:.5f}"


def _survey(key: str) -> str:
    return key.partition("/")[0]
