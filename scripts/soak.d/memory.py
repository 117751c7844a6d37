"""The memory of the workers over the alerts that they have done: sampled, judged, drawn."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from broker import family, memory_of

EVERY_S = 1.0
MB = 1024 * 1024 / 1e6  # of memory_of, which tells MiB


@dataclass
class Samples:
    """Resident memory, MB, of every process that belongs to the workers."""

    pid: int  # of the process that has started the others
    began: float = field(default_factory=time.monotonic)
    seconds: list[float] = field(default_factory=list)
    alerts: list[int] = field(default_factory=list)  # done by then
    rss_mb: dict[str, list[float]] = field(default_factory=dict)  # by process
    nights: list[int] = field(default_factory=list)  # alerts done when each night was over
    ended: list[str] = field(default_factory=list)  # processes that were there and are no more

    def look(self, alerts: int) -> None:
        """Take a sample, if it is time."""
        now = time.monotonic() - self.began
        if self.seconds and now - self.seconds[-1] < EVERY_S:
            return
        found = {name: memory_of(pid, "VmRSS") * MB for pid in family(self.pid) if (name := self._name(pid))}
        self.ended += [name for name in self.rss_mb.keys() - found.keys() if name not in self.ended]
        for name, mb in found.items():
            self.rss_mb.setdefault(name, [float("nan")] * len(self.seconds)).append(mb)
        for name in self.rss_mb.keys() - found.keys():
            self.rss_mb[name].append(float("nan"))
        self.seconds.append(now)
        self.alerts.append(alerts)

    def growth(self) -> Mapping[str, float]:
        """By process: how much the memory rises over the second half of the alerts; see `rise`."""
        alerts = np.array(self.alerts, np.float64)
        return {name: rise(alerts, np.array(mb)) for name, mb in self.rss_mb.items()}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        rounded = {name: [None if mb != mb else round(mb, 1) for mb in values] for name, values in self.rss_mb.items()}
        return {
            "growth": {name: round(share, 4) for name, share in self.growth().items()},
            "peak_mb": {name: round(float(np.nanmax(mb)), 1) for name, mb in self.rss_mb.items()},
            "nights": self.nights,
            "seconds": [round(at, 1) for at in self.seconds],
            "alerts": self.alerts,
            "rss_mb": rounded,
        }

    def _name(self, pid: int) -> str:
        """ "worker-0" and so on, "supervisor"; with the id, since a new process has a new memory; "" if it is gone."""
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return ""
        if b"--slot" in command:
            return f"worker-{command[command.index(b'--slot') + 1].decode()} ({pid})"
        if pid != self.pid:
            return ""  # a helper of the moment
        return f"worker-0 ({pid})" if command[command.index(b"--processes") + 1] == b"1" else f"supervisor ({pid})"


def rise(alerts: np.ndarray, mb: np.ndarray) -> float:
    """How much a line through the samples of the second half rises over it, in units of their mean."""
    second = (alerts >= alerts[-1] / 2) & ~np.isnan(mb)
    if second.sum() < 3:
        return float("nan")
    slope = np.polyfit(alerts[second], mb[second], 1)[0]
    return float(slope * np.ptp(alerts[second]) / mb[second].mean())


def draw(samples: Samples, title: str, file: Path) -> None:
    """A curve a process over the alerts done; thin lines where a night ends. The suffix says which kind of picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    file.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, mb in sorted(samples.rss_mb.items()):
        axes.plot(np.array(samples.alerts) / 1000, mb, lw=1.2, label=name.partition(" ")[0])
    for at in samples.nights:
        axes.axvline(at / 1000, color="0.8", lw=0.8, zorder=0)
    top = max((float(np.nanmax(mb)) for mb in samples.rss_mb.values()), default=1.0)
    axes.set(xlabel="alerts done, thousands", ylabel="resident memory, MB", ylim=(0, 1.1 * top), title=title)
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def too_much(growth: Mapping[str, float], bound: float) -> Sequence[str]:
    """What has grown by more than this share."""
    return [
        f"the memory of {name} grew by {share:.1%} over the second half, more than {bound:.0%}"
        for name, share in growth.items()
        if not share <= bound and not name.startswith("supervisor")
    ]
