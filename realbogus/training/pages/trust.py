"""Why to believe a report or not: features, leaks, wrong labels, novelty, acceptance tests, the data."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from realbogus.training.pages.cells import Found, inline, signed, table
from realbogus.training.pages.charts import COLOURS, DASHES, Axis, Plot, bars
from realbogus.training.pages.pictures import Triplets, pictures


def features(found: Found) -> str:
    """What families of features are worth."""
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


def honesty(found: Found) -> str:
    """The leakage meter, and how the model would do with fewer or with wrong labels."""
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


def labels(found: Found) -> str:
    """The labels most in doubt."""
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


def novelty(found: Found, triplets: Triplets) -> str:
    """The most novel alerts, and how novelty is spread."""
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


def acceptance(found: Found) -> str:
    """The acceptance tests, each with what was found."""
    rows = [
        f'<tr><td class="text">{escape(row["test"])}</td><td class="text">{escape(row["found"])}</td>'
        f'<td class="{"good" if row["passed"] else "bad"}">{"passes" if row["passed"] else "fails"}</td></tr>'
        for row in found["acceptance"]
    ]
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>'


def data_and_model(found: Found) -> str:
    """What was judged on what, with digests."""
    data, model = found["data"], found["model"]
    rules = "".join(f"<p>{escape(rule)}</p>" for rule in data["label_rules"])
    sources = ", ".join(f"{count:,} {source}" for source, count in data["sources"].items())
    return (
        f"{rules}<p>Labels: {escape(sources)}. MJD {data['first_mjd']:.1f} to {data['last_mjd']:.1f}. Digest of the "
        f"table: <small>{data['sha256']}</small></p><p>Model {escape(model['name'])}/{escape(model['version'])}, "
        f"feature set {escape(model['feature_set'])}, threshold {model['threshold']:.6f}, content: "
        f"<small>{model['sha256']}</small></p>"
    )
