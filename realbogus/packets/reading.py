"""Messages to columns: what `packets.read` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from realbogus.alerts import Rejected
from realbogus.errors import PacketError, Reason
from realbogus.limits import Limits
from realbogus.packets import columns, fallback
from realbogus.packets.columns import Framed
from realbogus.packets.container import Framer
from realbogus.packets.fields import Decoded, Fields
from realbogus.packets.schemas import SchemaStore, Writer

Recognise = Callable[[Any], tuple[str, str] | None]
NOTHING = Fields((), (), (), ())
LONGEST_DETAIL = 300  # characters


def read(
    messages: Sequence[bytes],
    *,
    wanted: Mapping[str, Fields],
    recognise: Recognise,
    store: SchemaStore,
    limits: Limits | None = None,
    bare_schema: str | None = None,
    compiled: bool = True,
) -> tuple[list[Decoded], list[Rejected]]:
    """Read each message as one alert: into the columns of its survey, or rejected with its reason.

    Nothing is raised for bad input: every message comes back once, as a row of a Decoded (one a survey, in order of
    name; rows in order of messages) or as a Rejected (in order of messages).

    wanted tells which fields to read of which survey; recognise tells from a writer schema the survey and the
    schema's name, or None. bare_schema names the schema of messages that come without any header, else they are
    rejected. compiled=False has fastavro read everything, to compare with.
    """
    framer = Framer(store, limits or Limits(), bare_schema)
    surveys, rejected = _opened(messages, framer, recognise)
    decoded = []
    for survey in sorted(surveys):
        records, fields = surveys[survey], wanted.get(survey, NOTHING)
        filled = columns.fill(records, fields, store, framer.limits, compiled=compiled)
        if survey not in wanted:
            filled.problems.update(_unwanted(records, survey, filled.problems))
        rejected += [_rejected(survey, records[row], filled, row) for row in filled.problems]
        if len(filled.problems) < len(records):
            decoded.append(columns.decoded(survey, records, filled, fields))
    return decoded, sorted(rejected, key=lambda one: one.index)


def read_whole(
    message: bytes, *, store: SchemaStore, limits: Limits | None = None, bare_schema: str | None = None
) -> Any:
    """The whole record of one message as Python values, for what is looked at one at a time; see `read`.

    Raises PacketError where there is none. The values are those of the packet, whatever they are.
    """
    framer = Framer(store, limits or Limits(), bare_schema)
    data, start, in_block, writer = framer.open(message)
    return fallback.read_record(fallback.body_at(data, start, in_block), writer, framer.limits)


def _opened(
    messages: Sequence[bytes], framer: Framer, recognise: Recognise
) -> tuple[dict[str, list[Framed]], list[Rejected]]:
    """The records found in the messages, by survey ("" = unknown), and the messages in which there is none."""
    surveys: dict[str, list[Framed]] = {}
    rejected = []
    for index, message in enumerate(messages):
        try:
            data, start, in_block, writer = framer.open(message)
        except PacketError as error:
            rejected.append(Rejected(index, error.reason, _cut(error)))
            continue
        survey, schema = _recognised(writer, recognise)
        surveys.setdefault(survey, []).append(Framed(index, data, start, in_block, writer, schema))
    return surveys, rejected


def _recognised(writer: Writer, recognise: Recognise) -> tuple[str, str]:
    """Survey and schema name of a writer, asked once; survey "" and the name of its record where it is unknown."""
    if recognise not in writer.found:
        writer.found[recognise] = recognise(writer.schema) or ("", writer.name)
    found: tuple[str, str] = writer.found[recognise]
    return found


def _unwanted(records: Sequence[Framed], survey: str, known: Mapping[int, PacketError]) -> dict[int, PacketError]:
    """What to say of readable records of a survey that is not wanted."""

    def say(schema: str) -> str:
        if survey:
            return f"packets of survey {survey!r} are not wanted here"
        return f"no survey is known whose packets have the schema {schema!r}"

    return {
        row: PacketError(say(record.schema), Reason.UNKNOWN_SURVEY)
        for row, record in enumerate(records)
        if row not in known
    }


def _rejected(survey: str, record: Framed, filled: columns.Filled, row: int) -> Rejected:
    problem = filled.problems[row]
    candid, object_id = filled.identity(row)
    return Rejected(record.index, problem.reason, _cut(problem), survey, candid, object_id)


def _cut(problem: PacketError) -> str:
    """The sentence, within bounds: it may quote names from a hostile schema."""
    detail = str(problem)
    return detail if len(detail) <= LONGEST_DETAIL else f"{detail[:LONGEST_DETAIL]}..."
