"""The account of a run: every message consumed is scored, rejected, parked or a duplicate, for each topic, always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from realbogus.errors import StreamError
from realbogus.stream.dead_letters import PARKED
from realbogus.stream.protocols import Message
from realbogus.stream.results import Results


@dataclass
class Counts:
    """Alerts of a topic, or of all. consumed == scored + rejected + parked + duplicates."""

    consumed: int = 0
    scored: int = 0
    rejected: int = 0
    parked: int = 0  # wait for a schema, a survey's reader or a model
    duplicates: int = 0  # sent before by the survey; nothing is written for them
    forwarded: int = 0  # of the scored ones
    events: int = 0  # VOEvents made of these

    def __iadd__(self, other: Counts) -> Counts:
        for name, number in vars(other).items():
            setattr(self, name, getattr(self, name) + number)
        return self


@dataclass
class Ledger:
    """Counts by input topic, which is by night where topics are nightly, and rejections by reason."""

    topics: dict[str, Counts] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    events: int = 0

    def add(self, messages: Sequence[Message], results: Results) -> None:
        """Enter a batch that was delivered and committed."""
        for topic, counted in (
            ("consumed", messages),
            ("scored", [messages[at] for at in results.scored]),
            ("rejected", [messages[one.index] for one in results.rejected if one.reason not in PARKED]),
            ("parked", [messages[one.index] for one in results.rejected if one.reason in PARKED]),
            ("duplicates", [messages[at] for at in results.duplicates]),
            ("forwarded", [messages[at] for at in results.forwarded]),
        ):
            for message in counted:
                counts = self.topics.setdefault(message.topic, Counts())
                setattr(counts, topic, getattr(counts, topic) + 1)
        self.reasons.update(rejected.reason.value for rejected in results.rejected)
        self.events += results.events

    def total(self) -> Counts:
        """The counts of all topics together."""
        total = Counts(events=self.events)
        for counts in list(self.topics.values()):
            total += counts
        return total


def check(messages: Sequence[Message], results: Results) -> None:
    """StreamError where a message of a batch has no outcome, or more than one: our fault, and reason to stop."""
    ended = Counter(results.scored + results.duplicates)
    ended.update(rejected.index for rejected in results.rejected)
    wrong = [at for at in range(len(messages)) if ended[at] != 1]
    if wrong or ended.total() != len(messages):
        first = messages[wrong[0]] if wrong else messages[0]
        raise StreamError(
            f"the ledger does not balance: {max(len(wrong), 1)} of {len(messages)} messages did not end exactly once, "
            f"the first at {first.topic}/{first.partition}/{first.offset}"
        )
