"""Dead letters: what could not be scored, with its own key and bytes untouched and the reason in the headers.

What only waits for us, for a schema, a survey's reader or a model, is parked: the same form in a topic of its own, to
be replayed after the upgrade. Headers are texts in UTF-8, their names begin with ``__rb.errors.``:

=============== =====================================================================================
reason          the entry of the closed list `errors.Reason`
message         one sentence that a person understands, at most 1 kB
disposition     what may help: "schema_unknown" (an upgrade, a model, a schema), "malformed", "invalid",
                "oversize" (nothing on our side), "internal" (our fault; please report)
stage           where it fell out: "decode", "read" or "score"
topic, partition, offset, timestamp   where and when it was read; timestamp in ms, Unix time
code_version    of realbogus
attempt         1, one more at each replay
schema          what it says of its schema, see `packets.naming`
null_value      "true" where the message had no value at all, which is not the same as an empty one
survey, candid, object_id   as far as they could be read
length, sha256  of the whole value, where it is larger than the dead letter topic takes: then the value
                holds its first 64 kB
=============== =====================================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from realbogus import __version__
from realbogus.alerts import Rejected
from realbogus.errors import Reason
from realbogus.packets.naming import schema_named
from realbogus.stream.protocols import Headers, Message, Record

PREFIX = "__rb.errors."
TEXT_BYTES = 1000  # longest message in a header
HEAD_BYTES = 64 * 1024  # what is kept of a value too large for its topic
OVERHEAD_BYTES = 512  # framing of a record and slack, beside key, value and headers

DISPOSITION: Mapping[Reason, str] = {
    Reason.MALFORMED: "malformed",
    Reason.OVERSIZE: "oversize",
    Reason.UNKNOWN_SCHEMA: "schema_unknown",
    Reason.UNKNOWN_SURVEY: "schema_unknown",
    Reason.NO_MODEL: "schema_unknown",
    Reason.MISSING_STAMP: "invalid",
    Reason.BAD_STAMP: "invalid",
    Reason.BAD_VALUE: "invalid",
    Reason.INTERNAL: "internal",
}
STAGE: Mapping[Reason, str] = {
    Reason.MALFORMED: "decode",
    Reason.OVERSIZE: "decode",
    Reason.UNKNOWN_SCHEMA: "decode",
    Reason.UNKNOWN_SURVEY: "decode",
    Reason.NO_MODEL: "score",
    Reason.MISSING_STAMP: "read",
    Reason.BAD_STAMP: "read",
    Reason.BAD_VALUE: "read",
    Reason.INTERNAL: "score",
}
PARKED = frozenset(reason for reason, what in DISPOSITION.items() if what == "schema_unknown")


def dead_letter(message: Message, rejected: Rejected, topic: str, room: int) -> Record:
    """The dead letter of a message, for a topic that takes records of room bytes."""
    foreign = tuple((name, value) for name, value in message.headers if not name.startswith(PREFIX))
    headers = foreign + _headers(message, rejected)
    letter = Record(topic, message.key, message.value, headers, message.timestamp_ms)
    if size_of(letter) <= room:
        return letter
    whole = (
        (f"{PREFIX}length", str(len(message.value)).encode()),
        (f"{PREFIX}sha256", hashlib.sha256(message.value).hexdigest().encode()),
    )
    key = message.key if len(message.key or b"") <= TEXT_BYTES else None
    headers = _headers(message, rejected) + whole  # foreign headers may be what is too large
    return Record(topic, key, message.value[:HEAD_BYTES], headers, message.timestamp_ms)


def attempt_of(message: Message) -> int:
    """How many times this message has been dead before."""
    texts = dict(message.headers)
    text = texts.get(f"{PREFIX}attempt") or b""
    return int(text) if text.isdigit() and len(text) < 10 else 0


def size_of(record: Record) -> int:
    """Bytes that a record needs in a topic, a little too many rather than too few."""
    headers = sum(len(name) + len(value or b"") + 10 for name, value in record.headers)
    return len(record.key or b"") + len(record.value) + headers + OVERHEAD_BYTES


def _headers(message: Message, rejected: Rejected) -> Headers:
    entries = {
        "reason": rejected.reason.value,
        "message": rejected.detail,
        "disposition": DISPOSITION[rejected.reason],
        "stage": STAGE[rejected.reason],
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp_ms,
        "code_version": __version__,
        "attempt": attempt_of(message) + 1,
        "schema": schema_named(message.value),
        "survey": rejected.survey,
        "candid": rejected.candid,
        "object_id": rejected.object_id,
        "null_value": "true" if message.null_value else "",
    }
    return tuple((PREFIX + name, _text(value)) for name, value in entries.items() if value not in ("", None))


def _text(value: object) -> bytes:
    """A header's text, cut between characters."""
    return str(value).encode("utf-8", "replace")[:TEXT_BYTES].decode("utf-8", "ignore").encode()
