"""The catalogues a survey matches its detections against: its own reference, Pan-STARRS and Gaia.

The reference catalogue is detected on the template; the others are made from the scene, with their depths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from realbogus.simulation.detection import detect, searchable
from realbogus.simulation.exposure import PAD, Reference
from realbogus.simulation.recipe import PIXEL_ARCSEC
from realbogus.simulation.scene import VARIABLE, Scene
from realbogus.simulation.subtraction import mesh_background

Floats = NDArray[np.float64]
PS1_DEPTH, GAIA_DEPTH, GAIA_BRIGHT = 22.8, 20.7, 14.0  # mag
PS1_RADIUS, GAIA_RADIUS = 30.0, 90.0  # arcsec
NONE = -999.0  # how ZTF writes "there is none"


@dataclass(frozen=True)
class ReferenceCatalogue:
    """Sources of the template on the reference grid (without its margin)."""

    x: Floats
    y: Floats
    mag: Floats
    error: Floats
    chi: Floats
    sharp: Floats


@dataclass(frozen=True)
class SkyCatalogue:
    """Stars and galaxies as other surveys know them, on the reference grid."""

    x: Floats
    y: Floats
    mags: Floats  # (N, 4) g, r, i, z
    star: Floats  # score, 1 = star
    ids: NDArray[np.int64]
    gaia: NDArray[np.bool_]  # whether Gaia has it
    ps1: NDArray[np.bool_]


def reference_catalogue(reference: Reference) -> ReferenceCatalogue:
    """Detect and measure the sources of a template."""
    image = np.where(reference.damage.masked, np.nan, reference.image)
    flat = np.asarray(image - mesh_background(image), np.float64)
    variance = reference.noise**2 * (1.0 + np.maximum(np.nan_to_num(flat), 0.0) / max(reference.sky_dn, 1.0))
    found = detect(searchable(flat, variance, reference.psf.image(10)), threshold=4.0, briefly=True)
    found = found.where((found["sign"] > 0) & (found["flux"] > 0) & (found["missing"] == 0))
    flux, snr = found["flux"], found["flux"] / found["flux_error"]
    good = (snr > 30) & (snr < 3000)
    width = found["width"] / (float(np.median(found["width"][good])) if good.any() else 1.0)
    return ReferenceCatalogue(
        x=found["x"] - PAD,
        y=found["y"] - PAD,
        mag=reference.zero_point - 2.5 * np.log10(flux),
        error=np.hypot(2.5 * found["flux_error"] / flux, 0.016),
        chi=np.clip(0.6 * np.sqrt(found["chi2"] / (1.0 + (0.02 * snr) ** 2)), 0.2, 12.0),
        sharp=np.clip(0.16 * (np.clip(width, 0.3, 3.0) ** 2 - 1.0) - 0.02, -0.75, 1.3),
    )


def sky_catalogue(rng: np.random.Generator, scene: Scene, ra: float, dec: float) -> SkyCatalogue:
    """What Pan-STARRS and Gaia would list of this scene."""
    varying = [e for e in scene.events if e.kind == VARIABLE and e.host < 0]
    x = np.concatenate([scene.stars.x, [e.x for e in varying], scene.galaxies.x])
    y = np.concatenate([scene.stars.y, [e.y for e in varying], scene.galaxies.y])
    mag = np.concatenate([scene.stars.mag, [e.mag for e in varying], scene.galaxies.mag])
    star = np.arange(x.size) < scene.stars.x.size + len(varying)
    count = x.size
    colour = np.where(star, rng.gamma(2.5, 0.25, count), rng.normal(0.7, 0.2, count))[:, None]
    mags = mag[:, None] + colour * np.array([0.7, 0.0, -0.35, -0.5]) + rng.normal(0, 0.03, (count, 4))
    mags[rng.random((count, 4)) < 0.12 * (mag[:, None] > 20.5)] = NONE
    unsure = 1.0 / (1.0 + 10.0 ** (-0.8 * (mag - 21.0)))  # faint things cannot be told apart
    score = np.where(star, 1.0 - rng.beta(0.6, 12.0, count), rng.beta(0.6, 12.0, count)) * (1.0 - unsure) + 0.5 * unsure
    return SkyCatalogue(
        x, y, mags, score, _ps1_ids(rng, count, ra, dec), star & (mag < GAIA_DEPTH), (mag < PS1_DEPTH) & (mag > 12.0)
    )


@dataclass(frozen=True)
class Neighbours:
    """What a catalogue match tells of one place."""

    distance: float  # pixels to the nearest source of the reference
    row: int  # of that source in the reference's catalogue
    columns: dict[str, float | int]  # of Pan-STARRS and Gaia


@dataclass(frozen=True)
class Matcher:
    """Looks up neighbours of places on the reference grid."""

    reference: ReferenceCatalogue
    sky: SkyCatalogue
    reference_tree: cKDTree
    ps1_tree: cKDTree
    ps1_rows: NDArray[np.int64]
    gaia_tree: cKDTree
    gaia_rows: NDArray[np.int64]
    bright_tree: cKDTree | None
    bright_rows: NDArray[np.int64]

    @classmethod
    def of(cls, reference: ReferenceCatalogue, sky: SkyCatalogue) -> Matcher:
        """Build the trees."""
        ps1, gaia = np.flatnonzero(sky.ps1), np.flatnonzero(sky.gaia)
        bright = np.flatnonzero(sky.gaia & (sky.mags[:, 1] < GAIA_BRIGHT))
        places = np.stack([sky.x, sky.y], axis=1)
        return cls(
            reference,
            sky,
            cKDTree(np.stack([reference.x, reference.y], axis=1)),
            cKDTree(places[ps1]),
            ps1,
            cKDTree(places[gaia]),
            gaia,
            cKDTree(places[bright]) if bright.size else None,
            bright,
        )

    def at(self, x: Floats, y: Floats) -> list[Neighbours]:
        """What is near each of N places: the nearest source of the reference, and columns under ZTF's names."""
        places = np.stack([x, y], axis=1)
        distances, rows = self.reference_tree.query(places)
        columns = [a | b for a, b in zip(self._ps1(places), self._gaia(places), strict=True)]
        return [Neighbours(*one) for one in zip(distances.tolist(), rows.tolist(), columns, strict=True)]

    def _ps1(self, places: Floats) -> Iterator[dict[str, float | int]]:
        """The three nearest Pan-STARRS sources within 30 arcsec; -999 where there are fewer."""
        radius = PS1_RADIUS / PIXEL_ARCSEC
        within = self.ps1_tree.query_ball_point(places, radius, return_length=True)
        near = zip(
            *(found.tolist() for found in self.ps1_tree.query(places, k=3, distance_upper_bound=radius)), strict=True
        )
        for count, (distances, found) in zip(within.tolist(), near, strict=True):
            out: dict[str, float | int] = {"nmtchps": count}
            for n, (distance, at) in enumerate(zip(distances, found, strict=True), start=1):
                known = math.isfinite(distance)
                row = int(self.ps1_rows[at]) if known else -1
                mags = self.sky.mags[row].tolist() if known else [NONE] * 4
                out |= zip((f"sgmag{n}", f"srmag{n}", f"simag{n}", f"szmag{n}"), mags, strict=True)
                out[f"sgscore{n}"] = float(self.sky.star[row]) if known else NONE
                out[f"distpsnr{n}"] = distance * PIXEL_ARCSEC if known else NONE
                out[f"objectidps{n}"] = int(self.sky.ids[row]) if known else int(NONE)
            yield out

    def _gaia(self, places: Floats) -> list[dict[str, float]]:
        """The nearest Gaia source and the nearest bright one within 90 arcsec; -999 = none."""
        columns = {}
        for suffix, tree, rows in (
            ("", self.gaia_tree, self.gaia_rows),
            ("bright", self.bright_tree, self.bright_rows),
        ):
            distance, found = tree.query(places) if tree is not None else (np.full(len(places), np.inf), None)
            near = distance * PIXEL_ARCSEC <= GAIA_RADIUS
            mags = self.sky.mags[rows[found], 1] if found is not None else distance
            columns[f"neargaia{suffix}"] = np.where(near, distance * PIXEL_ARCSEC, NONE).tolist()
            columns[f"maggaia{suffix}"] = np.where(near, mags, NONE).tolist()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _ps1_ids(rng: np.random.Generator, count: int, ra: float, dec: float) -> NDArray[np.int64]:
    """Identifiers in the manner of Pan-STARRS: zone of declination, then right ascension."""
    zone = int((dec + 90.0) * 120.0)
    return np.asarray(zone * 10**13 + int(ra * 1e6) * 10**4 + rng.permutation(count), np.int64)
