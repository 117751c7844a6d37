"""The worker processes of a campaign, and what strikes them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
AGAIN_S = 0.5  # s after which a process that has ended is started again
KINDS = {"SIGKILL": 5, "SIGTERM": 3, "SIGSTOP": 1}  # weights


@dataclass
class Member:
    """A slot, and the process that fills it now."""

    slot: int
    command: Sequence[str]
    log: Path
    process: subprocess.Popen[str] | None = None
    began: float = 0.0
    frozen: bool = False
    reports: list[dict[str, Any]] = field(default_factory=list)  # of processes that could still tell
    codes: Counter[int] = field(default_factory=Counter)

    def look(self, *, again: bool = True) -> None:
        """Start a process where there is none; note how the last one ended."""
        if self.process is not None and self.process.poll() is not None:
            self._ended()
        if self.process is None and again and time.monotonic() - self.began > AGAIN_S:
            self.began = time.monotonic()
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=log, text=True)

    @property
    def working(self) -> Path:
        """Where a process says that it has done something."""
        return self.log.with_suffix(".working")

    def works(self) -> bool:
        """Whether there is a process that is worth striking: starting takes long, and all would do nothing else."""
        if self.process is None or self.process.poll() is not None or self.frozen:
            return False
        return self.working.exists() and self.working.read_text() == str(self.process.pid)

    def strike(self, number: int) -> bool:
        """Send a signal; False where nobody is there, or it is frozen."""
        if self.process is None or self.process.poll() is not None or self.frozen:
            return False
        self.process.send_signal(number)
        return True

    def freeze(self, seconds: float) -> bool:
        """Stop the process for a while."""
        if not self.strike(signal.SIGSTOP):
            return False
        self.frozen, process = True, self.process
        assert process is not None

        def thaw() -> None:
            process.send_signal(signal.SIGCONT)
            self.frozen = False

        threading.Timer(seconds, thaw).start()
        return True

    def rss_mb(self) -> float:
        """The most memory that the process has had, MB; 0 where that cannot be told."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text() if self.process else ""
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)

    def _ended(self) -> None:
        assert self.process is not None
        out, _ = self.process.communicate()
        self.codes[self.process.returncode] += 1
        self.reports += [json.loads(line) for line in out.splitlines() if line.startswith("{") and line != "{}"]
        self.process = None


@dataclass
class Crew:
    """All members of a campaign."""

    members: list[Member]
    chance: random.Random
    struck: Counter[str] = field(default_factory=Counter)
    rss_mb: float = 0.0

    @classmethod
    def of(cls, config: Path, folder: Path, count: int, chance: random.Random, *options: str) -> Crew:
        command = [sys.executable, str(HERE / "member.py"), "--config", str(config), *options, "--slot"]
        members = []
        for slot in range(count):
            member = Member(slot, [], folder / f"worker-{slot}.log")
            slow = ["--slow"] if slot == count - 1 else []  # the last one has a slow output
            dies = ["--dies", str(folder / f"{config.stem}.died")]  # one of them, once a campaign
            member.command = [*command, str(slot), "--working", str(member.working), *slow, *dies]
            members.append(member)
        return cls(members, chance)

    def look(self) -> None:
        """Keep every slot filled."""
        for member in self.members:
            member.look()
            self.rss_mb = max(self.rss_mb, member.rss_mb())

    def strike(self, freeze_s: float, kind: str = "") -> None:
        """Do something to somebody."""
        kind = kind or self.chance.choices(list(KINDS), list(KINDS.values()))[0]
        working = [member for member in self.members if member.works()]
        if not working:
            return
        victim = self.chance.choice(working)
        done = victim.freeze(freeze_s) if kind == "SIGSTOP" else victim.strike(getattr(signal, kind))
        self.struck[kind] += done

    def leave(self, within_s: float = 30.0) -> list[str]:
        """Tell all to stop; what was wrong with how they left."""
        deadline = time.monotonic() + within_s
        while any(member.frozen for member in self.members):
            time.sleep(0.1)
        for member in self.members:
            member.strike(signal.SIGTERM)
        problems = []
        for member in self.members:
            if member.process is None:
                continue
            try:
                member.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                problems.append(f"worker {member.slot} did not leave within {within_s:.0f} s")
                member.process.kill()
                member.process.wait()
            member.look(again=False)
        return problems

    def kill(self) -> None:
        """End what is left, however."""
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                os.kill(member.process.pid, signal.SIGKILL)
                member.process.wait()
