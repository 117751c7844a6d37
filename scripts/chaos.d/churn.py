"""Members that join and leave all the time: what is copied between topics must arrive exactly once, and keep flowing.

The members copy and do not score, so that nothing but the group is busy: the real source, transactions and delivery,
in threads.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import audit
from confluent_kafka import Producer

from realbogus.config.sections import KafkaSettings
from realbogus.stream.delivery import ExactlyOnce
from realbogus.stream.kafka import KafkaSource, KafkaTransactions
from realbogus.stream.protocols import Record, positions_after

QUICK = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "300"}
CALM_S = 8.0  # s after the last change, in which the flow must be as before


class Copier(threading.Thread):
    """A member of the group that copies messages until told to leave."""

    def __init__(self, kafka: KafkaSettings, name: str, topic: str, out: str) -> None:
        super().__init__(name=name, daemon=True)
        self._kafka, self._topic, self._out = kafka, topic, out
        self.leave, self.fault = threading.Event(), ""

    def run(self) -> None:
        try:
            self._copy()
        except Exception as fault:
            self.fault = repr(fault)

    def _copy(self) -> None:
        transactional_id = f"rb-{self._topic}-{self.name}"
        sink = KafkaTransactions(self._kafka, transactional_id=transactional_id, timeout_s=6, create=False)
        source = KafkaSource(self._kafka, group_id=self._topic, topics=lambda: [self._topic])
        delivery, under_way = ExactlyOnce(source, sink), [False]

        def settle() -> bool:
            if not under_way[0]:
                return True
            while (good := delivery.finish(1.0)) is None:
                pass
            under_way[0] = False
            if not good:
                source.rewind()
            return good

        def before_revoke() -> None:
            settle()

        source.before_revoke = before_revoke
        while not self.leave.is_set():
            messages = source.take(64, 0.05)
            if settle() and messages:
                records = [Record(self._out, one.key, one.value) for one in messages]
                delivery.begin(records, positions_after(messages))
                under_way[0] = True
        settle()
        source.close()
        sink.close()


@dataclass
class Churn:
    """What came of it."""

    sent: int
    changes: int
    copies: Counter[bytes]
    per_s: Sequence[int] = field(default_factory=list)  # copied, second by second, as readers of committed records see
    faults: Sequence[str] = ()

    @property
    def missing(self) -> int:
        return self.sent - len(self.copies)

    @property
    def twice(self) -> int:
        return sum(times > 1 for times in self.copies.values())


def churn(bootstrap: str, topic: str, out: str, seconds: float, *, rate: int = 1000, every_s: float = 1.0,
          say: Callable[[int], None] = lambda done: None) -> Churn:  # fmt: skip
    """Send at a steady rate for so long, while every second one member joins and, once there are four, one leaves."""
    kafka = KafkaSettings(bootstrap=bootstrap, consumer=QUICK)
    members = [Copier(kafka, f"first-{number}", topic, out) for number in range(2)]
    for member in members:
        member.start()
    everybody, sent, changes = list(members), 0, 0
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 2})
    began = time.monotonic()
    due = began + every_s
    while (now := time.monotonic()) - began < seconds + CALM_S:
        while sent < rate * (time.monotonic() - began):
            producer.produce(topic, b"%d" % sent, key=b"%d" % sent)
            sent += 1
        producer.poll(0.01)
        if due <= now < began + seconds:
            due, changes = now + every_s, changes + 1
            members.append(Copier(kafka, f"later-{changes}", topic, out))
            members[-1].start()
            everybody.append(members[-1])
            if len(members) > 4:
                members.pop(0).leave.set()
            say(sent)
    producer.flush(30)
    copies, times = _copied(bootstrap, out, sent)
    for member in members:
        member.leave.set()
    for member in everybody:
        member.join(30)
    faults = [f"{member.name}: {member.fault}" for member in everybody if member.fault]
    first = min(times, default=0)
    flow = Counter((at - first) // 1000 for at in times)
    return Churn(sent, changes, copies, [flow[second] for second in range(max(flow, default=0) + 1)], faults)


def _copied(bootstrap: str, out: str, wanted: int, within_s: float = 60.0) -> tuple[Counter[bytes], list[int]]:
    """Read the copies until all are there, or for so long."""
    deadline = time.monotonic() + within_s
    while True:
        found = list(audit.records(bootstrap, out, "read_committed"))
        copies = Counter(one.value() for one in found)
        if len(copies) >= wanted or time.monotonic() > deadline:
            return copies, [one.timestamp()[1] for one in found]
        time.sleep(1.0)
