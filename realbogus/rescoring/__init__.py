"""Archives scored again, on all cores, in bounded memory, to be continued after a kill.

Packets are found in a fixed order and cut into chunks; processes score chunks (`judging`), the results come back in
order and are kept in parts (`parts`). A run that was killed goes on with the first part that is missing. The output is
the same to the byte, whatever the number of processes and of kills.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

from realbogus import archives, tables
from realbogus.archives import Found
from realbogus.limits import Limits
from realbogus.publish.sinks import Answer, EventSink
from realbogus.rescoring.judging import Chunk, Judged, Plan, judge, run, start
from realbogus.rescoring.parts import Summary, parts_of

__all__ = ["Plan", "Progress", "Summary", "rescore"]

CHUNK = 256  # packets handed to a process at once ...
CHUNK_BYTES = 32 << 20  # ... or fewer, if together they are larger than this
PART = 32  # chunks in a part: 8192 packets, the seconds of work that a kill can cost
AHEAD = 2  # chunks that wait for each process, beyond the one it has
WARM_BYTES = 16 << 20  # of input, for which a further process is worth its start of some seconds

Submit = Callable[[Chunk], Callable[[], Judged]]  # takes a chunk, gives a function that waits for the result


class Progress:
    """Hears of the work as it goes on; this one does nothing."""

    def begin(self, total: int, processes: int) -> None:
        """The input has this many bytes, and this many processes score it."""

    def advance(self, passed: int, packets: int, rejected: int) -> None:
        """So many more bytes of input, and packets in them, are done."""


def rescore(
    paths: Sequence[Path],
    out: Path,
    plan: Plan,
    *,
    processes: int | None = None,
    resume: bool = False,
    events_to: EventSink | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Score every packet below the paths and write a row for each.

    processes: None = one a core, if there is work for them. events_to: where events go, if the plan has a style for
    them. Raises ConfigError if an unfinished run is in the way and resume is not asked for, or if it was another run.
    """
    tables.require_format(out)
    events = Events(events_to)
    progress = progress or Progress()
    total = sum(file.stat().st_size for file in archives.files(paths))
    processes = processes or max(1, min(len(os.sched_getaffinity(0)), total // WARM_BYTES))
    with parts_of(out, plan, resume=resume) as parts, _judges(plan, processes) as submit:
        progress.begin(total, processes)
        results = _in_order(
            _chunks(paths, plan.limits), submit, lambda chunk: _part(chunk) in parts.there, AHEAD * processes
        )
        numbers = []
        for number, group in groupby(_heard(results, events, progress), key=lambda result: _part(result[0])):
            parts.keep(number, group)
            numbers.append(number)
        return replace(parts.merge(numbers), events=events.count, untold=events.untold)


class Events:
    """Sends the events of each chunk before the chunk's rows are kept."""

    def __init__(self, sink: EventSink | None) -> None:
        self.sink = sink
        self.count = 0
        self.untold: list[str] = []

    def send(self, judged: Judged) -> None:
        """Raises OSError where they cannot be sent."""
        self.untold += judged.untold
        if self.sink is None or not judged.events:
            return
        for event, delivery in zip(judged.events, self.sink.send(judged.events), strict=True):
            if delivery.answer is Answer.FAILED:
                raise OSError(f"{event.ivorn} could not be sent to the {self.sink.name}: {delivery.detail}")
            if delivery.answer is Answer.REFUSED:
                self.untold.append(f"{event.candid}: {delivery.detail}")
            self.count += delivery.answer is Answer.SENT


def _part(chunk: Chunk) -> int:
    """The part of the output in which the rows of a chunk are kept."""
    return chunk.number // PART


def _heard(
    results: Iterable[tuple[Chunk, Judged | None]], events: Events, progress: Progress
) -> Iterator[tuple[Chunk, Judged | None]]:
    """The results as they pass, their events sent and their progress told."""
    for chunk, judged in results:
        if judged is not None:
            events.send(judged)
        progress.advance(chunk.passed, len(judged.rows) if judged else 0, judged.rejected if judged else 0)
        yield chunk, judged


def _chunks(paths: Sequence[Path], limits: Limits) -> Iterator[Chunk]:
    """The packets in order, cut where a chunk is full."""
    number = weight = passed = 0
    found: list[Found] = []

    def tell(count: int) -> None:
        nonlocal passed
        passed += count

    for one in archives.find(paths, limits, tell):
        if found and (len(found) == CHUNK or weight + one.weight > CHUNK_BYTES):
            yield Chunk(number, found, passed)
            number, weight, passed, found = number + 1, 0, 0, []
        found.append(one)
        weight += one.weight
    if found:
        yield Chunk(number, found, passed)


@contextmanager
def _judges(plan: Plan, processes: int) -> Iterator[Submit]:
    """This process, or a pool of others."""
    if processes == 1:
        scorer = plan.scorer()
        yield lambda chunk: partial(judge, chunk, plan, scorer)
        return
    context = multiprocessing.get_context("spawn")  # the threads of numpy and Arrow do not survive a fork
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=start, initargs=(plan,))
    try:
        yield lambda chunk: pool.submit(run, chunk).result
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    chunks: Iterable[Chunk], submit: Submit, is_there: Callable[[Chunk], bool], ahead: int
) -> Iterator[tuple[Chunk, Judged | None]]:
    """Chunks with their results, None where those are there already; no more than `ahead` wait at a time."""
    waiting: deque[tuple[Chunk, Callable[[], Judged] | None]] = deque()
    for chunk in chunks:
        waiting.append((chunk, None if is_there(chunk) else submit(chunk)))
        if len(waiting) > ahead:
            yield _waited_for(*waiting.popleft())
    while waiting:
        yield _waited_for(*waiting.popleft())


def _waited_for(chunk: Chunk, result: Callable[[], Judged] | None) -> tuple[Chunk, Judged | None]:
    return chunk, result() if result else None
