"""How much an alert may cost: bounds on everything that a hostile packet could blow up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds that hold before anything is decoded or inflated. Larger things are refused, never cut."""

    message_bytes: int = 1 << 20  # a message, and the inflated block of a compressed one; ZTF 70 kB, Rubin 140 kB
    schema_bytes: int = 1 << 18  # the writer schema in the header of a container; real ones have up to 41 kB
    stamp_bytes: int = 1 << 18  # a stamp once inflated; ZTF 21 kB, Rubin 30 kB
    list_items: int = 5000  # items of one list or map; also bounds lists whose items take no bytes
