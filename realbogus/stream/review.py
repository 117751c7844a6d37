"""What looks at every batch between scoring and writing: breakers, shadow models, drift.

The worker asks each review in turn. A review may change outcomes, add records, or stop the worker by a StreamError:
nothing of that batch is then written. A batch that is taken back comes again, and is looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence

from realbogus.alerts import Outcomes
from realbogus.stream.protocols import Message, Record


class Review:
    """A look at each batch; this one changes nothing."""

    def judge(self, messages: Sequence[Message], outcomes: Outcomes) -> Outcomes:
        """The outcomes to go on with."""
        return outcomes

    def records(self, messages: Sequence[Message], outcomes: Outcomes) -> Sequence[Record]:
        """What to write beside the results of the batch, in the same delivery."""
        return ()


def judged(reviews: Sequence[Review], messages: Sequence[Message], outcomes: Outcomes) -> Outcomes:
    """The outcomes after every review."""
    for review in reviews:
        outcomes = review.judge(messages, outcomes)
    return outcomes


def added(reviews: Sequence[Review], messages: Sequence[Message], outcomes: Outcomes) -> list[Record]:
    """What all reviews add."""
    return [record for review in reviews for record in review.records(messages, outcomes)]
