"""The realism report as one page: how well simulated alerts pass for real ones, and by what they are told apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape

from realbogus.training.pages.charts import COLOURS, Axis, Plot
from realbogus.training.pages.style import STYLE
from realbogus.training.realism import QUANTILES, Comparison, Marginal, as_json

TARGET = 0.8  # of the two-sample AUC
TOLD = (  # always drawn
    "column mag_psf", "column fwhm_over_psf", "column psf_fwhm_px", "column snr_peak", "column mag_psf_err",
    "column chi2_psf_catalogue", "column host_distance_arcsec", "column host_mag", "column ps1_neighbours",
    "column mag_limit", "stamp S noise", "stamp S level", "stamp T noise", "stamp D noise", "stamp D missing",
    "stamp D correlation x1", "stamp D correlation y1", "stamp D correlation x2", "stamp D correlation d1",
)  # fmt: skip


def realism_page(comparisons: Sequence[Comparison], moved: Mapping[str, float], what: str) -> str:
    """The HTML, with the same once more as JSON in a script element that runs nothing."""
    raw = json.dumps(as_json(comparisons, moved), sort_keys=True, allow_nan=False).replace("<", "\\u003c")
    sections = "".join(_section(one) for one in comparisons)
    tiles = "".join(_tile(f"two-sample AUC, {one.title}", one.auc_features) for one in comparisons)
    tiles += _tile("simulation only, on real: AUC", moved["auc"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>How real are the simulated alerts?</title><style>{STYLE}</style></head><body>"
        f"<header><h1>How real are the simulated alerts?</h1><p>{escape(what)}</p></header>"
        f'<main><div class="tiles">{tiles}</div>{_how(moved)}{sections}</main>'
        f'<script type="application/json" id="report">{raw}</script></body></html>\n'
    )


def _tile(name: str, value: float) -> str:
    return f'<div class="tile"><b>{value:.3f}</b>{escape(name)}</div>'


def _how(moved: Mapping[str, float]) -> str:
    at = ", ".join(
        f"{100 * value:.1f} % at {name.rpartition('_')[2]} % FPR" for name, value in moved.items() if "mdr" in name
    )
    return (
        "<section><h2>How this is measured</h2><p>For each class extra trees learn to tell real from simulated alerts, "
        f"by exposure. AUC 0.5: they cannot; 1: always. The aim is below {TARGET:g}. The tiles are on the features "
        "that a model reads; each section gives the AUC on all quantities too. What more than a fifth of the real "
        "packets lack is left out, since it would tell the version of the schema.</p>"
        f"<p>A forest trained on the simulated alerts alone misses on the real ones: {at}.</p></section>"
    )


def _section(one: Comparison) -> str:
    by_name = {marginal.name: marginal for marginal in one.marginals}
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{share:.3f}</td>{_cells(by_name[name])}</tr>" for name, share in one.separating
    )
    drawn = dict.fromkeys([*(name for name, _ in one.separating[:9]), *(name for name in TOLD if name in by_name)])
    plots = "".join(_plot(by_name[name]) for name in drawn)
    left = ", ".join(one.left_out) or "nothing"
    return (
        f"<section><h2>{escape(one.title)}</h2><p>{one.rows[0]} real packets, {one.rows[1]} simulated. AUC "
        f"<b>{one.auc_features:.3f}</b> on features, {one.auc:.3f} on all quantities.</p>"
        '<div class="scroll"><table><tr><th>separates</th><th>importance</th><th>KS</th><th>real: 5, 50, 95 %</th>'
        f"<th>simulated</th><th>missing</th></tr>{rows}</table></div>"
        f'<div class="two">{plots}</div><p class="note">Left out: {escape(left)}.</p></section>'
    )


def _cells(one: Marginal) -> str:
    real, simulated = (" &nbsp; ".join(f"{values[k]:.3g}" for k in (0, len(QUANTILES) // 2, -1)) for values in
                       (one.real, one.simulated))  # fmt: skip
    gone = f"{100 * one.missing[0]:.0f} / {100 * one.missing[1]:.0f} %"
    return f"<td>{one.distance:.2f}</td><td>{real}</td><td>{simulated}</td><td>{gone}</td>"


def _plot(one: Marginal) -> str:
    """Two histograms as steps."""
    top = max(max(one.counts[0]), max(one.counts[1]), 0.01)
    plot = Plot(Axis(one.name, one.edges[0], one.edges[-1]), Axis("share", 0.0, 1.05 * top, per_cent=True), height=220)
    plot.label = f"{one.name}: distribution in real and simulated alerts, KS {one.distance:.2f}"
    for counts, name, colour in zip(one.counts, ("real", "simulated"), COLOURS, strict=False):
        steps = [point for k, n in enumerate(counts) for point in ((one.edges[k], n), (one.edges[k + 1], n))]
        plot.line(steps, f"{name}", colour)
    return plot.svg()
