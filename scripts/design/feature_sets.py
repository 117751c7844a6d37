"""What the feature sets are worth and what they cost, on the shared real ZTF packets.

    python scripts/design/feature_sets.py FOLDER MANIFEST [--trees 400] [--seeds 3] [--costs]

FOLDER holds the unpacked packets, MANIFEST is their table. Extra trees learn label P (two blind visual passes that
agree) and are judged on rows they have not seen, ten folds: split by exposure, and by connected night and object, which
is harder, since one night holds more than half of the rows. MDR is at 5 % FPR, pooled over folds; the mean and standard
deviation are over seeds of the forest. `--costs` times the features instead, plain and compiled, per family.

Worth, November 2026, 1379 rows of which 842 real, 400 exposures, 12 components, 400 trees, 3 seeds:

    set          features   by exposure: AUC, MDR          by component: AUC, MDR
    fast-1             78   .9691 ±.0005   .118 ±.003      .9471 ±.0004   .304 ±.006
    full-1             94   .9704 ±.0004   .121 ±.003      .9356 ±.0002   .343 ±.009
    pixel-1            68   .9677 ±.0003   .122 ±.003      .9457 ±.0001   .278 ±.017
    braai d6_m9             .9341          .360            (as published, not trained on these rows)
    ZTF rb                  .8986          .473

The columns on hosts and stars are what full-1 has over fast-1: within a night they help a little, and to nights unseen
they do not carry over. Leaving out any one group of stamp features changes the AUC by less than .0025.

Costs in CPU us an alert, two busy virtual cores with AVX-512, 128 alerts a call of which 14 % have holes:

    family                                 plain   compiled
    masks, sorts, levels, windows                      31
    A local noise and negative pixels        165       12
    B PSF and Gaussian fits                  563       26
    C aperture photometry, host contrast     242       10
    D shape moments                           45        2
    E symmetry and rotation                  228        8
    F morphology                              74        3
    G cosmic rays, defects, edges            240       29
    H relations between the stamps           385       29
    I surroundings                           407       35
    J, K columns                               2        1
    fast-1                                  1006      103
    full-1                                  1484      164
    pixel-1                                  997      100
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import GroupKFold

from realbogus import packets
from realbogus.alerts import AlertBatch
from realbogus.features import CATALOGUE, COMPILED, FAMILIES, FEATURE_SETS, extract, warm_up
from realbogus.surveys import SURVEYS, recognise


def read(folder: Path, rows: list[dict[str, str]]) -> AlertBatch:
    """The alerts of these rows, which must all be good."""
    decoded, _ = packets.read(
        [(folder / row["path"]).read_bytes() for row in rows],
        wanted={name: survey.fields for name, survey in SURVEYS.items()},
        recognise=recognise,
        store=packets.SchemaStore(),
        limits=packets.Limits(),
    )
    (ztf,) = decoded
    alerts, rejected = SURVEYS["ztf"].to_batch(ztf, packets.Limits())
    assert not rejected
    return alerts


def judge(X: np.ndarray, real: np.ndarray, groups: np.ndarray, trees: int, seed: int) -> tuple[float, float]:
    """AUC, and MDR at 5 % FPR, of scores given by trees that saw nothing of the row's group."""
    filled, score = np.nan_to_num(X, nan=-999.0), np.zeros(len(real))
    for known, unseen in GroupKFold(min(10, len(set(groups)))).split(filled, real, groups):
        forest = ExtraTreesClassifier(trees, class_weight="balanced", random_state=seed, n_jobs=2)
        score[unseen] = forest.fit(filled[known], real[known]).predict_proba(filled[unseen])[:, 1]
    return told(real, score)


def told(real: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    fpr, tpr, _ = roc_curve(real, score, drop_intermediate=False)
    return float(roc_auc_score(real, score)), float(1 - tpr[fpr <= 0.05].max())


def worth(alerts: AlertBatch, rows: list[dict[str, str]], trees: int, seeds: int) -> None:
    real = np.array([row["panel"] == "real" for row in rows])
    splits = {
        "exposure": np.array([row["jd"] for row in rows]),
        "component": np.array([row["component"] for row in rows]),
    }
    print(f"{len(real)} rows, {real.sum()} real; {', '.join(f'{len(set(g))} {name}s' for name, g in splits.items())}")
    for score in ("braai", "rb"):
        auc, mdr = told(real, np.array([float(row[score] or 0) for row in rows]))
        print(f"{score:10s}     {'as published':10s}  AUC {auc:.4f}          MDR {mdr:.3f}")
    for name, members in FEATURE_SETS.items():
        X = extract(alerts, members)
        for split, groups in splits.items():
            found = np.array([judge(X, real, groups, trees, seed) for seed in range(seeds)])
            (auc, mdr), (auc_, mdr_) = found.mean(axis=0), found.std(axis=0)
            print(
                f"{name:10s} {len(members):3d}  {split:10s}  AUC {auc:.4f} ±{auc_:.4f}  MDR {mdr:.3f} ±{mdr_:.3f}",
                flush=True,
            )


def cost(alerts: AlertBatch, names: list[str], compiled: bool, rounds: int) -> float:
    """CPU microseconds an alert, the least of some rounds."""
    extract(alerts, names, compiled=compiled)
    times = []
    for _ in range(rounds):
        began = time.thread_time()
        extract(alerts, names, compiled=compiled)
        times.append(time.thread_time() - began)
    return 1e6 * min(times) / len(alerts)


def costs(alerts: AlertBatch) -> None:
    warm_up()
    base = cost(alerts, ["nan_frac_d"], True, 25)
    print(f"{'masks, sorts, levels, windows':36s} {'':11s} {base:8.1f}")
    for letter, title in FAMILIES.items():
        members = [name for name in CATALOGUE if CATALOGUE[name].family == letter]
        fast = [name for name in members if name in COMPILED]
        shared = base if any(CATALOGUE[name].stamps for name in fast) else 0.0
        plain, compiled = cost(alerts, members, False, 3), max(cost(alerts, fast, True, 25) - shared, 0.0)
        print(f"{letter} {title:34s} {plain:11.0f} {compiled:8.1f}   {len(members)} features, {len(fast)} compiled")
    for name, members in FEATURE_SETS.items():
        plain, compiled = cost(alerts, list(members), False, 3), cost(alerts, list(members), True, 25)
        print(f"{name:36s} {plain:11.0f} {compiled:8.1f}   {len(members)} features")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--trees", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--costs", action="store_true", help="time the features instead")
    options = parser.parse_args()
    with options.manifest.open(newline="") as file:
        rows = [
            row for row in csv.DictReader(file) if row["path"].startswith("ztf/") and row["panel"] in ("real", "bogus")
        ]
    if options.costs:
        costs(read(options.folder, rows[:: len(rows) // 128][:128]))
    else:
        worth(read(options.folder, rows), rows, options.trees, options.seeds)


if __name__ == "__main__":
    main()
