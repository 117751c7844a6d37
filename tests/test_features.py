"""Sweeps over every feature: what must hold for all of them, on real packets and on nonsense."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from feature_cases import SYMMETRIES, batch, read, rows_of, sample, scene

from realbogus import features
from realbogus.alerts import COLUMNS, DIFFERENCE, SCIENCE, TEMPLATE, AlertBatch, Matrix
from realbogus.errors import DeniedColumn, FeatureMismatch
from realbogus.features import CATALOGUE, COMPILED, FAMILIES, FEATURE_SETS, NAN_RULES, extract
from realbogus.features.compiled import TOGETHER
from realbogus.features.view import View

NAMES = tuple(CATALOGUE)
OF_STAMPS = tuple(name for name in NAMES if CATALOGUE[name].stamps)
SURVEYS = ("ztf", "rubin")
WAYS = {"compiled": True, "plain": False}

each_feature = pytest.mark.parametrize("name", NAMES)
each_stamp_feature = pytest.mark.parametrize("name", OF_STAMPS)
each_survey = pytest.mark.parametrize("survey", SURVEYS)
each_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module")
def alerts(real_packets: Path, manifest: Path) -> dict[str, AlertBatch]:
    return {
        survey: read(sample(manifest, real_packets, survey, n), survey) for survey, n in (("ztf", 48), ("rubin", 16))
    }


@pytest.fixture(scope="module")
def measured(alerts: dict[str, AlertBatch]) -> dict[tuple[str, str], Matrix]:
    return {(s, way): extract(alerts[s], NAMES, compiled=flag) for s in SURVEYS for way, flag in WAYS.items()}


Measured = dict[tuple[str, str], Matrix]


def column(matrix: Matrix, name: str) -> np.ndarray:
    return matrix[:, NAMES.index(name)].astype(np.float64)


def spread(values: np.ndarray) -> float:
    """Distance of the 10th and 90th percentile, what a feature varies by."""
    low, high = np.nanpercentile(values, [10, 90])
    return float(high - low)


# the sweeps are not empty


def test_there_are_features_and_alerts_to_sweep(alerts: dict[str, AlertBatch]) -> None:
    assert len(NAMES) >= 90
    assert len(OF_STAMPS) >= 60
    assert {CATALOGUE[name].family for name in NAMES} == set(FAMILIES)
    assert [len(alerts[survey]) for survey in SURVEYS] == [48, 16]
    holes = np.isnan(alerts["ztf"].triplets).any(axis=(1, 2, 3))
    assert 8 <= holes.sum() <= 24


@each_feature
def test_a_feature_says_what_it_is(name: str) -> None:
    feature = CATALOGUE[name]
    assert feature.definition.endswith(".")
    assert feature.source
    assert feature.low < feature.high
    assert set(feature.nan.split()) <= set(NAN_RULES)
    assert bool(feature.stamps) or bool(feature.columns)
    assert set(feature.stamps) <= set("DST")
    assert feature.surveys


def test_some_values_are_defined_for_every_feature_of_a_survey(measured: Measured) -> None:
    for survey in SURVEYS:
        defined = np.isfinite(measured[survey, "plain"]).any(axis=0)
        expected = {name for name in NAMES if survey in CATALOGUE[name].surveys}
        # the sampled Rubin packets come with neither trail fits nor anything else but dipole fits of a tenth of them
        expected -= {"trail_chi2_ratio", "dipole_chi2_ratio"}
        assert expected <= {name for name, here in zip(NAMES, defined, strict=True) if here}


# one by one, compiled, turned, scaled


@each_way
@each_survey
def test_a_batch_gives_what_single_alerts_give(
    alerts: dict[str, AlertBatch], measured: Measured, survey: str, way: str
) -> None:
    rows = range(0, len(alerts[survey]), 3)
    single = np.concatenate([extract(rows_of(alerts[survey], [i]), NAMES, compiled=WAYS[way]) for i in rows])
    np.testing.assert_array_equal(single, measured[survey, way][::3])


@each_way
def test_the_order_and_size_of_a_batch_do_not_matter(
    alerts: dict[str, AlertBatch], measured: Measured, way: str
) -> None:
    order = list(np.random.default_rng(1).permutation(48)) * 2
    assert len(order) > TOGETHER
    shuffled = extract(rows_of(alerts["ztf"], order), NAMES, compiled=WAYS[way])
    np.testing.assert_array_equal(shuffled, measured["ztf", way][order])


@each_feature
@each_survey
def test_the_compiled_value_is_the_plain_one(measured: Measured, survey: str, name: str) -> None:
    plain, fast = (column(measured[survey, way], name) for way in ("plain", "compiled"))
    # sums in another order differ in the last bits of a float64; 1e-5 leaves room for differences of large sums
    np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-7)


@each_way
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_flips_and_quarter_turns_change_nothing(
    alerts: dict[str, AlertBatch], measured: Measured, symmetry: str, way: str
) -> None:
    part = rows_of(alerts["ztf"], list(range(0, 48, 2)))
    turned = _with_stamps(part, SYMMETRIES[symmetry](part.triplets))
    names = OF_STAMPS
    got = extract(turned, names, compiled=WAYS[way])
    expected = measured["ztf", way][::2][:, [NAMES.index(name) for name in names]]
    for j, name in enumerate(names):
        np.testing.assert_allclose(got[:, j], expected[:, j], rtol=1e-6, atol=1e-6, err_msg=name)


@each_way
def test_the_scale_of_the_stamps_does_not_matter(alerts: dict[str, AlertBatch], measured: Measured, way: str) -> None:
    scaled = _with_stamps(alerts["ztf"], alerts["ztf"].triplets * np.float32(4))
    got = extract(scaled, OF_STAMPS, compiled=WAYS[way])
    for j, name in enumerate(OF_STAMPS):
        np.testing.assert_allclose(got[:, j], column(measured["ztf", way], name), rtol=1e-6, atol=1e-6, err_msg=name)


@each_way
def test_a_constant_added_to_a_stamp_changes_nothing_but_sumrat(alerts: dict[str, AlertBatch], way: str) -> None:
    coarse = np.rint(alerts["ztf"].triplets * 16) / 16  # so that adding 64 is exact in float32
    names = [name for name in OF_STAMPS if name != "sumrat"]  # defined on raw values, as ZTF does
    for stamp in (DIFFERENCE, SCIENCE, TEMPLATE):
        lifted = coarse.copy()
        lifted[:, stamp] += 64
        before, after = (
            extract(_with_stamps(alerts["ztf"], stamps), names, compiled=WAYS[way]) for stamps in (coarse, lifted)
        )
        # a background of several hundred costs float32 deviations from it a few bits
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)


def _with_stamps(alerts: AlertBatch, triplets: np.ndarray) -> AlertBatch:
    return batch(triplets, alerts.columns, alerts.survey)


# NaN, infinities, masks


@each_feature
@each_survey
def test_values_lie_in_the_stated_range(measured: Measured, survey: str, name: str) -> None:
    values, feature = column(measured[survey, "compiled"], name), CATALOGUE[name]
    assert not np.isinf(values).any()
    defined = values[~np.isnan(values)]
    low, high = np.float32(feature.low), np.float32(feature.high)
    assert ((defined >= low) & (defined <= high)).all(), (defined.min(), defined.max())


@pytest.fixture(scope="module")
def nonsense() -> AlertBatch:
    """Stamps that measure nothing: empty, flat, zero, sentinels, huge, one pixel, all columns missing."""
    rng = np.random.default_rng(5)
    triplets = rng.normal(size=(9, 3, 63, 63)).astype(np.float32)
    triplets[0] = np.nan
    triplets[1] = 7
    triplets[2] = 0
    triplets[3] = -3.4e38
    triplets[4] *= 1e29
    triplets[5] = np.where(np.arange(63) == 31, triplets[5], np.nan)
    triplets[6] = np.inf
    triplets[7, DIFFERENCE] = -np.abs(triplets[7, DIFFERENCE])
    triplets[8] *= 1e-38
    missing = {name: np.full(9, np.nan) for name in COLUMNS}
    return batch(triplets, missing)


@each_way
def test_nonsense_gives_nan_and_never_an_infinity_or_an_exception(nonsense: AlertBatch, way: str) -> None:
    values = extract(nonsense, NAMES, compiled=WAYS[way])
    assert not np.isinf(values).any()
    for name in NAMES:
        feature, got = CATALOGUE[name], column(values, name)
        if feature.nan == "N0":
            assert not np.isnan(got).any(), name
        else:
            assert np.isnan(got[0]), name  # empty stamps, no columns


def test_compiled_and_plain_agree_on_where_nonsense_is_nan(nonsense: AlertBatch) -> None:
    rows = [0, 2, 3, 5, 6]  # nothing to measure; the others differ by what rounding makes of a difference of equals
    plain, fast = (extract(rows_of(nonsense, rows), NAMES, compiled=flag) for flag in (False, True))
    np.testing.assert_array_equal(np.isnan(fast), np.isnan(plain))


@each_way
def test_undefined_only_where_documented(way: str) -> None:
    """On clean stamps only rules N2 and N3 may strike; with clean noise and a source not even these, for stamps."""
    clean = batch(np.array([scene("on host", seed) for seed in range(8)]))
    values = extract(clean, OF_STAMPS, compiled=WAYS[way])
    assert not np.isnan(values).any(), [
        n for n, bad in zip(OF_STAMPS, np.isnan(values).any(axis=0), strict=True) if bad
    ]


@each_stamp_feature
def test_masking_a_tenth_of_the_pixels_moves_a_feature_little(
    alerts: dict[str, AlertBatch], measured: Measured, name: str, masked: Matrix
) -> None:
    before, after = column(measured["ztf", "compiled"], name), column(masked, name)
    both = ~np.isnan(before) & ~np.isnan(after)
    assert both.sum() >= 36
    if name.startswith("nan_frac"):
        assert np.median(after - before) == pytest.approx(0.1, abs=0.01)
        return
    # half of the alerts move by less than half of what the feature varies by
    assert np.median(np.abs(after - before)[both]) <= 0.5 * max(spread(before), 1e-3)


@pytest.fixture(scope="module")
def masked(alerts: dict[str, AlertBatch]) -> Matrix:
    rng = np.random.default_rng(3)
    stamps = alerts["ztf"].triplets
    holes = rng.random((len(stamps), 1, 63, 63)) < 0.1
    return extract(_with_stamps(alerts["ztf"], np.where(holes, np.float32(np.nan), stamps)), NAMES)


@each_way
def test_zero_rows_and_sentinels_count_as_missing(alerts: dict[str, AlertBatch], way: str) -> None:
    stamps = {fill: alerts["ztf"].triplets[:8].copy() for fill in (0.0, np.nan, -3.4e38)}
    for fill, triplets in stamps.items():
        triplets[:, :, :5] = fill
        triplets[:, :, :, 60:] = fill
    a, b, c = (
        extract(_with_stamps(rows_of(alerts["ztf"], list(range(8))), triplets), OF_STAMPS, compiled=WAYS[way])
        for triplets in stamps.values()
    )
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(c, b)


# no two alike


def alike(values: np.ndarray, names: tuple[str, ...]) -> set[frozenset[str]]:
    """Pairs of features with a correlation beyond 0.9999 over the alerts where both are defined."""
    found = set()
    for i in range(len(names)):
        for j in range(i):
            both = ~np.isnan(values[:, i]) & ~np.isnan(values[:, j])
            a, b = values[both, i].astype(float), values[both, j].astype(float)
            if both.sum() > 2 and a.std() > 0 and b.std() > 0 and abs(np.corrcoef(a, b)[0, 1]) > 0.9999:
                found.add(frozenset((names[i], names[j])))
    return found


@pytest.fixture(scope="module")
def varied(alerts: dict[str, AlertBatch]) -> Matrix:
    """Real alerts, each stamp with holes of its own, so that shares of missing pixels differ between stamps."""
    rng = np.random.default_rng(9)
    stamps = alerts["ztf"].triplets
    share = rng.uniform(0, 0.1, (len(stamps), 3, 1, 1))
    return extract(_with_stamps(alerts["ztf"], np.where(rng.random(stamps.shape) < share, np.nan, stamps)), NAMES)


def test_no_two_features_are_the_same(varied: Matrix) -> None:
    assert alike(varied, NAMES) == set()


def test_a_feature_that_returns_another_is_found(varied: Matrix) -> None:
    planted = varied.copy()
    planted[:, NAMES.index("n3sig3")] = planted[:, NAMES.index("n2sig3")]  # the bug of a public pipeline
    assert alike(planted, NAMES) == {frozenset(("n2sig3", "n3sig3"))}


# inputs


@each_way
def test_the_input_is_not_written_to_and_its_layout_does_not_matter(
    alerts: dict[str, AlertBatch], measured: Measured, way: str
) -> None:
    stamps = np.asfortranarray(alerts["ztf"].triplets)
    stamps.setflags(write=False)
    before = hashlib.sha256(stamps.tobytes()).hexdigest()
    frozen = alerts["ztf"]
    for values in frozen.columns.values():
        values.setflags(write=False)
    odd = AlertBatch(**{**vars(frozen), "triplets": stamps})
    np.testing.assert_array_equal(extract(odd, NAMES, compiled=WAYS[way]), measured["ztf", way])
    assert hashlib.sha256(stamps.tobytes()).hexdigest() == before


@each_feature
def test_a_feature_reads_the_columns_it_declares_and_no_others(alerts: dict[str, AlertBatch], name: str) -> None:
    view = View(rows_of(alerts["ztf"], [0, 1]))
    CATALOGUE[name](view)
    shared = (
        {"psf_fwhm_px", "diff_sign"} if CATALOGUE[name].stamps else set()
    )  # of the quantities that all stamps share
    assert view.columns_read - shared == set(CATALOGUE[name].columns) - shared


# The deny-list by survey name, and by ours where the column exists in a batch.
DENIED = [
    "rb", "drb", "rbversion", "drbversion", "reliability", "braai",
    "ssdistnr", "ssmagnr", "ssnamenr", "ssObjectId", "mpc_orbits", "glint_trail",
    "ndethist", "ncovhist", "jdstarthist", "jdendhist", "prv_candidates", "fp_hists",
    "nDiaSources", "candid", "objectId", "jd", "nid", "pid",
    "rfid", "tblid", "pdiffimfilename", "programid", "programpi", "tooflag",
    "schemavsn", "publisher", "jdstartref", "jdendref", "diaSourceId", "diaObjectId",
    "visit", "midpointMjdTai", "ra", "dec", "ranr", "decnr",
    "field", "rcid", "xpos", "ypos", "mindtoedge", "x",
    "y", "detector", "exptime", "nframesref", "ra_deg", "dec_deg",
    "mjd", "exposure_s", "chip_x_px", "chip_y_px", "position_error_arcsec", "survey_rb",
    "survey_drb",
]  # fmt: skip


@pytest.mark.parametrize("name", DENIED)
def test_a_denied_column_raises(name: str) -> None:
    with pytest.raises(DeniedColumn, match=name):
        View(batch(np.zeros((1, 3, 63, 63)))).column(name)


def test_every_denied_column_of_a_batch_is_tried() -> None:
    assert {name for name, meaning in COLUMNS.items() if meaning.denied} <= set(DENIED)


def test_the_sign_of_the_difference_is_no_feature(alerts: dict[str, AlertBatch], measured: Measured) -> None:
    sign = alerts["ztf"].columns["diff_sign"]
    assert set(sign) == {-1.0, 1.0}
    for name in NAMES:
        values = column(measured["ztf", "compiled"], name)
        ok = ~np.isnan(values)
        if ok.sum() > 10 and values[ok].std() > 0:
            assert abs(np.corrcoef(values[ok], sign[ok])[0, 1]) < 0.98, name


# sets and versions


@pytest.mark.parametrize("chosen", FEATURE_SETS)
def test_a_set_holds_features_that_training_may_use(chosen: str) -> None:
    members = FEATURE_SETS[chosen]
    assert len(set(members)) == len(members) >= 60
    assert not [name for name in members if CATALOGUE[name].caution]


@pytest.mark.parametrize("chosen", [name for name in FEATURE_SETS if not name.startswith("full")])
def test_sets_for_streams_are_compiled(chosen: str) -> None:
    assert set(FEATURE_SETS[chosen]) <= COMPILED


@pytest.mark.parametrize("chosen", [name for name in FEATURE_SETS if name.startswith("pixel")])
def test_the_pixel_sets_read_no_columns_but_width_and_sign(chosen: str) -> None:
    assert all(set(CATALOGUE[name].columns) <= {"diff_sign"} for name in FEATURE_SETS[chosen])


def test_columns_come_in_the_order_asked_for(alerts: dict[str, AlertBatch], measured: Measured) -> None:
    wanted = ["snr", "n_peaks", "psf_ncc", "host_mag"]
    got = extract(alerts["ztf"], wanted)
    np.testing.assert_array_equal(got, measured["ztf", "compiled"][:, [NAMES.index(name) for name in wanted]])
    assert got.dtype == np.float32


def test_an_empty_batch_gives_an_empty_matrix() -> None:
    assert extract(batch(np.empty((0, 3, 63, 63))), NAMES).shape == (0, len(NAMES))


@pytest.mark.parametrize("ask", [lambda names: extract(batch(np.zeros((1, 3, 63, 63))), names), features.digest])
def test_an_unknown_feature_is_named(ask: Callable[[list[str]], object]) -> None:
    with pytest.raises(FeatureMismatch, match="not known here: magic") as caught:
        ask(["psf_ncc", "magic"])
    assert caught.value.missing == ("magic",)


def test_a_model_trained_on_other_definitions_is_refused_and_told_which() -> None:
    trained = features.definitions(FEATURE_SETS["fast-1"])
    features.check(trained)
    with pytest.raises(FeatureMismatch, match=r"not known here: magic; defined differently: psf_ncc") as caught:
        features.check({**trained, "psf_ncc": trained["psf_ncc"] + 1, "magic": 1})
    assert (caught.value.missing, caught.value.changed) == (("magic",), ("psf_ncc",))


def test_a_digest_depends_on_names_order_and_definitions() -> None:
    one = features.digest(["psf_ncc", "snr"])
    assert one == features.digest(["psf_ncc", "snr"])
    assert len({one, features.digest(["snr", "psf_ncc"]), features.digest(["psf_ncc"])}) == 3
