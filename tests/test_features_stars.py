"""What the subtraction did to other stars: fields with a known residual, trails, and golden values of all features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from feature_cases import AXIS, batch, psf, scene

from realbogus.alerts import CENTRE, STAMP_SIDE
from realbogus.features import CATALOGUE, extract
from realbogus.features import geometry as geo

GOLDEN = Path(__file__).parent / "golden_features.json"
STARS = ((-20, -18), (17, 22), (-15, 20), (22, -12))  # far outside K, and off the lines through the candidate


def field(residual: float, candidate: float = 0.3, template_scale: float = 1.0) -> np.ndarray:
    """A stamp of five stars; all but the central one leave this share of their light in the difference."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, (2, STAMP_SIDE, STAMP_SIDE))
    others = sum(3000 * psf(x, y) for x, y in STARS)
    middle = 3000 * psf()
    template = others + middle + noise[0]
    difference = residual * others + candidate * middle + noise[1]
    return np.stack([template + difference, template / template_scale, difference])


def measured(triplet: np.ndarray, *names: str) -> list[float]:
    return extract(batch(triplet[None]), names)[0].astype(float).tolist()


@pytest.mark.parametrize("residual", [-0.2, 0.0, 0.1, 0.3])
def test_the_residual_of_other_stars_is_found(residual: float) -> None:
    ratio, slope, core, excess = measured(field(residual), "star_ratio", "star_slope", "core_slope", "slope_excess")
    assert ratio == pytest.approx(residual, abs=0.02)
    assert slope == pytest.approx(residual, abs=0.02)
    assert core == pytest.approx(0.3, abs=0.02)
    assert excess == pytest.approx(0.3 - residual, abs=0.03)


@pytest.mark.parametrize("template_scale", [0.5, 2.0])
def test_ratios_and_levels_are_on_the_flux_scale_of_the_difference(template_scale: float) -> None:
    names = ("star_slope", "core_slope", "template_noise")
    assert measured(field(0.1, 0.3, template_scale), *names) == pytest.approx(measured(field(0.1), *names), abs=1e-3)
    assert measured(field(0.1, 0.3, template_scale), "flux_scale")[0] == pytest.approx(np.log(template_scale), abs=0.01)


def test_a_frame_that_fits_its_template_leaves_spots_of_no_sign() -> None:
    names = ("spots_bright", "spots_dark", "spots_sign", "star_bright", "star_dark", "outer_skew")
    fits, brighter = measured(field(0.0), *names), measured(field(0.3), *names)
    assert fits[:3] == pytest.approx([0, 0, 0], abs=0.1)
    assert brighter[0] > 0.005
    assert brighter[1] < 0.001
    assert brighter[2] > 0.7
    assert brighter[3] > 0.5
    assert brighter[4] < 0.05
    assert brighter[5] > 1 > abs(fits[5])


def test_without_stars_nothing_is_said_of_them() -> None:
    empty = scene("point source", 1)
    names = [name for name in CATALOGUE if name.startswith("star_")]
    assert len(names) == 8
    assert measured(empty, *names) == [0.0] * len(names)


def test_the_candidate_itself_is_no_star_and_no_trail() -> None:
    alone, brighter = (scene("point source", 1, snr) for snr in (10.0, 100.0))
    brighter[1:] = np.where(np.hypot(AXIS[:, None], AXIS) <= 5, brighter[1:], alone[1:])  # as far as K reaches
    names = ("trail", "trail_both", "outer_rms", "spots_bright", "star_share")
    noise_of = {name: measured(alone, name)[0] for name in names}
    assert measured(brighter, *names) == pytest.approx(list(noise_of.values()), rel=0.2, abs=0.05)
    assert measured(brighter, "radon_peak")[0] > measured(alone, "radon_peak")[0] + 0.2


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.2, 2.5])
def test_a_chain_of_glints_is_a_trail_on_both_sides_and_a_star_is_not(angle: float) -> None:
    chain, one_sided = scene("point source", 2), scene("point source", 2)
    for step in (-24, -12, 12, 24):
        glint = 40 * psf(step * np.cos(angle), step * np.sin(angle))
        chain[2] += glint
        one_sided[2] += glint if step > 0 else 0.0
    both, one, none = (measured(t, "trail", "trail_both") for t in (chain, one_sided, scene("point source", 2)))
    assert both[0] > one[0] > none[0] + 0.3
    assert both[1] > one[1] + 0.3
    assert one[1] == pytest.approx(none[1], abs=0.4)


def test_strips_are_three_lines_beside_each_other() -> None:
    assert len(geo.STRIPS) == 3 * 24
    for a, b, c in geo.STRIPS:
        middles = [geo.LINES[line][geo.LINE_MIDDLES[line]] for line in (a, b, c)]
        y, x = np.divmod(middles, STAMP_SIDE)
        assert np.abs(np.array([y, x]) - CENTRE).max() <= 3
        assert len(set(middles)) == 3
        assert (abs(np.diff(y)) + abs(np.diff(x))).max() <= 2


# golden values


def made_up(kind: int) -> np.ndarray:
    """A triplet from whole numbers alone, so that no generator's or library's change can move it."""
    i = np.arange(3 * STAMP_SIDE * STAMP_SIDE, dtype=np.int64).reshape(3, STAMP_SIDE, STAMP_SIDE)
    noise = (i * 7919 + (i * i) % 1009 * (31 + kind) + kind * 104729) % 2003 / 1001.0 - 1
    y, x = AXIS[:, None], AXIS[None, :]

    def source(flux: float, dx: int = 0, dy: int = 0) -> np.ndarray:
        return np.asarray(flux / (1 + ((x - dx) ** 2 + (y - dy) ** 2) / 4) ** 3)

    stars = source(60, 18, -14) + source(30, -21, 9)
    science, template, difference = noise
    template = template + stars + (source(40) if kind else 0)
    difference = difference + [source(12), source(15) - source(9, 2, 1), source(8) + 0.2 * stars][kind]
    return np.stack([science + template + difference, template, difference])


@pytest.mark.parametrize("compiled", [True, False])
def test_features_have_the_values_they_had(compiled: bool) -> None:
    """Every stamp feature of three made-up triplets. New values mean a new version of the feature's definition."""
    golden = json.loads(GOLDEN.read_text())
    names = [name for name in CATALOGUE if CATALOGUE[name].stamps]
    assert list(golden) == names
    got = extract(batch(np.stack([made_up(kind) for kind in range(3)])), names, compiled=compiled)
    for j, name in enumerate(names):
        np.testing.assert_allclose(got[:, j], golden[name], rtol=2e-5, atol=1e-6, err_msg=name)
