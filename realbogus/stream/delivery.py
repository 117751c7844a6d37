"""How results and the note that their messages are done belong together: in one transaction, or one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from realbogus.stream.protocols import Positions, Record, Sink, Source, TransactionalSink


@dataclass
class ExactlyOnce:
    """All records of a batch and its positions in one transaction, which is committed while the next batch is scored.

    Readers of committed records see all of it or nothing. A batch whose transaction was taken back comes again.
    """

    source: Source
    sink: TransactionalSink
    _commit: _Commit | None = field(default=None, init=False)

    def begin(self, records: Sequence[Record], positions: Positions) -> None:
        """Write the records into a transaction and let it be committed; see `protocols.Delivery`."""
        self.sink.begin()
        for record in records:
            self.sink.send(record)
        self._commit = _Commit(lambda: self.sink.commit(positions, self.source))

    def finish(self, wait_s: float) -> bool | None:
        """Whether the transaction was committed; None while that is under way."""
        assert self._commit is not None, "nothing was begun"
        return self._commit.result(wait_s)


class _Commit:
    """A commit in a thread of its own, which does not keep the process from ending."""

    def __init__(self, commit: Callable[[], bool]) -> None:
        self._call, self._committed = commit, False
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
        self._thread.start()

    def result(self, wait_s: float) -> bool | None:
        """What the commit returned or raised; None if it is not done after so many seconds."""
        self._thread.join(wait_s)
        if self._thread.is_alive():
            return None
        if self._fault is not None:
            raise self._fault
        return self._committed

    def _run(self) -> None:
        try:
            self._committed = self._call()
        except BaseException as fault:
            self._fault = fault


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
