"""A call in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Task(Generic[T]):
    """A call that has begun, in a thread which does not keep the process from ending."""

    def __init__(self, call: Callable[[], T], name: str) -> None:
        self._call = call
        self._outcome: list[T] = []
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def done(self, wait_s: float) -> bool:
        """Whether it has ended, after so many seconds at most."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def result(self) -> T:
        """What it returned; raises what it raised. Waits until it has ended."""
        self._thread.join()
        if self._fault is not None:
            raise self._fault
        return self._outcome[0]

    def _run(self) -> None:
        try:
            self._outcome.append(self._call())
        except BaseException as fault:
            self._fault = fault
