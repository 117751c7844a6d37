"""Alerts for the tests of features: real ones, toy scenes with known answers, and the symmetries of the square."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from realbogus import packets
from realbogus.alerts import CENTRE, COLUMNS, STAMP_SIDE, AlertBatch, Column, Triplets
from realbogus.surveys import SURVEYS, recognise

LIMITS = packets.Limits()


def batch(triplets: np.ndarray, columns: Mapping[str, Column] | None = None, survey: str = "ztf") -> AlertBatch:
    """Alerts of these stamps; columns not given are NaN, the sign is +1 and the PSF 2.5 px wide."""
    n = len(triplets)
    known = {"diff_sign": np.ones(n), "psf_fwhm_px": np.full(n, 2.5)} | dict(columns or {})
    return AlertBatch(
        survey=survey,
        index=np.arange(n),
        candid=np.arange(1, n + 1),
        object_id=[f"object{i}" for i in range(n)],
        band=["r"] * n,
        schema=["ztf/4.02"] * n,
        columns={name: known.get(name, np.full(n, np.nan)) for name in COLUMNS},
        triplets=np.ascontiguousarray(triplets, np.float32),
    )


def rows_of(alerts: AlertBatch, rows: list[int]) -> AlertBatch:
    return replace(
        alerts,
        index=alerts.index[rows],
        candid=alerts.candid[rows],
        object_id=[alerts.object_id[row] for row in rows],
        band=[alerts.band[row] for row in rows],
        schema=[alerts.schema[row] for row in rows],
        columns={name: values[rows] for name, values in alerts.columns.items()},
        triplets=alerts.triplets[rows],
    )


def read(paths: list[Path], survey: str) -> AlertBatch:
    """The good alerts of these files, with the stream's own reader."""
    decoded, _ = packets.read(
        [path.read_bytes() for path in paths],
        wanted={name: one.fields for name, one in SURVEYS.items()},
        recognise=recognise,
        store=packets.SchemaStore(),
        limits=LIMITS,
    )
    (group,) = (one for one in decoded if one.survey == survey)
    return SURVEYS[survey].to_batch(group, LIMITS)[0]


def sample(manifest: Path, folder: Path, survey: str, n: int) -> list[Path]:
    """n packets spread over the manifest, a quarter of them with missing pixels where there are so many."""
    with manifest.open(newline="") as file:
        everything = [row for row in csv.DictReader(file) if row["path"].startswith(f"{survey}/")]
    rows = [row for row in everything if row["n_cutouts"] == "3" and "confluent" not in row["path"]]
    holes = [row for row in rows if float(row["max_nan"] or 0) > 0][:: max(1, len(rows) // (8 * n))][: n // 4]
    clean = [row for row in rows if not float(row["max_nan"] or 0) > 0]
    spread = clean[:: max(1, len(clean) // n)][: n - len(holes)]
    return [folder / row["path"] for row in spread + holes]


# the eight flips and quarter turns

SYMMETRIES: dict[str, Callable[[Triplets], Triplets]] = {
    f"{turns} quarter turns{', flipped' if flip else ''}": (
        lambda stamps, turns=turns, flip=flip: np.rot90(
            stamps[..., ::-1] if flip else stamps, turns, axes=(-2, -1)
        ).copy()
    )
    for turns in range(4)
    for flip in (False, True)
    if turns or flip
}


# toy scenes: PSF of 2.5 px, noise 1

FWHM_PX = 2.5
AXIS = np.arange(STAMP_SIDE) - CENTRE


def psf(x: float = 0.0, y: float = 0.0, fwhm: float = FWHM_PX) -> np.ndarray:
    sigma = fwhm / 2.3548
    image = np.exp(-((AXIS[None, :] - x) ** 2 + (AXIS[:, None] - y) ** 2) / (2 * sigma**2))
    return image / image.sum()


NOISE_POWER = float(np.sqrt((psf() ** 2).sum()))  # S/N of a source of unit flux in noise 1


def scene(kind: str, seed: int, snr: float = 20.0) -> np.ndarray:
    """Science, template and difference (3, 63, 63) of one toy candidate by naive subtraction."""
    rng = np.random.default_rng(seed)
    flux = snr / NOISE_POWER
    template, candidate = np.zeros((STAMP_SIDE, STAMP_SIDE)), np.zeros((STAMP_SIDE, STAMP_SIDE))
    science_template = template
    if kind == "point source":
        candidate = flux * psf()
    elif kind == "on host":
        template = science_template = 2 * flux * psf(1.5, 1.0, 6.0)
        candidate = flux * psf()
    elif kind == "dipole":
        template = 100 * flux * psf()
        science_template = 100 * flux * psf(0.1, 0.05)
    elif kind == "cosmic ray":
        candidate[CENTRE, CENTRE] = snr
        candidate[CENTRE, CENTRE + 1] = snr / 3
    elif kind == "streak":
        for along in np.arange(-40, 40, 0.25):
            candidate += snr / 12 * psf(along * np.cos(0.5), along * np.sin(0.5))
    science = science_template + candidate + rng.normal(0, np.sqrt(0.5), candidate.shape)
    template = template + rng.normal(0, np.sqrt(0.5), candidate.shape)
    return np.stack([science, template, science - template])
