"""The report as one page: it needs no other file, no script and no network, and reads well on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape

from realbogus.training.pages.cells import NAMES, Found, number
from realbogus.training.pages.cuts import calibration, classes, slices, thresholds
from realbogus.training.pages.pictures import Triplets, pictures
from realbogus.training.pages.ranking import paired, ranking
from realbogus.training.pages.style import STYLE
from realbogus.training.pages.trust import acceptance, data_and_model, features, honesty, labels, novelty


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
    yield "ranking", "Ranking", ranking(found)
    yield "paired", "Beside other scores", paired(found)
    yield "slices", "S/N, filter, seeing", slices(found)
    yield "classes", "Classes", classes(found)
    yield "calibration", "Calibration", calibration(found)
    yield "thresholds", "Thresholds", thresholds(found)
    yield "features", "Features", features(found)
    yield "honesty", "Leakage and learning", honesty(found)
    yield "labels", "Labels", labels(found)
    yield "misses", "Worst misses", pictures(found["worst"]["misses"], triplets, "Real alerts with the lowest scores.")
    yield (
        "alarms",
        "Worst false alarms",
        pictures(found["worst"]["false_alarms"], triplets, "Bogus alerts with the highest scores."),
    )
    yield "novelty", "Novelty", novelty(found, triplets)
    yield "acceptance", "Acceptance", acceptance(found)
    yield "data", "Data and model", data_and_model(found)


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
