"""Alerts that a survey sends twice: recognised within a window of the last ones, by survey and candid.

Only alerts whose annotations are committed are remembered, so that a batch which comes again is scored again, and only
alerts that would be annotated can be duplicates: a rejected one is always kept as a dead letter, to be replayed. The
window is a worker's own: it begins empty and knows nothing of what other workers have done. What it misses does no
harm, as the same alert gives the same annotation_id and the same bytes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from realbogus.alerts import Outcomes

Key: TypeAlias = tuple[str, int]  # survey, candid


@dataclass
class Window:
    """The last size alerts at least, twice as many at most, each about 200 bytes. Size 0 remembers nothing."""

    size: int = 100_000
    _recent: set[Key] = field(default_factory=set, init=False)
    _before: set[Key] = field(default_factory=set, init=False)

    def __contains__(self, key: object) -> bool:
        return key in self._recent or key in self._before

    def __len__(self) -> int:
        return len(self._recent) + len(self._before)

    def add(self, keys: Iterable[Key]) -> None:
        """Remember alerts whose annotations are committed."""
        if self.size:
            self._recent.update(keys)
        if len(self._recent) > self.size:
            self._before, self._recent = self._recent, set()

    def repeated(self, outcomes: Outcomes, under_way: Container[Key] = ()) -> frozenset[int]:
        """Which of the scored messages are known already: from the window, under way, or earlier in this batch."""
        if not self.size:
            return frozenset()
        seen: set[Key] = set()
        found = []
        for index, key in sorted(keys_of(outcomes)):
            if key in seen or key in under_way or key in self:
                found.append(index)
            seen.add(key)
        return frozenset(found)


def keys_of(outcomes: Outcomes) -> Iterator[tuple[int, Key]]:
    """What the scored alerts are known by, with the positions of their messages."""
    for scored in outcomes:
        for index, candid in zip(scored.alerts.index.tolist(), scored.alerts.candid.tolist(), strict=True):
            yield index, (scored.alerts.survey, candid)
