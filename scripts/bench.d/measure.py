"""CPU time, fairly: candidates take turns in rounds, and the median of each is told.

On a shared machine, absolute times wander by 20 to 30 % between runs; ratios inside one run do not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    """One candidate: work over so many alerts."""

    work: Callable[[], object]
    alerts: int


def interleaved(
    candidates: Mapping[str, Timed], rounds: int, tick: Callable[[], object] = lambda: None
) -> dict[str, float]:
    """Median CPU microseconds per alert of each candidate; each runs once before, unmeasured.

    The order turns by one from round to round, so that no candidate always follows the same one.
    """
    names = list(candidates)
    for name in names:
        candidates[name].work()
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            begun = time.process_time_ns()
            candidates[name].work()
            times[name].append((time.process_time_ns() - begun) / 1000 / candidates[name].alerts)
            tick()
    return {name: statistics.median(found) for name, found in times.items()}
