"""The account of a run: every message consumed is scored or rejected, for each topic, always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from realbogus.alerts import Outcomes
from realbogus.errors import StreamError
from realbogus.stream.protocols import Message


@dataclass
class Counts:
    """Alerts of a topic, or of all. consumed == scored + rejected."""

    consumed: int = 0
    scored: int = 0
    rejected: int = 0
    forwarded: int = 0  # of the scored ones

    def __iadd__(self, other: Counts) -> Counts:
        for name, number in vars(other).items():
            setattr(self, name, getattr(self, name) + number)
        return self


@dataclass
class Ledger:
    """Counts by input topic, which is by night where topics are nightly, and rejections by reason."""

    topics: dict[str, Counts] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, messages: Sequence[Message], outcomes: Outcomes) -> None:
        """Enter a batch; StreamError, and nothing entered, where a message has no outcome or more than one."""
        counts = _counts(messages, outcomes)
        for topic, number in counts.items():
            self.topics.setdefault(topic, Counts()).__iadd__(number)
        self.reasons.update(rejected.reason.value for rejected in outcomes.rejected)

    def total(self) -> Counts:
        """The counts of all topics together."""
        total = Counts()
        for counts in self.topics.values():
            total += counts
        return total


def _counts(messages: Sequence[Message], outcomes: Outcomes) -> Mapping[str, Counts]:
    ended = np.zeros(len(messages), np.int64)
    counts: dict[str, Counts] = {}
    for message in messages:
        counts.setdefault(message.topic, Counts()).consumed += 1
    for batch in outcomes:
        np.add.at(ended, batch.alerts.index, 1)
        for row, index in enumerate(batch.alerts.index.tolist()):
            counts[messages[index].topic].scored += 1
            counts[messages[index].topic].forwarded += int(batch.forward[row])
    for rejected in outcomes.rejected:
        ended[rejected.index] += 1
        counts[messages[rejected.index].topic].rejected += 1
    if not (ended == 1).all():
        first = messages[int(np.flatnonzero(ended != 1)[0])]
        raise StreamError(
            f"the ledger does not balance: {int((ended != 1).sum())} of {len(messages)} messages did not end exactly "
            f"once, the first at {first.topic}/{first.partition}/{first.offset}"
        )
    return counts
