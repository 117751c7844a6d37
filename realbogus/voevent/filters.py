"""XPath filters of subscribers: attacker input, looked at in a process of its own that dies rather than overruns.

An expression of 45 characters can keep libxml2 busy for minutes, and nothing can interrupt it but the end of its
process. So expressions are capped in number and length, compiled without extensions, and evaluated by this module run
as a program (``python -m realbogus.voevent.filters``), which the kernel ends when one evaluation takes too long.

Requests come on stdin and answers leave on stdout, frames of four bytes of length, big-endian, and so many bytes:
``E`` and an event, answered by nothing; ``F`` and an expression, answered by one byte of `YES`, `NO` and `INVALID`.
"""

from __future__ import annotations

import math
import resource
import signal
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import BinaryIO

from lxml import etree

from realbogus.voevent.validate import parser

FILTERS = 8  # expressions of one subscriber
CHARACTERS = 512  # of one expression
CPU_S = 0.05  # s of one evaluation; an honest one on an event of 5 kB takes less than a thousandth of a second
MEMORY_BYTES = 1 << 30
YES, NO, INVALID = b"y", b"n", b"!"
READY = b"r"  # said once, at the start


def answer(expression: str, event: etree._Element) -> bytes:
    """Whether an expression is true of an event: a non-empty set of nodes, a number that is not 0, a text, true."""
    try:
        found = _compiled(expression)(event)
    except (etree.XPathError, ValueError):  # ValueError: characters that XML forbids
        return INVALID
    if isinstance(found, float) and math.isnan(found):
        return NO
    return YES if found else NO


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> etree.XPath:
    return etree.XPath(expression, regexp=False, smart_strings=False)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there are no more requests."""
    answers.write(READY)
    answers.flush()
    event = etree.Element("none")
    for request in _frames(requests):
        if request[:1] == b"E":
            event = etree.fromstring(request[1:], parser())
            continue
        signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S)  # its signal is not handled: it ends the process
        verdict = answer(request[1:].decode("utf-8", "replace"), event)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        answers.write(verdict)
        answers.flush()


def _frames(stream: BinaryIO) -> Iterator[bytes]:
    while len(header := stream.read(4)) == 4:
        yield stream.read(int.from_bytes(header, "big"))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes our stdin
    serve(sys.stdin.buffer, sys.stdout.buffer)
