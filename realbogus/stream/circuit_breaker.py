"""Stop before the night drains into the dead letters: so many refused alerts say that the fault is ours.

A survey changes its schema, a model is missing, a limit is set too low: then nearly every alert is refused, and each
would be written off one by one. The worker stops instead, with the batch unwritten and uncommitted. It stays for some
minutes, idle: long enough for alarms to ring, and for a supervisor that starts it anew to let little through.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from realbogus.alerts import Outcomes
from realbogus.config.guards import BreakerSettings
from realbogus.errors import StreamError
from realbogus.packets.naming import schema_named
from realbogus.stream.protocols import Message
from realbogus.stream.review import Review
from realbogus.telemetry import Health, Metrics

EXIT_CODE = 4  # of a worker that stopped so; starting it again helps only once the cause is mended

Why = tuple[str, str]  # reason, schema


@dataclass
class CircuitBreaker(Review):
    """Counts refusals among the last alerts; raises StreamError(exit_code=EXIT_CODE) where they are too many."""

    settings: BreakerSettings = field(default_factory=BreakerSettings)
    metrics: Metrics = field(default_factory=Metrics)
    health: Health = field(default_factory=Health)
    _recent: deque[Why | None] = field(init=False)  # None = scored

    def __post_init__(self) -> None:
        self._recent = deque(maxlen=self.settings.window)

    def judge(self, messages: Sequence[Message], outcomes: Outcomes) -> Outcomes:
        """The same outcomes, or the end."""
        ended: list[Why | None] = [None] * len(messages)
        for rejected in outcomes.rejected:
            ended[rejected.index] = rejected.reason.value, schema_named(messages[rejected.index].value)
        self._recent.extend(ended)
        refused = Counter(why for why in self._recent if why is not None)
        share = refused.total() / max(len(self._recent), 1)
        self.metrics.refused_share.set(share)
        if refused.total() >= self.settings.least and share > self.settings.rejected_share:
            self._stop(refused, share)
        return outcomes

    def _stop(self, refused: Counter[Why], share: float) -> None:
        ((reason, schema), most), *_ = refused.most_common(1)
        problem = (
            f"{refused.total()} of the last {len(self._recent)} alerts were refused ({share:.0%}), {most} of them as "
            f"{reason} with the schema {schema!r}"
        )
        self.metrics.breaker_open.set(1)
        self.health.not_ready = f"breaker open: {problem}"
        raise StreamError(
            f"stopped before the night drains into the dead letters: {problem}. Nothing of the last batch is "
            "committed. Look into the dead letters with 'realbogus dlq list', mend the cause and start again; or go on "
            "regardless with breaker.rejected_share = 1",
            EXIT_CODE,
        )
