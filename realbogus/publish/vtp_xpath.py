"""XPath filters of subscribers: attacker input, looked at in a process of its own that dies rather than overruns.

An expression of 45 characters can keep libxml2 busy for minutes, and nothing can interrupt it but the end of its
process. So expressions are capped in number and length, compiled without extensions, and evaluated by this file run as
a program, which imports nothing of realbogus so that it starts at once. It forks a child for each event; the kernel
ends the child when one evaluation takes too long, and another one goes on with the next expression.

A request on stdin: its length in four bytes, big-endian; the length of the event in four bytes, the event; then for
each expression its length in two bytes and its UTF-8. Answers leave on stdout in the order of the expressions, as soon
as each is known: a verdict of one byte and what it cost in two, in units of 10 us. Who asks puts the cheapest first:
what is expensive, or new, then delays nobody.
"""

from __future__ import annotations

import math
import mmap
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Sequence
from functools import lru_cache

from lxml import etree

FILTERS = 8  # expressions of one subscriber
CHARACTERS = 512  # of one expression
CPU_S = 0.02  # s of one evaluation; an honest one on an event of 5 kB takes a ten-thousandth of a second
EVENT_CPU_S = 0.25  # s of all evaluations of one event; the most expensive ones are left out
MEMORY_BYTES = 1 << 30
YES, NO, INVALID, SLOW = b"y", b"n", b"!", b"s"
READY = b"r"  # said once, at the start
ANSWER = struct.Struct(">cH")  # verdict, cost
COST_S = 1e-5  # s; unit of a cost
MOST = 0xFFFF


def question(xml: bytes, expressions: Sequence[str]) -> bytes:
    """A request as it goes over the pipe."""
    encoded = [one.encode("utf-8", "replace")[:MOST] for one in expressions]
    parts = [struct.pack(">I", len(xml)), xml]
    for one in encoded:
        parts += [struct.pack(">H", len(one)), one]
    body = b"".join(parts)
    return struct.pack(">I", len(body)) + body


def answer(expression: str, event: etree._Element) -> bytes:
    """Whether an expression is true of an event: a non-empty set of nodes, a number that is not 0, a text, true."""
    try:
        found = _compiled(expression)(event)
    except (etree.XPathError, ValueError, MemoryError):  # ValueError: characters that XML forbids
        return INVALID
    if isinstance(found, float) and math.isnan(found):
        return NO
    return YES if found else NO


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> etree.XPath:
    return etree.XPath(expression, regexp=False, smart_strings=False)


def serve(requests: int, answers: int) -> None:
    """Answer until there are no more requests; file descriptors."""
    os.write(answers, READY)
    done = mmap.mmap(-1, 8)  # shared with the children: how many expressions are answered
    with os.fdopen(requests, "rb") as stream:
        while len(header := stream.read(4)) == 4:
            xml, expressions = _parts(stream.read(int.from_bytes(header, "big")))
            for expression in expressions:  # before the fork, so that it is done once
                answer_of_compiling(expression)
            _answer(xml, expressions, done, answers)


def answer_of_compiling(expression: str) -> None:
    """Fill the cache; what cannot be compiled is told by `answer`."""
    try:
        _compiled(expression)
    except (etree.XPathError, ValueError, MemoryError):
        return


def _answer(xml: bytes, expressions: Sequence[str], done: mmap.mmap, answers: int) -> None:
    """Children one after the other until all is answered; each that dies dies of one expression."""
    answered = 0
    spent_s = 0.0
    while answered < len(expressions):
        done[:8] = struct.pack(">Q", answered)
        before_s = _children_s()
        child = os.fork()
        if not child:
            _child(xml, expressions, done, answers, EVENT_CPU_S - spent_s)
        os.waitpid(child, 0)
        spent_s += _children_s() - before_s
        (answered,) = struct.unpack(">Q", done[:8])
        if answered < len(expressions):
            os.write(answers, ANSWER.pack(SLOW, MOST))
            answered += 1


def _child(xml: bytes, expressions: Sequence[str], done: mmap.mmap, answers: int, budget_s: float) -> None:
    """Answer from where the last child ended; never returns."""
    try:
        event = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
        (start,) = struct.unpack(">Q", done[:8])
        begun = time.process_time()
        for number in range(start, len(expressions)):
            before = time.process_time()
            verdict = SLOW
            if before - begun < budget_s:
                signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S)  # its signal is not handled: it ends the process
                verdict = answer(expressions[number], event)
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            cost = min(round((time.process_time() - before) / COST_S), MOST)
            os.write(answers, ANSWER.pack(verdict, cost))
            done[:8] = struct.pack(">Q", number + 1)
    finally:
        os._exit(0)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _parts(body: bytes) -> tuple[bytes, list[str]]:
    size = int.from_bytes(body[:4], "big")
    xml, at, expressions = body[4 : 4 + size], 4 + size, []
    while at < len(body):
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        expressions.append(body[at + 2 : end].decode("utf-8", "replace"))
        at = end
    return xml, expressions


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes our stdin
    serve(sys.stdin.fileno(), sys.stdout.fileno())
