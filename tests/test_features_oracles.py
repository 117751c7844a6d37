"""Features against other people's code, slow plain code, the packets' own values, and scenes with known answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sep
from feature_cases import AXIS, batch, psf, read, sample, scene
from photutils.aperture import CircularAperture, aperture_photometry
from scipy import ndimage, optimize, stats

from realbogus.alerts import CENTRE, DIFFERENCE, STAMP_SIDE, AlertBatch
from realbogus.cli import main
from realbogus.features import CATALOGUE, COMPILED, FEATURE_SETS, extract
from realbogus.features import geometry as geo
from realbogus.features.fits import gaussian_fit, psf_flux
from realbogus.features.moments import windowed
from realbogus.features.morphology import gini, m20
from realbogus.features.photometry import aperture_sum
from realbogus.features.relations import closure
from realbogus.features.symmetry import zernike_norms
from realbogus.features.table import page
from realbogus.features.view import View

DOCUMENT = Path(__file__).parent.parent / "realbogus" / "docs" / "features.md"


@pytest.fixture(scope="module")
def alerts(real_packets: Path, manifest: Path) -> AlertBatch:
    return read(sample(manifest, real_packets, "ztf", 60), "ztf")


@pytest.fixture(scope="module")
def clean(alerts: AlertBatch) -> np.ndarray:
    return np.flatnonzero(~np.isnan(alerts.triplets).any(axis=(1, 2, 3)))


def values(alerts: AlertBatch, name: str, compiled: bool = True) -> np.ndarray:
    return extract(alerts, [name], compiled=compiled)[:, 0].astype(np.float64)


# the packets' own values


def test_negative_pixels_of_the_box_are_counted_as_ztf_counts_them(
    real_packets: Path, manifest: Path, alerts: AlertBatch, clean: np.ndarray
) -> None:
    """One pixel beside the box, and hardly a packet would agree."""
    import fastavro

    for row, path in zip(range(len(alerts)), sample(manifest, real_packets, "ztf", 60), strict=True):
        if row in clean:
            with path.open("rb") as file:
                told = next(fastavro.reader(file))["candidate"]["nneg"]
            box = alerts.triplets[row, DIFFERENCE][geo.WINDOW, geo.WINDOW].ravel()[geo.BOX5]
            assert (box < 0).sum() == told


def test_sumrat_is_that_of_the_packet(
    real_packets: Path, manifest: Path, alerts: AlertBatch, clean: np.ndarray
) -> None:
    """Within 0.01 on over four of five packets since schema 3; ZTF's earlier form is not known."""
    import fastavro

    got, agree = values(alerts, "sumrat"), []
    for row, path in zip(range(len(alerts)), sample(manifest, real_packets, "ztf", 60), strict=True):
        if row in clean and alerts.schema[row] >= "ztf/3":
            with path.open("rb") as file:
                agree.append(abs(next(fastavro.reader(file))["candidate"]["sumrat"] - got[row]) < 0.01)
    assert len(agree) >= 12
    assert np.mean(agree) > 0.8


def test_the_matched_filter_follows_the_packets_significance(alerts: AlertBatch) -> None:
    """Both are S/N of the PSF, on other noise: ZTF's includes the photon noise of the source and of its host."""
    ours, theirs = values(alerts, "mf_snr"), values(alerts, "snr")
    assert stats.spearmanr(ours, theirs).statistic > 0.5


# other people's code


def test_background_and_noise_are_median_and_mad(alerts: AlertBatch) -> None:
    layer = View(alerts).difference
    flat = alerts.triplets[:, DIFFERENCE].reshape(len(alerts), -1).astype(np.float64)
    np.testing.assert_allclose(layer.background, np.nanmedian(flat, axis=1), rtol=1e-6)
    mad = stats.median_abs_deviation(flat, axis=1, nan_policy="omit")
    np.testing.assert_allclose(layer.noise, 1.4826 * mad, rtol=1e-5)


def by_photutils(image: np.ndarray) -> float:
    aperture = CircularAperture((CENTRE, CENTRE), r=geo.APERTURE_PX)
    return float(aperture_photometry(image, aperture, method="exact")["aperture_sum"][0])


def by_sep(image: np.ndarray) -> float:
    return float(sep.sum_circle(image, [CENTRE], [CENTRE], geo.APERTURE_PX, subpix=0)[0][0])  # subpix 0: exact


@pytest.mark.parametrize("oracle", [by_photutils, by_sep])
def test_aperture_sums_are_those_of_others(
    oracle: Callable[[np.ndarray], float], alerts: AlertBatch, clean: np.ndarray
) -> None:
    view = View(alerts)
    ours = aperture_sum(view, view.difference)
    for row in clean[::4]:
        light = np.abs(view.difference.window[row][geo.R < geo.APERTURE_PX]).sum()
        assert ours[row] == pytest.approx(oracle(view.difference.pixels[row]), abs=1e-4 * light)


@pytest.mark.parametrize(("fwhm", "x", "y"), [(2.5, 0.3, -0.2), (3.5, -0.4, 0.1), (5.0, 0.0, 0.45)])
def test_the_centroid_leans_to_where_sep_finds_the_source(fwhm: float, x: float, y: float) -> None:
    """One step from the candidate's pixel; sep goes on until it stands still. Both look through a Gaussian window."""
    image = np.random.default_rng(6).normal(size=(STAMP_SIDE, STAMP_SIDE)) + 5000 * psf(x, y, fwhm)
    view = View(batch(np.stack([image] * 3)[None], {"psf_fwhm_px": np.array([fwhm])}))
    pixels = view.difference.pixels[0]
    found_x, found_y, _ = sep.winpos(pixels, [CENTRE], [CENTRE], 1.5 * fwhm / 2.3548)
    moments = windowed(view, view.difference.window)
    ours = np.array([moments.x[0], moments.y[0]])
    theirs = np.array([found_x[0], found_y[0]]) - CENTRE
    assert np.hypot(*theirs - (x, y)) < 0.05
    assert ours @ theirs / np.hypot(*ours) / np.hypot(*theirs) > 0.97  # the same direction
    assert 0.5 < np.hypot(*ours) / np.hypot(*theirs) <= 1.05


@pytest.mark.parametrize(
    ("amplitude", "fwhm", "x", "y"), [(40, 2.5, 0.2, -0.3), (80, 4.0, 0.0, 0.4), (60, 1.8, -0.1, 0)]
)
def test_the_gaussian_fit_is_that_of_scipy(amplitude: float, fwhm: float, x: float, y: float) -> None:
    rng = np.random.default_rng(2)
    image = amplitude * np.exp(-2.7726 * ((AXIS[None, :] - x) ** 2 + (AXIS[:, None] - y) ** 2) / fwhm**2)
    image = image + rng.normal(size=image.shape)
    view = View(batch(np.stack([image, image, image])[None]))
    ours, data = gaussian_fit(view), view.difference.window[0]

    def model(p: np.ndarray) -> np.ndarray:
        height, cx, cy, width = p
        shape = height * np.exp(-2.7726 * ((geo.X - cx) ** 2 + (geo.Y - cy) ** 2) / width**2)
        return np.asarray(shape)

    theirs = optimize.least_squares(
        lambda p: model(p) - data, (30, 0, 0, 3), bounds=((0, -0.5, -0.5, 0.5), (500, 0.5, 0.5, 12))
    )
    # A grid refined by parabolas: a few per cent in height and width, and 2 % of the source's power in residuals.
    assert ours.amplitude[0] == pytest.approx(theirs.x[0], rel=0.05)
    assert ours.fwhm[0] == pytest.approx(theirs.x[3], rel=0.03)
    assert ((ours.model[0] - data) ** 2).sum() < 2 * theirs.cost + 0.02 * (data**2).sum()


def test_connected_plateaus_are_found() -> None:
    image = np.random.default_rng(4).normal(size=(STAMP_SIDE, STAMP_SIDE))
    image[30:32, 30:33] = 500.0
    image[34, 34] = 500.0  # alone: no plateau
    share = values(batch(np.stack([image] * 3)[None]), "sat_frac_s")
    disk = int((geo.R <= 2.5 * 2.5).sum())
    assert share[0] == pytest.approx(6 / disk)


def test_the_median_filter_of_lacosmic_is_that_of_scipy(alerts: AlertBatch, clean: np.ndarray) -> None:
    view = View(alerts)
    got = values(alerts, "lacosmic")
    for row in clean[::6]:
        d = view.difference.pixels[row]
        small = ndimage.median_filter(d, 3)
        fine = (small - ndimage.median_filter(small, 7))[29:34, 29:34].max()
        floor = 0.1 * view.difference.noise[row]
        expected = np.log10(max(d[29:34, 29:34].max(), floor) / max(fine, floor))
        assert got[row] == pytest.approx(np.clip(expected, -1.5, 3), abs=1e-5)


# slow and plain


def test_gini_is_half_the_mean_difference_over_the_mean() -> None:
    rng = np.random.default_rng(6)
    image, mask = rng.exponential(size=(1, 441)), rng.random((1, 441)) < 0.5
    f = image[mask]
    n = len(f)
    slow = np.abs(f[:, None] - f).sum() / (2 * f.mean() * n * (n - 1))
    assert gini(image, mask)[0] == pytest.approx(slow)


def test_m20_is_the_share_of_the_brightest_pixels() -> None:
    rng = np.random.default_rng(7)
    image, mask = rng.exponential(size=(1, 441)), rng.random((1, 441)) < 0.5
    f = np.where(mask[0], image[0], 0)
    x, y = (f * geo.X).sum() / f.sum(), (f * geo.Y).sum() / f.sum()
    moments, held, brightest = f * ((geo.X - x) ** 2 + (geo.Y - y) ** 2), 0.0, 0.0
    for i in np.argsort(-f):
        held += f[i]
        brightest += moments[i]
        if held >= 0.2 * f.sum():
            break
    assert m20(image, mask)[0] == pytest.approx(np.log10(brightest / moments.sum()))


def test_a_zernike_mode_has_its_own_norm_above_all_others() -> None:
    """Modes are orthogonal on the disk; its square pixels leave some per cent."""
    rho2, spiral = geo.R2 / 100, (geo.X - 1j * geo.Y) / 10
    disk = geo.R <= 10
    for n, m, mode in ((2, 0, 2 * rho2 - 1), (2, 2, (spiral**2).real), (3, 1, ((3 * rho2 - 2) * spiral).imag)):
        norms = zernike_norms(np.where(disk, mode, 0.0)[None], np.array([10.0]))[:, 0]
        own = geo.ZERNIKE_MODES.index((n, m))
        assert norms.argmax() == own
        assert np.delete(norms, own).max() < 0.25 * norms[own]


def test_the_flux_scale_is_found() -> None:
    rng = np.random.default_rng(8)
    template = rng.normal(size=(STAMP_SIDE, STAMP_SIDE)) + 3000 * psf(7, 5)
    for sign in (1.0, -1.0):
        candidate = 300 * psf() + rng.normal(size=template.shape)
        science = 0.7 * template + 90 + sign * candidate
        alert = batch(np.stack([science, template, candidate])[None], {"diff_sign": np.array([sign])})
        fit = closure(View(alert))
        assert fit.scale[0] == pytest.approx(0.7, rel=1e-4)
        assert values(alert, "closure_resid")[0] < 0.05


def test_the_psf_flux_is_that_of_the_source() -> None:
    noise = 1e-3 * np.random.default_rng(1).normal(size=(1, 3, 63, 63))
    view = View(batch(np.stack([500 * psf()] * 3)[None] + noise))
    assert psf_flux(view)[0] == pytest.approx(500, rel=1e-3)


@pytest.mark.parametrize(
    ("y", "x", "inside"), [(-2, -2, True), (2, 2, True), (-3, 2, False), (3, 3, False), (2, 3, False)]
)
def test_the_box_is_centred_on_the_candidate(y: int, x: int, inside: bool) -> None:
    image = np.random.default_rng(3).normal(0, 0.1, (STAMP_SIDE, STAMP_SIDE))
    image[CENTRE - 3 : CENTRE + 4, CENTRE - 3 : CENTRE + 4] = 0
    image[CENTRE + y, CENTRE + x] = -50
    assert values(batch(np.stack([image] * 3)[None]), "n3sig3")[0] == inside


# scenes with known answers

KINDS = ("point source", "on host", "dipole", "cosmic ray", "streak", "noise")
# feature -> for each kind, whether it must lie above every kind not named
ORDERINGS = {
    "psf_ncc": ("point source", "on host"),
    "dipole_gain": ("dipole",),
    "cr_gain": ("cosmic ray",),
    "n2sig5": ("dipole",),
    "ring_h2": ("streak",),
    "radon_peak": ("streak",),
    "grad_r2": ("dipole",),
    "ncc_dt": ("on host",),
    "peak_ring8": ("cosmic ray", "noise"),
    "lacosmic": ("cosmic ray",),
    "depth_ratio": ("dipole", "noise"),
    "negative_share": ("dipole", "noise"),
    "gauss_corr": ("point source", "on host"),
    "chi2_psf": ("dipole", "cosmic ray", "streak"),
}


@pytest.fixture(scope="module")
def scenes() -> dict[str, dict[str, float]]:
    """Medians over 15 scenes of each kind: feature -> kind -> value."""
    names = list(CATALOGUE)
    medians = {
        kind: np.median(extract(batch(np.array([scene(kind, seed) for seed in range(15)])), names), axis=0)
        for kind in KINDS
    }
    return {name: {kind: float(medians[kind][j]) for kind in KINDS} for j, name in enumerate(names)}


@pytest.mark.parametrize("name", ORDERINGS)
def test_a_feature_ranks_the_scenes(scenes: dict[str, dict[str, float]], name: str) -> None:
    high = [scenes[name][kind] for kind in ORDERINGS[name]]
    low = [scenes[name][kind] for kind in KINDS if kind not in ORDERINGS[name]]
    assert min(high) > max(low), scenes[name]


def test_a_dipole_has_equal_lobes_and_a_point_source_none(scenes: dict[str, dict[str, float]]) -> None:
    assert scenes["dipole_ratio"]["dipole"] > 0.7
    assert scenes["spread"]["cosmic ray"] < scenes["spread"]["point source"] < scenes["spread"]["streak"]
    assert scenes["gauss_scale"]["point source"] == pytest.approx(1, abs=0.1)
    assert scenes["chi2_psf"]["point source"] == pytest.approx(np.log(2), abs=0.1)
    assert scenes["mf_snr"]["point source"] == pytest.approx(np.log(21), abs=0.1)


# documents


def test_the_page_of_the_documentation_is_up_to_date() -> None:
    """Written by `realbogus features --markdown > realbogus/docs/features.md`."""
    assert DOCUMENT.read_text() == page(list(CATALOGUE.values()))


def test_the_page_names_every_feature_and_set() -> None:
    text = page(list(CATALOGUE.values()))
    assert all(f"| `{name}` |" in text for name in (*CATALOGUE, *FEATURE_SETS))
    assert text.count("| yes |") == len(COMPILED)


def test_the_command_lists_a_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["features", "--family", "F"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [n for n in CATALOGUE if CATALOGUE[n].family == "F"]


@pytest.mark.parametrize("chosen", FEATURE_SETS)
def test_the_command_lists_a_set_in_its_order(chosen: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["features", "--set", chosen, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert tuple(one["name"] for one in told) == FEATURE_SETS[chosen]
    assert all(chosen in one["sets"] and one["definition"] and len(one["range"]) == 2 for one in told)


def test_the_command_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["features", "--markdown"]) == 0
    assert capsys.readouterr().out == DOCUMENT.read_text()
