"""What feature sets, forests and weights are worth for ranking, on the shared real ZTF packets.

    python scripts/design/ranking.py FOLDER MANIFEST [--only fast] [--trees 400] [--seeds 3] [--simulated NIGHT ...]

FOLDER holds the unpacked packets, MANIFEST is their table. Each trial is judged as `realbogus train` does: label P (two
blind visual passes that agree), ten folds, by exposure (none, and no object, on both sides) and by connected night,
which is harder, since one night holds more than half of the rows. Seeds change folds and forest; figures are means over
them, pooled over folds, with the spread over seeds. Intervals, where given, resample exposures, on the mean score.

TABLE
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from realbogus.features import CATALOGUE, FEATURE_SETS
from realbogus.labels import read_manifest, read_truth
from realbogus.training.evaluate import auc, cut_at, mdr_at, paired
from realbogus.training.examples import Examples, joined
from realbogus.training.fit import Recipe, out_of_fold
from realbogus.training.labelled import examples
from realbogus.training.splits import folds

FRAME = tuple(name for name in CATALOGUE if CATALOGUE[name].family == "L")
OF_STARS = tuple(name for name in FRAME if name.startswith(("star_", "core_", "ratio_", "slope_")))
OF_SPOTS = ("spots_bright", "spots_dark", "spots_sign", "outer_skew", "outer_rms")
OF_TRAILS = ("trail", "trail_both")


@dataclass(frozen=True)
class Trial:
    """One thing that was tried."""

    name: str
    chosen: str = "fast-2"
    without: Sequence[str] = ()
    also: Sequence[str] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    by_confidence: bool = False  # rows of unsure panels weigh less: 0.4 and 0.7 at confidence 2 and 3 of 6
    simulated: float = 0.0  # weight of all simulated alerts together, that of all packets being 1


TRIALS = (
    *(Trial(name, name) for name in FEATURE_SETS),
    Trial("fast-2, leaves of 1", recipe={"least_leaf": 1}),
    Trial("fast-2, leaves of 3", recipe={"least_leaf": 3}),
    Trial("fast-2, a fifth of the features a split", recipe={"tried": 0.2}),
    Trial("fast-2, random forest", recipe={"kind": "random forest"}),
    Trial("fast-2, weights by confidence", by_confidence=True),
    Trial("fast-2 without stars", without=OF_STARS),
    Trial("fast-2 without spots", without=OF_SPOTS),
    Trial("fast-2 without trails", without=OF_TRAILS),
    Trial("fast-2 with levels", also=("flux_scale", "science_noise", "template_noise")),
    Trial("fast-2, 1000 trees", recipe={"trees": 1000}),
    *(Trial(f"fast-2, simulated x {weight:g}", simulated=weight) for weight in (0.1, 0.3, 1.0)),
)


def packets(folder: Path) -> Iterator[bytes]:
    """All ZTF packets, in order."""
    return (path.read_bytes() for path in sorted((folder / "ztf").glob("*.avro")))


def simulated(nights: Sequence[Path]) -> list[Examples]:
    """Alerts of simulated nights, a folder each with its truth.csv."""
    return [
        examples((path.read_bytes() for path in sorted(night.rglob("*.avro"))), read_truth(night / "truth.csv"), NAMES)
        for night in nights
    ]


NAMES = tuple(CATALOGUE)


def with_features(table: Examples, names: Sequence[str]) -> Examples:
    """The table with some of its features."""
    return replace(table, names=tuple(names), X=np.ascontiguousarray(table.X[:, [NAMES.index(name) for name in names]]))


def confidence(manifest: Path, table: Examples) -> np.ndarray:
    """The panel's confidence in each row, 2 to 6."""
    with manifest.open(newline="") as file:
        told = {row["candid"]: row["panel_confidence"] for row in csv.DictReader(file)}
    return np.array([int(told[str(candid)]) for candid in table.candid.tolist()])


def scores(trial: Trial, real: Examples, made: Sequence[Examples], split: str, seed: int, trees: int) -> np.ndarray:
    """Out-of-fold scores of the real rows. Simulated alerts help to fit in every fold, and are not judged."""
    names = [name for name in FEATURE_SETS[trial.chosen] if name not in trial.without] + list(trial.also)
    settings = {"trees": trees, "seed": seed, "simulated_weight": trial.simulated or 1.0}
    recipe = Recipe(**settings | trial.recipe)
    fold, table = folds(real, split, recipe.folds, seed), real
    if trial.simulated:
        table = joined([real, *made])  # ordered by source: the panel's rows stay first
        fold = np.concatenate([fold, np.full(len(table) - len(real), -1)])
    return out_of_fold(with_features(table, names), fold, recipe)[: len(real)]


def figures(score: np.ndarray, real: Examples) -> list[float]:
    """AUC, MDR at 5 and 10 % FPR, and how many asteroids and how many other real alerts pass the latter."""
    cut, asteroid = cut_at(0.10, score, real.is_real), real.slices["known asteroids"]
    passed = [float((score[rows] >= cut).mean()) for rows in (asteroid & real.is_real, ~asteroid & real.is_real)]
    return [auc(score, real.is_real), *(mdr_at(fpr, score, real.is_real) for fpr in (0.05, 0.10)), *passed]


def line(name: str, split: str, found: np.ndarray) -> str:
    """One row of the table: mean, and spread over seeds."""
    (auc_, at5, at10, asteroids, others), spread = found.mean(axis=0), found.std(axis=0)
    return (
        f"{name:42s} {split:9s} {auc_:.4f} ±{spread[0]:.4f}  {at5:.3f} ±{spread[1]:.3f}  {at10:.3f} ±{spread[2]:.3f}  "
        f"{asteroids:.3f} {others:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--only", default="", help="trials whose name starts so")
    parser.add_argument("--trees", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--simulated", type=Path, nargs="*", default=[], help="nights, folders with a truth.csv")
    options = parser.parse_args()
    real = examples(packets(options.folder), read_manifest(options.manifest), NAMES)
    made, sure = simulated(options.simulated), confidence(options.manifest, real)
    unsure = np.select([sure == 2, sure == 3], [0.4, 0.7], 1.0)
    mean: dict[str, np.ndarray] = {}
    for trial in TRIALS:
        if trial.name.startswith(options.only) and (made or not trial.simulated):
            table = replace(real, weight=unsure) if trial.by_confidence else real
            for split in ("exposures", "nights"):
                by_seed = [scores(trial, table, made, split, seed, options.trees) for seed in range(options.seeds)]
                print(line(trial.name, split, np.array([figures(score, real) for score in by_seed])), flush=True)
                mean[f"{trial.name} {split}"] = np.mean(by_seed, axis=0)
    if {"fast-1 exposures", "fast-2 exposures"} <= set(mean):
        for split in ("exposures", "nights"):
            print(split, paired(real, mean[f"fast-2 {split}"], {"fast-1": mean[f"fast-1 {split}"]}, 1))


if __name__ == "__main__":
    main()
