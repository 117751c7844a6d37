"""The process that evaluates the filters of subscribers (`vtp_xpath`), and how it is asked."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterable

from realbogus.publish import vtp_xpath as filters

log = logging.getLogger(__name__)

VERDICT_S = 5.0  # s, wall; the children of the process end themselves far sooner
REMEMBERED = 10_000  # expressions whose cost is known


class Judge:
    """Evaluates each distinct expression once an event, the cheapest first and unknown ones last."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._cost: dict[str, int] = {}  # of the last evaluation, in units of filters.COST_S
        self._one_at_a_time = asyncio.Lock()

    async def verdicts(self, xml: bytes, expressions: Iterable[str]) -> AsyncIterator[tuple[str, bytes]]:
        """Expressions and what was found, as soon as it is: YES, NO, INVALID or SLOW."""
        left = sorted(set(expressions), key=lambda one: self._cost.get(one, filters.MOST + 1))
        async with self._one_at_a_time:
            for _ in range(2):  # a process that was ended from outside is replaced once
                try:
                    to, back = await self._streams()
                    to.write(filters.question(xml, left))
                    while left:
                        async with asyncio.timeout(VERDICT_S):
                            verdict, cost = filters.ANSWER.unpack(await back.readexactly(filters.ANSWER.size))
                        expression = left.pop(0)
                        self._remember(expression, cost)
                        yield expression, verdict
                    return
                except (OSError, EOFError, TimeoutError):
                    log.warning("the process that evaluates filters has ended; another one takes its place")
                    await self.end()

    async def start(self) -> None:
        """Start the process before it is first needed."""
        async with self._one_at_a_time:
            await self._streams()

    def _remember(self, expression: str, cost: int) -> None:
        if len(self._cost) >= REMEMBERED:
            self._cost.clear()
        self._cost[expression] = cost

    async def _streams(self) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
        """Where to ask and where to listen, once the process is ready."""
        process = self._process
        if process is None:
            pipe = asyncio.subprocess.PIPE
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", filters.__file__, stdin=pipe, stdout=pipe
            )
            assert process.stdout is not None
            await process.stdout.readexactly(len(filters.READY))
        assert process.stdin is not None
        assert process.stdout is not None
        return process.stdin, process.stdout

    async def end(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.communicate()
