"""Avro bytes to columns and back: the only room that knows the wire format."""

from __future__ import annotations

from realbogus.packets.container import write_container
from realbogus.packets.fields import Decoded, Fields
from realbogus.packets.limits import Limits

__all__ = ["Decoded", "Fields", "Limits", "write_container"]
