"""The report as one page: it needs no other file, no script and no network, and reads well on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

from realbogus.training.cells import NAMES, UNDER, Found, difference, inline, interval, number, signed, table
from realbogus.training.charts import COLOURS, DASHES, FAINT, Axis, Plot, bars
from realbogus.training.page_pictures import Triplets, pictures
from realbogus.training.page_style import STYLE

SPLIT_NAMES = {
    "exposures": "new exposures",
    "nights": "new nights",
    "fields": "new fields",
    "later": "later nights",
}


def page(found: Found, triplets: Triplets) -> str:
    """The HTML of a report. triplets are those of the alerts in worst and novelty; one that is missing has no picture.

    The report itself stands in the page once more as JSON, in a <script type="application/json"> that runs nothing.
    """
    model = found["model"]
    title = f"{model['name']}/{model['version']}: how good is it?"
    parts = [(name, head, body) for name, head, body in _sections(found, triplets) if body]
    links = "".join(f'<a href="#{name}">{escape(head)}</a>' for name, head, _ in parts)
    sections = "".join(f'<section id="{name}"><h2>{escape(head)}</h2>{body}</section>' for name, head, body in parts)
    raw = json.dumps(found, sort_keys=True, allow_nan=False).replace("<", "\\u003c")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{_lead(found)}</header>"
        f"<main><nav>{links}</nav>{_tiles(found)}{sections}</main>"
        f'<footer><p class="note">Made by realbogus {escape(found["realbogus"])}. Ranges and bars are 95 % intervals, '
        "by resampling groups of alerts that share an exposure or an object, not alerts.</p></footer>"
        f'<script type="application/json" id="report">{raw}</script></body></html>\n'
    )


def _sections(found: Found, triplets: Triplets) -> Iterable[tuple[str, str, str]]:
    yield "ranking", "Ranking", _ranking(found)
    yield "paired", "Beside other scores", _paired(found)
    yield "slices", "S/N, filter, seeing", _slices(found)
    yield "classes", "Classes", _classes(found)
    yield "calibration", "Calibration", _calibration(found)
    yield "thresholds", "Thresholds", _thresholds(found)
    yield "features", "Features", _features(found)
    yield "honesty", "Leakage and learning", _honesty(found)
    yield "labels", "Labels", _labels(found)
    yield "misses", "Worst misses", pictures(found["worst"]["misses"], triplets, "Real alerts with the lowest scores.")
    yield (
        "alarms",
        "Worst false alarms",
        pictures(found["worst"]["false_alarms"], triplets, "Bogus alerts with the highest scores."),
    )
    yield "novelty", "Novelty", _novelty(found, triplets)
    yield "acceptance", "Acceptance", _acceptance(found)
    yield "data", "Data and model", _data(found)


def _lead(found: Found) -> str:
    model, data = found["model"], found["data"]
    surveys = ", ".join(survey.upper() for survey in data["surveys"])
    text = (
        f"{model['made_of']} on {model['features']} features, judged on {data['rows']:,} {surveys} "
        f"alerts ({data['real']:,} real, {data['bogus']:,} bogus) in {data['groups']:,} groups and {data['nights']} "
        "nights."
    )
    warnings = "".join(f'<p class="warning">{escape(text)}</p>' for text in found["judged"]["warnings"])
    how = found["judged"]["how"]
    return f"<p>{escape(text)} {escape(how[:1].upper() + how[1:])}.</p>{warnings}"


def _tiles(found: Found) -> str:
    tiles = []
    for name, title in NAMES.items():
        figure = found["figures"].get(name)
        if figure is None or figure["value"] is None:
            continue
        doubt = not found["claims_at_1_percent"] and name in ("mdr_at_fpr_0.1", "mdr_at_fpr_1")
        interval = f"{number(name, figure['low'])} to {number(name, figure['high'])}"
        tiles.append(
            f'<div class="tile{" doubt" if doubt else ""}"><small>{escape(title)}</small>'
            f"<b>{number(name, figure['value'])}</b><small>{'no claim: ' if doubt else ''}{interval}</small></div>"
        )
    note = "MDR: share of real alerts lost. FPR: share of bogus passed."
    if not found["claims_at_1_percent"]:
        bogus = found["data"]["bogus"]
        note += (
            f" Of {bogus:,} bogus alerts, 1 % are {round(0.01 * bogus)}: figures at 1 % FPR and below are shown in "
            "grey and claim nothing."
        )
    return f'<div class="tiles">{"".join(tiles)}</div><p class="note">{note}</p>'


def _ranking(found: Found) -> str:
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
        [SPLIT_NAMES[name], f"{told['rows']:,}", *(interval(figure, told[figure]) for figure in _FIGURES)]
        for name, told in found["splits"].items()
    ]
    text = "<p>The same recipe, fitted without the exposures, nights or fields it is tested on.</p>"
    return f"<h3>How far it carries</h3>{text}{table(['tested on', 'rows', *(NAMES[name] for name in _FIGURES)], rows)}"


_FIGURES = ("auc", "mdr_at_fpr_5", "mdr_at_fpr_10")


def _paired(found: Found) -> str:
    parts = []
    for key, text in (
        ("paired", "Other scores, on the identical rows that have them. Below each: ours minus theirs."),
        ("baselines", "Other methods on the same features, rows and folds, so that the forest has to earn its place."),
    ):
        told = found.get(key) or {}
        rows = []
        for name, figures in told.items():
            cells = [name, f"{figures['rows']:,}"]
            for figure in _FIGURES:
                theirs, gap = (figures[f"{figure}_{what}"] for what in ("theirs", "difference"))
                cells.append(f"{number(figure, theirs['value'])}{UNDER}{inline(difference(figure, gap))}")
            rows.append(cells)
        if rows:
            head = ["", "rows", *(NAMES[figure] for figure in _FIGURES)]
            parts.append(f"<p>{text}</p>{table(head, rows)}")
    if found.get("best_single_feature"):
        parts.append(f'<p class="note">The best single feature is {escape(found["best_single_feature"])}.</p>')
    return "".join(parts)


def _slices(found: Found) -> str:
    cut = next(entry for entry in found["thresholds"] if entry["stated_fpr"] == 0.05)["score"]["value"]
    parts = [f"<p>At one cut for all, score {cut:.3f}, that of 5 % FPR over all rows.</p>"]
    for axis, slices in found["slices"].items():
        rows = []
        for told in slices:
            figures = [interval(name, told[name]) if name in told else "too few" for name in ("auc", "mdr", "fpr")]
            error = f"{told['ece']:.3f}" if "ece" in told else ""
            rows.append([told["name"], f"{told['real']:,}", f"{told['bogus']:,}", *figures, error])
        parts.append(f"<h3>By {escape(axis)}</h3>{table(['', 'real', 'bogus', 'AUC', 'MDR', 'FPR', 'ECE'], rows)}")
    if found["subsets"]:
        rows = [
            [name, f"{told['rows']:,}", *(interval("passed", told[f"passed_at_fpr_{at}"]) for at in (5, 10))]
            for name, told in found["subsets"].items()
        ]
        head = ["share passed", "rows", "cut at 5 % FPR", "cut at 10 % FPR"]
        parts.append(f"<h3>Subsets</h3>{table(head, rows)}")
    return "".join(parts)


def _classes(found: Found) -> str:
    parts = []
    for real, title in ((False, "Bogus passed at the cut of 5 % FPR"), (True, "Real lost at the cut of 5 % FPR")):
        rows = []
        for told in sorted((told for told in found["classes"] if told["real"] == real), key=lambda t: -t["rows"]):
            share, low, high = told["passed"], told["low"], told["high"]
            if real:
                share, low, high = 1 - share, 1 - high, 1 - low
            rows.append((f"{told['kind']} ({told['rows']:,})", share, low, high, f"{100 * share:.1f} %"))
        if rows:
            parts.append(f"<div>{bars(rows, title)}</div>")
    return f'<p>Every class there is, with the number of its alerts.</p><div class="two">{"".join(parts)}</div>'


def _calibration(found: Found) -> str:
    told = found["calibration"]
    whole = Axis("p_real", 0.0, 1.0)
    plot = Plot(whole, Axis("share that is real", 0.0, 1.0), height=320, label="Reliability diagram")
    plot.line([(0, 0), (1, 1)], "", FAINT, "3 3", 1.2)
    plot.points([(b["p_real"], b["share_real"], b["low"], b["high"]) for b in told["bins"]])
    rows = [
        [f"{axis}: {part['name']}", f"{part['rows']:,}", f"{part['mean_p_real']:.3f}", f"{part['share_real']:.3f}",
         f"{part['ece']:.3f}"]
        for axis, parts in told["by"].items()
        for part in parts
    ]  # fmt: skip
    text = (
        f"<p>p_real is meant at the training prior, {100 * told['training_prior']:.1f} % real. Of these rows "
        f"{100 * told['share_real']:.1f} % are real; from p_real alone the prior would be estimated at "
        f"{100 * told['estimated_prior']:.1f} %.</p>"
    )
    cells = table(["", "rows", "mean p_real", "share real", "ECE"], rows)
    return f'{text}<div class="two"><div>{plot.svg()}</div><div>{cells}</div></div>{_disagreement(found)}'


def _disagreement(found: Found) -> str:
    rows = [
        [f"quarter {place + 1}", f"{part['rows']:,}", f"{part['spread']:.3f}", f"{100 * part['wrong']:.1f} %"]
        for place, part in enumerate(found["disagreement"])
    ]
    text = "<p>How often p_real is on the wrong side of a half, by how far the trees disagree.</p>"
    head = ["alerts", "rows", "spread of the trees", "wrong"]
    return f"<h3>Where the trees disagree</h3>{text}{table(head, rows)}"


def _thresholds(found: Found) -> str:
    rows = [
        [f"{100 * entry['stated_fpr']:g} %", f"{100 * entry['fpr']:.2f} %", interval("score", entry["score"]),
         interval("mdr", entry["mdr"]), *(f"{100 * share:.1f} %" for share in entry["purity"].values())]
        for entry in found["thresholds"]
    ]  # fmt: skip
    rates = [f"purity at {rate}" for rate in found["thresholds"][0]["purity"]]
    text = (
        "<p>The intervals hold the uncertainty of the cut itself. Purity is the share of real among what passes, where "
        "there are so many bogus for each real alert.</p>"
    )
    return text + table(["stated FPR", "FPR here", "score", "MDR", *rates], rows)


def _features(found: Found) -> str:
    rows = [
        (name, lost, lost - sd, lost + sd, f"{lost:.4f}")
        for name, lost, sd in ((one["name"], one["auc_lost"], one["sd"]) for one in found["importance"])
    ]
    cells = table(
        ["family", "features", "AUC lost", "share of contributions"],
        [
            [f"{one['family']} {one['name']}", str(one["features"]), f"{one['auc_lost']:.4f}",
             f"{100 * one['share']:.1f} %"]
            for one in found["importance"]
        ],
    )  # fmt: skip
    strongest = ", ".join(one["feature"] for one in found["strongest"])
    text = (
        "<p>AUC lost when all features of a family are shuffled together. Families stand in for each other, so the "
        "losses are small and do not add up.</p>"
    )
    chart = bars(rows, "AUC lost", per_cent=False)
    return (
        f'{text}<div class="two"><div>{chart}</div><div>{cells}</div></div>'
        f"<p>The features that move scores most: {escape(strongest)}.</p>"
    )


def _honesty(found: Found) -> str:
    if "leakage" not in found:
        return ""
    gap = found["leakage"]["random_minus_grouped"]
    alarm = '<b class="bad">The alarm sounds.</b>' if found["leakage"]["alarm"] else '<b class="good">Quiet.</b>'
    text = (
        f"<p>Rows split at random let a forest recognise exposures; the gain over new exposures is the leak: AUC "
        f"{inline(signed(gap['auc']))}, MDR at 5 % FPR {inline(signed(gap['mdr_at_fpr_5'], per_cent=True))}. "
        f"{alarm}</p>"
    )
    curve = found["learning_curve"]
    plots = []
    if len(curve) > 1:
        plots.append(_curve(curve, "rows", "rows to learn from", "Learning curve", log=True))
    plots.append(_curve(found["noise_curve"], "share", "labels turned wrong", "Wrong labels", per_cent=True))
    return f'{text}<div class="two">{"".join(f"<div>{plot}</div>" for plot in plots)}</div>'


def _curve(rows: Sequence[Found], by: str, title: str, name: str, *, log: bool = False, per_cent: bool = False) -> str:
    """MDR at 5 and 10 % FPR along something."""
    x = [float(row[by]) for row in rows]
    most = max(row["mdr_at_fpr_5"] for row in rows)
    plot = Plot(
        Axis(title, min(x) if log else 0.0, max(x), log=log, per_cent=per_cent),
        Axis("MDR: real lost", 0.0, max(0.05, 1.05 * most), per_cent=True),
        height=270,
        label=name,
    )
    for place, at in enumerate((5, 10)):
        points = [(value, row[f"mdr_at_fpr_{at}"]) for value, row in zip(x, rows, strict=True)]
        plot.line(points, f"MDR at {at} % FPR", COLOURS[place], DASHES[place])
        plot.points([(value, y, y, y) for value, y in points], "", COLOURS[place])
    return f"<h3>{escape(name)}</h3>{plot.svg()}"


def _labels(found: Found) -> str:
    told = found["label_noise"]
    text = (
        f"<p>{told['called_bogus_look_real']} labels bogus look real and {told['called_real_look_bogus']} labels real "
        f"look bogus, together {100 * told['share']:.1f} % of {told['labels']:,}"
        + (", where the list ends" if told["capped"] else "")
        + ". Nothing was removed: the list is for a second look.</p>"
    )
    rows = [
        [str(one["candid"]), one["label"], one["kind"] or "", f"{one['p_real']:.3f}"] for one in told["suspects"][:40]
    ]
    cells = table(["candid", "label", "kind", "p_real held out"], rows)
    return f"{text}<details><summary>The labels most in doubt</summary>{cells}</details>" if rows else text


def _novelty(found: Found, triplets: Triplets) -> str:
    if "novelty" not in found:
        return ""
    told = found["novelty"]
    shares = list(told["quantiles"]["real"])
    rows = [[side, *(f"{told['quantiles'][side][share]:.3f}" for share in shares)] for side in ("real", "bogus")]
    cells = table(["novelty exceeded by", *(f"{100 * (1 - float(share)):g} %" for share in shares)], rows)
    text = (
        f"Novelty is a column of its own and no part of the score (rank correlation "
        f"{told['rank_correlation_with_score']:+.2f}). The most novel of these alerts:"
    )
    return cells + pictures(told["most"], triplets, text)


def _acceptance(found: Found) -> str:
    rows = [
        f'<tr><td class="text">{escape(row["test"])}</td><td class="text">{escape(row["found"])}</td>'
        f'<td class="{"good" if row["passed"] else "bad"}">{"passes" if row["passed"] else "fails"}</td></tr>'
        for row in found["acceptance"]
    ]
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>'


def _data(found: Found) -> str:
    data, model = found["data"], found["model"]
    rules = "".join(f"<p>{escape(rule)}</p>" for rule in data["label_rules"])
    sources = ", ".join(f"{count:,} {source}" for source, count in data["sources"].items())
    return (
        f"{rules}<p>Labels: {escape(sources)}. MJD {data['first_mjd']:.1f} to {data['last_mjd']:.1f}. Digest of the "
        f"table: <small>{data['sha256']}</small></p><p>Model {escape(model['name'])}/{escape(model['version'])}, "
        f"feature set {escape(model['feature_set'])}, threshold {model['threshold']:.6f}, content: "
        f"<small>{model['sha256']}</small></p>"
    )
