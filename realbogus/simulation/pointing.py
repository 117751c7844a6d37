"""One field on one detector: a template, a few exposures, and what is found in them.

A pointing is the unit of work. All its randomness comes from the night's seed and its own number, so that pointings
can be made in any order, on any number of processes, with the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realbogus.simulation.defects import Damage
from realbogus.simulation.detection import Candidates, Searchable, detect
from realbogus.simulation.detector import BLOCK, Detector
from realbogus.simulation.engines import ENGINES, Subtracted
from realbogus.simulation.exposure import (
    PAD,
    Conditions,
    Frame,
    Reference,
    draw_conditions,
    expose,
    register,
)
from realbogus.simulation.optics import PSF
from realbogus.simulation.packet import APERTURE, sigma_psf
from realbogus.simulation.recipe import Recipe
from realbogus.simulation.scene import Scene
from realbogus.simulation.truth import Change, Surroundings, Truth, Verdict, judge

NID_ZERO_JD = 2457754.5  # 2017 January 1: ZTF counts nights from here
CADENCE_D = 45.0 / 86400.0
EDGE = 31  # pixels: half a stamp; a frame's sides that are no chip edge keep this distance


@dataclass(frozen=True)
class Pointing:
    """Where and when to look."""

    seed: int
    serial: int  # within the run
    jd: float  # of its first exposure
    field: int
    detector: int  # ZTF rcid, 0 to 63
    tile: tuple[int, int]  # which piece of the quadrant the frame is: column and row, 0 to 2
    band: int  # ZTF fid
    seeing_px: float  # FWHM of the air, typical of the night at that time
    ra: float
    dec: float

    @property
    def night(self) -> int:
        """ZTF's night number, nid."""
        return math.floor(self.jd - NID_ZERO_JD)

    def rng(self, *what: int) -> np.random.Generator:
        """The generator for one purpose, a function of seed, serial and the purpose alone."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.serial, *what)))


@dataclass(frozen=True)
class Simulated:
    """An alert packet and what it truly shows."""

    packet: bytes
    truth: Truth


@dataclass(frozen=True)
class Observed:
    """An exposure taken, subtracted and searched."""

    frame: Frame
    template: NDArray[np.float64]  # on the science grid
    subtracted: Subtracted
    found: Candidates
    verdicts: list[Verdict]


def observe(
    rng: np.random.Generator, pointing: Pointing, recipe: Recipe, scene: Scene, reference: Reference,
    detector: Detector, number: int,
) -> Observed | None:  # fmt: skip
    """Take, subtract and search one exposure; None where the subtraction finds too few stars."""
    jd = pointing.jd + number * CADENCE_D
    how = draw_conditions(rng, recipe, jd, pointing.band, pointing.seeing_px)
    frame = expose(rng, scene, recipe, how, detector)
    template = register(reference, how.solution, recipe.side)
    template_masked, template_bits = _on_science_grid(reference.damage, how, recipe.side)
    masked = frame.damage.masked | template_masked | _ragged_edges(rng, pointing, recipe.side)
    science, template = np.where(masked, np.nan, frame.image), np.where(masked, np.nan, template)
    done = ENGINES[recipe.subtraction](rng, recipe, scene, how, reference, science, template)
    if done is None:
        return None
    done.frame.score[...] /= recipe.score_noise
    found = _search(rng, done.frame, done.psf, recipe, pointing)
    around = _surroundings(scene, how, reference, frame, template_bits, masked)
    return Observed(frame, template, done, found, judge(found, around))


def vet(rng: np.random.Generator, found: Candidates, fwhm_px: float) -> NDArray[np.bool_]:
    """The loose first cuts of the survey's alert stream, as real packets show them at the edge of each column.

    That of sumrat is soft: real packets thin out below 0.9 and end at 0.4, where subtractions still give many.
    """
    flux, error = np.maximum(found["flux"], 1e-3), found["sky_error"]
    magnitude_error = np.array([sigma_psf(*row) for row in zip(flux, error, found["chi2"], strict=True)])
    magdiff = -2.5 * np.log10(np.maximum(found["aperture"], 1e-3) / flux) - APERTURE
    wide = np.maximum(found["width"], 0.5) * fwhm_px
    return np.asarray(
        (found["flux"] > 0)
        & (found["missing"] == 0)
        & (found["elong"] <= 1.6)
        & (found["nneg"] <= 13)
        & (rng.random(len(found)) < np.clip((found["sumrat"] - 0.4) / 0.5, 0.0, 1.0) ** 2)
        & (wide <= 7.0)
        & (magnitude_error <= 0.217)
        & (magdiff > -0.4)
        & (magdiff < 0.75)
    )


def _search(rng: np.random.Generator, frame: Searchable, psf: PSF, recipe: Recipe, pointing: Pointing) -> Candidates:
    """Detect on the difference, away from sides that are no chip edge, and apply the survey's cuts."""
    found = detect(frame, recipe.threshold)
    keep = _inside(found, pointing, recipe.side)
    if recipe.vetted:
        keep &= (
            vet(rng, found, psf.fwhm_px) if recipe.survey == "ztf" else (found["missing"] == 0) & (found["flux"] > 0)
        )
    kept = np.flatnonzero(keep)
    if kept.size > recipe.most_alerts:
        kept = np.sort(rng.choice(kept, recipe.most_alerts, replace=False))
    return found.where(kept)


def _inside(found: Candidates, pointing: Pointing, side: int) -> NDArray[np.bool_]:
    low_x, high_x, low_y, high_y = _chip_edges(pointing)
    x, y = np.round(found["x"]), np.round(found["y"])
    return np.asarray(
        (x >= (0 if low_x else EDGE))
        & (x <= side - 1 - (0 if high_x else EDGE))
        & (y >= (0 if low_y else EDGE))
        & (y <= side - 1 - (0 if high_y else EDGE))
    )


def _chip_edges(pointing: Pointing) -> tuple[bool, bool, bool, bool]:
    """Which sides of the frame are edges of the chip: left, right, lower, upper."""
    return pointing.tile[0] == 0, pointing.tile[0] == 2, pointing.tile[1] == 0, pointing.tile[1] == 2


def _ragged_edges(rng: np.random.Generator, pointing: Pointing, side: int) -> NDArray[np.bool_]:
    """Pixels at chip edges that the reference does not cover: a margin in blocks, of another depth each."""
    masked = np.zeros((side, side), bool)
    for view, edge in zip((masked.T, masked.T[::-1], masked, masked[::-1]), _chip_edges(pointing), strict=True):
        if edge:
            depths = int(rng.integers(0, 25)) + rng.integers(0, 2, side // BLOCK + 1) * int(rng.integers(2, 8))
            for block, depth in enumerate(depths):
                view[:depth, block * BLOCK : (block + 1) * BLOCK] = True
    return masked


def _on_science_grid(damage: Damage, how: Conditions, side: int) -> tuple[NDArray[np.bool_], NDArray[np.uint16]]:
    """Masks and marks of the reference, moved by whole pixels."""
    dx, dy = (min(max(round(float(shift)), -PAD), PAD) for shift in how.solution.terms[:, 0])
    grid = np.s_[PAD - dy : PAD - dy + side, PAD - dx : PAD - dx + side]
    return damage.masked[grid], damage.bits[grid]


def _surroundings(
    scene: Scene, how: Conditions, reference: Reference, frame: Frame, template_bits: NDArray[np.uint16],
    masked: NDArray[np.bool_],
) -> Surroundings:  # fmt: skip
    """Gather what detections are judged against."""
    stars, galaxies = scene.stars, scene.galaxies
    steady = [e for e in scene.events if e.kind == "variable" and e.host < 0]
    x = np.concatenate([stars.x + stars.moved_x, galaxies.x, [e.x for e in steady]])
    y = np.concatenate([stars.y + stars.moved_y, galaxies.y, [e.y for e in steady]])
    mag = np.concatenate([stars.mag, galaxies.mag, [e.mag for e in steady]])
    dx, dy = how.mapping.shift(x, y, scene.side)
    wrong = how.solution.shift(x, y, scene.side) - np.array([dx, dy])
    wrong[:, : stars.x.size] -= np.array([stars.moved_x, stars.moved_y])
    sources = np.stack([x + dx, y + dy, 10.0 ** (-0.4 * (mag - how.zero_point))], axis=1)
    return Surroundings(
        changes=_changes(scene, how, reference),
        science_bits=frame.damage.bits,
        template_bits=template_bits,
        masked=masked,
        sources=sources,
        displaced=np.hypot(*wrong),
        fwhm_px=how.psf.fwhm_px,
    )


def _changes(scene: Scene, how: Conditions, reference: Reference) -> list[Change]:
    """Every true change of this exposure."""
    places = np.array([event.place(how.jd) for event in scene.events]).reshape(-1, 2)
    places += how.mapping.shift(places[:, 0], places[:, 1], scene.side).T
    return [
        Change(event, x, y, event.flux(how.jd, how.zero_point) - event.reference_flux(reference.epochs, how.zero_point))
        for event, (x, y) in zip(scene.events, places.tolist(), strict=True)
    ]
