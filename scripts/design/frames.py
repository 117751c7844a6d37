"""How well a forest tells real from bogus on simulated frames whose truth is known, on many unseen fields and nights.

    python scripts/design/frames.py make steady 8001 160 FOLDER/train
    python scripts/design/frames.py make windy 8002 160 FOLDER/train
    python scripts/design/frames.py make steady 9001 700 FOLDER/test
    python scripts/design/frames.py make windy 9002 300 FOLDER/test
    python scripts/design/frames.py judge FOLDER [--packets ztf.tar.xz --manifest manifest.csv]

`make RECIPE SEED POINTINGS FOLDER` simulates, measures the features of a model and keeps these with the truth, in
blocks of ten pointings; blocks that are there already are left alone, so it can be stopped and taken up again, and run
twice side by side with `--part 0/2` and `--part 1/2`. A pointing gives some 200 alerts. Seeds differ in all fields and
nights.

`judge` fits extra trees on each recipe's training blocks and on both, calibrates them on out-of-fold scores (no field
on both sides), and tests on the test blocks: missed detections at 1 and 0.1 % false positives with 95 % intervals
resampled by exposure, by S/N and by class, the calibration at 1:1 and after the prior's correction at 1:100, and
whether a budget is met within Poisson error. One JSON object goes to stdout. What it found:
realbogus/docs/simulation.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GroupKFold

from realbogus import archives
from realbogus.budget import ScoredNights, for_budget
from realbogus.calibration import Calibration, at_prior, estimated_prior, fit_calibration
from realbogus.features import FEATURE_SETS, extract
from realbogus.labels import read_manifest
from realbogus.simulation import BOGUS_KINDS, REAL_KINDS, RECIPES
from realbogus.simulation.night import plan, run
from realbogus.training.evaluate import auc, cut_at, ece, mdr_at, with_intervals
from realbogus.training.labelled import Tally, batches

FEATURES = "fast-2"
BLOCK = 10  # pointings
MISSING = -1e6  # stands for NaN: a value that no feature has
SNR = ((0.0, 7.0), (7.0, 15.0), (15.0, np.inf))
TEXT = {"kind": "U16", "recipe": "U16"}
TOLD = ("candid", "real", "kind", "snr", "sign", "exposure", "night", "field", "recipe")


@dataclass(frozen=True)
class Table:
    """N alerts: features (N, F) and what they truly are."""

    X: NDArray[np.float32]
    truth: dict[str, NDArray[Any]]  # (N,) each

    def rows(self, chosen: NDArray[Any]) -> Table:
        """Some of them."""
        return Table(self.X[chosen], {name: column[chosen] for name, column in self.truth.items()})

    @property
    def real(self) -> NDArray[np.bool_]:
        """Which are real."""
        return self.truth["real"]

    @property
    def exposure(self) -> NDArray[np.str_]:
        """What fails together: two recipes may have an exposure of the same number."""
        return np.char.add(self.truth["recipe"], self.truth["exposure"].astype(str))


def make(recipe_name: str, seed: int, pointings: int, folder: Path, part: tuple[int, int]) -> None:
    """Simulate and measure block after block."""
    recipe = RECIPES[recipe_name]()
    folder.mkdir(parents=True, exist_ok=True)
    for first in track(range(part[0] * BLOCK, pointings, part[1] * BLOCK), recipe_name):
        path = folder / f"{recipe_name}-{seed}-{first:05d}.npz"
        if path.exists():
            continue
        found = [one for serial in range(first, first + BLOCK) for one in run(plan(seed, serial, recipe), recipe)]
        told = {one.truth.candid: one.truth for one in found}
        X, candids = measured(one.packet for one in found)
        columns = {name: np.array([getattr(told[c], name) for c in candids], TEXT.get(name)) for name in TOLD}
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, X=X, **columns)
        os.replace(partial, path)


def measured(messages: Iterator[bytes]) -> tuple[NDArray[np.float32], list[int]]:
    """Features of packets and their candids."""
    parts, candids = [], []
    for batch in batches(messages, "ztf", Tally(), lambda _: None):
        parts.append(extract(batch, FEATURE_SETS[FEATURES]))
        candids += batch.candid.tolist()
    return np.concatenate(parts), candids


def read(folder: Path) -> Table:
    """All blocks of a folder, in order of their names."""
    blocks = [dict(np.load(path)) for path in sorted(folder.glob("*.npz"))]
    whole = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return Table(whole.pop("X"), whole)


class Judge:
    """A forest with its calibration, both of training rows alone."""

    def __init__(self, train: Table, trees: int) -> None:
        groups = np.char.add(train.truth["recipe"], train.truth["field"].astype(str))
        held = np.zeros(len(train.X))
        for learn, test in GroupKFold(5).split(train.X, groups=groups):
            forest = _forest(trees // 4).fit(_filled(train.X[learn]), train.real[learn])
            held[test] = forest.predict_proba(_filled(train.X[test]))[:, 1]
        self.forest = _forest(trees).fit(_filled(train.X), train.real)
        self.calibration: Calibration = fit_calibration(held, train.real)

    def score(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores of some rows."""
        parts = np.array_split(np.arange(len(X)), len(X) // 20_000 + 1)
        return np.concatenate([self.forest.predict_proba(_filled(X[part]))[:, 1] for part in parts])


def _forest(trees: int) -> ExtraTreesClassifier:
    return ExtraTreesClassifier(trees, min_samples_leaf=2, class_weight="balanced", random_state=0, n_jobs=1)


def _filled(X: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(np.where(np.isfinite(X), X, MISSING), MISSING, -MISSING).astype(np.float32)


def ranking(score: NDArray[np.float64], test: Table) -> dict[str, Any]:
    """Overall figures, with intervals by exposure."""

    def figures(rows: NDArray[np.int64]) -> dict[str, float]:
        s, y = score[rows], test.real[rows]
        return {"auc": auc(s, y), **{f"mdr_at_fpr_{100 * f:g}": mdr_at(f, s, y) for f in (0.001, 0.01, 0.05)}}

    return {"rows": len(score), "real": int(test.real.sum()), **with_intervals(figures, test.exposure, 1)}


def by_snr(score: NDArray[np.float64], test: Table) -> dict[str, Any]:
    """The same in bins of S/N, each at its own cut, and the share missed at the cut of all alerts."""
    cut, found = cut_at(0.01, score, test.real), {}
    for low, high in SNR:
        inside = np.flatnonzero((test.truth["snr"] >= low) & (test.truth["snr"] < high))
        part = test.rows(inside)
        missed = float((score[inside][part.real] < cut).mean())
        found[f"{low:g} to {high:g}"] = {**ranking(score[inside], part), "missed_at_common_cut": round(missed, 4)}
    return found


def by_class(score: NDArray[np.float64], test: Table) -> dict[str, Any]:
    """Rows of each class, and the share at or above the cuts at 1 and 5 % false positives."""
    cuts, found = [cut_at(fpr, score, test.real) for fpr in (0.01, 0.05)], {}
    for kind in (*REAL_KINDS, *BOGUS_KINDS):
        inside = test.truth["kind"] == kind
        if inside.any():
            found[kind] = [int(inside.sum()), *(round(float((score[inside] >= cut).mean()), 4) for cut in cuts)]
    return found


def calibrated(judge: Judge, score: NDArray[np.float64], test: Table) -> dict[str, float]:
    """ECE with as many real as bogus, and with one real in a hundred after the prior's correction; resampled."""
    random, p, trained = np.random.default_rng(3), judge.calibration(score), judge.calibration.prior
    real, bogus = np.flatnonzero(test.real), np.flatnonzero(~test.real)
    found = {}
    for name, share in (("1:1", 0.5), ("1:100", 0.01)):
        count = min(len(bogus), int(len(real) * (1 - share) / share))
        rows = np.concatenate(
            [random.permutation(bogus)[:count], random.permutation(real)[: round(count * share / (1 - share))]]
        )
        prior = estimated_prior(p[rows], trained)
        corrected = at_prior(p[rows], trained, prior)
        found |= {
            f"ece_{name}": ece(corrected, test.real[rows]),
            f"ece_{name}_without_correction": ece(p[rows], test.real[rows]),
            f"prior_{name}": prior,
        }
    return {name: round(float(value), 5) for name, value in found.items()}


def budget(judge: Judge, score: NDArray[np.float64], test: Table) -> dict[str, float]:
    """A cut found on one half of the exposures, for half as many alerts as are real; what it passes on the others."""
    score = score.round(6)
    half = np.unique(test.exposure, return_inverse=True)[1] % 2 == 0
    per_night = float(test.real[half].sum() // 2)
    told = ScoredNights(
        score[half], judge.calibration(score[half]), judge.calibration.prior,
        np.zeros(int(half.sum()), np.int64), np.unique(test.exposure[half], return_inverse=True)[1],
    )  # fmt: skip
    cut = for_budget(told, per_night)
    passed = score[~half] >= cut.threshold
    wanted = per_night * (~half).sum() / half.sum()
    return {
        "asked": round(wanted, 1), "passed": int(passed.sum()),
        "poisson_sigmas": round(float((passed.sum() - wanted) / np.sqrt(wanted + wanted**2 / per_night)), 2),
        "purity_promised": cut.purity.value, "purity_low": cut.purity.low, "purity_high": cut.purity.high,
        "purity_found": round(float(test.real[~half][passed].mean()), 4),
    }  # fmt: skip


def on_packets(judges: dict[str, Judge], packets: Sequence[str], manifest: Path) -> dict[str, Any]:
    """AUC and missed detections of each forest on real packets, label P."""
    labels = read_manifest(manifest).by_candid
    X, candids = measured(message for _, message in archives.messages(packets))
    known = np.array([candid in labels for candid in candids])
    real = np.array([labels[candid].is_real for candid in candids if candid in labels])
    found = {}
    for name, judge in judges.items():
        score = judge.score(X[known])
        found[name] = {"auc": auc(score, real), **{f"mdr_at_fpr_{f}": mdr_at(f / 100, score, real) for f in (5, 10)}}
    return {"rows": len(real), **found}


def judged(folder: Path, trees: int, packets: Sequence[str], manifest: Path | None) -> dict[str, Any]:
    """Everything, as one object."""
    train, test = read(folder / "train"), read(folder / "test")
    recipes = sorted(set(train.truth["recipe"].tolist()))
    judges = {name: Judge(train.rows(train.truth["recipe"] == name), trees) for name in recipes}
    judges["both"] = Judge(train, trees)
    found: dict[str, Any] = {"train": {"rows": len(train.X), "real": int(train.real.sum())}, "tests": {}}
    for trained, judge in judges.items():
        for tested in sorted(set(test.truth["recipe"].tolist())):
            part = test.rows(test.truth["recipe"] == tested)
            score = judge.score(part.X)
            found["tests"][f"{trained} -> {tested}"] = {
                **ranking(score, part), "snr": by_snr(score, part), "classes": by_class(score, part),
                "calibration": calibrated(judge, score, part), "budget": budget(judge, score, part),
            }  # fmt: skip
    if packets and manifest:
        found["on_packets"] = on_packets(judges, packets, manifest)
    return found


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="simulate and measure")
    making.add_argument("recipe", choices=sorted(name for name in RECIPES if RECIPES[name]().survey == "ztf"))
    making.add_argument("seed", type=int)
    making.add_argument("pointings", type=int)
    making.add_argument("folder", type=Path)
    making.add_argument("--part", default="0/1", help="which blocks: number and count, as 0/2 (default: all)")
    judging = commands.add_parser("judge", help="train, test and tell")
    judging.add_argument("folder", type=Path)
    judging.add_argument("--trees", type=int, default=400)
    judging.add_argument("--packets", nargs="+", default=[])
    judging.add_argument("--manifest", type=Path)
    options = parser.parse_args()
    if options.command == "make":
        number, count = (int(part) for part in options.part.split("/"))
        make(options.recipe, options.seed, options.pointings, options.folder, (number, count))
    else:
        json.dump(judged(options.folder, options.trees, options.packets, options.manifest), sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
