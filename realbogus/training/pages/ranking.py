"""How alerts are ranked: curves, splits, and the same beside other scores."""

from __future__ import annotations

from html import escape

from realbogus.training.pages.cells import NAMES, UNDER, Found, difference, inline, interval, number, table
from realbogus.training.pages.charts import COLOURS, DASHES, Axis, Plot

SPLIT_NAMES = {
    "exposures": "new exposures",
    "nights": "new nights",
    "fields": "new fields",
    "later": "later nights",
}
FIGURES = ("auc", "mdr_at_fpr_5", "mdr_at_fpr_10")


def ranking(found: Found) -> str:
    """Missed detections against false positives, for all scores there are, and how far the ranking carries."""
    bogus, curves = max(found["data"]["bogus"], 2), found["roc"]
    missed = [mdr for curve in curves.values() for _, mdr in curve if mdr > 0]
    floor = max(min(missed, default=0.01), 1e-4)
    plot = Plot(
        Axis("FPR: bogus passed", max(1 / bogus, 1e-5), 1.0, log=True, per_cent=True),
        Axis("MDR: real lost", floor, 1.0, log=True, per_cent=True),
        height=340,
        label="Missed detection rate against false positive rate, both logarithmic",
    )
    ranked = ["ours", *sorted(name for name in curves if name != "ours")]
    for place, name in enumerate(ranked):
        shown = [(fpr, mdr) for fpr, mdr in curves[name] if fpr > 0 and mdr > 0]
        told = "this model" if name == "ours" else name
        plot.line(shown, told, COLOURS[place % len(COLOURS)], DASHES[place // 3 % 4], 2.6 if name == "ours" else 1.5)
    for fpr in (0.01, 0.05, 0.1):
        if fpr > 1 / bogus:
            plot.upright(fpr, f"{100 * fpr:g} %")
    text = "<p>Lower and further left is better. Each line uses all rows that have its score.</p>"
    return f'<div class="two"><div>{text}{plot.svg()}</div><div>{_splits(found)}</div></div>'


def _splits(found: Found) -> str:
    if "splits" not in found:
        return ""
    rows = [
        [SPLIT_NAMES[name], f"{told['rows']:,}", *(interval(figure, told[figure]) for figure in FIGURES)]
        for name, told in found["splits"].items()
    ]
    text = "<p>The same recipe, fitted without the exposures, nights or fields it is tested on.</p>"
    return f"<h3>How far it carries</h3>{text}{table(['tested on', 'rows', *(NAMES[name] for name in FIGURES)], rows)}"


def paired(found: Found) -> str:
    """Other scores on identical rows, other methods on identical folds."""
    parts = []
    for key, text in (
        ("paired", "Other scores, on the identical rows that have them. Below each: ours minus theirs."),
        (
            "baselines",
            "Other methods on these very features, rows and folds, so that the forest has to earn its place.",
        ),
    ):
        told = found.get(key) or {}
        rows = []
        for name, figures in told.items():
            cells = [name, f"{figures['rows']:,}"]
            for figure in FIGURES:
                theirs, gap = (figures[f"{figure}_{what}"] for what in ("theirs", "difference"))
                cells.append(f"{number(figure, theirs['value'])}{UNDER}{inline(difference(figure, gap))}")
            rows.append(cells)
        if rows:
            head = ["", "rows", *(NAMES[figure] for figure in FIGURES)]
            parts.append(f"<p>{text}</p>{table(head, rows)}")
    if found.get("best_single_feature"):
        parts.append(f'<p class="note">The best single feature is {escape(found["best_single_feature"])}.</p>')
    return "".join(parts)
