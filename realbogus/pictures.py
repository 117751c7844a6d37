"""Pictures of triplets: what a person looks at to agree or disagree with a score.

Drawn without any global state of matplotlib, which is imported only when a picture is wanted. Same input, same PNG.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import CENTRE, DIFFERENCE, STAMP_SIDE, ScoredBatch, Triplets

STAMP_TITLES = ("science", "template", "difference")
LARGEST = 48  # triplets in one picture; more become too small to judge
INK, FAINT, MISSING, HATCH = "#1c2733", "#66727e", "#e9d8c8", "#b98d63"
RETICLE = "#f2b705"
FOR_REAL, FOR_BOGUS = "#1f7a8c", "#c8553d"  # colours of what speaks for and against
BACKGROUND, SOURCE = 2.5, 8.0  # robust sigmas below and above the median that the stretch shows at least
TOP_CONTRIBUTIONS = 12


def draw_triplets(
    triplets: Triplets,
    titles: Sequence[str],
    path: Path,
    *,
    heading: str = "",
    across: int | None = None,
    colours: Sequence[str] | None = None,
) -> None:
    """Draw N triplets, each science, template and difference under its title, as a PNG.

    Science and template are stretched from the background's noise to the candidate's peak (asinh), the difference
    linearly and symmetrically about its background: blue is fainter, red brighter, so that a dipole is seen as one.
    Missing pixels are hatched, the candidate's pixel is between four ticks. across triplets stand beside each other
    (default: one, or two from five triplets on); colours are those of the titles.
    """
    count = len(triplets)
    if not 0 < count <= LARGEST or len(titles) != count:
        raise ValueError(f"1 to {LARGEST} triplets with a title each can be drawn, not {count} with {len(titles)}")
    across = across or (1 if count < 5 else 2)
    down = -(-count // across)
    height = 1.9 * down + (0.75 if heading else 0.35)
    figure = _figure(5.3 * across, height)
    top = 1 - (0.72 if heading else 0.32) / height
    if heading:
        figure.text(
            0.5,
            1 - 0.28 / height,
            _plain(heading),
            parse_math=False,
            ha="center",
            va="center",
            fontsize=12,
            color=INK,
            weight="bold",
        )
    cells = figure.add_gridspec(
        down, across, left=0.02, right=0.98, bottom=0.08 / height, top=top, wspace=0.06, hspace=0.2
    )
    for at, triplet in enumerate(triplets):
        panels = [figure.add_subplot(cell) for cell in cells[at // across, at % across].subgridspec(1, 3, wspace=0.04)]
        for stamp, panel in enumerate(panels):
            _draw_stamp(panel, triplet[stamp], stamp)
        panels[0].set_title(
            _plain(titles[at]), parse_math=False, loc="left", fontsize=9, color=colours[at] if colours else INK, pad=4
        )
        panels[2].set_title(
            " · ".join(STAMP_TITLES) if at < across else "", loc="right", fontsize=7.5, color=FAINT, pad=4
        )
    _save(figure, path)


def draw_alert(scored: ScoredBatch, row: int, path: Path, *, contributions: NDArray[np.float64] | None = None) -> None:
    """Draw one scored alert as a PNG: its triplet, what was decided, and which features spoke for and against.

    contributions is (F,), the share of each feature in score - base; by default those kept in scored, if any.
    """
    shares = scored.contributions.get(row) if contributions is None else contributions
    side, chart = 3.25, 0.0 if shares is None else 3.5  # inches
    height = 0.85 + side + 0.3 + chart
    figure = _figure(3 * side + 0.5, height)
    for stamp in range(3):
        panel = _axes(figure, 0.15 + stamp * (side + 0.1), height - 0.8 - side, side, side)
        _draw_stamp(panel, scored.alerts.triplets[row, stamp], stamp)
        panel.set_title(STAMP_TITLES[stamp], fontsize=9, color=FAINT, pad=4)
    line = {"parse_math": False, "y": 1 - 0.2 / height, "va": "top", "fontsize": 12, "weight": "bold"}
    figure.text(0.015, s=_plain(alert_title(scored, row)), ha="left", color=INK, **line)
    colour = FOR_REAL if scored.forward[row] else FOR_BOGUS
    figure.text(0.985, s=verdict(scored, row), ha="right", color=colour, **line)
    figure.text(0.985, 0.1 / height, _judged_by(scored), ha="right", va="bottom", fontsize=7.5, color=FAINT)
    if shares is not None:
        _draw_contributions(_axes(figure, 2.6, 0.6, 2.9 * side - 2.1, chart - 0.75), scored, row, shares)
    _save(figure, path)


def alert_title(scored: ScoredBatch, row: int) -> str:
    """Who and when, in one line."""
    alerts = scored.alerts
    parts = [alerts.object_id[row], str(alerts.candid[row])]
    magnitude = alerts.columns["mag_psf"][row]
    if np.isfinite(magnitude):
        parts.append(f"{alerts.band[row]} {magnitude:.2f} mag".strip())
    return " · ".join(part for part in parts if part)


def verdict(scored: ScoredBatch, row: int) -> str:
    """What was decided, in one line."""
    word = "real" if scored.forward[row] else "bogus"
    chance = scored.p_real[row]
    return f"{word}: score {scored.score[row]:.3f}" + (f", P(real) {chance:.3f}" if np.isfinite(chance) else "")


def stretch(image: NDArray[np.float32], stamp: int) -> tuple[float, float, float]:
    """The values shown darkest and brightest, and the noise: from the background up to the candidate's peak.

    Noise is the robust sigma. The difference's range is symmetric about its background. (0, 1, 1) without pixels.
    """
    valid = image[np.isfinite(image)].astype(np.float64)
    if not valid.size:
        return 0.0, 1.0, 1.0
    middle = float(np.median(valid))
    noise = 1.4826 * float(np.median(np.abs(valid - middle))) or float(valid.std()) or 1.0
    core = image[CENTRE - 3 : CENTRE + 4, CENTRE - 3 : CENTRE + 4].astype(np.float64) - middle
    core = core[np.isfinite(core)]
    if stamp == DIFFERENCE:
        reach = max(SOURCE * noise, 0.7 * float(np.abs(core).max(initial=0)))
        return middle - reach, middle + reach, noise
    return middle - BACKGROUND * noise, middle + max(SOURCE * noise, float(core.max(initial=0))), noise


def levels(image: NDArray[np.float32], stamp: int) -> NDArray[np.float64]:
    """How bright each pixel is shown: 0 the darkest to 1 the brightest, NaN = no pixel. The shape is the image's.

    Science and template are linear in the noise and logarithmic in the stars, the difference is linear.
    """
    low, high, noise = stretch(image, stamp)
    above = np.clip(image.astype(np.float64), low, high) - low
    if not high > low:  # values so large that the noise is lost in their last digit
        return above
    if stamp == DIFFERENCE:
        return above / (high - low)
    softening = BACKGROUND * noise
    return np.asarray(np.arcsinh(above / softening) / np.arcsinh((high - low) / softening), np.float64)


def _draw_stamp(panel: Any, image: NDArray[np.float32], stamp: int) -> None:
    panel.set_facecolor(MISSING)
    panel.patch.set(hatch="////", edgecolor=HATCH, linewidth=0)
    colours = "RdBu_r" if stamp == DIFFERENCE else "gray"
    shown = np.ma.masked_invalid(levels(image, stamp))
    panel.imshow(shown, cmap=colours, vmin=0, vmax=1, origin="lower", interpolation="nearest")
    for start, stop in ((4, 9), (-9, -4)):
        along, across = [CENTRE + start, CENTRE + stop], [CENTRE, CENTRE]
        panel.plot(along, across, color=RETICLE, linewidth=1.1)
        panel.plot(across, along, color=RETICLE, linewidth=1.1)
    panel.set(xticks=[], yticks=[], xlim=(-0.5, STAMP_SIDE - 0.5), ylim=(-0.5, STAMP_SIDE - 0.5))
    for spine in panel.spines.values():
        spine.set(color="#aab3bc", linewidth=0.6)


def _draw_contributions(panel: Any, scored: ScoredBatch, row: int, shares: NDArray[np.float64]) -> None:
    order = np.argsort(-np.abs(shares), kind="stable")[:TOP_CONTRIBUTIONS][::-1]
    names = [f"{scored.feature_names[at]} = {scored.features[row, at]:.4g}" for at in order]
    panel.barh(
        names, shares[order], color=[FOR_REAL if share >= 0 else FOR_BOGUS for share in shares[order]], height=0.72
    )
    panel.axvline(0, color=FAINT, linewidth=0.8)
    panel.tick_params(labelsize=8.5, colors=INK, length=0)
    panel.set_title(
        "what spoke for (right) and against (left), share of the score", fontsize=9, color=FAINT, loc="left"
    )
    panel.grid(axis="x", color="#e3e7ea", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.margins(x=0.08)
    for spine in panel.spines.values():
        spine.set_visible(False)


def _judged_by(scored: ScoredBatch) -> str:
    model = scored.model
    return f"{model.name} {model.version}, threshold {model.threshold:.3f}, sha256 {model.sha256[:12]}…"


def _plain(text: str) -> str:
    """Text as the font can show it: ids come from packets, and may hold anything."""
    return "".join(char if char.isprintable() and char < "\u0400" else "?" for char in text)


def _axes(figure: Any, left: float, bottom: float, width: float, height: float) -> Any:
    """Axes at a place given in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="png", metadata={"Software": None})
