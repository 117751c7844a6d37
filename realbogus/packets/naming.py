"""What a message says of its schema, for people who sort out dead letters. Never raises."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from realbogus.errors import PacketError
from realbogus.limits import Limits
from realbogus.packets.avrotypes import full_name, main_record
from realbogus.packets.blocks import MAGIC, read_header

DIGITS = 12  # of the fingerprint: enough to tell the schemas of a survey's life apart


def schema_named(message: bytes, limits: Limits | None = None) -> str:
    """ "ztf.alert#3f0a..." for a container: record and SHA-256 of its schema; "id 905"; "none" without any header."""
    if message.startswith(MAGIC):
        try:
            return _named(read_header(message, limits or Limits()).schema)
        except PacketError:
            return "unreadable header"
    if len(message) >= 5 and message[0] == 0:
        return f"id {int.from_bytes(message[1:5], 'big')}"
    return "none"


@lru_cache(maxsize=64)
def _named(text: bytes) -> str:
    digest = hashlib.sha256(text).hexdigest()[:DIGITS]
    try:
        name = full_name(main_record(json.loads(text)))
    except (PacketError, ValueError, RecursionError, KeyError, TypeError, AttributeError, IndexError):
        name = ""
    return f"{name[:100] or '?'}#{digest}"
