"""How well a forest tells real from bogus on simulated frames whose truth is known, on many unseen fields and nights.

    python scripts/design/frames.py make steady 8001 160 FOLDER/train
    python scripts/design/frames.py make windy 8002 160 FOLDER/train
    python scripts/design/frames.py make steady 8003 10 FOLDER/more --clouds
    python scripts/design/frames.py make windy 8004 10 FOLDER/more --clouds
    python scripts/design/frames.py make windy 7302 80 FOLDER/more --events 1/12 --raw --bogus 1/4
    python scripts/design/frames.py make steady 9001 700 FOLDER/test
    python scripts/design/frames.py make windy 9002 300 FOLDER/test
    python scripts/design/frames.py judge FOLDER [--also zp_rms] [--packets ztf.tar.xz --manifest manifest.csv]

`make RECIPE SEED POINTINGS FOLDER` simulates, measures the features of a model and keeps these with the truth, in
blocks of ten pointings; blocks that are there already are left alone, so it can be stopped and taken up again, and run
twice side by side with `--part 0/2` and `--part 1/2`. A pointing gives some 200 alerts. Seeds differ in all fields and
nights. With --clouds no exposure is clear; with --events 1/12 as much happens as in the sky; --raw gives all
detections; --bogus keeps a share of the bogus. In FOLDER/more, which need not be there, are rows that are learnt from
and neither calibrated nor tested on, in FOLDER/other those of a telescope that nothing is learnt from.

`judge` fits extra trees on each recipe's training blocks and on both, calibrates them on out-of-fold scores (no field
on both sides), and tests on the test blocks: missed detections at 1 and 0.1 % false positives with 95 % intervals
resampled by exposure, by S/N and by class, the calibration at 1:1 and after the prior's correction at 1:100, and
whether a budget is met within Poisson error. --also gives the forests features beyond the set. --compare adds
a forest without these, the learning curve, and choices of sets and leaves. One JSON object goes to stdout. What it
found: realbogus/docs/simulation.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from realbogus import archives
from realbogus.budget import ScoredNights, for_budget
from realbogus.calibration import Calibration, at_prior, estimated_prior, fit_calibration
from realbogus.errors import LabelError
from realbogus.features import FEATURE_SETS, extract
from realbogus.labels import read_manifest
from realbogus.simulation import BOGUS_KINDS, REAL_KINDS, RECIPES, with_events
from realbogus.simulation import Recipe as SkyRecipe
from realbogus.simulation.night import plan, run
from realbogus.training.evaluate import auc, cut_at, ece, mdr_at, with_intervals
from realbogus.training.examples import Examples
from realbogus.training.fit import Recipe, fit, out_of_fold
from realbogus.training.labelled import Tally, batches

STDERR = Console(stderr=True)
ALSO = ("zp_rms",)  # real packets before schema 3 lack it, so that no set has it
KEPT = FEATURE_SETS["full-2"] + ALSO  # judge takes them or some
BLOCK = 10  # pointings
ALIKE = ("glint", "crosstalk", "flux_scale")  # bogus that look like a source that came or changed
AMBIGUOUS = 0.3, 0.7  # share of the measured flux that truly changed; from 0.5 on it is real
SNR = ((0.0, 7.0), (7.0, 15.0), (15.0, np.inf))
TEXT = {"kind": "U16", "recipe": "U16"}
TOLD = ("candid", "real", "kind", "snr", "sign", "share", "exposure", "night", "field", "recipe")


@dataclass(frozen=True)
class Table:
    """N alerts: features (N, F) and what they truly are."""

    X: NDArray[np.float32]
    truth: dict[str, NDArray[Any]]  # (N,) each

    def rows(self, chosen: NDArray[Any]) -> Table:
        """Some of them."""
        return Table(self.X[chosen], {name: column[chosen] for name, column in self.truth.items()})

    def joined(self, other: Table) -> Table:
        """These and others after them."""
        truth = {name: np.concatenate([column, other.truth[name]]) for name, column in self.truth.items()}
        return Table(np.concatenate([self.X, other.X]), truth)

    @property
    def real(self) -> NDArray[np.bool_]:
        """Which are real."""
        return self.truth["real"]

    @property
    def exposure(self) -> NDArray[np.str_]:
        """What fails together: two recipes may have an exposure of the same number."""
        return np.char.add(self.truth["recipe"], self.truth["exposure"].astype(str))


def make(recipe: SkyRecipe, seed: int, pointings: int, folder: Path, part: tuple[int, int], bogus: float) -> None:
    """Simulate and measure block after block, with this share of the bogus."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in track(range(part[0] * BLOCK, pointings, part[1] * BLOCK), recipe.name, console=STDERR):
        path = folder / f"{recipe.name}-{seed}-{first:05d}.npz"
        if path.exists():
            continue
        found = [one for serial in range(first, first + BLOCK) for one in run(plan(seed, serial, recipe), recipe)]
        kept = np.random.default_rng([seed, first]).random(len(found)) < bogus
        found = [one for one, stays in zip(found, kept, strict=True) if stays or one.truth.real]
        told = {one.truth.candid: one.truth for one in found}
        X, candids = measured(one.packet for one in found)
        columns = {name: np.array([getattr(told[c], name) for c in candids], TEXT.get(name)) for name in TOLD}
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, X=X, **columns)
        os.replace(partial, path)


def sky(options: argparse.Namespace) -> SkyRecipe:
    """The recipe as the command line changes it."""
    cloudy = {"flux_failures": 1.0} if options.clouds else {}
    raw = {"vetted": False, "most_alerts": 10**6} if options.raw else {}
    return with_events(RECIPES[options.recipe](**cloudy, **raw), float(options.events))


def measured(messages: Iterator[bytes]) -> tuple[NDArray[np.float32], list[int]]:
    """Features of packets and their candids."""
    parts, candids = [], []
    for batch in batches(messages, "ztf", Tally(), lambda _: None):
        parts.append(extract(batch, KEPT))
        candids += batch.candid.tolist()
    return np.concatenate(parts), candids


def read(folder: Path) -> Table:
    """All blocks of a folder, in order of their names."""
    blocks = [dict(np.load(path)) for path in sorted(folder.glob("*.npz"))]
    whole = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return Table(whole.pop("X"), whole)


class Judge:
    """A forest of the shipped kind with its calibration, both of training rows alone; that not of `more`."""

    def __init__(self, train: Table, more: Table | None, names: Sequence[str], recipe: Recipe) -> None:
        self.columns = [KEPT.index(name) for name in names]
        learnt = train.joined(more) if more else train
        rows = examples(learnt, self.columns, names)
        fewer = replace(recipe, trees=max(recipe.trees // 3, 1))
        held = out_of_fold(rows, by_field(learnt), fewer, threads=1)[: len(train.X)]
        self.forest = fit(rows, recipe, threads=1)
        self.calibration: Calibration = fit_calibration(held, train.real)

    def score(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores of some rows, as annotations have them."""
        return self.forest.score(np.ascontiguousarray(X[:, self.columns])).round(6)


def examples(table: Table, columns: Sequence[int], names: Sequence[str]) -> Examples:
    """A table as training takes it; what the fit does not look at is left blank."""
    count, blank, truth = len(table.X), np.full(len(table.X), ""), table.truth
    return Examples(
        names=tuple(names), X=np.ascontiguousarray(table.X[:, columns]), candid=truth["candid"], is_real=table.real,
        weight=np.ones(count), snr=truth["snr"], mjd=np.zeros(count), survey=blank, band=blank,
        source=np.full(count, "simulated"), kind=truth["kind"], group=blank, night=blank, field=blank, references={},
        slices={},
    )  # fmt: skip


def by_field(table: Table, folds: int = 5) -> NDArray[np.int64]:
    """The fold of each row; a field of a recipe is in one alone."""
    field = np.unique(np.char.add(table.truth["recipe"], table.truth["field"].astype(str)), return_inverse=True)[1]
    return np.asarray(np.random.default_rng(5).permutation(field.max() + 1)[field] % folds)


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


def calibrated(judge: Judge, score: NDArray[np.float64], test: Table) -> dict[str, Any]:
    """ECE with as many real as bogus, and with one real in a hundred, at the prior that p_real gives away and the true.

    `oracle` is calibrated on the very rows that are tested: what is left there is chance and the form of the curve.
    """

    def figures(rows: NDArray[np.int64], calibration: Calibration = judge.calibration) -> dict[str, float]:
        random, found = np.random.default_rng(3), {}
        real, bogus = rows[test.real[rows]], rows[~test.real[rows]]
        for name, share in (("1:1", 0.5), ("1:100", 0.01)):
            count = min(len(bogus), int(len(real) * (1 - share) / share))
            rare = random.permutation(real)[: round(count * share / (1 - share))]
            picked = np.concatenate([random.permutation(bogus)[:count], rare])
            p, told = calibration(score[picked]), test.real[picked]
            prior = found[f"prior_{name}"] = estimated_prior(p, calibration.prior)
            found[f"ece_{name}"] = ece(at_prior(p, calibration.prior, prior), told)
            found[f"ece_{name}_true_prior"] = ece(at_prior(p, calibration.prior, share), told)
        return found

    told = with_intervals(figures, test.exposure, 3)
    return {**told, "oracle": figures(np.arange(len(score)), fit_calibration(score, test.real))}


def budget(judge: Judge, score: NDArray[np.float64], test: Table, per_night: float) -> dict[str, Any]:
    """A cut found on one half of the exposures, taken for one night; what it passes on the others."""
    half = np.unique(test.exposure, return_inverse=True)[1] % 2 == 0
    told = ScoredNights(
        score[half], judge.calibration(score[half]), judge.calibration.prior,
        np.zeros(int(half.sum()), np.int64), np.unique(test.exposure[half], return_inverse=True)[1],
    )  # fmt: skip
    certain = {
        "asked": per_night,
        "score_1": int((score == 1).sum()),
        "score_1_bogus": int(((score == 1) & ~test.real).sum()),
    }
    try:
        cut = for_budget(told, per_night)
    except LabelError as error:
        return {**certain, "refused": str(error)}
    passed = score[~half] >= cut.threshold
    parties = np.bincount(np.unique(test.exposure[~half], return_inverse=True)[1], passed)
    wanted = per_night * (~half).sum() / half.sum()
    spread = np.sqrt(wanted + wanted**2 / per_night)  # Poisson, of both halves
    size = float((parties**2).sum() / max(parties.sum(), 1))
    return {
        **certain, "wanted": round(wanted, 1), "passed": int(passed.sum()), "threshold": cut.threshold,
        "poisson_sigmas": round(float((passed.sum() - wanted) / spread), 2),
        "alerts_that_come_together": round(size, 2),
        "sigmas_by_exposure": round(float((passed.sum() - wanted) / (spread * np.sqrt(size))), 2),
        "interval_of_a_night": [cut.per_night.low, cut.per_night.high],
        "purity_promised": [cut.purity.value, cut.purity.low, cut.purity.high],
        "purity_found": round(float(test.real[~half][passed].mean()), 4),
    }  # fmt: skip


def without(score: NDArray[np.float64], test: Table, left_out: NDArray[np.bool_]) -> dict[str, Any]:
    """The ranking if some rows did not count, and their share of bogus and of real."""
    rows = np.flatnonzero(~left_out)
    found = {
        "share_of_bogus": round(float(left_out[~test.real].mean()), 4),
        "share_of_real": round(float(left_out[test.real].mean()), 4),
        **ranking(score[rows], test.rows(rows)),
    }
    return {**found, "snr": {name: told["mdr_at_fpr_1"] for name, told in by_snr(score[rows], test.rows(rows)).items()}}


def learning(train: Table, test: Table, names: Sequence[str], recipe: Recipe) -> list[dict[str, Any]]:
    """The ranking from a part of the training fields on, each twice as many as the one before."""
    fold, found = by_field(train, 16), []
    for parts in (1, 2, 4, 8, 16):
        rows = train.rows(fold < parts)
        columns = [KEPT.index(name) for name in names]
        score = fit(examples(rows, columns, names), recipe, threads=1).score(np.ascontiguousarray(test.X[:, columns]))
        found.append({"learnt_from": len(rows.X), **ranking(score, test)})
    return found


def chosen(train: Table) -> dict[str, Any]:
    """Feature sets and leaves compared inside the training rows, fields held out: AUC and MDR at 1 % FPR."""
    found = {}
    for names in ("fast-2", "full-2"):
        for leaf in (2, 5):
            columns = [KEPT.index(name) for name in FEATURE_SETS[names]]
            rows = examples(train, columns, FEATURE_SETS[names])
            held = out_of_fold(rows, by_field(train), Recipe(trees=80, boosted=40, least_leaf=leaf), threads=1)
            found[f"{names}, leaf {leaf}"] = {
                "auc": auc(held, train.real),
                "mdr_at_fpr_1": mdr_at(0.01, held, train.real),
            }
    return found


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


def judged(
    folder: Path, set_name: str, also: Sequence[str], recipe: Recipe, compare: bool, packets: Sequence[str],
    manifest: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """Everything, as one object."""
    train, test, names = read(folder / "train"), read(folder / "test"), (*FEATURE_SETS[set_name], *also)
    fewer = replace(recipe, trees=max(recipe.trees // 4, 1))  # for what is only compared
    of = {name: (train.truth["recipe"] == name, test.truth["recipe"] == name) for name in set(train.truth["recipe"])}
    found: dict[str, Any] = {"train": {"rows": len(train.X), "real": int(train.real.sum())}, "tests": {}}
    more = read(folder / "more") if (folder / "more").exists() else None
    judges = {"both": Judge(train, more, names, recipe)}
    for name, (rows, _) in sorted(of.items()):
        own = more.rows(more.truth["recipe"] == name) if more else None
        judges[name] = Judge(train.rows(rows), own, names, fewer)
    everything = np.ones(len(test.X), bool)
    pairs = [("both", "both", everything), *(("both", name, rows) for name, (_, rows) in sorted(of.items()))]
    if also and compare:
        judges["plain"] = Judge(train, more, FEATURE_SETS[set_name], recipe)
        pairs.insert(1, ("plain", "both", everything))
    tests: dict[str, Table] = {}
    if (folder / "other").exists():
        tests["other"] = read(folder / "other")
        pairs.append(("both", "other", np.ones(len(tests["other"].X), bool)))
    pairs += [(name, other, rows) for name in sorted(of) for other, (_, rows) in sorted(of.items())]
    for trained, tested, rows in track(pairs, "judging", console=STDERR):
        judge, part = judges[trained], tests.get(tested, test).rows(rows)
        score = judge.score(part.X)
        told = found["tests"][f"{trained} -> {tested}"] = {**ranking(score, part), "snr": by_snr(score, part)}
        if tested != "other" and trained in ("both", "plain", tested):
            told |= {
                "classes": by_class(score, part),
                "calibration": calibrated(judge, score, part),
                "budgets": [budget(judge, score, part, n) for n in (500.0, float(part.real.sum() // 4))],
            }  # fmt: skip
        if tested in ("both", "other"):
            alike, share = np.isin(part.truth["kind"], ALIKE), part.truth["share"]
            unclear = (share > AMBIGUOUS[0]) & (share < AMBIGUOUS[1])
            left_out = {"alike": alike, "ambiguous": unclear, "alike_and_ambiguous": alike | unclear}
            told["without"] = {name: without(score, part, rows) for name, rows in left_out.items()}
    if compare:
        found |= {"learning": learning(train, test, names, fewer), "chosen": chosen(train)}
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
    making.add_argument("--clouds", action="store_true", help="all exposures have some")
    making.add_argument("--events", type=Fraction, default=1.0, help="share of the true changes, 1/12 as in the sky")
    making.add_argument("--raw", action="store_true", help="all detections, without the survey's first loose cuts")
    making.add_argument("--bogus", type=Fraction, default=1.0, help="share of the bogus that is kept")
    judging = commands.add_parser("judge", help="train, test and tell")
    judging.add_argument("folder", type=Path)
    judging.add_argument("--trees", type=int, default=600)
    judging.add_argument("--boosted", type=int, default=100)
    judging.add_argument("--boosted-leaves", type=int, default=8)
    judging.add_argument("--boosted-share", type=float, default=0.25)
    judging.add_argument("--least-leaf", type=int, default=5)
    judging.add_argument("--feature-set", default="fast-2", choices=["fast-2", "full-2"])
    judging.add_argument("--also", nargs="+", default=[], choices=ALSO)
    judging.add_argument("--compare", action="store_true")
    judging.add_argument("--packets", nargs="+", default=[])
    judging.add_argument("--manifest", type=Path)
    options = parser.parse_args()
    if options.command == "make":
        number, count = (int(part) for part in options.part.split("/"))
        make(sky(options), options.seed, options.pointings, options.folder, (number, count), float(options.bogus))
    else:
        names = ("trees", "boosted", "boosted_leaves", "boosted_share", "least_leaf")
        recipe = Recipe(**{name: getattr(options, name) for name in names})
        told_by = options.feature_set, options.also, recipe, options.compare
        found = judged(options.folder, *told_by, options.packets, options.manifest)
        json.dump(found, sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
