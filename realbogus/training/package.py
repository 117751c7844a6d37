"""A trained forest with its evidence, as the files of a model folder."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import numpy as np

from realbogus import __version__
from realbogus.model import STAMP_RULE, describe_features, model_files
from realbogus.training.card import card
from realbogus.training.examples import Examples
from realbogus.training.fit import Trained, settings_of
from realbogus.training.splits import SPLITS

LIMITS = (
    "Valid for the surveys named above; scores of other surveys' alerts mean nothing.",
    "p_real refers to the share of real among the rows that calibrated it, not to that of your stream, where bogus "
    "outnumber real: use it to compare alerts of one night, or correct it for your prior.",
    "Ranking carries over to new nights better than probabilities and cuts do: see the column 'new nights'.",
    "No history, position, time or score of another classifier goes in: each alert is judged by itself.",
)
PACKET_LIMITS = (
    "The label of the real packets is not human. Its hard cases are residuals on bright stars, some of which are "
    "variables badly subtracted; nothing is claimed at a false positive rate of 1 %, where a handful of them decides.",
    "Kind, leaf size and boosted part of the default recipe were chosen among some sixty on these folds, which "
    "flatters it a little.",
    "Few nights carry most of the real packets, which are samples that brokers published, not a fair draw of a night.",
)
IMPORTED_LIMITS = (
    "Imported: it was fitted elsewhere, on alerts that are not known here. The rows named above calibrated and judged "
    "it; it may have learnt from them, and then the figures flatter it.",
)
ONLY_SIMULATED_LIMITS = (
    "It has seen no real packet: fitted, calibrated and judged on simulated alerts, for those who have no labels yet. "
    "Its threshold and p_real are of simulated alerts; choose the cut by how many alerts you can follow.",
    "The simulator's recipes were fitted to columns of labelled ZTF packets, and the settings of the shipped models "
    "(two telescopes mixed, leaves of 30 rows, nothing boosted) were chosen among six on the same packets: figures on "
    "them are flattered by that, those on simulated alerts are not.",
)
UNTRIED_LIMITS = ("Nothing is known of how it does on real alerts: no labelled packet of the survey was at hand.",)
SIMULATED_LIMITS = ("Simulated frames are cleaner than the sky: expect worse on real alerts, and measure it.",)
MIXED_LIMITS = (
    "Simulated alerts helped to fit. The simulator's recipes were fitted to columns of these packets, and how many are "
    "drawn, and their weight, was chosen among a dozen on these folds, which flatters it a little.",
)
LICENCE = "BSD-3-Clause, as realbogus."
OF_PACKETS = (
    " The packets it was trained on are public survey data published as samples by brokers; "
    "none of them is contained here: golden.npz holds made-up rows."
)
OF_SIMULATIONS = " The alerts it was trained on were made by `realbogus simulate`; golden.npz holds made-up rows."


def package(name: str, version: str, feature_set: str, examples: Examples, trained: Trained) -> dict[str, bytes]:
    """The files of the model's folder. The same arguments give the same bytes."""
    manifest = describe(name, version, feature_set, examples, trained)
    text = card(manifest)
    return model_files(
        trained.forest,
        trained.calibration,
        manifest,
        trained.golden,
        text,
        novelty=trained.novelty,
        trained_on=examples.candid,
    )


def describe(name: str, version: str, feature_set: str, examples: Examples, trained: Trained) -> dict[str, Any]:
    """The manifest of a trained model, without what `model_files` adds."""
    calibration = trained.calibration
    mixed = (~examples.simulated()).any(), examples.simulated().any()
    return {
        "name": name,
        "version": version,
        "kind": trained.recipe.kind,
        "classes": ["bogus", "real"],
        "surveys": sorted(set(examples.survey.tolist())),
        "features": describe_features(examples.names, feature_set),
        "stamps": STAMP_RULE,
        "threshold": {"score": trained.threshold, "stated_fpr": trained.recipe.fpr},
        "thresholds": trained.thresholds,
        "calibration_note": f"{'an' if calibration.kind == 'isotonic' else 'a'} {calibration.kind} curve on "
        f"{calibration.rows} scores of rows held out, "
        f"{100 * calibration.prior:.0f} % of them real",
        "training": {
            "sha256": examples.sha256(),
            "counts": _counts(examples),
            "label_rules": list(examples.rules),
            "splits": SPLITS,
            "recipe": settings_of(trained.recipe),
        },
        "metrics": trained.metrics,
        "reference": {"score": trained.reference},
        "libraries": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": metadata.version("scikit-learn"),
            "realbogus": __version__,
        },
        "limits": [
            *(IMPORTED_LIMITS if trained.metrics.get("imported") else ()),
            *LIMITS,
            *(PACKET_LIMITS if mixed[0] else ()),
            *(MIXED_LIMITS if all(mixed) else ()),
            *((*SIMULATED_LIMITS, *ONLY_SIMULATED_LIMITS) if not mixed[0] else ()),
            *(UNTRIED_LIMITS if not mixed[0] and "transfer" not in trained.metrics else ()),
        ],
        "licence": LICENCE + (OF_PACKETS if mixed[0] else OF_SIMULATIONS),
        "parent": None,
    }


def _counts(examples: Examples) -> dict[str, Any]:
    found = {}
    for source in sorted(set(examples.source.tolist())):
        some = examples.rows(examples.source == source)
        found[source] = {
            "real": int(some.is_real.sum()),
            "bogus": int((~some.is_real).sum()),
            "groups": len(set(some.group.tolist())),
            "nights": len(set(some.night.tolist())),
            "first_mjd": round(float(some.mjd.min()), 3),
            "last_mjd": round(float(some.mjd.max()), 3),
            "kinds": {kind: int((some.kind == kind).sum()) for kind in sorted(set(some.kind.tolist())) if kind},
            "bands": {band: int((some.band == band).sum()) for band in sorted(set(some.band.tolist()))},
        }
    return found
