"""The nights of a soak: a clock that jumps from one to the next, a topic each, and what is to come of its alerts."""

from __future__ import annotations

import mmap
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

DAY_S = 86_400
BACK_S = 3_600  # s before now at which the last night begins: nobody may send alerts of the future
LATER_S = DAY_S // 2  # s after the beginning of a night that its day is


class Clock:
    """What the processes of the soak take for the time; see `clock/sitecustomize.py`."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self._ahead = mmap.mmap(opened.fileno(), 8)

    def set(self, now_s: float) -> None:
        """It is now so late (Unix time, s)."""
        struct.pack_into("d", self._ahead, 0, now_s - time.time())

    def now(self) -> float:
        """Unix time, s."""
        return time.time() + float(struct.unpack_from("d", self._ahead)[0])


@dataclass
class Night:
    """Some of the alerts, under a date."""

    begin_s: float  # Unix time
    numbers: range  # of its alerts
    topic: str
    sent: Counter[str] = field(default_factory=Counter)  # messages, by what is to become of them
    forwarded: int = 0  # of the scored ones

    @property
    def messages(self) -> int:
        return self.sent.total()


def nights_of(count: int, alerts: int, pattern: str, now_s: float) -> list[Night]:
    """So many nights up to today, with their share of the alerts."""
    first_s = now_s - BACK_S - (count - 1) * DAY_S
    edges = [alerts * number // count for number in range(count + 1)]
    begins = [first_s + number * DAY_S for number in range(count)]
    return [
        Night(begin, range(*edge), datetime.fromtimestamp(begin, UTC).strftime(pattern))
        for begin, edge in zip(begins, pairwise(edges), strict=True)
    ]
