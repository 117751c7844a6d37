"""What a survey wants out of its packets, and what comes back: columns, never one dict an alert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Fields:
    """The fields wanted from a record, as dotted paths in the writer's names ("candidate.magpsf").

    A path that a schema lacks yields NaN, 0 with present False, or the empty span.
    """

    numbers: tuple[str, ...]  # any numeric or boolean type -> float64, NaN where null or absent
    integers: tuple[str, ...]  # int and long -> int64, never through a float (candid exceeds 2**53)
    texts: tuple[str, ...]  # string -> span
    blobs: tuple[str, ...]  # bytes -> span


@dataclass(frozen=True)
class Decoded:
    """The wanted fields of N records of one survey, in the order of its Fields."""

    survey: str
    messages: Sequence[bytes]  # (N,) the bytes that the spans point into
    index: NDArray[np.int64]  # (N,) position of each record in the messages given to `packets.read`
    schemas: Sequence[str]  # (N,) name of the writer schema, for provenance ("ztf/4.02", "rubin/10.0")
    numbers: NDArray[np.float64]  # (N, len(fields.numbers)), NaN = null or absent
    integers: NDArray[np.int64]  # (N, len(fields.integers))
    present: NDArray[np.bool_]  # (N, len(fields.integers)), False = null or absent
    texts: NDArray[np.int64]  # (N, len(fields.texts), 2): offset and length in its message, -1, 0 = null or absent
    blobs: NDArray[np.int64]  # (N, len(fields.blobs), 2), likewise

    def text(self, row: int, column: int) -> str:
        """The text of one record, "" where null or absent. Invalid UTF-8 is replaced, not raised."""
        offset, length = self.texts[row, column].tolist()
        return bytes(self.messages[row][offset : offset + length]).decode("utf-8", "replace") if offset >= 0 else ""
