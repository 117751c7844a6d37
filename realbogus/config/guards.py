"""What stops or holds alerts when the night is not as it should be: sections [breaker] and [exposures]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from realbogus.config.sections import Checked, bad_topic


@dataclass(frozen=True, kw_only=True)
class BreakerSettings(Checked):
    """Section [breaker]: when so many alerts are refused that the fault must be ours, the worker stops."""

    rejected_share: float = 0.2  # share of rejected and parked alerts from which the worker stops; 1 = never
    window: int = 1000  # alerts looked back on
    least: int = 50  # rejected or parked ones among them; fewer stop nothing
    stay_s: float = 300.0  # s that a stopped worker stays, idle, so that alarms ring, before it ends; 0 = ends at once

    def _problems(self) -> Iterator[str]:
        if not 0 < self.rejected_share <= 1:
            yield f"breaker.rejected_share is {self.rejected_share}; expected more than 0 and up to 1"
        for name in ("window", "least"):
            if getattr(self, name) < 1:
                yield f"breaker.{name} is {getattr(self, name)}; expected at least 1"
        if self.stay_s < 0:
            yield f"breaker.stay_s is {self.stay_s}; expected 0 s or more"
        if self.least > self.window:
            yield f"breaker.least is {self.least}, more than breaker.window ({self.window}): it would never stop"


@dataclass(frozen=True, kw_only=True)
class ExposureSettings(Checked):
    """Section [exposures]: candidates of an exposure, or a detector, unlike the others are held, not published."""

    times_usual: float = 10.0  # candidates, in units of the usual number, that are too many; 0 = any number is fine
    least: int = 1000  # candidates of an exposure; fewer are never too many
    least_on_detector: int = 250  # candidates of one detector of an exposure; likewise; 0 = look at exposures only
    score_psi: float = 2.0  # how unlike the usual ones its scores may be, see docs/operations.md; 0 = anything goes
    learn: int = 20  # exposures before anything is held; the usual is that of the last 200
    held: str = "realbogus.voevent.held"  # Kafka topic where its events wait for `realbogus exposures release`

    def _problems(self) -> Iterator[str]:
        if self.times_usual and self.times_usual <= 1:
            yield f"exposures.times_usual is {self.times_usual}; expected more than 1, or 0"
        if self.score_psi < 0:
            yield f"exposures.score_psi is {self.score_psi}; expected 0 or more"
        for name in ("least", "learn"):
            if getattr(self, name) < 1:
                yield f"exposures.{name} is {getattr(self, name)}; expected at least 1"
        if self.least_on_detector < 0:
            yield f"exposures.least_on_detector is {self.least_on_detector}; expected at least 1, or 0"
        if problem := bad_topic(self.held):
            yield f"exposures.held: {problem}"
