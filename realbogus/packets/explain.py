"""What the compiled decoder gave up on, as a reason and a sentence that a person understands."""

from __future__ import annotations

from collections.abc import Sequence

from realbogus.errors import PacketError, Reason
from realbogus.packets import blocks, kernels
from realbogus.packets.blocks import Header
from realbogus.packets.program import Program

_OF_THE_RECORD = {
    kernels.TRUNCATED: "{whole} ends at byte {stop}, its {what} needs {detail}",
    kernels.LONG_NUMBER: "damaged: {what} at byte {position} is a number of more than ten bytes",
    kernels.NEGATIVE_LENGTH: "damaged: {what} at byte {position} has a negative length",
    kernels.BAD_BRANCH: "damaged: {what} at byte {position} claims branch {detail} of a union without such a branch",
    kernels.BAD_SYMBOL: "damaged: {what} at byte {position} claims symbol {detail} of an enum without such a symbol",
    kernels.LONG_LIST: "{what} at byte {position} claims a list of {detail} items, too many",
    kernels.TOO_DEEP: "damaged: {what} at byte {position} is nested deeper than {detail} levels",
    kernels.LEFT_OVER: "damaged: the record ends at byte {position} and {detail} bytes are left over",
}


def problem(status: Sequence[int], program: Program, message: bytes, header: Header) -> PacketError:
    """The error that a status tells: code, position, detail, row of the program, end of the record.

    header tells where the sync marker stands, if the message is a container.
    """
    code, position, detail, row, stop = status
    if code not in _OF_THE_RECORD:
        return PacketError(_of_the_block(code, position, detail, message, header))
    path = program.op_paths[row] if row >= 0 else program.value_paths[-1 - row]
    sentence = _OF_THE_RECORD[code].format(
        whole="the message" if stop == len(message) else "its block",
        what=f"field {path}" if path else "record",
        stop=stop,
        position=position,
        detail=detail,
    )
    return PacketError(sentence, Reason.OVERSIZE if code == kernels.LONG_LIST else Reason.MALFORMED)


def _of_the_block(code: int, position: int, detail: int, message: bytes, header: Header) -> str:
    if code == kernels.RECORD_COUNT:
        return _damage(message, header) or blocks.record_count(detail)
    if code == kernels.SHORT_BLOCK:
        return blocks.short_block(len(message), detail, sealed=message.endswith(header.sync(message)))
    if code == kernels.SYNC_MARKER:
        return blocks.no_sync(position)
    if code == kernels.MORE_BLOCKS:
        return blocks.more_blocks(position, detail)
    return blocks.nonsense(position)


def _damage(message: bytes, header: Header) -> str:
    """What is wrong with a block of a container of many records; "" = nothing."""
    try:
        for _ in blocks.read_blocks(message, header):
            pass
    except PacketError as error:
        return str(error)
    return ""
