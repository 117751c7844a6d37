"""At least once: write, wait until everything is safely written, then commit.

A crash between writing and committing repeats a batch and never loses one; ids and bytes of the repeats are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realbogus.stream.protocols import Positions, Record, Sink, Source


@dataclass(frozen=True)
class AtLeastOnce:
    """Delivery for any broker, also those without transactions."""

    source: Source
    sink: Sink

    def begin(self, records: Sequence[Record]) -> None:
        """Start to write the records; see `protocols.Delivery`."""
        for record in records:
            self.sink.send(record)

    def finish(self, positions: Positions) -> bool:
        """Wait until all that was begun is written, then commit the positions, in this order."""
        self.sink.flush()
        return self.source.commit(positions)
