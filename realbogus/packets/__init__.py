"""Avro bytes to columns and back: the only room that knows the wire format.

`read` is the way in. A writer schema is compiled once to a flat program (`program`), which the decoder (`kernels`)
runs over the bytes of each record; fastavro (`fallback`) is its plain twin.
"""

from __future__ import annotations

from realbogus.limits import Limits
from realbogus.packets.fields import Decoded, Fields
from realbogus.packets.reading import read, read_whole
from realbogus.packets.schemas import SchemaStore
from realbogus.packets.writing import Items, encode_item, field_names, write_container

__all__ = [
    "Decoded",
    "Fields",
    "Items",
    "Limits",
    "SchemaStore",
    "encode_item",
    "field_names",
    "read",
    "read_whole",
    "write_container",
]
