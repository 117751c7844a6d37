"""Ways to spoil a packet: its bytes, the values of its record, its stamps, its writer schema. Seeded."""

from __future__ import annotations

import copy
import gzip
import json
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

from realbogus.packets.writing import assemble, encode_header, write_container

FLOATS = (0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1e-320, 1e38, -1e38, -999.0, 360.0)
INTEGERS = (0, 1, -1, 2**31 - 1, -(2**31), 255)
TEXTS = ("", "\0", "\u2028", "x" * 5000, "ZTF<&>'\"", "null", "\U0001f52d")
TYPES: tuple[Any, ...] = (
    "null", "boolean", "int", "long", "float", "double", "bytes", "string", "nothing", "", 7, None, [], {}, [[]],
    ["null", "null"], {"type": "array", "items": "null"}, {"type": "map", "values": "long"},
    {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": "null"}}},
    {"type": "fixed", "name": "f", "size": 2**31}, {"type": "fixed", "name": "g", "size": -1},
    {"type": "enum", "name": "e", "symbols": []}, {"type": {"type": {"type": "int"}}},
    {"type": "record", "name": "again", "fields": [{"name": "self", "type": ["null", "again"]}]},
)  # fmt: skip


def spoil_bytes(rng: random.Random, good: bytes) -> bytes:
    """One to four edits: bytes flipped, overwritten, cut out, put in, repeated; or the end missing."""
    raw = bytearray(good)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(raw) + 1), rng.randint(1, 40)
        how = rng.choice(("flip", "flip", "set", "cut", "insert", "repeat", "end"))
        if how == "flip" and at < len(raw):
            raw[at] ^= 1 << rng.randrange(8)
        elif how == "set":
            raw[at : at + 8] = struct.pack("<q", rng.choice(INTEGERS))
        elif how == "cut":
            del raw[at : at + length]
        elif how == "insert":
            raw[at:at] = rng.randbytes(length)
        elif how == "repeat":
            raw[at:at] = raw[at : at + 100 * length]
        elif how == "end":
            del raw[at:]
    return bytes(raw)


def spoil_record(rng: random.Random, schema: str, record: dict[str, Any]) -> bytes:
    """A packet that is sound Avro with one to six values that nobody expects, stamps among them."""
    record = copy.deepcopy(record)
    places = list(_leaves(record))
    for holder, key in rng.sample(places, rng.randint(1, 6)):
        holder[key] = _spoiled(rng, holder[key])
    if rng.random() < 0.5:
        stamps = [place for place in places if isinstance(place[0][place[1]], bytes)]
        holder, key = rng.choice(stamps)
        holder[key] = spoil_stamp(rng, holder[key])
    return write_container(schema, record)


def spoil_stamp(rng: random.Random, packed: bytes) -> bytes:
    """A stamp whose FITS is spoilt within a sound gzip, or whose gzip is spoilt."""
    if rng.random() < 0.3:
        return spoil_bytes(rng, packed)
    try:
        plain = bytearray(gzip.decompress(packed))
    except (OSError, EOFError):
        return packed
    for _ in range(rng.randint(1, 3)):
        card = 80 * rng.randrange(8)
        value = str(rng.choice((0, -1, 1, 2, 62, 64, 10**6, 2**63, "T", "'x'", "1E400"))).rjust(20)
        plain[card + 10 : card + 30] = value.encode()[:20]
    return gzip.compress(spoil_bytes(rng, bytes(plain)) if rng.random() < 0.3 else bytes(plain), 1)


def spoil_schema(rng: random.Random, schema: Any, body: bytes) -> bytes:
    """A packet whose body is sound and whose writer schema is not the one that it was written with."""
    if rng.random() < 0.2:
        return assemble(encode_header(spoil_bytes(rng, json.dumps(schema).encode())), body)
    schema = copy.deepcopy(schema)
    for _ in range(rng.randint(1, 3)):
        holder, key = rng.choice(list(_nodes(schema)))
        rng.choice(SCHEMA_EDITS)(rng, holder, key)
    return assemble(encode_header(json.dumps(schema).encode()), body)


def _replace(rng: random.Random, holder: Any, key: Any) -> None:
    holder[key] = copy.deepcopy(rng.choice(TYPES))


def _remove(rng: random.Random, holder: Any, key: Any) -> None:
    del holder[key]


def _repeat(rng: random.Random, holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))


def _exchange(rng: random.Random, holder: Any, key: Any) -> None:
    other = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


def _wrap(rng: random.Random, holder: Any, key: Any) -> None:
    holder[key] = rng.choice(({"type": "array", "items": holder[key]}, ["null", holder[key]], {"type": holder[key]}))


SCHEMA_EDITS: tuple[Callable[[random.Random, Any, Any], None], ...] = (_replace, _remove, _repeat, _exchange, _wrap)


def _spoiled(rng: random.Random, value: Any) -> Any:
    """Another value of the same kind, so that it can be written."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice(INTEGERS) if abs(value) < 2**31 else rng.choice((0, -1, 2**63 - 1, -(2**63), 2**53 + 1))
    if isinstance(value, float):
        return rng.choice(FLOATS)
    if isinstance(value, str):
        return rng.choice(TEXTS)
    return value


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a record that holds no further places."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(inner, dict | list):
            yield from _leaves(inner)
        else:
            yield value, key


def _nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a schema."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _nodes(inner)
