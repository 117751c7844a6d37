"""Run a loop in a thread of its own, and keep the main thread free for signals.

Python handles a signal between two steps of the main thread; a call into the Kafka client may take long. The first
SIGTERM or Ctrl-C lets the loop finish its batch, a second one ends the process at once, and so does a batch that takes
longer than the time given. Nothing is lost by that: what was not committed comes again.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

log = logging.getLogger(__name__)

FORCED = 75  # exit code of a process that did not wait for its batch
STDERR = 2  # its descriptor: where the log goes may be anything by then
LAST_S = 5.0  # s beyond the time to leave, after which not even Python is waited for
TICK_S = 0.2

T = TypeVar("T")


def run_until_told(
    work: Callable[[Callable[[], bool]], T], *, leave_s: float, tick: Callable[[], bool] = lambda: False
) -> T:
    """What work(stop) returns; stop() says whether to leave. tick is called a few times a second, True asks to stop.

    Whatever work raises is raised here. Ends the process, exit code FORCED, if it does not leave within leave_s.
    """
    outcome: list[T] = []
    fault: list[BaseException] = []
    asked = threading.Event()

    def run() -> None:
        try:
            outcome.append(work(asked.is_set))
        except BaseException as error:
            fault.append(error)

    thread = threading.Thread(target=run, name="stream", daemon=True)
    with _signals(asked, leave_s):
        thread.start()
        try:
            _watch(thread, asked, leave_s, tick)
        finally:
            asked.set()  # whatever happened to us, the loop must have ended before its clients are closed
            thread.join(leave_s)
            faulthandler.cancel_dump_traceback_later()
    if fault:
        raise fault[0]
    return outcome[0]


def _watch(thread: threading.Thread, asked: threading.Event, leave_s: float, tick: Callable[[], bool]) -> None:
    """Until the loop has ended; leave without it where it takes too long after it was asked to stop."""
    deadline: float | None = None
    while thread.is_alive():
        thread.join(TICK_S)
        if tick() and not asked.is_set():
            _ask(asked, leave_s)
        if asked.is_set() and deadline is None:
            deadline = time.monotonic() + leave_s
        if deadline is not None and time.monotonic() > deadline and thread.is_alive():
            log.error("the batch is not finished after %.0f s; leaving without it, it will come again", leave_s)
            leave_now()


def _ask(asked: threading.Event, leave_s: float) -> None:
    """Tell the loop to stop. Should that take very long, the process ends without Python, and says where it hung.

    A client that waits for itself within a callback lets no other thread run, and no signal be handled.
    """
    faulthandler.dump_traceback_later(leave_s + LAST_S, exit=True, file=STDERR)
    asked.set()


def leave_now() -> NoReturn:
    """End the process without waiting for anything but its last words."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(FORCED)


@contextmanager
def _signals(asked: threading.Event, leave_s: float) -> Iterator[None]:
    """SIGTERM and Ctrl-C set the event; a second one leaves at once."""

    def handle(number: int, _: object) -> None:
        if asked.is_set():
            log.error("told to stop twice; leaving at once, the batch will come again")
            leave_now()
        log.info("told to stop: finishing the batch")
        _ask(asked, leave_s)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
