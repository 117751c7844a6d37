"""Few bytes that claim to be many: each must be refused, and at once."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Mapping
from typing import Any

from realbogus.packets.writing import assemble, encode_header, encode_long, write_container
from realbogus.scoring import Scorer

ALLOWED_MS = 10.0


def bombs(schema: str, record: Mapping[str, Any]) -> dict[str, bytes]:
    """Messages by what is wrong with them; record is a sound one of the named ZTF schema."""
    nothing = {"type": "array", "items": "null"}
    nested = {"type": "array", "items": nothing}
    chain = {"type": "record", "name": "chain", "fields": [{"name": "next", "type": ["null", "chain"]}]}
    stamp = dict(record["cutoutDifference"], stampData=gzip.compress(bytes(200 << 20), 9))
    return {
        "a list of 2^40 items of no bytes": _of(nothing, encode_long(1 << 40) + b"\0"),
        "30 000 000 items of no bytes in lists": _of(nested, encode_long(6000) + (encode_long(5000) + b"\0") * 6000),
        "a record within itself, 500 000 deep": assemble(_header(chain), b"\x02" * 500_000 + b"\0"),
        "a block that inflates to 400 MB": _deflated(400 << 20),
        "a stamp that inflates to 200 MB": write_container(schema, dict(record, cutoutDifference=stamp)),
        "a schema nested 100 000 deep": encode_header(b"[" * 100_000) + bytes(16) + b"\x02\x00" + bytes(16),
        "4 MB of zeros": bytes(4 << 20),
    }


def refuse(scorer: Scorer, message: bytes) -> tuple[str, float]:
    """Reason and shortest of three times, CPU ms; "" where it was not refused."""
    times, reason = [], ""
    for _ in range(3):
        start = time.process_time()
        outcomes = scorer.outcomes([message])
        times.append((time.process_time() - start) * 1000)
        reason = outcomes.rejected[0].reason.value if outcomes.rejected else ""
    return reason, min(times)


def _header(schema: Any, codec: str = "null") -> bytes:
    return encode_header(json.dumps(schema).encode(), codec)


def _of(kind: Any, body: bytes) -> bytes:
    return assemble(_header({"type": "record", "name": "bomb", "fields": [{"name": "a", "type": kind}]}), body)


def _deflated(size: int) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflater.compress(bytes(size)) + deflater.flush()
    schema = {"type": "record", "name": "bomb", "fields": [{"name": "a", "type": "bytes"}]}
    sync = bytes(16)
    return _header(schema, "deflate") + sync + b"\x02" + encode_long(len(packed)) + packed + sync
