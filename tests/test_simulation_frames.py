"""The simulator's parts: PSFs, frames, subtraction, detection, truth."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from realbogus.simulation import BOGUS_KINDS, Recipe
from realbogus.simulation.convolution import convolve_all, convolve_varying
from realbogus.simulation.defects import Defect
from realbogus.simulation.detection import _peaks, detect, matched_filter, searchable
from realbogus.simulation.detector import add_noise, draw_detector
from realbogus.simulation.engines import ENGINES
from realbogus.simulation.exposure import (
    LANCZOS,
    PAD,
    Mapping,
    common_fraction,
    draw_conditions,
    expose,
    make_reference,
    register,
)
from realbogus.simulation.medians import median, spread
from realbogus.simulation.night import plan
from realbogus.simulation.optics import PSF, draw_psf, paint_points, sow, spatial_psf
from realbogus.simulation.pointing import observe
from realbogus.simulation.scene import Galaxies, draw_scene, paint_galaxies
from realbogus.simulation.sky_and_optics import LEAST_LOSS, clouds
from realbogus.simulation.subtraction import alard_lupton, gaussian_basis, mesh_background

SIDE = 512
CALM = dict.fromkeys(
    (
        "cosmic_rays", "hot_pixels", "bad_columns", "trails", "aircraft", "glints", "ghosts", "bad_flat", "crosstalk",
        "amplifier_steps", "flux_failures", "template_defects",
    ),
    0.0,
)  # fmt: skip
STEADY = dict.fromkeys(("flat_error", "pixel_flat", "colour_error", "flux_error", "turbulence"), 0.0)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def starfield(image: np.ndarray, psf: PSF, count: int = 60, seed: int = 2) -> np.ndarray:
    random = rng(seed)
    stars = np.column_stack([random.uniform(30, SIDE - 30, (count, 2)), 10 ** random.uniform(3.5, 4.7, count)])
    paint_points(image, stars, psf, 0.01)
    return stars


@pytest.mark.parametrize("fwhm", [1.6, 2.4, 4.0])
def test_a_point_source_keeps_its_flux_and_place(fwhm):
    image = np.zeros((101, 101))
    paint_points(image, np.array([[50.3, 48.7, 1000.0]]), PSF(fwhm, 4.0, 0.05, 0.02), 1e-4)
    y, x = np.mgrid[:101, :101]
    assert image.sum() == pytest.approx(1000.0, rel=0.02)  # the wings beyond the reach are missing
    assert (image * x).sum() / image.sum() == pytest.approx(50.3, abs=0.01)
    assert (image * y).sum() / image.sum() == pytest.approx(48.7, abs=0.01)


def test_convolution_by_transform_agrees_with_the_plain_sum():
    image, kernel = rng().normal(0, 1, (40, 50)), rng(3).random((1, 5, 5))
    fast = convolve_varying(image, kernel)
    padded = np.pad(image, 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    np.testing.assert_allclose(fast, (windows * kernel[0, ::-1, ::-1]).sum(axis=(2, 3)), atol=1e-4)  # single precision


@pytest.mark.parametrize(("side", "shape"), [(21, (150, 240)), (31, (97, 98)), (5, (1, 300))])
def test_convolution_in_tiles_agrees_with_the_plain_sum(side, shape):
    random = rng(side)
    images, kernels = random.normal(0, 1, (2, *shape)), random.normal(0, 1, (3, side, side))
    fast = convolve_all(list(images), [[kernels[0], kernels[1]], [None, kernels[2]]], margin=1)
    windows = [np.lib.stride_tricks.sliding_window_view(np.pad(i, side // 2 + 1), (side, side)) for i in images]
    one, two, three = (
        np.einsum("jivu,vu->ji", w, k[::-1, ::-1]) for w, k in zip([*windows, windows[1]], kernels, strict=True)
    )
    np.testing.assert_allclose(fast, [one + two, three], atol=1e-6 * side**2)  # single precision


def test_a_wave_stays_a_wave_across_the_seams_of_tiles():
    y, x = np.mgrid[:SIDE, :SIDE]
    wave = np.cos(0.05 * x + 0.11 * y)
    kernel = PSF(2.4, 3.0, 0.0, 0.0).image(10)
    blurred = convolve_all([wave], [[kernel]])[0][10:-10, 10:-10]
    v, u = np.mgrid[-10:11, -10:11]
    passes = (kernel * np.cos(0.05 * u + 0.11 * v)).sum()  # a symmetric kernel only makes a wave weaker
    np.testing.assert_allclose(blurred, passes * wave[10:-10, 10:-10], atol=3e-6)


def test_a_galaxy_is_its_profile_averaged_over_places_in_each_pixel():
    re, ratio, angle, x, y = 3.0, 0.5, 0.7, 30.3, 27.8
    one = Galaxies(*(np.array([value]) for value in (x, y, 18.0, re, 1.0, ratio, angle)))
    image = paint_galaxies(one, np.array([500.0]), (60, 60), 0.0)
    b = 2.0 - 1.0 / 3.0 + 0.009876
    plain = np.zeros((60, 60))
    for (j, i), far in np.ndenumerate(np.maximum(abs(np.arange(60)[None, :] - x), abs(np.arange(60)[:, None] - y))):
        if far < 4.0 * re - 1.0:
            places = 5 if far < 1.5 else 3 if far < 3.5 else 1
            steps = (np.arange(places) - places // 2) / places
            dx, dy = i - x + steps[None, :], j - y + steps[:, None]
            major, minor = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
            plain[j, i] = np.exp(-b * np.hypot(major, minor / ratio) / re).mean()
    there = plain > 0.0
    np.testing.assert_allclose(image[there] / image[there].sum(), plain[there] / plain.sum(), rtol=2e-3, atol=3e-8)
    assert image.sum() == pytest.approx(500.0)


def test_resampling_by_a_constant_shift_is_a_sum_over_six_by_six_pixels():
    source = rng(30).normal(100.0, 5.0, (SIDE + 2 * PAD, SIDE + 2 * PAD))
    scene = draw_scene(rng(1), Recipe(side=SIDE, stars=10.0, galaxies=10.0), 2461000.5)
    reference = make_reference(rng(2), scene, Recipe(side=SIDE), 2461000.5, 2)
    terms = np.zeros((2, 6))
    terms[:, 0] = 1.25, -2.5  # a pixel is sampled 1.25 to the left and 2.5 above of its own place
    moved = register(reference, Mapping(terms), SIDE, source)
    steps = len(LANCZOS) - 1
    weights = LANCZOS[steps // 2][:, None] * LANCZOS[3 * steps // 4][None, :]
    for j, i in ((20, 20), (100, 311), (SIDE - 20, SIDE - 17)):
        y, x = j + PAD + 2, i + PAD - 2
        expected = (weights * source[y - 2 : y + 4, x - 2 : x + 4]).sum()
        assert moved[j, i] == pytest.approx(expected, abs=1e-4)


def test_peaks_are_the_highest_of_their_neighbourhood_and_the_first_of_equal_ones():
    score = rng(31).integers(-12, 13, (90, 130)).astype(float)  # many are equal
    score[30:40], score[35, 60] = 0.0, -10.0  # nothing far and wide but a dip
    expected = []
    for j, i in np.argwhere(abs(score) >= 9.0):
        box = (np.sign(score[j, i]) * score)[max(j - 2, 0) : j + 3, max(i - 2, 0) : i + 3]
        first = np.argwhere(box == box.max())[0] + (max(j - 2, 0), max(i - 2, 0))
        if tuple(first) == (j, i):
            expected.append((j, i))
    assert len(expected) > 100
    np.testing.assert_array_equal(_peaks(score, 9.0), expected)


@pytest.mark.parametrize("count", [1, 2, 100, 101])
def test_medians_leave_out_what_is_not_there(count):
    values = rng(count).normal(5.0, 2.0, count)
    spoilt = np.concatenate([[np.nan, np.inf], values])
    assert median(spoilt) == np.median(values)
    assert spread(spoilt) == pytest.approx(1.4826 * np.median(abs(values - np.median(values))))


def test_there_is_no_median_of_nothing():
    assert np.isnan(median(np.full(3, np.nan)))


def test_resampling_weights_sum_to_one_and_leave_whole_pixels_alone():
    np.testing.assert_allclose(LANCZOS.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(LANCZOS[0], [0, 0, 1, 0, 0, 0], atol=1e-12)


def test_the_mesh_background_follows_a_slope_past_stars_and_holes():
    x = np.arange(SIDE)[None, :]
    image = 100.0 + 0.01 * x + rng().normal(0, 5, (SIDE, SIDE))
    starfield(image, PSF(2.4, 3.5, 0, 0))
    image[200:230, 100:140] = np.nan
    error = mesh_background(image) - (100.0 + 0.01 * x)
    assert np.abs(error).max() < 1.5
    assert abs(error.mean()) < 0.5


def test_alard_lupton_leaves_only_the_expected_noise():
    sharp, blurred = PSF(1.9, 3.5, 0.03, 0.0), PSF(2.6, 3.3, -0.04, 0.05)
    template, science = np.full((SIDE, SIDE), 100.0), np.full((SIDE, SIDE), 150.0)
    stars = starfield(template, sharp)
    paint_points(science, stars * [1, 1, 0.8], blurred, 0.01)
    variance = science / 6.2 + 2.0
    science = science + np.sqrt(variance) * rng(5).standard_normal(science.shape)
    template = template + rng(6).normal(0, 1.0, science.shape)
    result = alard_lupton(science, template, variance, stars[:, :2], gaussian_basis(), order=1)
    assert result is not None
    assert result.scale == pytest.approx(0.8, rel=0.01)
    normalised = result.difference / np.sqrt(variance + 0.8**2 * (result.kernels[0] ** 2).sum())
    assert normalised.std() == pytest.approx(1.0, abs=0.03)
    at_stars = np.array([normalised[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] for x, y, _ in stars])
    assert at_stars.std() < 1.15


def test_a_kernel_cannot_be_fitted_without_stars():
    empty = rng().normal(100, 5, (SIDE, SIDE))
    assert alard_lupton(empty, empty, np.full_like(empty, 25.0), np.empty((0, 2)), gaussian_basis()) is None


def test_detection_recovers_sources_of_both_signs_at_ten_sigma():
    psf, noise = PSF(2.4, 3.5, 0, 0), 6.0
    kernel = psf.image(10)
    flux = 10.0 * noise / np.sqrt((kernel**2).sum())
    grid = np.mgrid[40:480:18j, 40:480:18j].reshape(2, -1).T
    signs = np.where(np.arange(len(grid)) % 2, 1.0, -1.0)
    image = noise * rng(7).standard_normal((SIDE, SIDE))
    paint_points(image, np.column_stack([grid + 0.3, signs * flux]), psf, 0.001)
    found = detect(searchable(image, np.full((SIDE, SIDE), noise**2), kernel), threshold=5.0)
    distance = np.hypot(grid[:, None, 0] + 0.3 - found["x"], grid[:, None, 1] + 0.3 - found["y"])
    matched = (distance < 1.5) & (signs[:, None] == found["sign"])
    assert matched.any(axis=1).mean() >= 0.99
    assert (~matched.any(axis=0)).sum() <= 3  # false alarms of 5 sigma in 260 000 pixels
    rows = matched.argmax(axis=1)
    assert np.median(found["flux"][rows]) == pytest.approx(flux, rel=0.05)
    assert np.median(found["width"][rows]) == pytest.approx(1.15, abs=0.2)  # noise widens cores


def test_the_matched_filter_has_unit_noise():
    variance = np.full((SIDE, SIDE), 36.0)
    score, _ = matched_filter(6.0 * rng(8).standard_normal((SIDE, SIDE)), variance, PSF(2.4, 3.5, 0, 0).image(10))
    assert score[15:-15, 15:-15].std() == pytest.approx(1.0, abs=0.02)


def test_noise_is_that_of_photons_and_readout():
    frame = add_noise(rng(9), np.full((SIDE, SIDE), 150.0), 6.2, 10.0)
    assert frame.std() == pytest.approx(np.sqrt(150 / 6.2 + (10 / 6.2) ** 2), rel=0.01)


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_a_plain_exposure_subtracts_to_its_noise(engine):
    recipe = Recipe(
        side=SIDE, stars_spread=0.0, stars=800.0, bad_registration=0.0, subtraction=engine,
        noise_correlation=(0.0,) * 5, **CALM, **STEADY,
    )  # fmt: skip
    pointing = plan(4, 0, recipe)
    scene = draw_scene(rng(10), recipe, pointing.jd)
    reference = make_reference(rng(11), scene, recipe, pointing.jd, 2)
    calm = dataclasses.replace(pointing, tile=(1, 1))
    seen = observe(rng(12), calm, recipe, scene, reference, draw_detector(rng(13), recipe), 0)
    assert seen is not None
    difference = seen.subtracted.frame.difference
    spread = 1.4826 * np.nanmedian(np.abs(difference - np.nanmedian(difference)))
    # resampling takes noise from the template's pixels and gives it to their correlation
    assert spread == pytest.approx(np.sqrt(seen.subtracted.sky_variance), rel=0.1)
    score = recipe.score_noise * seen.subtracted.frame.score[20:-20, 20:-20]
    assert 1.4826 * np.median(np.abs(score)) == pytest.approx(1.0, abs=0.12)


def test_the_registered_template_lies_on_the_science_frame():
    recipe = Recipe(side=SIDE, stars_spread=0.0, registration_px=0.0, distortion_px=0.0, bad_registration=0.0, **CALM)
    scene = draw_scene(rng(14), recipe, 2461000.5)
    reference = make_reference(rng(15), scene, recipe, 2461000.5, 2)
    how = draw_conditions(rng(16), recipe, 2461000.5, 2, 1.2)
    frame = expose(rng(17), scene, recipe, how, draw_detector(rng(18), recipe))
    template = register(reference, how.solution, SIDE)
    inner = np.s_[60:-60, 60:-60]
    a, b = (np.arcsinh((i[inner] - np.median(i[inner])) / 20.0) for i in (frame.sharpest, template))
    spectrum = np.fft.rfft2(a) * np.conj(np.fft.rfft2(b))
    peak = np.unravel_index(np.argmax(np.fft.irfft2(spectrum)), (SIDE - 120, SIDE - 120))
    assert peak == (0, 0)


@pytest.fixture(scope="module")
def ruined() -> tuple[Counter[str], Counter[tuple[str, bool]]]:
    """Verdicts over a few exposures of a telescope on which everything is wrong."""
    faults = {
        "cosmic_rays": 40.0, "hot_pixels": 40.0, "bad_columns": 4.0, "trails": 1.0, "glints": 1.0, "ghosts": 1.0,
        "bad_flat": 1.0,
        "crosstalk": 1.0, "amplifier_steps": 1.0, "flux_failures": 0.5,
        "template_defects": 40.0, "fast_stars": 30.0, "asteroids": 15.0, "transients": 15.0,
    }  # fmt: skip
    recipe = Recipe(side=SIDE, stars_spread=0.3, star_slope=0.2, vetted=False, most_alerts=10**6, **faults)
    kinds: Counter[str] = Counter()
    reals: Counter[tuple[str, bool]] = Counter()
    for serial in range(4):
        pointing = plan(6, serial, recipe)
        scene = draw_scene(pointing.rng(0), recipe, pointing.jd)
        reference = make_reference(pointing.rng(1), scene, recipe, pointing.jd, pointing.band)
        detector = draw_detector(pointing.rng(2), recipe)
        seen = observe(pointing.rng(4, 0), pointing, recipe, scene, reference, detector, 0)
        assert seen is not None
        assert len(seen.verdicts) == len(seen.found)
        kinds.update(verdict.kind for verdict in seen.verdicts)
        reals.update((verdict.kind, verdict.real) for verdict in seen.verdicts)
    return kinds, reals


@pytest.mark.parametrize("kind", BOGUS_KINDS)
def test_every_defect_leads_to_detections_of_its_kind(kind, ruined):
    assert ruined[0][kind] > 0


def test_only_true_changes_are_real(ruined):
    _, reals = ruined
    assert {kind for kind, real in reals if real} == {"transient", "variable", "asteroid"}
    assert not {kind for kind, real in reals if real} & {kind for kind, real in reals if not real}


def test_a_psf_of_any_draw_is_finite_and_positive():
    for seed in range(20):
        stamp = draw_psf(rng(seed), 2.2, 0.03).image(12, 1.0, -1.0)
        assert (stamp > 0).all()
        assert stamp.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("beta", [2.2, 3.5])
def test_the_table_of_a_profile_agrees_with_the_moffat_formula(beta):
    psf = PSF(2.4, beta, 0.0, 0.0)
    a = 2.4 / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    image = np.zeros((41, 41))
    paint_points(image, np.array([[20.0, 20.0, 1.0]]), psf, 1e-9)
    y, x = np.mgrid[-20:21, -20:21].astype(float)
    gauss = [(u / 12**0.5, v / 12**0.5) for u in (-1, 1) for v in (-1, 1)]
    fine = np.mean([(1 + ((x + u) ** 2 + (y + v) ** 2) / a**2) ** -beta for u, v in gauss], axis=0)
    plain = np.where(np.maximum(abs(x), abs(y)) < 3, fine, (1 + (x**2 + y**2) / a**2) ** -beta)
    np.testing.assert_allclose(image, plain * (beta - 1) / (np.pi * a * a), atol=1e-6 * image.max(), rtol=1e-3)


def test_one_field_of_noise_is_correlated_as_many_resampled_ones_are():
    fractions = rng(20).uniform(0.0, 0.3, (2, 16))
    fx, _ = common_fraction(fractions)
    mean = float(np.mean(fractions[0] * (1 - fractions[0])))
    assert fx * (1 - fx) == pytest.approx(mean, rel=1e-5)


def test_noise_has_the_correlation_it_is_given():
    light = np.full((SIDE, SIDE), 150.0)
    frame = add_noise(rng(21), light, 6.2, 10.0, correlation=(0.05, 0.0, 0.0, -0.05, 0.0)) - light
    assert frame.std() == pytest.approx(np.sqrt(150 / 6.2 + (10 / 6.2) ** 2), rel=0.01)
    for (down, right), expected in (((0, 1), 0.05), ((1, 0), 0.0), ((2, 0), -0.05)):
        pair = frame[down:, right:].ravel(), frame[: SIDE - down, : SIDE - right].ravel()
        assert np.corrcoef(*pair)[0, 1] == pytest.approx(expected, abs=0.008)


def test_bright_cores_leave_mirrored_ghosts_by_crosstalk():
    recipe = Recipe(side=SIDE, stars_spread=0.0, **CALM | {"crosstalk": 1.0})
    scene = draw_scene(rng(22), recipe, 2461000.5)
    how = draw_conditions(rng(23), recipe, 2461000.5, 2, 1.2)
    frame = expose(rng(24), scene, recipe, how, draw_detector(rng(25), recipe))
    marked = frame.damage.bits & int(Defect.CROSSTALK) > 0
    bright = frame.image > 0.1 * recipe.saturation_dn
    assert marked.any()
    assert bright[:, ::-1][marked].mean() > 0.9


def test_faint_points_give_their_light_where_painted_ones_do():
    rng = np.random.default_rng(8)
    psf = draw_psf(rng, 2.0)
    points = np.column_stack([rng.uniform(20.0, 107.0, (40, 2)), np.full(40, 50.0)])
    painted, sown = np.zeros((128, 128)), np.zeros((128, 128))
    paint_points(painted, points, psf, 1e-3)
    sow(sown, points)
    blurred = convolve_varying(sown, spatial_psf(psf, 15))
    assert sown.sum() == pytest.approx(points[:, 2].sum())
    assert np.abs(blurred - painted).max() < 0.1 * painted.max()  # a tenth of light that is itself below the noise
    assert np.corrcoef(blurred.ravel(), painted.ravel())[0, 1] > 0.995


def test_points_beyond_the_frame_are_not_sown():
    image = np.zeros((16, 16))
    sow(image, np.array([[-3.0, 5.0, 9.0], [15.5, 5.0, 9.0], [5.0, 20.0, 9.0]]))
    assert not image.any()


def test_a_zero_point_takes_up_what_clouds_cost_all_its_calibrators_and_its_rms_tells_the_rest():
    """What is really left in the light at the stars is what the calibrators of one ninth of the quadrant are told."""
    places = np.array([[100.0, 40.0], [300.0, 400.0], [480.0, 250.0]])
    at = places[:, 1].astype(int), places[:, 0].astype(int)
    for seed in range(12):
        light, bits = np.full((SIDE, SIDE), 1150.0), np.zeros((SIDE, SIDE), np.uint16)
        lost = clouds(rng(seed), light, bits, 150.0, places)
        left = -2.5 * np.log10((light[at] - 150.0) / 1000.0)
        assert lost.shape == (9, 3)
        assert lost.mean() == pytest.approx(0.0, abs=1e-9)
        assert np.abs(lost - left).max(axis=1).min() < 1e-9
        marked = bits == int(Defect.FLUX_SCALE)
        np.testing.assert_array_equal(marked, np.abs(2.5 * np.log10((light - 150.0) / 1000.0)) > LEAST_LOSS)


def test_calibrators_scatter_by_what_was_done_to_the_frame():
    recipe = Recipe(side=SIDE, stars_spread=0.0, **CALM)
    scene = draw_scene(rng(26), recipe, 2461000.5)
    how = draw_conditions(rng(27), recipe, 2461000.5, 2, 1.2)

    def told(seed, **changes):
        one = dataclasses.replace(recipe, **changes)
        return expose(rng(seed), scene, one, how, draw_detector(rng(29), one)).damage.scale_rms

    assert told(28, flat_error=0.0) == 0.0
    assert 0.001 < told(28) < 0.02
    assert all(told(seed, flux_failures=1.0) > 0.015 for seed in range(8))
