"""Plots as inline SVG, without any library: lines, points with intervals and bars, on linear or logarithmic axes.

Drawn 440 units wide, so that text stays readable on a phone. Same input, same text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH = 440
LEFT, RIGHT, TOP, BOTTOM = 54, 20, 12, 44
COLOURS = tuple(f"var(--line-{place})" for place in range(9))  # the page's style says which, by day and by night
INK, FAINT = "var(--ink)", "var(--faint)"
DASHES = ("", "5 3", "2 2", "7 2 2 2")


@dataclass(frozen=True)
class Axis:
    """One axis: its range, whether it is logarithmic, and what it says."""

    title: str
    low: float
    high: float
    log: bool = False
    per_cent: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, 0 at the low end to 1 at the high end; values beyond are put on the edge."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Where lines are drawn: decades with 2 and 5, or round steps."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            steps = (1, 2, 5) if last - first <= 3 else (1,)
            every = [step * 10.0**power for power in range(first, last + 1) for step in steps]
            return [tick for tick in every if self.low * 0.999 <= tick <= self.high * 1.001]
        step = _round_step((self.high - self.low) / 5)
        count = math.floor((self.high - self.low) / step + 1e-9)
        start = math.ceil(self.low / step - 1e-9) * step
        return [start + i * step for i in range(count + 1) if start + i * step <= self.high + 1e-9]

    def text(self, value: float) -> str:
        """A tick's label."""
        return f"{100 * value:.4g} %" if self.per_cent else f"{value:.4g}"


@dataclass
class Plot:
    """A plot that grows by what is drawn into it; `svg` gives the whole."""

    x: Axis
    y: Axis
    height: int = 300
    label: str = ""  # what it shows, for those who cannot see it
    _parts: list[str] = field(default_factory=list)
    _legend: list[tuple[str, str, str]] = field(default_factory=list)

    def line(
        self, points: Sequence[tuple[float, float]], name: str = "", colour: str = COLOURS[0], dash: str = "",
        width: float = 1.8,
    ) -> None:  # fmt: skip
        """A line through points (x, y)."""
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed} '
            f'stroke-linejoin="round"/>'
        )
        if name:
            self._legend.append((name, colour, dash))

    def points(
        self, found: Sequence[tuple[float, float, float, float]], name: str = "", colour: str = COLOURS[0]
    ) -> None:
        """Points (x, y) with an interval of y from low to high."""
        for x, y, low, high in found:
            at, top, bottom = self._x(x), self._y(high), self._y(low)
            self._parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="{colour}" '
                f'stroke-width="1.4"/><circle cx="{at:.1f}" cy="{self._y(y):.1f}" r="3.4" fill="{colour}"/>'
            )
        if name:
            self._legend.append((name, colour, ""))

    def upright(self, x: float, text: str) -> None:
        """A vertical line with a word at its top."""
        at = self._x(x)
        self._parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{self.height - BOTTOM}" stroke="{FAINT}" '
            f'stroke-dasharray="2 3"/><text x="{at + 3:.1f}" y="{TOP + 10}" class="small">{escape(text)}</text>'
        )

    def svg(self) -> str:
        """The picture, with its axes behind and its legend below."""
        rows = -(-len(self._legend) // 2)
        whole = self.height + (16 * rows + 6 if rows else 0)
        return (
            f'<svg viewBox="0 0 {WIDTH} {whole}" role="img" aria-label="{escape(self.label)}">'
            f"{self._axes()}{''.join(self._parts)}{self._legends()}</svg>"
        )

    def _x(self, value: float) -> float:
        return LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        return self.height - BOTTOM - self.y.share(value) * (self.height - TOP - BOTTOM)

    def _axes(self) -> str:
        parts, floor = [], self.height - BOTTOM
        for tick in self.x.ticks():
            at = self._x(tick)
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{floor}" class="grid"/>')
            parts.append(f'<text x="{at:.1f}" y="{floor + 15}" text-anchor="middle">{self.x.text(tick)}</text>')
        for tick in self.y.ticks():
            at = self._y(tick)
            parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{self.y.text(tick)}</text>')
        middle = (TOP + floor) / 2
        parts.append(
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{floor + 34}" text-anchor="middle" class="title">'
            f"{escape(self.x.title)}</text>"
            f'<text x="12" y="{middle}" text-anchor="middle" class="title" transform="rotate(-90 12 {middle})">'
            f"{escape(self.y.title)}</text>"
        )
        return "".join(parts)

    def _legends(self) -> str:
        parts = []
        for place, (name, colour, dash) in enumerate(self._legend):
            x, y = LEFT - 30 + (place % 2) * 205, self.height + 8 + 16 * (place // 2)
            dashed = f' stroke-dasharray="{dash}"' if dash else ""
            parts.append(
                f'<line x1="{x}" x2="{x + 20}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2.4"{dashed}/>'
                f'<text x="{x + 26}" y="{y + 4}">{escape(name)}</text>'
            )
        return "".join(parts)


def bars(
    rows: Sequence[tuple[str, float, float, float, str]], title: str, *, label: str = "", per_cent: bool = True
) -> str:
    """Horizontal bars: name, value, low and high of its interval, and a word at the end."""
    step, left = 24, min(230.0, 14 + 6.3 * max(len(name) for name, *_ in rows))
    height = step * len(rows) + 34
    most = max([high for _, _, _, high, _ in rows] + [value for _, value, _, _, _ in rows] + [1e-9])
    axis = Axis(title, 0.0, most, per_cent=per_cent)
    wide = WIDTH - left - 62
    parts = []
    for place, (name, value, low, high, word) in enumerate(rows):
        y = step * place + 6
        length = axis.share(max(value, 0)) * wide
        parts.append(
            f'<text x="{left - 6}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{left}" y="{y + 1}" width="{length:.1f}" height="14" fill="{COLOURS[0]}" opacity="0.78"/>'
        )
        end = length
        if high > low:
            a, b = left + axis.share(max(low, 0)) * wide, left + axis.share(max(high, 0)) * wide
            end = b - left
            parts.append(
                f'<line x1="{a:.1f}" x2="{b:.1f}" y1="{y + 8}" y2="{y + 8}" stroke="{INK}" stroke-width="1.3"/>'
            )
        parts.append(f'<text x="{left + max(end, length) + 5:.1f}" y="{y + 12}">{escape(word)}</text>')
    foot = step * len(rows) + 22
    parts.append(f'<text x="{left}" y="{foot}" class="title">{escape(title)}</text>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label or title)}">{"".join(parts)}</svg>'
    )


def _round_step(about: float) -> float:
    """The step of 1, 2, 2.5 or 5 times a power of ten next above."""
    power = 10.0 ** math.floor(math.log10(max(about, 1e-12)))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= about * 0.999)
