"""The model's card: what the manifest says, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Figures = Mapping[str, Any]

FIGURES = {
    "auc": "AUC",
    "mdr_at_fpr_1": "MDR at 1 % FPR",
    "mdr_at_fpr_5": "MDR at 5 % FPR",
    "mdr_at_fpr_10": "MDR at 10 % FPR",
    "brier": "Brier score of p_real",
    "ece": "calibration error (ECE) of p_real",
}
TITLES = {  # of the splits
    "exposures": "new exposures",
    "nights": "new nights",
    "fields": "new fields",
    "later": "later nights",
    "random": "rows at random (leaks)",
}
_PER_CENT = ("mdr", "passed")


def card(manifest: Mapping[str, Any]) -> str:
    """The card as Markdown. It says nothing that the manifest does not hold."""
    training, metrics = manifest["training"], manifest["metrics"]
    parts = [
        f"# Model {manifest['name']}/{manifest['version']}",
        _summary(manifest),
        "## What it was trained on",
        _data(training),
        "## How good it is",
        _results(metrics),
        *(["## On real packets", _transfer(metrics["transfer"])] if "transfer" in metrics else []),
        "## Threshold",
        _thresholds(manifest),
        "## Limits",
        _list(manifest["limits"]),
        "## Licence and provenance",
        _provenance(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(manifest: Mapping[str, Any]) -> str:
    features = manifest["features"]
    surveys = ", ".join(survey.upper() for survey in manifest["surveys"])
    return (
        f"{made_of(manifest)} on {len(features['names'])} features (set `{features['set']}`, digest "
        f"`{features['digest']}`) for {surveys} alerts. It gives a score from 0 (bogus) to 1 (real), p_real calibrated "
        f"by {manifest['calibration_note']}, and each feature's share of the score."
    )


def _data(training: Mapping[str, Any]) -> str:
    lines = [
        f"{name}: {counts['real']} real, {counts['bogus']} bogus, in {counts['groups']} groups and {counts['nights']} "
        f"nights (MJD {counts['first_mjd']:.1f} to {counts['last_mjd']:.1f})"
        for name, counts in sorted(training["counts"].items())
    ]
    rules = "\n\n".join(training["label_rules"])
    weighted = (
        "Real and bogus weigh alike in sum."
        if len(lines) == 1
        else f"Real and bogus weigh alike in sum. {_drawn(training['recipe'])} together weigh "
        f"{training['recipe']['simulated_weight']:g} times all real packets, and nothing below is of them."
    )
    return f"{_list(lines)}\n\n{rules}\n\n{weighted} Digest of the training table: `{training['sha256']}`."


def _drawn(recipe: Mapping[str, Any]) -> str:
    """Which simulated alerts helped to fit."""
    if not recipe.get("alike"):
        return "All simulated alerts"
    return f"For each forest {recipe['alike']} simulated alerts are drawn, for how like its packets they look; they"


def _results(metrics: Mapping[str, Any]) -> str:
    judged = metrics["splits"]["exposures"]
    what = "simulated alerts, whose truth is known" if metrics["judged_on"] == "simulated" else "real packets, label P"
    parts = [
        f"Measured on {judged['rows']} {what} ({judged['real']} real, {judged['bogus']} bogus), each scored by forests "
        "that saw no alert of its group. Brackets hold 95 % intervals, by resampling groups and not alerts. MDR is the "
        "share of real alerts lost, FPR the share of bogus passed.",
        _splits(metrics),
    ]
    if judged.get("paired"):
        parts += ["Beside other scores, on the identical rows that have them:", _paired(judged["paired"])]
    if metrics.get("baselines"):
        single = f"The best single feature is {metrics['best_single_feature']}."
        told = "Beside other methods on the same features and folds, fitted on the very sort that is judged."
        parts += [f"{told} {single}", _paired(metrics["baselines"])]
    if judged.get("slices"):
        parts += ["Share at or above the cut:", _slices(judged["slices"])]
    parts += [_without(judged)] if judged.get("without") else []
    parts += [_search(metrics["search"])] if "search" in metrics else []
    if judged.get("snr"):
        parts += ["By signal to noise of the detection:", _snr(judged["snr"])]
    return "\n\n".join(parts)


def _transfer(found: Mapping[str, Any]) -> str:
    """What a model of simulated alerts does on real ones."""
    told, there = found["overall"], found["at_threshold"]
    auc, at5, at10 = (figure(name, told[name]) for name in ("auc", "mdr_at_fpr_5", "mdr_at_fpr_10"))
    fpr, mdr = (figure("mdr", there[name]) for name in ("fpr", "mdr"))
    said = (
        f"It has seen none of them. On {found['rows']} real packets with labels ({found['real']} real, "
        f"{found['bogus']} bogus): AUC {auc}, MDR at 5 % FPR {at5}, at 10 % {at10}. The cut chosen on simulated alerts "
        f"passes {fpr} of their bogus and loses {mdr} of their real."
    )
    beside = "Beside other scores, on the identical rows that have them:"
    return "\n\n".join([said, *([beside, _paired(found["paired"])] if found.get("paired") else [])])


def _splits(metrics: Mapping[str, Any]) -> str:
    """A column a split."""
    splits, names = metrics["splits"], said_of(metrics)
    rows = [[FIGURES[name], *(figure(name, found["overall"][name]) for found in splits.values())] for name in names]
    return _table(["", *(TITLES[name] for name in splits)], rows)


def _paired(paired: Mapping[str, Any]) -> str:
    rows = []
    for name, found in sorted(paired.items()):
        for measure in ("auc", "mdr_at_fpr_5", "mdr_at_fpr_10"):
            parts = [found[f"{measure}_{whose}"] for whose in ("ours", "theirs", "difference")]
            rows.append([name, str(found["rows"]), FIGURES[measure], *(figure(measure, part) for part in parts)])
    return _table(["score", "rows", "", "ours", "theirs", "difference"], rows)


def _slices(slices: Mapping[str, Any]) -> str:
    rows = [
        [name, str(found["rows"]), *(figure("passed", found[f"passed_at_fpr_{at}"]) for at in (5, 10))]
        for name, found in sorted(slices.items())
    ]
    return _table(["subset", "rows", "cut at 5 % FPR", "cut at 10 % FPR"], rows)


def _without(judged: Mapping[str, Any]) -> str:
    lines = [
        f"Without {name}: AUC {figure('auc', found['auc'])}, MDR at 5 % FPR {figure('mdr', found['mdr_at_fpr_5'])}, "
        f"at 10 % {figure('mdr', found['mdr_at_fpr_10'])}."
        for name, found in sorted(judged["without"].items())
    ]
    return _list(lines)


def _search(found: Mapping[str, Any]) -> str:
    nested = found["nested"]
    return (
        f"The recipe was chosen among {found['trials']} by {found['objective']}, inside folds. Chosen anew in each "
        f"fold, on rows that took no part in the choice, it reaches AUC {figure('auc', nested['auc'])}, MDR at 5 % FPR "
        f"{figure('mdr', nested['mdr_at_fpr_5'])}, at 10 % {figure('mdr', nested['mdr_at_fpr_10'])}: figures above "
        "these by more than chance would be flattery."
    )


def _snr(bins: Mapping[str, Any]) -> str:
    rows = [
        [name, str(found["rows"]), f"{found['auc']:.3f}", f"{100 * found['mdr_at_fpr_5']:.1f} %"]
        for name, found in bins.items()
    ]
    return _table(["S/N", "rows", "AUC", "MDR at 5 % FPR"], rows)


def _thresholds(manifest: Mapping[str, Any]) -> str:
    rows = [
        [f"{100 * entry['stated_fpr']:g} %", figure("score", entry["score"]), figure("mdr", entry["mdr"])]
        for entry in manifest["thresholds"]
        if manifest["metrics"]["judged_on"] == "simulated" or entry["stated_fpr"] >= 0.05
    ]
    chosen = manifest["threshold"]
    said = (
        f"The model says real from score {chosen['score']:.6f}, the cut at {100 * chosen['stated_fpr']:g} % FPR on "
        "rows held out. Base rates differ from night to night: choose by the rate or by the number of alerts that you "
        "can follow."
    )
    return f"{said}\n\n{_table(['FPR', 'score', 'MDR'], rows)}"


def _provenance(manifest: Mapping[str, Any]) -> str:
    recipe = ", ".join(f"{name} {value}" for name, value in sorted(manifest["training"]["recipe"].items()))
    versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest["libraries"].items()))
    return f"{manifest['licence']}\n\nRecipe: {recipe}. Fitted with {versions}."


def made_of(manifest: Mapping[str, Any]) -> str:
    """How many trees of what kind, in words."""
    recipe = manifest["training"]["recipe"]
    boosted = f" and {recipe['boosted']} boosted trees" if recipe.get("boosted") else ""
    return f"{recipe['trees']} {manifest['kind']}{boosted}"


def said_of(metrics: Mapping[str, Any]) -> list[str]:
    """The figures that may be quoted. One per cent of the real packets' bogus is a handful: too few for a claim."""
    return [name for name in FIGURES if metrics["judged_on"] == "simulated" or name != "mdr_at_fpr_1"]


def figure(name: str, found: Figures) -> str:
    """A number with its interval, per cent where that is how one says it."""
    if found["value"] is None:
        return "-"
    if name.startswith(_PER_CENT):
        value, low, high = (100 * found[part] for part in ("value", "low", "high"))
        return f"{value:.1f} % [{low:.1f}, {high:.1f}]"
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
