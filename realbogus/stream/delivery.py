"""How results and the note that their messages are done belong together: in one transaction, or one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from realbogus.stream.protocols import Positions, Record, Sink, Source, TransactionalSink
from realbogus.stream.tasks import Task


@dataclass
class ExactlyOnce:
    """All records of a batch and its positions in one transaction, written while the next batch is taken and scored.

    Readers of committed records see all of it or nothing. A batch whose transaction was taken back comes again.
    """

    source: Source
    sink: TransactionalSink
    _task: Task[bool] | None = field(default=None, init=False)

    def begin(self, records: Sequence[Record], positions: Positions) -> None:
        """Write a batch in a thread beside the loop; see `protocols.Delivery`."""
        member = self.source.member()  # before the source is asked for more, in the thread that does so
        self._task = Task(lambda: self._write(records, positions, member), "delivery")

    def finish(self, wait_s: float) -> bool | None:
        """Whether the transaction was committed; None while that is under way."""
        assert self._task is not None, "nothing was begun"
        return self._task.result() if self._task.done(wait_s) else None

    def _write(self, records: Sequence[Record], positions: Positions, member: object) -> bool:
        self.sink.begin()
        for record in records:
            self.sink.send(record)
        return self.sink.commit(positions, member)


@dataclass
class AtLeastOnce:
    """Write, wait until everything is safely written, then commit. For any broker, also those without transactions.

    A crash between writing and committing repeats a batch and never loses one; ids and bytes of the repeats are the
    same.
    """

    source: Source
    sink: Sink
    _positions: Positions = field(default_factory=dict, init=False)

    def begin(self, records: Sequence[Record], positions: Positions) -> None:
        """Start to write the records; see `protocols.Delivery`."""
        self._positions = positions
        for record in records:
            self.sink.send(record)

    def finish(self, wait_s: float) -> bool | None:
        """Wait until all that was begun is written, then commit the positions, in this order."""
        return self.source.commit(self._positions) if self.sink.flush(wait_s) else None
