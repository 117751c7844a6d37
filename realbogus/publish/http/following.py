"""Following live: each follower knows how far it is and reads on from there at its own pace.

There are no queues that could fill: the newest events are kept once for all, and who is further behind reads the
catalogue. One that takes nothing waits in its own connection until it is closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from realbogus.publish.http.catalogue import Entry
from realbogus.publish.http.search import Search

RECENT = 1000  # events kept in memory
PAGE = 200  # events read from the catalogue at once
ALIVE_S = 15.0  # s between signs of life where nothing comes: proxies close what is silent
ALIVE = b": alive\n\n"
RETRY_MS = 3000  # ms that a browser waits before it connects again

Look = Callable[[Search], asyncio.Future[list[Entry]]]


class Following:
    """The newest events, and a bell. All methods belong to the event loop; begin is the catalogue's last number."""

    def __init__(self, begin: int, *, alive_s: float = ALIVE_S) -> None:
        self._recent: deque[Entry] = deque(maxlen=RECENT)
        self._complete_after = begin  # everything with a higher number is in memory
        self._bell = asyncio.Event()
        self._alive_s = alive_s
        self.is_over = False

    @property
    def last(self) -> int:
        """The highest number so far."""
        return self._recent[-1].number if self._recent else self._complete_after

    def tell(self, entries: Sequence[Entry]) -> None:
        """New events, by rising number."""
        for entry in entries:
            if len(self._recent) == RECENT:
                self._complete_after = self._recent[0].number
            self._recent.append(entry)
        self._ring()

    def end(self) -> None:
        """Send everybody home."""
        self.is_over = True
        self._ring()

    async def events(self, search: Search, after: int, look: Look) -> AsyncIterator[bytes]:
        """What to send to one follower: events after a number that match, and signs of life."""
        yield f"retry: {RETRY_MS}\n\n".encode()
        while not self.is_over:
            bell = self._bell
            found = self._since(after)
            if found is None:
                complete = self._complete_after  # all up to here is in the catalogue before we look
                page = await look(replace(search, after=after, before=None, since=None, limit=PAGE))
                after = page[-1].number if page else max(after, complete)
                for entry in page:
                    yield message(entry)
            elif found:
                after = found[-1].number
                for entry in found:
                    if search.matches(entry.twin, entry.state):
                        yield message(entry)
            elif not await _rings(bell, self._alive_s):
                yield ALIVE

    def _since(self, after: int) -> list[Entry] | None:
        """What came after a number; None where that is further back than memory goes."""
        if after < self._complete_after:
            return None
        found = []
        for entry in reversed(self._recent):
            if entry.number <= after:
                break
            found.append(entry)
        return found[::-1]

    def _ring(self) -> None:
        self._bell.set()
        self._bell = asyncio.Event()


def message(entry: Entry) -> bytes:
    """An event as a server-sent event: its number as id, its JSON twin as data."""
    return f"id: {entry.number}\nevent: voevent\ndata: {entry.document}\n\n".encode()


async def _rings(bell: asyncio.Event, within_s: float) -> bool:
    try:
        await asyncio.wait_for(bell.wait(), within_s)
    except TimeoutError:
        return False
    return True
