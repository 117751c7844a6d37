"""Annotations as bytes: bare Avro records of schemas/realbogus/1.0/annotation.avsc, written without the library.

Everything that a batch shares is encoded once, numbers are laid out by numpy; what is left for an alert is its ids and
a join. A test holds the bytes equal to those of fastavro. The schema tells what each field means.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from functools import cache
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column, ScoredBatch
from realbogus.errors import PacketError
from realbogus.packets.writing import encode_long
from realbogus.resources import shipped

VERSION = "1.0"  # of the schema
TOP = 5  # contributions told
FIELD = "realbogus"  # what the annotation is called where it is appended to a packet
FORWARD, HOLD, REJECT = (bytes([2 * symbol]) for symbol in range(3))  # symbols of decision, encoded

_NULL, _PRESENT, _END = b"\x00", b"\x02", b"\x00"
_SHA256_HEX = encode_long(64)
_double = struct.Struct("<d").pack
_value_and_share = struct.Struct("<fd").pack


def encode(scored: ScoredBatch, code_version: str) -> list[bytes]:
    """The annotations of N scored alerts: a function of alert, model, policy and code version, and of nothing else."""
    alerts = scored.alerts
    named, shared = _strategy(scored, code_version), _shared(scored, code_version)
    contributions = _contributions(scored)
    annotations = []
    for row, (candid, object_id, mjd, score, p_real, decision, features) in enumerate(
        zip(
            alerts.candid.tolist(),
            alerts.object_id,
            _optional(alerts.columns["mjd"]),
            scored.score.tolist(),
            _optional(scored.p_real),
            _decisions(scored),
            _features(scored),
            strict=True,
        )
    ):
        identity = named.copy()
        identity.update(b"%d" % candid)
        head = b"".join((_SHA256_HEX, identity.hexdigest().encode(), encode_long(candid), _text(object_id), mjd))
        judged = b"".join((_double(score), p_real, decision, shared, features))
        annotations.append(head + judged + contributions.get(row, _END))
    return annotations


def decode(value: bytes) -> dict[str, Any]:
    """An annotation as a dict of its fields; PacketError where the bytes are none."""
    stream = io.BytesIO(value)
    try:
        annotation: Any = fastavro.schemaless_reader(stream, _parsed(), None)
    except (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise PacketError(f"the annotation cannot be read: {type(error).__name__}: {error}") from None
    if stream.tell() != len(value):
        raise PacketError(f"the annotation ends at byte {stream.tell()} of {len(value)}")
    return dict(annotation)


@cache
def schema() -> Any:
    """The schema of annotations as plain JSON values; not to be changed."""
    path = shipped("schemas") / "realbogus" / VERSION / "annotation.avsc"
    return json.loads(path.read_text("utf-8"))


@cache
def _parsed() -> Any:
    return fastavro.parse_schema(schema())


def _strategy(scored: ScoredBatch, code_version: str) -> hashlib._Hash:
    """The digest that becomes an annotation_id once the candid is added."""
    model = scored.model
    parts = (scored.alerts.survey, model.sha256, model.feature_set, code_version, f"{model.threshold:.6f}", "")
    return hashlib.sha256("|".join(parts).encode())


def _shared(scored: ScoredBatch, code_version: str) -> bytes:
    """The fields from survey to code_version, the same for all alerts of a batch."""
    model = scored.model
    texts = (model.name, model.version, model.sha256, model.feature_set, code_version)
    return _text(scored.alerts.survey) + _double(model.threshold) + b"".join(map(_text, texts))


def _optional(values: Column) -> list[bytes]:
    """(N,) numbers as a union of null and double: NaN is null."""
    return [_NULL if value != value else _PRESENT + _double(value) for value in values.tolist()]


def _decisions(scored: ScoredBatch) -> list[bytes]:
    above = scored.score >= scored.model.threshold
    return [
        FORWARD if forward else HOLD if real else REJECT
        for forward, real in zip(scored.forward.tolist(), above.tolist(), strict=True)
    ]


def _features(scored: ScoredBatch) -> list[bytes]:
    """(N,) lists of floats."""
    count, width = len(scored.feature_names), 4 * len(scored.feature_names)
    if not count:
        return [_END] * len(scored)
    data = np.ascontiguousarray(scored.features, "<f4").tobytes()
    head = encode_long(count)
    return [head + data[start : start + width] + _END for start in range(0, len(data), width)]


def _contributions(scored: ScoredBatch) -> dict[int, bytes]:
    """Row -> the features that moved its score most, for the rows where that was computed."""
    names = [_text(name) for name in scored.feature_names]
    return {row: _top(names, scored.features[row], shares) for row, shares in scored.contributions.items()}


def _top(names: list[bytes], values: NDArray[np.float32], shares: NDArray[np.float64]) -> bytes:
    largest = np.argsort(-np.abs(shares), kind="stable")[:TOP].tolist()
    if not largest:
        return _END
    parts = [names[at] + _value_and_share(float(values[at]), float(shares[at])) for at in largest]
    return encode_long(len(parts)) + b"".join(parts) + _END


def _text(value: str) -> bytes:
    data = value.encode()
    return encode_long(len(data)) + data
