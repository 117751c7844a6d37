"""Run the decoder as plain Python over mutated records in bytes that raise where they are read outside.

Started by test_packets_hostile with numba's compiler off; writes how many records were sound and how many refused.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from packets_cases import RECORD, SMALL, all_fields, encode

from realbogus.packets import kernels
from realbogus.packets.avrotypes import resolve
from realbogus.packets.columns import Columns
from realbogus.packets.program import compile_program


class Guarded:
    """Bytes that know their ends."""

    def __init__(self, raw: bytes) -> None:
        self.raw = np.frombuffer(raw, np.uint8)

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, at: int) -> np.uint8:
        if not 0 <= at < len(self.raw):
            raise IndexError(f"read at {at} of {len(self.raw)}")
        return np.uint8(self.raw[at])


def main() -> None:
    seed = random.Random(7)
    root = resolve(SMALL)
    fields = all_fields(root)
    program = compile_program(root, fields)
    bodies = [encode(SMALL, RECORD | {"stamp": b"123", "history": [None] * n}) for n in range(3)]
    codes = []
    for _ in range(700):
        body = bytearray(seed.choice(bodies))
        for _ in range(seed.randrange(3)):
            body[seed.randrange(len(body))] = seed.choice((0, 1, 2, 3, 127, 128, 255, seed.randrange(256)))
        raw = bytes(body[: seed.choice((len(body), seed.randrange(len(body) + 1)))])
        framed = seed.random() < 0.5
        if framed:
            raw = bytes(16) + b"\x02" + bytes([2 * len(raw) & 0x7F]) + raw + bytes(16)
        columns, status = Columns.empty(1, fields), np.zeros(kernels.STATUS, np.int64)
        kernels.decode_message(
            Guarded(raw), 0, framed, program.ops, program.values, program.jumps, 50, 0,
            columns.numbers, columns.integers, columns.present, columns.spans, status,
        )  # fmt: skip
        codes.append(int(status[0]))
    sys.stdout.write(f"{codes.count(kernels.DONE)} {len(codes) - codes.count(kernels.DONE)}\n")


if __name__ == "__main__":
    with np.errstate(over="ignore"):
        main()
