"""The ledger proven from the topics: every alert that was read has exactly one end.

Annotations and dead letters name the alert they came from: topic, partition and offset. An offset of the input without
any end is looked up: it may hold no message at all (a transaction's marker), or an alert that was left out because the
same candid was annotated before. What then remains is missing. Nothing of this trusts a worker's own counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realbogus.stream.dead_letters import PREFIX
from realbogus.stream.log import Extent, Log, night_of
from realbogus.stream.protocols import Message, Partition

GAP = 256  # offsets; gaps closer than that are read in one go
SHOWN = 20  # places named of each kind of fault

Candid = Callable[[bytes], int | None]  # what a message says of its candid


@dataclass
class Account:
    """Alerts of a night and topic. consumed == scored + rejected + parked + duplicates + missing."""

    consumed: int = 0
    scored: int = 0
    rejected: int = 0
    parked: int = 0
    duplicates: int = 0
    missing: int = 0  # read, and nothing became of them
    double: int = 0  # ends beyond the first

    @property
    def balanced(self) -> bool:
        """Whether each alert has exactly one end."""
        return not self.missing and not self.double

    def add(self, what: str) -> None:
        """Count one alert, with its end."""
        setattr(self, what, getattr(self, what) + 1)
        if what != "double":
            self.consumed += 1


@dataclass
class Audit:
    """The accounts by night and input topic, and where the faults are."""

    accounts: dict[tuple[str, str], Account] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)  # "missing: alerts/2/1734", up to SHOWN of a kind
    beyond: int = 0  # ends of alerts outside the stretch that is checked

    @property
    def balanced(self) -> bool:
        """Whether every account is."""
        return all(account.balanced for account in self.accounts.values())

    def total(self) -> Account:
        """All nights and topics together."""
        total = Account()
        for account in self.accounts.values():
            for name, number in vars(account).items():
                setattr(total, name, getattr(total, name) + number)
        return total

    def enter(self, what: str, timestamp_ms: int, topic: str, fault: str = "") -> None:
        """Count an alert; name it where something is wrong with it."""
        self.accounts.setdefault((night_of(timestamp_ms), topic), Account()).add(what)
        if fault and sum(line.startswith(f"{what}:") for line in self.faults) < SHOWN:
            self.faults.append(f"{what}: {fault}")


def audit(log: Log, read: Extent, outputs: Iterable[tuple[str, str]], candid_of: Candid) -> Audit:
    """Check the stretches that were read against all that was written.

    read are the parts of the input partitions up to what the group has committed. outputs are the topics written to,
    each with what it says of an alert: "scored", "rejected" or "parked". candid_of reads the candid of a message, None
    where there is none.
    """
    found = Audit()
    ends = {partition: np.zeros(stop - first, np.uint8) for partition, (first, stop) in read.items()}
    annotated: set[int] = set()
    for topic, what in outputs:
        for message in log.read(log.extent([topic])):
            _enter_end(found, ends, read, message, what)
            if what == "scored" and (message.key or b"").isdigit():
                annotated.add(int(message.key or b""))
    for message in _gaps(log, read, ends):
        place = f"{message.topic}/{message.partition}/{message.offset}"
        what = "duplicates" if candid_of(message.value) in annotated else "missing"
        found.enter(what, message.timestamp_ms, message.topic, place if what == "missing" else "")
    return found


def _enter_end(
    found: Audit, ends: Mapping[Partition, NDArray[np.uint8]], read: Extent, message: Message, what: str
) -> None:
    """Count what became of an alert."""
    place = source_of(message)
    if place is None or place[:2] not in ends:
        found.beyond += place is not None
        return
    partition, offset = (place[0], place[1]), place[2]
    first, stop = read[partition]
    if not first <= offset < stop:
        found.beyond += 1
        return
    before = ends[partition][offset - first]
    ends[partition][offset - first] = min(int(before) + 1, 255)
    topic, number = partition
    if before:
        found.enter("double", message.timestamp_ms, topic, f"{topic}/{number}/{offset}, again in {message.topic}")
    else:
        found.enter(what, message.timestamp_ms, topic)


def source_of(message: Message) -> tuple[str, int, int] | None:
    """Topic, partition and offset of the alert that a result came from; None where it does not say."""
    headers = dict(message.headers)
    if "source" in headers:
        topic, _, rest = headers["source"].decode("utf-8", "replace").rpartition("/")
        parts = [*topic.rpartition("/")[::2], rest]
    else:
        parts = [headers.get(PREFIX + name, b"").decode() for name in ("topic", "partition", "offset")]
    if not parts[0] or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    return parts[0], int(parts[1]), int(parts[2])


def _gaps(log: Log, read: Extent, ends: Mapping[Partition, NDArray[np.uint8]]) -> Iterator[Message]:
    """The messages at offsets that have no end."""
    for partition, count in ends.items():
        first = read[partition][0]
        empty = np.flatnonzero(count == 0)
        for run in np.split(empty, np.flatnonzero(np.diff(empty) > GAP) + 1) if len(empty) else ():
            begin, stop = int(run[0]) + first, int(run[-1]) + first + 1
            for message in log.read({partition: (begin, stop)}):
                if count[message.offset - first] == 0:
                    yield message
