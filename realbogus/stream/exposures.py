"""What was seen of exposures, and what is usual: candidates and scores, of the whole and of each of its detectors."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Held, ModelId
from realbogus.drift import BINS, Counts

REMEMBERED = 200  # exposures that the usual is of
DETECTORS = 1000  # more than any camera has; ZTF has 64 readout channels, LSSTCam 205 detectors
NO_DETECTOR = WHOLE = -1  # of a candidate whose packet names none; of what is held as a whole
NO_BIN = -1  # of a candidate without a score
OPEN = 256  # exposures of a survey followed at a time
DONE = 15  # exposures, some ten minutes, that begin after the last candidate of one that is then complete
PAST = 2000  # complete exposures, more than a night has, and holds that are remembered


@dataclass(slots=True)
class Tally:
    """What was counted of an exposure, or of one detector of it."""

    candidates: float = 0.0  # of all that there are, as far as can be told from those seen
    scores: list[int] = field(default_factory=lambda: [0] * BINS)  # seen, by bin

    def add(self, score_bin: int, weight: float) -> None:
        """Count a candidate that stands for so many."""
        self.candidates += weight
        if score_bin != NO_BIN:
            self.scores[score_bin] += 1


@dataclass(slots=True)
class Exposure:
    """What was seen of an exposure."""

    whole: Tally = field(default_factory=Tally)
    detectors: dict[int, Tally] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)  # candids: a batch that is taken back comes again
    last: int = 0  # how many exposures had begun when it was last seen
    is_example: bool = True  # whether others may be compared with it

    def count(self, candid: int, detector: int, score_bin: int, weight: float) -> None:
        """Count a candidate that was not counted before; weight tells how many it stands for."""
        if candid in self.seen:
            return
        self.seen.add(candid)
        self.whole.add(score_bin, weight)
        if detector != NO_DETECTOR:
            if detector not in self.detectors:
                self.detectors[detector] = Tally()
            self.detectors[detector].add(score_bin, weight)

    def forget_scores(self) -> None:
        """Begin anew with the scores."""
        for tally in (self.whole, *self.detectors.values()):
            tally.scores = [0] * BINS


@dataclass
class Usual:
    """What the last REMEMBERED complete exposures of a survey were like."""

    _whole: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _detector: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _scores: deque[list[int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _known: dict[str, float] = field(default_factory=dict)  # medians, once asked for
    _shares: Counts | None = None  # sum of the shares of all, likewise

    def learn(self, one: Exposure) -> None:
        """Take in a complete exposure."""
        self._known.clear()
        self._whole.append(one.whole.candidates)
        if one.detectors:
            self._detector.append(sum(part.candidates for part in one.detectors.values()) / len(one.detectors))
        if any(one.whole.scores):
            self._scores.append(one.whole.scores)
            self._shares = None

    def forget_scores(self) -> None:
        """Begin anew with the scores, as another model judges."""
        self._scores.clear()
        self._shares = None

    def candidates(self, learn: int) -> float:
        """Candidates of an exposure; infinite before so many exposures are known."""
        return self._median("whole", self._whole, learn)

    def on_detector(self, learn: int) -> float:
        """Candidates of a detector that has any; likewise."""
        return self._median("detector", self._detector, learn)

    def scores(self, learn: int) -> Counts | None:
        """The distribution of scores, (BINS,); None before so many exposures are known.

        Every exposure counts alike, so that a flood among those learnt from does not prevail.
        """
        if len(self._scores) < learn:
            return None
        if self._shares is None:
            counts = np.array(self._scores, np.float64)
            self._shares = (counts / counts.sum(axis=1, keepdims=True)).sum(axis=0)
        return self._shares

    def _median(self, name: str, values: deque[float], learn: int) -> float:
        if name not in self._known:
            self._known[name] = median(values) if len(values) >= learn else float("inf")
        return self._known[name]


@dataclass
class Followed:
    """The exposures of a survey."""

    model: ModelId | None = None  # whose scores were counted
    reference: Counts | None = None  # what its manifest leads to expect, (M, BINS)
    usual: Usual = field(default_factory=Usual)
    open: OrderedDict[str, Exposure] = field(default_factory=OrderedDict)  # by key, last seen last
    past: OrderedDict[str, None] = field(default_factory=OrderedDict)  # keys of complete ones
    held: OrderedDict[str, dict[int, str]] = field(default_factory=OrderedDict)  # by key: detectors, or WHOLE -> why
    begun: int = 0  # exposures

    def see(self, key: str) -> Exposure:
        """The exposure of some candidates. One that comes again when it was complete is no example: it lacks some."""
        if key not in self.open:
            self.begun += 1
            self.open[key] = Exposure(is_example=key not in self.past)
        self.open.move_to_end(key)
        one = self.open[key]
        one.last = self.begun
        return one

    def close(self) -> None:
        """Learn from the exposures that are complete."""
        while self.open:
            key, one = next(iter(self.open.items()))
            if self.begun - one.last <= DONE and len(self.open) <= OPEN:
                break
            del self.open[key]
            self.past[key] = None
            if one.is_example:
                self.usual.learn(one)
        for remembered in (self.past, self.held):
            while len(remembered) > PAST:
                remembered.popitem(last=False)

    def judged_by(self, model: ModelId, reference: Callable[[], Counts | None]) -> None:
        """Begin anew with the scores where another model judges: its own may be distributed otherwise."""
        if model != self.model:
            self.model, self.reference = model, reference()
            self.usual.forget_scores()
            for one in self.open.values():
                one.forget_scores()

    def hold(self, key: str, detector: int, why: str) -> None:
        """Hold an exposure, detector being WHOLE, or one detector of it."""
        self.held.setdefault(key, {})[detector] = why

    def what_holds(self, key: str, detector: int) -> Held | None:
        """The hold that a candidate falls under: of its exposure, else of its detector."""
        held = self.held.get(key, {})
        by = WHOLE if WHOLE in held else detector
        return Held(key_of(key, by), held[by]) if by in held else None

    def still(self) -> dict[str, str]:
        """What is held of the exposures that are open, and why."""
        some = [(key, self.held[key]) for key in list(self.open) if key in self.held]
        return {key_of(key, detector): why for key, held in some for detector, why in held.items()}


def key_of(exposure: str, detector: int) -> str:
    """The name of a hold: "ztf/61000.25123", of its detector 42 "ztf/61000.25123/42"."""
    return exposure if detector == WHOLE else f"{exposure}/{detector}"


def place_of(key: str) -> tuple[str, int]:
    """Exposure and detector, or WHOLE, of the name of a hold."""
    exposure, _, detector = key.rpartition("/")
    return (exposure, int(detector)) if "/" in exposure and detector.isdecimal() else (key, WHOLE)


def bins_of(scores: NDArray[np.float64]) -> list[int]:
    """(N,) bin of each score, NO_BIN where it has none."""
    inside = (scores >= 0) & (scores <= 1)
    bins = np.minimum(np.where(inside, scores, 0.0) * BINS, BINS - 1).astype(np.intp)
    told: list[int] = np.where(inside, bins, NO_BIN).tolist()
    return told


def numbers_of(detectors: NDArray[np.float64]) -> list[int]:
    """(N,) number of each detector, NO_DETECTOR where it has none that could be."""
    inside = (detectors >= 0) & (detectors < DETECTORS)
    told: list[int] = np.where(inside, detectors, NO_DETECTOR).astype(np.intp).tolist()
    return told
