"""What the features cost, plain and compiled, on the shared real ZTF packets. What they are worth: ranking.py.

    python scripts/design/feature_costs.py FOLDER MANIFEST

FOLDER holds the unpacked packets, MANIFEST is their table.

Costs in CPU us an alert, two busy virtual cores with AVX-512, 128 alerts a call of which 14 % have holes:

    family                                 plain   compiled
    masks, sorts, levels, windows                      32
    A local noise and negative pixels        145       11
    B PSF and Gaussian fits                  549       26
    C aperture photometry, host contrast     229       10
    D shape moments                           47        1
    E symmetry and rotation                  241        8
    F morphology                              80        3
    G cosmic rays, defects, edges            258       32
    H relations between the stamps           402       32
    I surroundings                           418       36
    J, K columns                               2        1
    L residuals of other stars, the frame    476       22
    fast-1                                  1061      102
    fast-2                                  1438      115
    full-1                                  1664      164
    full-2                                  1975      178
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

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
    options = parser.parse_args()
    with options.manifest.open(newline="") as file:
        rows = [
            row for row in csv.DictReader(file) if row["path"].startswith("ztf/") and row["panel"] in ("real", "bogus")
        ]
    costs(read(options.folder, rows[:: len(rows) // 128][:128]))


if __name__ == "__main__":
    main()
