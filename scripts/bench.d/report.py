"""The numbers of a run, as tables for people and as JSON for machines."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from latency import Latency
from rescoring import Rescored
from rich.console import Console
from rich.table import Table
from throughput import Throughput

BATCHED = "competent, features in batches of 64"
OVER_COMPETENT, FLOOR_FRACTION = 9.0, 0.45  # what we state; --short fails below two thirds of these
SAME_SCORE = 0.02  # a few of the trees may see a compiled feature on the other side of a threshold
MOONSHOT_PER_S, STATED_PER_S = 2500.0, 2000.0


@dataclass
class Found:
    """What has been measured so far; None = not in this run."""

    source: str
    mean_bytes: float
    model: str
    trees: int
    nodes: int
    features: int
    paths_us: Mapping[str, float] = field(default_factory=dict)  # in memory; CPU an alert
    stages_us: Mapping[str, float] = field(default_factory=dict)
    competent_us: Mapping[str, float] = field(default_factory=dict)  # stages of competent, by our names
    differences: Mapping[str, float] = field(default_factory=dict)  # largest |score - ours| of each baseline
    broker: str = ""
    throughput: Throughput | None = None
    pair: Any = None
    latency: Latency | None = None
    burst_s: float | None = None
    burst: int = 0
    starts_s: tuple[float, float] | None = None
    rescored: Rescored | None = None

    @property
    def full_us(self) -> float:
        return self.throughput.full.cpu_us if self.throughput else self.paths_us["realbogus, in memory"]

    @property
    def over_competent(self) -> float:
        return self.paths_us["competent"] / self.full_us

    @property
    def over_batched(self) -> float:
        return self.paths_us[BATCHED] / self.full_us

    @property
    def floor_us(self) -> float:
        return self.throughput.floor_us if self.throughput else self.stages_us["floor: libdeflate"]

    def json(self) -> dict[str, Any]:
        """The keys that others may rely on first."""
        live = self.throughput
        told: dict[str, Any] = {
            "full_path_alerts_per_s_core": round(1e6 / self.full_us, 1),
            "full_path_over_competent": round(self.over_competent, 3),
            "full_path_over_competent_in_batches": round(self.over_batched, 3),
            "floor_fraction": round(self.floor_us / self.full_us, 4),
            "stages_us": {name: round(value, 2) for name, value in self.stages_us.items()},
            "competent_stages_us": {name: round(value, 1) for name, value in self.competent_us.items()},
            "paths_us": {name: round(value, 1) for name, value in self.paths_us.items()},
            "score_differences": dict(self.differences),
            "corpus": {"source": self.source, "mean_bytes": round(self.mean_bytes)},
            "model": {"name": self.model, "trees": self.trees, "nodes": self.nodes, "features": self.features},
            "machine": machine(),
            "broker": self.broker,
        }
        if live:
            told |= {
                "full_path_us": round(live.full.cpu_us, 1),
                "full_path_wall_per_s": round(live.full.per_s, 1),
                "floor_us": round(live.floor_us, 1),
                "kafka_client_us": round(live.client_us, 1),
                "annotations": live.annotations,
                "events": live.events,
                "peak_mb": round(live.full.peak_mb, 1),
            }
        if self.pair and live:
            told["two_over_one"] = round(2 * live.full.cpu_us / self.pair.cpu_us, 3)
            told["two_wall_per_s"] = round(self.pair.per_s, 1)
        if self.latency:
            told["latency_s"] = {
                name: round(getattr(self.latency, f"{name}_s"), 4) for name in ("median", "p95", "p99")
            }
        if self.burst_s is not None:
            told["burst"] = {"alerts": self.burst, "seconds": round(self.burst_s, 2)}
        if self.starts_s:
            told["start_s"] = {"cold": round(self.starts_s[0], 2), "warm": round(self.starts_s[1], 2)}
        if self.rescored:
            told["rescore_per_s"] = {"one": round(self.rescored.one_per_s, 1), "all": round(self.rescored.all_per_s, 1)}
        return told

    def shortfalls(self) -> list[str]:
        """What is below two thirds of what we state."""
        found = {
            "full path over competent": (self.over_competent, OVER_COMPETENT),
            "share of the floor": (self.floor_us / self.full_us, FLOOR_FRACTION),
        }
        short = [
            f"{name}: {value:.2f}, stated {stated:g}; below two thirds of that"
            for name, (value, stated) in found.items()
            if value < 2 / 3 * stated
        ]
        return short + [
            f"{name} scores differ from ours by {difference:.3f}: it does other work than we do"
            for name, difference in self.differences.items()
            if difference > SAME_SCORE
        ]


def machine() -> dict[str, str]:
    model = "unknown"
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    packages = ("numpy", "numba", "scikit-learn", "fastavro", "astropy", "photutils", "confluent-kafka", "deflate")
    return {"processor": model, "python": platform.python_version()} | {name: version(name) for name in packages}


def show(found: Found, console: Console) -> None:
    """Everything that was measured, side by side."""
    console.print(
        f"\n{found.source}, {found.mean_bytes / 1000:.0f} kB each; model {found.model}: {found.trees} trees, "
        f"{found.nodes:,} nodes, {found.features} features\n"
        f"{machine()['processor']}, Python {platform.python_version()}",
        highlight=False,
    )
    console.print(paths_table(found))
    console.print(stages_table(found))
    console.print(live_table(found))


def table(title: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number else "left")
    return made


def paths_table(found: Found) -> Table:
    made = table("Whole path, one core (CPU time of one run, medians of interleaved rounds)",
                 "path", "µs an alert", "alerts/s", "over competent", "in batches", "scores differ by")  # fmt: skip
    rows = dict(found.paths_us)
    if found.throughput:
        rows[f"realbogus worker through {found.broker}"] = found.throughput.full.cpu_us
        rows[f"floor: libdeflate and client through {found.broker}"] = found.throughput.floor_us
    for name, value in rows.items():
        differs = f"{found.differences[name]:.1e}" if name in found.differences else ""
        over, batched = rows["competent"] / value, rows[BATCHED] / value
        style = "bold green" if name.startswith("realbogus worker") else None
        made.add_row(
            name, f"{value:,.1f}", f"{1e6 / value:,.0f}", f"{over:.3g}x", f"{batched:.3g}x", differs, style=style
        )
    return made


def stages_table(found: Found) -> Table:
    made = table("Stages (CPU µs an alert, batches of 256)", "stage", "µs", "share", "competent in batches, µs")
    stages = {name: value for name, value in found.stages_us.items() if not name.startswith("floor")}
    if found.throughput:
        stages["Kafka client, commits (through the broker)"] = found.throughput.client_us
    total = sum(stages.values())
    for name, value in stages.items():
        theirs = f"{found.competent_us[name]:,.1f}" if name in found.competent_us else ""
        made.add_row(name, f"{value:.1f}", f"{value / total:.0%}", theirs)
    made.add_section()
    made.add_row("sum of the stages", f"{total:.1f}", "", f"{sum(found.competent_us.values()):,.1f}")
    made.add_row("floor: libdeflate alone, in memory", f"{found.stages_us['floor: libdeflate']:.1f}", "")
    if found.throughput:
        made.add_row("floor: libdeflate and Kafka client", f"{found.throughput.floor_us:.1f}", "")
        made.add_row("the worker, all in", f"{found.throughput.full.cpu_us:.1f}", "")
        made.add_row("share of the floor", f"{found.floor_us / found.full_us:.1%}", f"stated {FLOOR_FRACTION:.0%}")
    return made


def live_table(found: Found) -> Table:
    made = table("As it runs", "what", "found", "stated")
    live = found.throughput
    made.add_row(
        "alerts/s a core (CPU time)",
        f"{1e6 / found.full_us:,.0f}",
        f"{STATED_PER_S:,.0f}, better {MOONSHOT_PER_S:,.0f}",
    )
    made.add_row("over competent", f"{found.over_competent:.1f}x", f"{OVER_COMPETENT:g}x, better 11x")
    made.add_row("over competent with features in batches of 64", f"{found.over_batched:.1f}x", "")
    if live:
        made.add_row(f"alerts/s, wall time, one core, {found.broker} on the other", f"{live.full.per_s:,.0f}", "")
        made.add_row("annotations read back, events among them", f"{live.annotations:,}, {live.events:,}", "")
        made.add_row("peak memory of the worker", f"{live.full.peak_mb:,.0f} MB", "600 MB")
    if found.pair and live:
        made.add_row("two workers over one (CPU time)", f"{2 * live.full.cpu_us / found.pair.cpu_us:.2f}x", "1.8x")
        made.add_row("two workers sharing two cores with the broker, wall time", f"{found.pair.per_s:,.0f}/s", "")
    if found.latency:
        told = found.latency
        value = f"{told.median_s * 1000:.0f} / {told.p95_s * 1000:.0f} / {told.p99_s * 1000:.0f} ms"
        made.add_row("alert to annotation at 256/s: median, p95, p99", value, "p99 below 1 s")
    if found.burst_s is not None:
        made.add_row(f"a burst of {found.burst:,} alerts, two workers", f"{found.burst_s:.1f} s", "5 s for 10,000")
    if found.starts_s:
        made.add_row("first score, nothing compiled yet", f"{found.starts_s[0]:.1f} s", "")
        made.add_row("first score, compiled before", f"{found.starts_s[1]:.1f} s", "")
    if found.rescored:
        told_one, told_all = found.rescored.one_per_s, found.rescored.all_per_s
        made.add_row("rescore, one process, alerts/s of wall time", f"{told_one:,.0f}", "")
        made.add_row(
            f"rescore, {found.rescored.processes} processes", f"{told_all:,.0f} ({told_all / told_one:.2f}x)", ""
        )
    return made
