"""The proper subtraction against what its paper promises: white unit noise, optimal S/N, the same answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from realbogus.simulation.optics import PSF, paint_points
from realbogus.simulation.subtraction import alard_lupton, gaussian_basis
from realbogus.simulation.zogy import Half, zogy

SIDE = 256
NEW, OLD = PSF(2.4, 3.0, 0.04, 0.0), PSF(1.9, 2.8, 0.0, 0.03)
SIGMA, GAINS = (6.0, 2.0), (6.0, 60.0)
SCALE = 0.7  # DN of the reference per DN of the new frame
INNER = np.s_[20:-20, 20:-20]


def frames(seed: int, sources: np.ndarray, change: np.ndarray) -> tuple[Half, Half]:
    """Two frames of the same constant sources; the new one has some more."""
    rng = np.random.default_rng(seed)
    new, old = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    paint_points(new, np.concatenate([sources, change]), NEW, 1e-3)
    paint_points(old, sources * [1, 1, SCALE], OLD, 1e-3)
    new += np.sqrt(SIGMA[0] ** 2 + new / GAINS[0]) * rng.standard_normal(new.shape)
    old += np.sqrt(SIGMA[1] ** 2 + old / GAINS[1]) * rng.standard_normal(old.shape)
    return (
        Half(new, SIGMA[0], 1 / GAINS[0], NEW.image(10), 1.0),
        Half(old, SIGMA[1], 1 / GAINS[1], OLD.image(10), SCALE),
    )


def stars(count: int, seed: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(12, SIDE - 12, (count, 2)), 10 ** rng.uniform(2.5, 4.0, count)])


NOTHING = np.empty((0, 3))
GRID = np.mgrid[40:216:6j, 40:216:6j].reshape(2, -1).T


def test_the_difference_of_plain_sky_is_white_and_of_the_expected_noise():
    done = zogy(*frames(1, NOTHING, NOTHING), 0.0)
    difference = done.difference[INNER]
    assert difference.std() == pytest.approx(np.hypot(SIGMA[0], SIGMA[1] / SCALE), rel=0.02)
    for down, right in ((0, 1), (1, 0), (1, 1), (0, 2)):
        shifted = difference[down:, right:], difference[: SIDE - 40 - down, : SIDE - 40 - right]
        assert abs(np.corrcoef(shifted[0].ravel(), shifted[1].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("count", [0, 60])
def test_the_score_has_unit_noise_on_sky_and_on_stars(count):
    score = zogy(*frames(3, stars(count), NOTHING), 0.0).score[INNER]
    assert score.std() == pytest.approx(1.0, abs=0.04)
    assert abs(score).max() < 5.5


def test_a_point_source_has_its_flux_and_the_optimal_signal_to_noise():
    flux = 400.0
    done = zogy(*frames(4, NOTHING, np.column_stack([GRID, np.full(len(GRID), flux)])), 0.0)
    rows, columns = GRID[:, 1].round().astype(int), GRID[:, 0].round().astype(int)
    boxes = np.stack([done.difference[j - 10 : j + 11, i - 10 : i + 11] for j, i in zip(rows, columns, strict=True)])
    measured = (boxes * done.psf).sum(axis=(1, 2)) / (done.psf**2).sum()
    assert np.median(measured) == pytest.approx(flux, rel=0.04)
    noise = np.hypot(SIGMA[0], SIGMA[1] / SCALE)
    expected = flux * np.sqrt((done.psf**2).sum()) / noise  # without the source's own photons
    spread = 1.4826 * np.median(np.abs(done.filtered[INNER]))
    assert 0.75 * expected < np.median(done.filtered[rows, columns]) / spread < 1.1 * expected
    assert np.median(done.score[rows, columns]) < expected  # S_corr counts them


def test_errors_of_registration_and_flux_are_taken_for_noise():
    new, old = frames(5, stars(60), NOTHING)
    moved = replace(old, image=np.roll(old.image, 1, axis=1))
    blind, wary = zogy(new, moved, 0.0).score[INNER], zogy(new, moved, 0.6).score[INNER]
    assert abs(blind).max() > 5.0 * abs(wary).max()
    brighter = replace(new, image=1.1 * new.image)
    assert (
        abs(zogy(brighter, old, 0.0).score[INNER]).max() > 2.0 * abs(zogy(brighter, old, 0.0, 0.1).score[INNER]).max()
    )


def test_both_engines_see_the_same_difference():
    sources = stars(90, seed=6)
    new, old = frames(7, sources, np.column_stack([GRID[::5], np.full(len(GRID[::5]), 600.0)]))
    other = alard_lupton(
        new.image,
        old.image,
        SIGMA[0] ** 2 + np.maximum(new.image, 0.0) / GAINS[0],
        sources[:, :2],
        gaussian_basis(),
        order=0,
    )
    assert other is not None
    proper = zogy(new, old, 0.0).difference[INNER]
    assert np.corrcoef(proper.ravel(), other.difference[INNER].ravel())[0, 1] > 0.98
