"""What a cut and p_real are worth: by condition and class, reliability, thresholds."""

from __future__ import annotations

from html import escape

from realbogus.training.pages.cells import Found, interval, table
from realbogus.training.pages.charts import FAINT, Axis, Plot, bars


def slices(found: Found) -> str:
    """Figures by S/N, filter, seeing and subset, at one cut for all."""
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


def classes(found: Found) -> str:
    """What passes of each class of bogus and is lost of each class of real."""
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


def calibration(found: Found) -> str:
    """Whether p_real is what it says, as a reliability diagram and by condition."""
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


def thresholds(found: Found) -> str:
    """Cuts with their false positive rate, loss, and purity at base rates."""
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
