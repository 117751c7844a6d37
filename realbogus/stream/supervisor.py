"""Several worker processes of one group on a machine: started, watched, started again, told to stop together.

Each member says how far it is as JSON lines on its standard output. A member that ends with 0 has nothing left to do;
one that ends with 2 or 4 has a reason that starting again does not mend, and stops all; any other is started again,
after 1 s and twice as long each further time, up to a minute.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger(__name__)

HELPLESS = (2, 4)  # exit codes: the call is wrong, so many alerts are refused that somebody must look
LONGEST_WAIT_S = 60.0
SOUND_S = 60.0  # s; who lived this long is started again without delay
TICK_S = 0.1

Report = Mapping[str, Any]


@dataclass
class Member:
    """A place in the group, and the process that fills it."""

    slot: int
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0  # monotonic, s
    failures: int = 0  # in a row
    due: float = 0.0  # monotonic time of the next start
    code: int | None = None  # exit code once it is not started again
    report: Report = field(default_factory=dict)  # what the process said last
    earlier: list[Report] = field(default_factory=list)  # last words of those before it

    def start(self) -> None:
        """Start a process; what it says is kept as its report."""
        self.started = time.monotonic()
        self.process = process = subprocess.Popen(self.command, stdout=subprocess.PIPE, process_group=0)
        threading.Thread(target=self._listen, args=(process,), daemon=True, name=f"member-{self.slot}").start()

    def look(self, *, stopping: bool) -> None:
        """Notice an end, and decide what follows from it."""
        if self.process is None or self.process.poll() is None:
            return
        code, lived = self.process.returncode, time.monotonic() - self.started
        self.process = None
        if code == 0 or code in HELPLESS or stopping:
            self.code = 0 if stopping and code == -signal.SIGTERM else code  # told to stop before it had begun
            return
        self.failures = 1 if lived > SOUND_S else self.failures + 1
        wait_s = min(2.0 ** (self.failures - 1), LONGEST_WAIT_S)
        log.error("worker %d ended with %s; starting it again in %.0f s", self.slot, _told(code), wait_s)
        self.due = time.monotonic() + wait_s
        self.earlier.append(self.report)
        self.report = {}

    def tell(self, number: int) -> None:
        """Send a signal."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                try:
                    report = json.loads(line)
                except ValueError:
                    continue
                if process is self.process or self.process is None:
                    self.report = report


class Supervisor:
    """Members until all are done, or told to stop."""

    def __init__(self, commands: Sequence[Sequence[str]], leave_s: float) -> None:
        self.members = [Member(slot, command) for slot, command in enumerate(commands)]
        self._leave_s = leave_s
        self._deadline: float | None = None

    def run(self, show: Callable[[Sequence[Report]], None] = lambda reports: None) -> int:
        """Start all and wait; the exit code is the worst of theirs. show is given what all said last, and before."""
        before = {number: signal.signal(number, self._told_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while any(member.code is None for member in self.members):
                self._turn()
                show(self.reports())
                time.sleep(TICK_S)
        finally:
            for member in self.members:
                member.tell(signal.SIGKILL)
            for number, handler in before.items():
                signal.signal(number, handler)
        return max((abs(member.code or 0) for member in self.members), default=0)

    def reports(self) -> list[Report]:
        """What every process said last, ended ones too."""
        return [report for member in self.members for report in (*member.earlier, member.report) if report]

    def _turn(self) -> None:
        stopping, now = self._deadline is not None, time.monotonic()
        for member in self.members:
            member.look(stopping=stopping)
            if member.code in HELPLESS and not stopping:
                log.error("worker %d cannot work; stopping all", member.slot)
                self._told_to_stop()
            elif member.process is None and member.code is None:
                if stopping:
                    member.code = 0
                elif now >= member.due:
                    member.start()
        if self._deadline is not None and now > self._deadline:
            for member in self.members:
                member.tell(signal.SIGKILL)

    def _told_to_stop(self, number: int = signal.SIGTERM, _: object = None) -> None:
        """Pass it on; members obey a second signal at once."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._leave_s + 2.0
        for member in self.members:
            member.tell(signal.SIGTERM)


def _told(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def orphaned(parent: int) -> bool:
    """Whether the process that started us is gone."""
    return os.getppid() != parent
