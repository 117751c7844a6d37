"""The messages of the VOEvent Transport Protocol: frames on a connection, and the small XML that brokers exchange.

A frame is its length in four bytes, big-endian, then so many bytes of XML. What comes from outside is hostile until
read here: its size is capped before a byte of it is parsed, and entities, DOCTYPE and the network stay shut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from realbogus.errors import TransportError
from realbogus.voevent.validate import parser

HEADER_BYTES = 4
MESSAGE_BYTES = 99_999  # largest message taken from a peer; ours are below 1 kB

NAMESPACE = "http://www.telescope-networks.org/xml/Transport/v1.1"
NAMESPACES = (  # peers write all of these
    NAMESPACE,
    "http://telescope-networks.org/xml/Transport/v1.1",
    "http://telescope-networks.org/schema/Transport/v1.1",
)

Role = Literal["iamalive", "authenticate", "ack", "nak"]


@dataclass(frozen=True)
class Transport:
    """A message of the protocol."""

    role: str  # one of Role
    origin: str = ""  # who speaks; of an ack or nak the event that it answers
    response: str = ""  # who answers
    result: str = ""  # why, in a nak
    filters: tuple[str, ...] = ()  # XPath expressions of a subscriber, in its answer to authenticate


def frame(message: bytes) -> bytes:
    """A message as it goes over the connection."""
    return len(message).to_bytes(HEADER_BYTES, "big") + message


def frame_size(header: bytes) -> int:
    """The length that a frame's header tells; TransportError if nobody needs so much."""
    size = int.from_bytes(header, "big")
    if not 0 < size <= MESSAGE_BYTES:
        raise TransportError(f"a frame of {size} bytes; expected 1 to {MESSAGE_BYTES}")
    return size


def write(
    role: Role, origin: str, now: float, *, response: str = "", result: str = "", filters: Sequence[str] = ()
) -> bytes:
    """A message of ours. now is Unix time, s; filters are XPath expressions, for the answer to authenticate."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = f"<Response>{escape(response)}</Response>" if response else ""
    about = "".join(f'<Param name="xpath-filter" value={quoteattr(one)}/>' for one in filters)
    about += f"<Result>{escape(result)}</Result>" if result else ""
    meta = f"<Meta>{about}</Meta>" if about else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<trn:Transport xmlns:trn="{NAMESPACE}" version="1.0" role="{role}">'
        f"<Origin>{escape(origin)}</Origin>{answer}<TimeStamp>{stamp}</TimeStamp>{meta}</trn:Transport>"
    ).encode()


def read(data: bytes) -> Transport:
    """The message in these bytes; TransportError where they hold none."""
    root = _root(data)
    tag = str(root.tag)
    if tag not in {f"{{{namespace}}}Transport" for namespace in NAMESPACES}:
        raise TransportError(f"expected a Transport message, found {tag[:200]}")
    filters = [node.get("value", "") for node in root.iterfind("Meta/Param") if node.get("name") == "xpath-filter"]
    filters += [node.text or "" for node in root.iterfind("Meta/filter") if node.get("type") == "xpath"]
    return Transport(
        role=root.get("role", ""),
        origin=(root.findtext("Origin") or "").strip(),
        response=(root.findtext("Response") or "").strip(),
        result=(root.findtext("Meta/Result") or "").strip(),
        filters=tuple(filters),
    )


def _root(data: bytes) -> etree._Element:
    """The root element, parsed with everything shut that reaches beyond the bytes."""
    if len(data) > MESSAGE_BYTES:
        raise TransportError(f"{len(data)} bytes; expected at most {MESSAGE_BYTES}")
    try:
        root = etree.fromstring(data, parser())
    except etree.XMLSyntaxError as error:
        raise TransportError(f"not well-formed: {error.msg}") from None
    if root.getroottree().docinfo.doctype:
        raise TransportError("holds a DOCTYPE")
    return root
