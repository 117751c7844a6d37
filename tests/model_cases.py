"""Made-up examples and small models that several tests use."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from realbogus.features import FEATURE_SETS
from realbogus.simulation import Recipe as Scenery
from realbogus.simulation import night
from realbogus.simulation.truth import Truth
from realbogus.training.examples import Examples
from realbogus.training.fit import Recipe, Trained, train
from realbogus.training.package import package

FEATURE_SET = "full-1"
QUICK = Recipe(trees=12, folds=3, seed=5, boosted=6)


def examples(n=360, source="panel", seed=0, shift=0.0, nights=4) -> Examples:
    """n labelled alerts with every feature of a set, of which the first few tell real from bogus."""
    random = np.random.default_rng(seed)
    names = FEATURE_SETS[FEATURE_SET]
    is_real = random.random(n) < 0.6
    X = random.normal(size=(n, len(names))).astype(np.float32)
    X[:, :4] += (1.2 * is_real + shift)[:, None]
    X[random.random(X.shape) < 0.05] = np.nan
    exposure = random.integers(0, n // 6, n)
    return Examples(
        names=names,
        X=X,
        candid=10**18 + np.arange(n) + 10**6 * seed,
        is_real=is_real,
        weight=np.ones(n),
        snr=random.uniform(5, 30, n),
        mjd=60_000 + exposure / 100,
        survey=np.full(n, "ztf"),
        band=random.choice(["g", "r"], n),
        source=np.full(n, source),
        kind=np.where(is_real, "", random.choice(["dipole", "cosmic"], n)),
        group=np.char.add(f"{source} exposure ", exposure.astype(str)),
        night=np.char.add(f"{source} night ", (exposure % nights).astype(str)),
        field=np.char.add(f"{source} field ", (exposure % 7).astype(str)),
        references={"rb": np.where(random.random(n) < 0.9, is_real + random.normal(size=n), np.nan)},
        slices={"known asteroids": is_real & (random.random(n) < 0.4), "doubtful": ~is_real & (random.random(n) < 0.5)},
        rules=(f"rule of {source}",),
        context={"psf_fwhm_px": random.uniform(1.5, 4.0, n)},
    )


@cache
def trained(seed=5) -> Trained:
    """A small forest with its evidence."""
    return train(examples(), replace(QUICK, seed=seed), threads=1)


@cache
def files(name="small", version="1", seed=5) -> dict[str, bytes]:
    """The files of a small model."""
    return package(name, version, FEATURE_SET, examples(), trained(seed))


def write(folder, contents) -> None:
    """Put files into a folder that need not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in contents.items():
        (folder / name).write_bytes(raw)


def simulate(folder: Path, seed: int, pointings: int) -> Path:
    """Write the packets of a small simulated night and its truth.csv into a folder that exists; give the folder."""
    made = list(night(seed, pointings=pointings, recipe=replace(Scenery(), side=400, visits=1)))
    for alert in made:
        (folder / f"{alert.truth.candid}.avro").write_bytes(alert.packet)
    with (folder / "truth.csv").open("w", newline="") as file:
        csv.writer(file).writerows([Truth.header(), *(alert.truth.row() for alert in made)])
    return folder
