"""Messages to columns: what `packets.read` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from realbogus.alerts import Rejected
from realbogus.errors import PacketError, Reason
from realbogus.packets import columns
from realbogus.packets.columns import Framed
from realbogus.packets.container import Framer
from realbogus.packets.fields import Decoded, Fields
from realbogus.packets.limits import Limits
from realbogus.packets.schemas import SchemaStore, Writer

Recognise = Callable[[Any], tuple[str, str] | None]
NOTHING = Fields((), (), (), ())


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
    rejected: dict[int, Rejected] = {}
    surveys: dict[str, list[Framed]] = {}
    for index, message in enumerate(messages):
        try:
            data, start, in_block, writer = framer.open(message)
        except PacketError as error:
            rejected[index] = Rejected(index, error.reason, str(error))
            continue
        survey, schema = _recognised(writer, recognise)
        surveys.setdefault(survey, []).append(Framed(index, data, start, in_block, writer, schema))
    decoded = []
    for survey in sorted(surveys):
        records = surveys[survey]
        fields = wanted.get(survey, NOTHING)
        filled = columns.fill(records, fields, store, framer.limits, compiled=compiled)
        if survey not in wanted:
            filled.problems.update(_unknown(records, survey, filled.problems))
        rejected |= {records[row].index: _rejected(survey, records[row], filled, row) for row in filled.problems}
        if len(filled.problems) < len(records):
            decoded.append(columns.decoded(survey, records, filled, fields))
    return decoded, [rejected[index] for index in sorted(rejected)]


def _recognised(writer: Writer, recognise: Recognise) -> tuple[str, str]:
    """Survey and schema name of a writer, asked once; survey "" and the name of its record where it is unknown."""
    if recognise not in writer.found:
        writer.found[recognise] = recognise(writer.schema) or ("", writer.name)
    found: tuple[str, str] = writer.found[recognise]
    return found


def _unknown(records: Sequence[Framed], survey: str, known: Mapping[int, PacketError]) -> dict[int, PacketError]:
    """What to say of readable records of a survey that is not wanted."""
    return {
        row: PacketError(f"no survey is known whose packets have the schema {record.schema!r}", Reason.UNKNOWN_SURVEY)
        if not survey
        else PacketError(f"packets of survey {survey!r} are not wanted here", Reason.UNKNOWN_SURVEY)
        for row, record in enumerate(records)
        if row not in known
    }


def _rejected(survey: str, record: Framed, filled: columns.Filled, row: int) -> Rejected:
    problem = filled.problems[row]
    candid, object_id = filled.identity(row)
    return Rejected(record.index, problem.reason, str(problem), survey, candid, object_id)
