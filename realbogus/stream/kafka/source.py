"""Messages of topics, as a member of a group."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from realbogus.config.sections import KafkaSettings
from realbogus.errors import StreamError
from realbogus.stream.kafka.admin import partitions_of
from realbogus.stream.kafka.beginnings import Beginnings
from realbogus.stream.kafka.ends import Ends
from realbogus.stream.kafka.nights import Nights
from realbogus.stream.kafka.ownership import Ownership
from realbogus.stream.kafka.portions import in_portions
from realbogus.stream.kafka.positions import committed
from realbogus.stream.kafka.settings import (
    FENCED,
    MOVED,
    Complaints,
    client_log,
    consumer_settings,
    is_classic,
)
from realbogus.stream.protocols import NO_TIME, Clock, Message, Partition, Positions, SystemClock
from realbogus.telemetry import Metrics

log = logging.getLogger(__name__)

EMPTY_S = 5.0  # s; a member without partitions counts as finished after that
LOOK_MS = 5_000  # ms between two looks of the client at its own queues
LEAVE_S = 3.0  # s; longest that closing waits until the group knows


class KafkaSource:
    """Messages of topics, as a member of a group. `topics` is asked again and again: nightly topics change at midnight.

    They are nights, oldest first, and let go when they are over, but for those in always (None: all of them; see
    `nights`). With until_s (Unix time, s) each partition ends before its first message at or after that time.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        group_id: str,
        topics: Callable[[], Sequence[str]],
        always: Collection[str] | None = None,
        instance: str = "",
        until_s: float | None = None,
        batch_bytes: int = 64 << 20,
        metrics: Metrics | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.before_revoke: Callable[[], None] = lambda: None
        self._topics, self._batch_bytes = topics, batch_bytes
        self._metrics, self._clock = metrics or Metrics(), clock or SystemClock()
        self._subscribed: tuple[str, ...] = ()
        self._assigned: set[Partition] = set()
        self._since: float | None = None  # when the group first told us our partitions, monotonic
        self._next: dict[Partition, int] = {}  # offset of the next message, where one was taken
        self._first: dict[Partition, int] = {}  # offset of the first message taken since the partition is ours
        self._owed: dict[Partition, int] = {}  # positions that could not be committed yet
        self._astray: dict[Partition, int | None] = {}  # to be sought before anything is handed out; None = committed
        self._left: set[Partition] = set()  # partitions that were taken from us within this call of `take`
        self._absent: set[str] = set()  # topics that the client has told us are not there
        self._id = ""  # by which the group knew us when it last told us our partitions
        self._there: int | None = None  # partitions that the group reads; None = to be looked up
        self._paused, self._static = False, bool(instance)
        self._complaints = Complaints(self._metrics)
        static = {"group.instance.id": instance} if instance else {}
        end = {"enable.partition.eof": True} if until_s is not None else {}
        ours = {"group.id": group_id, "error_cb": self._complaints, "logger": client_log}
        watched = {"stats_cb": self._look_at_prefetch, "statistics.interval.ms": LOOK_MS}
        self._consumer = Consumer(consumer_settings(kafka, static, end, ours, watched))
        self._ends = Ends(self._consumer, self._clock, until_s)
        self._beginnings = Beginnings(self._consumer, self._metrics, self._complaints)
        self._nights = None if always is None else Nights(self._consumer, self._clock, always)
        self._ownership = Ownership(kafka, group_id, self._clock) if instance and is_classic(kafka) else None

    def take(self, count: int, wait_s: float) -> list[Message]:
        """Up to this many messages; see `protocols.Source`. Changes of the group happen inside this call only."""
        self._follow_topics()
        self._mend_group()
        if self._owed:
            self.commit({})
        self._go_back()
        self._left.clear()
        found = in_portions(self._consumer, self._clock, count, wait_s, self._batch_bytes)
        if self._complaints.fatal:
            raise StreamError(f"the group has no place for this worker: {self._complaints.fatal}")
        self._find_ends()  # partitions may have come with this very call
        self._beginnings.tell(self._assigned)
        if self._complaints.silent and not found:
            self._knock()
        return [self._message(one) for one in self._steady([one for one in found if self._is_wanted(one)])]

    def rewind(self) -> None:
        """Go back to what is committed in all partitions, before the next message is handed out."""
        self._astray |= dict.fromkeys(self._assigned)

    def pause(self, wanted: bool) -> None:
        """Whether to hand out nothing for now; see `protocols.Source`. The client forgets its prefetch at that."""
        if wanted != self._paused:
            self._paused = wanted
            self._hold(self._assigned - self._ends.reached)
            self._metrics.paused.set(len(self._assigned) if wanted else 0)

    def member(self) -> object:
        """What the group's coordinator knows us by; see `protocols.Source`.

        Nothing where the group has put us out since it told us our partitions. The client may have joined again behind
        our back, and then waits for `take` to say so (at times not even as lost): by then others may be far ahead. What
        tells is the id, which is a new one. It is asked last, so that what is given is never of a later one. With
        KIP-848 an id is kept for ever, and the client does not join again before we have given up what we had.
        This must be called from the thread that calls `take`: the client lets others wait until `take` is done.
        """
        member = self._consumer.consumer_group_metadata()
        return member if self._id and self._consumer.memberid() == self._id else None

    def commit(self, positions: Positions) -> bool:
        """Commit, together with what could not be committed before; see `protocols.Source`.

        A broker that does not answer now is asked again with the next batch: nothing is lost by that.
        """
        offsets = [TopicPartition(t, p, offset) for (t, p), offset in (self._owed | dict(positions)).items()]
        try:
            done = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            return self._not_committed(error.args[0], positions)
        refused = next((one.error for one in done or () if one.error), None)
        if refused is not None:
            return self._not_committed(refused, positions)
        self._owed.clear()
        self._complaints.answered()
        return True

    def is_finished(self) -> bool:
        """Whether every partition of ours has reached its end."""
        if self._since is None or self._astray or not self._ends.due():
            return False
        if not self._assigned:
            return self._clock.monotonic() - self._since > EMPTY_S
        return self._assigned <= self._ends.reached

    def waiting_for(self) -> str:
        """Why no messages can come now; "" if they can."""
        if self._complaints.silent:
            return "no broker answers"
        if self._subscribed and self._absent.issuperset(self._subscribed):
            return f"there is no topic {' nor '.join(self._subscribed)} yet"
        if self._since is None:
            return "the group has not told our partitions yet"
        return "" if self._assigned else f"no partition of {', '.join(self._subscribed)} is ours (yet)"

    def lag(self) -> dict[Partition, int]:
        """Messages between the last one taken and the end, of partitions read from; costs no call to a broker."""
        return {partition: self._behind(partition, offset) for partition, offset in list(self._next.items())}

    def share(self) -> float:
        """Which part of the partitions that the group reads is ours, more than 0 and up to 1; 1 while that is unknown.

        Looked up when partitions come and go: costs a call to a broker then.
        """
        if self._there is None:
            try:
                self._there = sum(1 for _ in partitions_of(self._consumer, self._subscribed))
            except KafkaException as error:
                self._there = 0
                self._complaints(error.args[0])
        return len(self._assigned) / self._there if self._assigned and len(self._assigned) < self._there else 1.0

    def close(self) -> None:
        """Leave the group, at once where membership is dynamic."""
        if self._owed:
            self.commit({})
        self._say_goodbye()
        self._consumer.close()

    def _say_goodbye(self) -> None:
        """Give up all partitions and leave the group before the client is closed; it gives up after LEAVE_S.

        A cooperative member that is closed without a partition tells nobody, and if it was just joining it is given
        some: all the others wait for it until session.timeout.ms, and these partitions lie idle. And a client that is
        closed while it is told of partitions may wait for ever for its own answer, and hold up the whole process.
        """
        deadline = self._clock.monotonic() + LEAVE_S
        with contextlib.suppress(KafkaException):  # of a client that somebody has fenced off: it has nothing to leave
            self._consumer.unsubscribe()  # takes effect when the client has its answer from the coordinator
            while self._is_member() and self._clock.monotonic() < deadline:
                self._consumer.consume(1, 0.1)

    def _is_member(self) -> bool:
        """Whether the client has something to give up; the place of a static member stays."""
        return bool(self._assigned) or (not self._static and bool(self._consumer.memberid()))

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that are ours."""
        return frozenset(self._assigned)

    def _steady(self, found: list[Any]) -> list[Any]:
        """The messages that may be handed out: of partitions that are ours all along, where we are where we should be.

        Some of a partition may have been found just before it was taken from us, and before it came back again.
        """
        self._astray |= dict.fromkeys(self._left & self._assigned)
        if self._paused:  # they came with a new partition, which does not know about the pause
            for one in found:
                self._astray.setdefault((one.topic(), one.partition()), one.offset())
            self._hold({(one.topic(), one.partition()) for one in found} & self._assigned)
        skipped = self._left | self._astray.keys()
        places = [(one.topic(), one.partition()) for one in found]
        return [one for one, at in zip(found, places, strict=True) if at in self._assigned and at not in skipped]

    def _go_back(self) -> None:
        """Seek where a partition has gone astray; what cannot be sought now is tried again at the next call."""
        unknown = sorted(partition for partition, offset in self._astray.items() if offset is None)
        targets = {partition: offset for partition, offset in self._astray.items() if offset is not None}
        try:
            done = committed(self._consumer, unknown)
        except KafkaException as error:
            self._complaints(error.args[0])
            return
        for partition in unknown:
            # Without anything committed we began where auto.offset.reset says: at the first message taken.
            target = done.get(partition, self._first.get(partition))
            if target is None:
                del self._astray[partition]  # nothing was taken either
            else:
                targets[partition] = target
        for partition, offset in targets.items():
            self._seek(partition, offset)

    def _seek(self, partition: Partition, offset: int) -> None:
        try:
            self._consumer.seek(TopicPartition(*partition, offset))
        except KafkaException as error:
            log.debug("cannot go back in %s/%d yet: %s", *partition, error.args[0].str())
            return
        del self._astray[partition]
        self._next[partition] = offset
        if partition in self._ends.reached:
            self._ends.reached.discard(partition)
            self._hold({partition})

    def _hold(self, partitions: Iterable[Partition]) -> None:
        """Let the client fetch these partitions, or not, as the pause says."""
        places = [TopicPartition(*partition) for partition in partitions]
        if places:
            (self._consumer.pause if self._paused else self._consumer.resume)(places)

    def _follow_topics(self) -> None:
        window = self._topics()
        wanted = tuple(self._nights.current(window) if self._nights else window)
        if wanted != self._subscribed:
            log.info("reading %s", ", ".join(wanted))
            callbacks = {"on_assign": self._on_assign, "on_revoke": self._on_revoke, "on_lost": self._on_lost}
            self._consumer.subscribe(list(wanted), **callbacks)
            self._subscribed, self._absent = wanted, set()  # the client tells anew which are not there

    def _mend_group(self) -> None:
        """Join anew where partitions have no owner and nothing else would give them one."""
        if self._ownership is None or not self._subscribed or self._complaints.silent:
            return
        missing = self._ownership.to_mend(self._subscribed, self._consumer.memberid() or "")
        if missing:
            log.warning("nobody reads %s: joining the group anew", ", ".join(f"{t}/{p}" for t, p in sorted(missing)))
            self._metrics.rebalances.labels("mend").inc()
            self._consumer.unsubscribe()
            self._subscribed = ()  # to be subscribed again by the next call, when all of ours is given up

    def _knock(self) -> None:
        """See whether a broker answers again; an idle topic would never tell."""
        try:
            self._consumer.list_topics(timeout=1.0)
        except KafkaException:
            return
        self._complaints.answered()

    def _is_wanted(self, one: Any) -> bool:
        """Whether this is a message to hand out, not an event of the client nor past the end."""
        error = one.error()
        if error is None:
            self._complaints.answered()
            return self._ends.is_before((one.topic(), one.partition()), one.offset())
        if error.code() == KafkaError._PARTITION_EOF:
            self._ends.is_before((one.topic(), one.partition()), one.offset())
        elif error.fatal() or error.code() in FENCED:
            raise StreamError(f"the group has no place for this worker: {error.str()}")
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:  # no error: a nightly topic may be yet to come
            self._absent.add(one.topic())
        else:
            self._complaints(error)
        return False

    def _message(self, one: Any) -> Message:
        partition, offset = (one.topic(), one.partition()), one.offset()
        self._next[partition] = offset + 1
        self._first.setdefault(partition, offset)
        kind, time_ms = one.timestamp()
        headers = tuple((name, value or b"") for name, value in one.headers() or ())
        value = one.value()
        time_ms = time_ms if kind else NO_TIME
        return Message(*partition, offset, time_ms, one.key(), value or b"", headers, null_value=value is None)

    def _behind(self, partition: Partition, offset: int) -> int:
        _, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True) or (0, -1)
        return max(high - offset, 0)

    def _not_committed(self, error: KafkaError, positions: Positions) -> bool:
        """Keep what could not be committed, for the next time; False where some of it is no longer ours."""
        if error.fatal() or error.code() in FENCED:
            raise StreamError(f"another worker has taken our place: {error.str()}")
        if error.code() in MOVED:
            log.info("not committed while the group changes: %s", error.str())
        else:
            self._complaints(error)
        self._owed |= {partition: at for partition, at in positions.items() if partition in self._assigned}
        return positions.keys() <= self._assigned

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._since = self._clock.monotonic() if self._since is None else self._since
        came = {(one.topic, one.partition) for one in partitions}
        now = self._consumer.memberid() or ""
        if now != self._id:  # we were put out: what seems to be kept was not ours all along
            self._id, self._left = now, self._left | self._assigned
        self._assigned |= came
        self._beginnings.untold |= came
        self._absent -= {topic for topic, _ in came}
        self._changed("assign", partitions)

    def _on_revoke(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self.before_revoke()
        if self._owed:
            self.commit({})
        self._forget(partitions)
        self._changed("revoke", partitions)

    def _on_lost(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._forget(partitions)  # first: nothing of them may be committed any more
        self.before_revoke()
        self._changed("lost", partitions)

    def _forget(self, partitions: Sequence[TopicPartition]) -> None:
        self._consumer.resume(list(partitions))  # else they would be held should they come back: the client remembers
        gone = {(one.topic, one.partition) for one in partitions}
        self._assigned -= gone
        self._ends.forget(gone)
        self._left |= gone
        tables: tuple[dict[Partition, Any], ...] = (self._next, self._first, self._owed, self._astray)
        for table in tables:
            for partition in gone & table.keys():
                del table[partition]

    def _changed(self, kind: str, partitions: Sequence[TopicPartition]) -> None:
        self._there = None
        self._metrics.rebalances.labels(kind).inc()
        self._metrics.partitions.set(len(self._assigned))
        self._metrics.paused.set(len(self._assigned) if self._paused else 0)
        log.info("%s: %d partitions, now %d", kind, len(partitions), len(self._assigned))

    def _look_at_prefetch(self, told: str) -> None:
        topics = json.loads(told).get("topics", {}).values()
        partitions = [one for topic in topics for one in topic["partitions"].values()]
        # All partitions share one queue, and each of them tells the size of that.
        self._metrics.prefetch.set(max((one["fetchq_size"] for one in partitions), default=0))

    def _find_ends(self) -> None:
        try:
            self._ends.find(self._assigned, self._next)
        except KafkaException as error:
            self._complaints(error.args[0])
