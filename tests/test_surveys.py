"""Survey records become columns of one meaning: units, signs, sentinels, time scales, and nothing lost on the way."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import fastavro
import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from survey_cases import IMAGE, LIMITS, MAKE, STAMP, batch_of, column, decoded, fits_of, packet, rubin, ztf

from realbogus import packets
from realbogus.alerts import CENTRE, COLUMNS, DIFFERENCE, SCIENCE
from realbogus.errors import Reason
from realbogus.packets import SchemaStore
from realbogus.surveys import SURVEYS, recognise
from realbogus.surveys.rubin import PIXEL_FLAGS, utc_of_tai

# recognising


def schema(name: str, fields: Sequence[str], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": field, "type": "bytes"} for field in fields], **more}


CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
ZTF_FIELDS = ("candid", "candidate", *CUTOUTS)


@pytest.mark.parametrize(
    ("writer", "expected"),
    [
        (schema("alert", ZTF_FIELDS, namespace="ztf", version="1.8"), ("ztf", "ztf/1.8")),
        (schema("ztf.alert", ZTF_FIELDS, version="4.02"), ("ztf", "ztf/4.02")),
        (schema("ztf.alert", ZTF_FIELDS, version="../../etc"), ("ztf", "ztf/unknown")),
        ([schema("ztf.cutout", ()), schema("ztf.alert", ZTF_FIELDS, version="1.1")], ("ztf", "ztf/1.1")),
        (schema("alert", ZTF_FIELDS, namespace="winter", version="0.1"), None),
        (schema("alert", ZTF_FIELDS, namespace="zuds", version="0.1"), None),
        (schema("alert", ZTF_FIELDS, version="4.02"), None),
        (schema("ztf.alert", ("candid", "candidate"), version="4.02"), None),
        (schema("lsst.v10_0.alert", ("diaSource", *CUTOUTS)), ("rubin", "rubin/10.0")),
        (schema("alert", ("diaSource", *CUTOUTS), namespace="lsst.v9_0"), ("rubin", "rubin/9.0")),
        (schema("lsst.v10_0.alert", CUTOUTS), None),
        (schema("rapid.v00_02.alert", ("diaSource", *CUTOUTS)), None),
        ({"type": "enum", "name": "ztf.alert"}, None),
        ({}, None),
        ([], None),
        ("string", None),
    ],
)
def test_a_survey_is_recognised_by_its_own_name_and_fields(writer, expected):
    assert recognise(writer) == expected


@pytest.mark.packets
def test_only_ztf_and_rubin_are_recognised_among_all_shared_packets(real_packets: Path):
    seen = Counter()
    for path in sorted(real_packets.glob("*/*.avro")):
        raw = path.read_bytes()
        if raw[:4] == b"Obj\x01" and path.parent.name != "damaged":
            survey, _ = recognise(json.loads(container_schema(raw))) or ("", "")
            seen[path.parent.name, survey] += 1
    assert {folder for folder, survey in seen if survey} == {"ztf", "rubin"}
    assert seen["ztf", "ztf"] == 1612
    assert {("ztf", ""), ("rubin", "")}.isdisjoint(seen)


def container_schema(raw: bytes) -> bytes:
    """The writer schema's text, found by its key: a varint length and then the text."""
    at, length, shift = raw.index(b"avro.schema") + 11, 0, 0
    while True:
        byte = raw[at]
        length, shift, at = length | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return raw[at : at + (length >> 1)]


# columns


@pytest.mark.parametrize("survey", SURVEYS)
def test_every_column_is_there_and_wide_ids_keep_every_digit(survey):
    batch, rejected = batch_of(survey, MAKE[survey](), MAKE[survey]())
    assert not rejected
    assert list(batch.columns) == list(COLUMNS)
    assert all(values.shape == (2,) and values.dtype == np.float64 for values in batch.columns.values())
    assert batch.candid.tolist() == [2**60 + 1] * 2
    assert batch.index.tolist() == [0, 10]
    assert batch.triplets.dtype == np.float32


@pytest.mark.parametrize("survey", SURVEYS)
def test_no_message_gives_an_empty_batch(survey):
    batch, rejected = batch_of(survey)
    assert len(batch) == len(rejected) == 0
    assert batch.triplets.shape == (0, 3, 63, 63)


@pytest.mark.parametrize(
    ("name", "value", "candidate"),
    [
        ("psf_fwhm_px", 2.4, {}),
        ("psf_fwhm_px", np.nan, {"fwhm": -0.94}),
        ("psf_fwhm_px", np.nan, {"seeratio": -999.0}),
        ("psf_fwhm_px", np.nan, {"seeratio": 1e200, "fwhm": 1e200}),
        ("fwhm_over_psf", 1.25, {}),
        ("snr_psf", 10.857, {}),
        ("host_distance_arcsec", 2.02, {}),
        ("host_absent", 0, {}),
        ("host_absent", 1, {"distnr": 5.0}),
        ("host_absent", 1, {"distnr": -999.0}),
        ("host_absent", np.nan, {"distnr": None}),
        ("gaia_bright_distance_arcsec", 40, {}),
        ("gaia_bright_distance_arcsec", np.inf, {"neargaiabright": -999.0, "maggaiabright": -999.0}),
        ("gaia_bright_distance_arcsec", np.nan, {"neargaiabright": None}),
        ("gaia_bright_mag", np.nan, {"neargaiabright": -999.0, "maggaiabright": -999.0}),
        ("ps1_distance_arcsec", np.nan, {"distpsnr1": 120.0}),
        ("ps1_star_score", np.nan, {"distpsnr1": 120.0, "sgscore1": 0.2}),
        ("ps1_star_score", 0.7, {"sgscore": 0.7}),
        ("sharpness_snr", -999.5, {"dsdiff": -999.5}),
        ("sharpness_snr", np.nan, {"dsdiff": np.float32(-999.0)}),
        ("diff_sign", -1, {"isdiffpos": "f"}),
        ("diff_sign", -1, {"isdiffpos": "0"}),
        ("diff_sign", 1, {"isdiffpos": "1"}),
        ("ra_deg", 0, {"ra": 360.0}),
        ("mjd", 60000 + 30 / 86400, {}),
        ("mjd", 60000 + 15 / 86400, {"exptime": None}),
        ("exposure_s", 30, {"exptime": None}),
        ("survey_rb", 0.5, {"rb": 0.5}),
        ("detector", 42, {"rcid": 42}),
        ("detector", np.nan, {"rcid": -999}),
        ("position_error_arcsec", np.hypot(0.1, 2.4 * 1.01 / 2.3548 / 10.857), {}),
        ("position_error_arcsec", 0.5, {"seeratio": None}),
    ],
)
def test_ztf_columns(name, value, candidate):
    np.testing.assert_allclose(column("ztf", name, ztf(**candidate)), value, rtol=1e-4 if name != "mjd" else 1e-14)


@pytest.mark.parametrize(
    ("name", "value", "source"),
    [
        ("psf_fwhm_px", 2.3548 * 0.4 / 0.2, {}),
        ("psf_fwhm_px", np.nan, {"ixxPSF": None}),
        ("mag_psf", 31.4 - 7.5, {}),
        ("mag_psf", 31.4 - 7.5, {"psfFlux": -1000.0, "isNegative": True}),
        ("mag_psf", 31.4 - 2.5 * np.log10(999), {"psfFlux": -999.0}),
        ("mag_psf_err", 1.0857 * 0.05, {}),
        ("mag_aperture", np.nan, {"apFlux": -1100.0}),
        ("mag_limit", 31.4 - 2.5 * np.log10(250), {}),
        ("snr_psf", 20, {}),
        ("snr_psf", np.nan, {"psfFluxErr": -1.0}),
        ("host_absent", 0, {}),
        ("host_absent", 1, {"templateFlux": 59.0}),
        ("host_absent", np.nan, {"templateFlux": None}),
        ("host_mag", 31.4 - 2.5 * np.log10(400), {}),
        ("host_mag", np.nan, {"templateFlux": 59.0}),
        ("host_mag_err", 1.0857 * 0.05, {}),
        ("stellarity", 0.75, {}),
        ("flag_count", 0, {}),
        ("flag_count", 2, {"pixelFlags_cr": True, "pixelFlags_bad": True, "pixelFlags_injected": True}),
        ("flag_count", np.nan, dict.fromkeys(PIXEL_FLAGS)),
        ("chi2_psf_catalogue", 1, {}),
        ("dipole_chi2_ratio", 0.5, {}),
        ("dipole_chi2_ratio", np.nan, {"dipoleFitAttempted": False}),
        ("dipole_chi2_ratio", np.nan, {"dipoleNdata": 0}),
        ("major_axis_px", np.sqrt(0.2) / 0.2, {}),
        ("minor_axis_px", np.sqrt(0.1) / 0.2, {}),
        ("minor_axis_px", np.nan, {"ixy": 0.5}),
        ("fwhm_over_psf", np.sqrt(0.3 / 0.32), {}),
        ("diff_sign", -1, {"isNegative": True}),
        ("exposure_s", 30, {}),
        ("position_error_arcsec", 0.036, {}),
        ("survey_drb", 0.9, {"reliability": 0.9}),
        ("detector", 188, {"detector": 188}),
    ],
)
def test_rubin_columns(name, value, source):
    np.testing.assert_allclose(column("rubin", name, rubin(**source)), value, rtol=1e-4)


def test_tai_becomes_utc_as_in_astropy():
    mjd = np.array([41317.0, 57753.9, 57754.0, 57754.1, 61041.22, 61800.0])
    np.testing.assert_array_equal(utc_of_tai(mjd), Time(mjd, format="mjd", scale="tai").utc.mjd)
    assert np.isnan(utc_of_tai(np.array([np.nan, 1e300, -1e300]))).all()
    np.testing.assert_allclose(column("rubin", "mjd", rubin()), 61041.25 - 37 / 86400, rtol=1e-15)


@pytest.mark.parametrize(
    ("source", "name"),
    [({}, "77"), ({"diaObjectId": None, "ssObjectId": 5}, "SS5"), ({"diaObjectId": 0, "ssObjectId": None}, "")],
)
def test_a_rubin_object_is_named_by_what_it_is(source, name):
    assert batch_of("rubin", rubin(**source))[0].object_id == [name]


def test_the_oldest_ztf_packets_name_the_object_in_the_candidate():
    record = ztf(name="ZTF17aaaaaaa")
    del record["objectId"]
    assert batch_of("ztf", record)[0].object_id == ["ZTF17aaaaaaa"]


@pytest.mark.parametrize(
    ("survey", "changes", "band"),
    [
        ("ztf", {"fid": 1}, "g"),
        ("ztf", {"fid": 3}, "i"),
        ("ztf", {"fid": 9}, ""),
        ("rubin", {"band": "z"}, "z"),
        ("rubin", {"band": "\x00"}, ""),
    ],
)
def test_bands_have_one_name(survey, changes, band):
    assert batch_of(survey, MAKE[survey](**changes))[0].band == [band]


def test_only_the_difference_of_a_negative_rubin_source_is_turned():
    up, down = (batch_of("rubin", rubin(isNegative=sign))[0].triplets[0] for sign in (False, True))
    np.testing.assert_array_equal(up[SCIENCE], down[SCIENCE])
    np.testing.assert_array_equal(up[DIFFERENCE], -down[DIFFERENCE])
    negative = batch_of("ztf", ztf(isdiffpos="f"))[0].triplets[0]
    np.testing.assert_array_equal(negative[DIFFERENCE], IMAGE.astype(np.float32))


# rejecting


@pytest.mark.parametrize(
    ("survey", "changes", "detail"),
    [
        ("ztf", {"ra": 400.0}, "right ascension is 400, expected 0 to 360 deg"),
        ("ztf", {"ra": -999.0}, "right ascension is missing, expected 0 to 360 deg"),
        ("ztf", {"dec": 90.5}, "declination is 90.5, expected -90 to 90 deg"),
        ("ztf", {"jd": 60000.0}, "time is -2340000.5, expected MJD 47892 to 88069"),
        ("ztf", {"jd": None}, "time is missing, expected MJD 47892 to 88069"),
        ("ztf", {"isdiffpos": "maybe"}, "isdiffpos is 'maybe', expected t, f, 1 or 0"),
        ("ztf", {"isdiffpos": None}, "isdiffpos is '', expected t, f, 1 or 0"),
        ("rubin", {"midpointMjdTai": 0.0}, "time is 0, expected MJD 47892 to 88069"),
        ("rubin", {"isNegative": None}, "isNegative is missing, so the sign of the difference is unknown"),
        ("rubin", {"diaSourceId": -3}, "the id of the detection (candid) is -3, expected above 0"),
        ("rubin", {"diaSourceId": None}, "the packet has no id of its detection (candid)"),
    ],
)
def test_nonsense_is_rejected_with_what_was_expected_and_found(survey, changes, detail):
    batch, (rejected,) = batch_of(survey, MAKE[survey](**changes))
    assert len(batch) == 0
    assert (rejected.reason, rejected.detail, rejected.survey) == (Reason.BAD_VALUE, detail, survey)


def test_an_id_of_a_megabyte_is_rejected_and_not_carried_on():
    _, (rejected,) = batch_of("ztf", ztf() | {"objectId": "Z" * 2**20})
    assert "1048576 characters" in rejected.detail
    assert len(rejected.object_id) == 64


@pytest.mark.parametrize(
    ("stamp", "reason", "detail"),
    [
        (None, Reason.MISSING_STAMP, "the packet lacks stamps: template"),
        (b"", Reason.MISSING_STAMP, "the packet lacks stamps: template"),
        (b"junk", Reason.BAD_STAMP, "the template stamp is not FITS that can be read"),
        (STAMP[:-9], Reason.BAD_STAMP, "the template stamp does not inflate"),
        (
            gzip.compress(fits_of(IMAGE[:, :50])),
            Reason.BAD_STAMP,
            "the template stamp is 50 px wide, which position 1500",
        ),
        (
            gzip.compress(bytes(10**7)),
            Reason.OVERSIZE,
            "the template stamp inflates to more than the 262144 bytes allowed",
        ),
    ],
)
def test_a_bad_stamp_is_rejected_by_name_and_harms_no_neighbour(stamp, reason, detail):
    records = [ztf(magpsf=18.0 + row) for row in range(4)]
    bad = ztf() | {"cutoutTemplate": None if stamp is None else {"stampData": stamp}, "candid": 5}
    batch, rejected = batch_of("ztf", *records[:2], bad, ztf(ra=np.nan) | {"cutoutScience": None}, *records[2:])
    assert [one.index for one in rejected] == [20, 30]
    assert (rejected[0].reason, rejected[0].candid) == (reason, 5)
    assert rejected[0].detail.startswith(detail)
    alone, _ = batch_of("ztf", *records)
    assert batch.index.tolist() == [0, 10, 40, 50]
    np.testing.assert_array_equal(batch.triplets, alone.triplets)
    for name, values in alone.columns.items():
        np.testing.assert_array_equal(batch.columns[name], values)


@pytest.mark.parametrize("stamp", [None, b"junk", STAMP[:-9], gzip.compress(bytes(10**7))])
def test_a_bad_stamp_does_not_hold_on_to_the_stamps_of_its_batch(stamp):
    """An error that is kept with its traceback keeps all that the functions on its way held: 12 MB a batch."""
    bad = ztf() | {"cutoutTemplate": None if stamp is None else {"stampData": stamp}}
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        batch_of("ztf", ztf(), bad)
        gc.collect()
        held = {one.f_code.co_name for one in gc.garbage if isinstance(one, FrameType)}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert held == set()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SURVEYS)), st.data())
def test_any_numbers_end_as_a_row_or_rejected(survey, data):
    plain = decoded(survey, [MAKE[survey]() for _ in range(3)])
    odd = st.one_of(st.floats(), st.sampled_from([-999.0, 0.0, -1.0, 1e300, np.inf]))
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, 2)), data.draw(st.integers(0, plain.numbers.shape[1] - 1))
        plain.numbers[place] = data.draw(odd)
    plain.integers[0, 0] = data.draw(st.integers(-(2**63), 2**63 - 1))
    plain.present[1, 0] = data.draw(st.booleans())
    batch, rejected = SURVEYS[survey].to_batch(plain, LIMITS)
    assert sorted([*batch.index.tolist(), *(one.index for one in rejected)]) == [0, 10, 20]
    for name, values in batch.columns.items():
        assert not np.isinf(values).any() or name == "gaia_bright_distance_arcsec"


# real packets


def records_in(folder: Path) -> list[dict[str, Any]]:
    raws = (path.read_bytes() for path in sorted(folder.glob("*.avro")))
    return [next(fastavro.reader(io.BytesIO(raw))) for raw in raws if raw[:4] == b"Obj\x01"]


@pytest.fixture(scope="module")
def ztf_records(real_packets: Path) -> list[dict[str, Any]]:
    return records_in(real_packets / "ztf")


@pytest.fixture(scope="module")
def rubin_records(real_packets: Path) -> list[dict[str, Any]]:
    return records_in(real_packets / "rubin")


@pytest.mark.packets
def test_every_ztf_packet_with_three_stamps_becomes_a_row(ztf_records, manifest):
    batch, rejected = batch_of("ztf", *ztf_records)
    with manifest.open() as file:
        complete = sorted(
            int(r["candid"]) for r in csv.DictReader(file) if r["survey"] == "ztf" and r["n_cutouts"] == "3"
        )
    assert sorted(batch.candid.tolist()) == complete
    assert len(batch) + len(rejected) == len(ztf_records)
    assert {one.reason for one in rejected} == {Reason.MISSING_STAMP}


@pytest.mark.packets
def test_real_candidates_are_positive_and_in_the_middle(ztf_records, rubin_records):
    """Nearly all: a blend or a bright neighbour may win in a few."""
    for survey, records in (("ztf", ztf_records), ("rubin", rubin_records)):
        difference = batch_of(survey, *records)[0].triplets[:, DIFFERENCE]
        centre = np.nanmean(difference[:, CENTRE - 2 : CENTRE + 3, CENTRE - 2 : CENTRE + 3], axis=(1, 2))
        assert (centre > 0).mean() > {"ztf": 0.99, "rubin": 0.9}[survey]


@pytest.mark.packets
def test_trimmed_ztf_stamps_keep_their_source_in_the_middle(ztf_records):
    """Most of the sixteen trimmed ones have their brightest pixels on the candidate; shifted, none would."""
    batch, _ = batch_of("ztf", *ztf_records)
    x, y = np.floor(batch.columns["chip_x_px"] + 0.5), np.floor(batch.columns["chip_y_px"] + 0.5)
    rows = np.flatnonzero((x < 32) | (y < 32) | (x > 3072 - 31) | (y > 3080 - 31))
    assert len(rows) == 16
    found = 0
    for difference in np.nan_to_num(batch.triplets[rows, DIFFERENCE]):
        smooth = sum(np.roll(difference, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1))
        row, col = np.unravel_index(smooth.argmax(), smooth.shape)
        found += bool(np.hypot(row - CENTRE, col - CENTRE) < 2)
    assert found >= 11


@pytest.mark.packets
def test_rubin_stamps_of_any_size_put_the_source_within_half_a_pixel_of_the_middle(rubin_records):
    for record in rubin_records:
        header = fits.getheader(io.BytesIO(record["cutoutDifference"]))
        image = fits.getdata(io.BytesIO(record["cutoutDifference"]))
        triplet = batch_of("rubin", record)[0].triplets[0, DIFFERENCE]
        top, left = first_row_and_column(triplet, -image if record["diaSource"]["isNegative"] else image)
        assert abs(top + header["CRPIX2"] - 1 - CENTRE) <= 0.5 + 1e-6
        assert abs(left + header["CRPIX1"] - 1 - CENTRE) <= 0.5 + 1e-6


def first_row_and_column(frame: np.ndarray, image: np.ndarray) -> tuple[int, int]:
    """Where the first pixel of image lies in frame, found by one pixel near the middle that has no twin."""
    y, x = image.shape[0] // 2, image.shape[1] // 2
    (row,), (col,) = np.nonzero(frame == np.float32(image[y, x]))
    return int(row) - y, int(col) - x


@pytest.mark.packets
def test_rubin_moments_are_in_square_arcsec(rubin_records):
    """The width they give is that of the PSF image in the third unit of each stamp."""
    ratios = []
    for record in rubin_records:
        psf = fits.getdata(io.BytesIO(record["cutoutDifference"]), 2)
        half = 2 * np.sqrt((psf > psf.max() / 2).sum() / np.pi)  # FWHM from the area above half the peak
        ratios.append(column("rubin", "psf_fwhm_px", record) / half)
    assert abs(np.median(ratios) - 1) < 0.1  # counting pixels is coarse; moments in square pixels would give 0.2


@pytest.mark.packets
@pytest.mark.parametrize("survey", SURVEYS)
def test_a_batch_gives_what_single_alerts_give(survey, ztf_records, rubin_records):
    records = (ztf_records if survey == "ztf" else rubin_records)[::23]
    together, rejected = batch_of(survey, *records)
    singles = [batch for batch, _ in (batch_of(survey, record) for record in records) if len(batch)]
    assert len(singles) == len(together) == len(records) - len(rejected)
    np.testing.assert_array_equal(np.concatenate([one.triplets for one in singles]), together.triplets)
    for name, values in together.columns.items():
        np.testing.assert_array_equal(np.concatenate([one.columns[name] for one in singles]), values)


# through the packets room


def read(messages: Sequence[bytes], bare_schema: str | None = None):
    """Batches by survey and everything rejected, as the front door does it."""
    wanted = {name: survey.fields for name, survey in SURVEYS.items()}
    groups, rejected = packets.read(
        messages, wanted=wanted, recognise=recognise, store=SchemaStore(), limits=LIMITS, bare_schema=bare_schema
    )
    batches = {}
    for group in groups:
        batches[group.survey], refused = SURVEYS[group.survey].to_batch(group, LIMITS)
        rejected += refused
    return batches, rejected


@pytest.mark.parametrize("survey", SURVEYS)
def test_a_packet_gives_what_its_record_gives(survey):
    record = MAKE[survey]()
    batches, rejected = read([packet(survey, record)])
    assert not rejected
    want, _ = batch_of(survey, record)
    assert_same(batches[survey], want)


def assert_same(got, want):
    assert got.candid.tolist() == want.candid.tolist()
    assert got.object_id == want.object_id
    assert got.band == want.band
    np.testing.assert_array_equal(got.triplets, want.triplets)
    for name, values in want.columns.items():
        np.testing.assert_array_equal(got.columns[name], values, err_msg=name)


@pytest.mark.packets
def test_all_shared_ztf_packets_read_as_their_records_do(real_packets, ztf_records):
    messages = [path.read_bytes() for path in sorted(real_packets.glob("ztf/*.avro"))]
    batches, rejected = read(messages)
    assert list(batches) == ["ztf"]
    assert sorted([*batches["ztf"].index.tolist(), *(one.index for one in rejected)]) == list(range(len(messages)))
    assert_same(batches["ztf"], batch_of("ztf", *ztf_records)[0])


@pytest.mark.packets
def test_every_shared_packet_is_a_row_or_rejected_with_its_reason(real_packets: Path):
    """Every damaged file has a reason, every other survey is told apart, every complete packet of ours is a row."""
    paths = sorted(real_packets.glob("*/*.avro"))
    batches, rejected = read([path.read_bytes() for path in paths], bare_schema="rubin/9.0")
    table = Counter((paths[one.index].parent.name, str(one.reason)) for one in rejected)
    table += Counter((paths[at].parent.name, "row") for batch in batches.values() for at in batch.index.tolist())
    assert sum(table.values()) == len(paths)
    assert {key: count for key, count in table.items() if key[0] in ("ztf", "rubin")} == {
        ("ztf", "row"): 1512,
        ("ztf", "missing_stamp"): 100,
        ("rubin", "row"): 171,
    }
    assert {folder for folder, what in table if what == "row"} == {"ztf", "rubin"}
    assert all(one.detail for one in rejected)
    print(*sorted(table.items()), sep="\n")  # noqa: T201 (the table of what became of all shared packets, with -s)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_flipped_and_cut_stamps_harm_no_neighbour(data):
    good, bad = ztf(), bytearray(STAMP)
    for _ in range(data.draw(st.integers(1, 3))):
        bad[data.draw(st.integers(0, len(bad) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(bad[: data.draw(st.integers(0, len(bad)))])
    batch, rejected = batch_of("ztf", good, good | {"cutoutScience": {"stampData": cut}}, good)
    assert sorted([*batch.index.tolist(), *(one.index for one in rejected)]) == [0, 10, 20]
    assert {one.index for one in rejected} <= {10}
    np.testing.assert_array_equal(batch.triplets[-1], batch.triplets[0])
