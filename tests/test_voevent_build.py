"""Scored alerts to VOEvents: content, determinism, hostile input."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.time import Time
from astropy.units import Unit
from lxml import etree
from voevent_cases import MODEL, STYLE, scored

from realbogus.errors import ConfigError, VOEventError
from realbogus.voevent import EventStyle, build
from realbogus.voevent.text import decimal, id_part

RAW = replace(MODEL, calibrated=False, threshold_p_real=None)


def params(xml: bytes) -> dict[str, str]:
    return {node.get("name"): node.get("value") for node in etree.fromstring(xml).iter("Param")}


def where(xml: bytes, path: str) -> str:
    return etree.fromstring(xml).findtext(f".//{path}") or ""


def test_an_event_names_object_candidate_survey_score_threshold_and_model():
    told = params(build(scored(), 0, STYLE).xml)
    expected = {
        "object_id": "ZTF20abcdefg",
        "candidate_id": "1234567890123456789",
        "survey": "ZTF",
        "rb_score": "0.950000",
        "rb_threshold": "0.600000",
        "rb_decision": "real",
        "rb_score_calibrated": "1",
        "rb_score_raw": "0.900000",
        "rb_threshold_raw": "0.500000",
        "model_name": "forest",
        "model_version": "1.2.0",
        "model_sha256": MODEL.sha256,
        "feature_set_version": "base-1:0a1b2c3d",
        "training_set_id": MODEL.training_set,
        "input_schema": "ztf/4.02",
        "mag_psf": "18.5300",
        "band": "r",
        "diff_sign": "positive",
        "survey_drb": "0.980000",
    }
    assert expected.items() <= told.items()


def test_the_event_object_repeats_what_its_bytes_say():
    event = build(scored(), 0, STYLE)
    assert event.object_id == "ZTF20abcdefg"
    assert event.candid == "1234567890123456789"
    assert (event.role, event.model, event.model_version) == ("test", "forest/1.2.0", "1.2.0")
    assert event.date == where(event.xml, "Date")


def test_the_ivorn_is_a_function_of_object_candidate_model_role_and_revision():
    assert build(scored(), 0, STYLE).ivorn == (
        "ivo://org.example.survey/realbogus#test_ZTF20abcdefg_1234567890123456789_forest_1.2.0_r0"
    )
    live = build(scored(), 0, replace(STYLE, role="observation"))
    assert live.ivorn == "ivo://org.example.survey/realbogus#ZTF20abcdefg_1234567890123456789_forest_1.2.0_r0"
    assert live.role == "observation"


def test_a_row_gives_the_same_bytes_in_any_batch():
    single = build(scored(1, candid=100 + 4), 0, STYLE)
    assert build(scored(9, candid=100), 4, STYLE) == single


def test_date_is_the_end_of_the_exposure_and_time_its_middle():
    xml = build(scored(mjd=60000.5, exposure_s=30.0), 0, STYLE).xml
    assert where(xml, "ISOTime") == "2023-02-25T12:00:00.000000"
    assert where(xml, "Time/Error") == "15.000"
    assert where(xml, "Date") == "2023-02-25T12:00:15"


def test_the_stated_time_is_that_of_astropy():
    mjd = 60123.987654321
    stated = Time(where(build(scored(mjd=mjd), 0, STYLE).xml, "ISOTime"), scale="utc")
    assert abs((stated - Time(mjd, format="mjd", scale="utc")).to_value("s")) < 2e-6  # a float64 MJD resolves 0.6 us


def test_unknown_exposure_leaves_the_error_of_the_time_out():
    xml = build(scored(mjd=60000.5, exposure_s=np.nan), 0, STYLE).xml
    assert b"<Error>" not in xml
    assert where(xml, "Date") == where(xml, "ISOTime")[:19]


def test_every_ucd_is_of_the_controlled_vocabulary():
    nodes = list(etree.fromstring(build(scored(), 0, STYLE).xml).iter("Param"))
    assert len(nodes) > 25
    for node in nodes:
        assert check_ucd(node.get("ucd"), check_controlled_vocabulary=True, has_colon=True), node.get("name")


@pytest.mark.parametrize("band", ["u", "g", "r", "i", "z", "y", ""])
def test_the_magnitude_of_every_band_has_a_valid_ucd(band):
    ucds = re.findall(rb'name="mag_psf"[^>]* ucd="([^"]*)"', build(scored(band=band), 0, STYLE).xml)
    assert len(ucds) == 1
    assert check_ucd(ucds[0].decode(), check_controlled_vocabulary=True)


def test_every_unit_is_a_vounit():
    units = {node.get("unit") for node in etree.fromstring(build(scored(), 0, STYLE).xml).iter()} - {None}
    assert units == {"mag", "s", "deg"}
    for unit in units:
        Unit(unit, format="vounit")


def test_numbers_are_plain_decimals():
    for node in etree.fromstring(build(scored(snr_psf=1e-9, mag_psf_err=123456.7), 0, STYLE).xml).iter("Param"):
        if node.get("dataType") == "float":
            assert re.fullmatch(r"-?\d+\.\d+", node.get("value")), node.get("name")


def test_a_model_that_does_not_tell_what_it_was_trained_on_is_named_without():
    event = build(scored(model=replace(MODEL, training_set="")), 0, STYLE)
    assert "training_set_id" not in params(event.xml)


def test_undefined_values_are_left_out():
    nothing = dict.fromkeys(("mag_psf", "mag_psf_err", "mag_limit", "snr_psf", "diff_sign", "survey_rb"), np.nan)
    xml = build(scored(**nothing, band="", survey_drb=-999.0), 0, STYLE).xml
    assert b'"photometry"' not in xml
    assert not {"survey_rb", "survey_drb"} & params(xml).keys()
    assert not re.search(rb'value="-?(nan|inf)"', xml, re.IGNORECASE)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_numbers_that_mean_nothing_are_left_out(value):
    assert "mag_psf" not in params(build(scored(mag_psf=value), 0, STYLE).xml)


@pytest.mark.parametrize(
    ("ra", "printed"),
    [(359.99999999, "0.0000000"), (0.0, "0.0000000"), (-0.0, "0.0000000"), (359.9999999, "359.9999999")],
)
def test_right_ascension_is_checked_as_printed(ra, printed):
    assert where(build(scored(ra_deg=ra), 0, STYLE).xml, "C1") == printed


def test_no_negative_zero_is_printed():
    assert where(build(scored(dec_deg=-1e-9), 0, STYLE).xml, "C2") == "0.0000000"
    assert decimal(-0.00000049, 6) == "0.000000"
    assert decimal(-0.0000006, 6) == "-0.000001"


@pytest.mark.parametrize(
    "column", [{"ra_deg": np.nan}, {"ra_deg": 400.0}, {"dec_deg": 90.1}, {"mjd": np.nan}, {"mjd": -2400000.5}]
)
def test_no_event_without_position_and_time(column):
    with pytest.raises(VOEventError, match="expected"):
        build(scored(**column), 0, STYLE)


@pytest.mark.parametrize(("stated", "printed"), [(0.36, "0.0001000"), (0.0, "0.0002778"), (1e-9, "0.0000001")])
def test_the_error_circle_is_never_zero(stated, printed):
    assert where(build(scored(position_error_arcsec=stated), 0, STYLE).xml, "Error2Radius") == printed


def test_an_unknown_position_error_takes_that_of_the_style():
    xml = build(scored(position_error_arcsec=np.nan), 0, replace(STYLE, position_error_arcsec=3.6)).xml
    assert where(xml, "Error2Radius") == "0.0010000"


def test_float_noise_in_a_probability_is_clamped():
    assert params(build(scored(p_real=1.0000001), 0, STYLE).xml)["rb_score"] == "1.000000"


@pytest.mark.parametrize("score", [1.01, -0.5, np.nan])
def test_a_score_outside_its_range_makes_no_event(score):
    with pytest.raises(VOEventError, match="score is"):
        build(scored(score=score), 0, STYLE)


def test_why_is_said_only_of_a_calibrated_probability():
    why = etree.fromstring(build(scored(), 0, STYLE).xml).find("Why")
    assert why is not None
    assert why.get("importance") == why[0].get("probability") == "0.950000"
    xml = build(scored(model=RAW, p_real=np.nan), 0, STYLE).xml
    assert b"<Why" not in xml
    told = params(xml)
    assert (told["rb_score"], told["rb_threshold"], told["rb_score_calibrated"]) == ("0.900000", "0.500000", "0")
    assert "rb_score_raw" not in told


def test_a_calibration_that_hides_the_decision_is_not_printed():
    flat = replace(MODEL, threshold_p_real=0.95)  # score below the threshold, its probability that of the threshold
    told = params(build(scored(model=flat, score=0.49, p_real=0.95), 0, STYLE).xml)
    assert (told["rb_decision"], told["rb_score"], told["rb_score_calibrated"]) == ("bogus", "0.490000", "0")


@pytest.mark.parametrize("score", [0.499999, 0.5, 0.500001])
def test_the_decision_follows_from_the_printed_numbers(score):
    told = params(build(scored(model=RAW, score=score), 0, STYLE).xml)
    assert told["rb_decision"] == ("real" if float(told["rb_score"]) >= float(told["rb_threshold"]) else "bogus")


def test_the_largest_contributions_are_told_in_words():
    root = etree.fromstring(build(scored(), 0, replace(STYLE, explained=3)).xml)
    told = root.findall(".//Group[@name='explanation']/Param")
    assert [(node.get("name"), node.get("value")) for node in told] == [
        ("host_distance", "0.300000"),
        ("peak_snr", "0.210000"),
        ("negative_pixels", "-0.120000"),
    ]
    assert told[2].findtext("Description") == "negative_pixels is 3, which speaks against real"


def test_without_contributions_there_is_no_explanation():
    assert b"explanation" not in build(scored(contributions=False), 0, STYLE).xml
    assert b"explanation" not in build(scored(), 0, replace(STYLE, explained=0)).xml


def test_pixels_are_linked_and_never_embedded():
    told = params(build(scored(), 0, STYLE).xml)
    url = "https://alerts.example.org/ZTF20abcdefg/1234567890123456789/difference.png"
    assert told["cutout_difference_url"] == url
    bare = EventStyle(authority="org.example.survey")
    assert b"Reference" not in build(scored(), 0, bare).xml


def test_an_unknown_survey_is_told_by_its_own_name():
    assert params(build(scored(survey="atlas"), 0, STYLE).xml)["survey"] == "atlas"


HOSTILE = {
    "NUL": "ZTF\x00x",
    "control": "ZTF\x01\x08\x1b[2J",
    "line break": "ZTF\r\nx",
    "U+FFFE": "ZTF\ufffe",
    "lone surrogate": "ZTF\ud800",
    "markup": "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>\"'&e;",
    "CDATA end": "]]>",
    "percent": "100%s %(x)s {0} {}",
    "other scripts": "Ω☉ 変光星 🔭",
    "empty": "",
    "long": "A" * 100_000,
    "bidirectional": "abc\u202edef",
    "path": "../../etc/passwd",
    "test": "test",
}


@pytest.mark.parametrize("object_id", HOSTILE.values(), ids=HOSTILE)
def test_hostile_object_ids_are_cleaned(object_id):
    event = build(scored(object_id=object_id), 0, STYLE)
    assert event.xml.isascii()
    assert len(event.xml) < 10_000
    assert re.fullmatch(r"ivo://org\.example\.survey/realbogus#test_[A-Za-z0-9._-]+", event.ivorn)
    assert len(event.ivorn) < 250


def test_two_objects_never_meet_in_one_id():
    names = [*HOSTILE.values(), "x", "xx", "x-", "ZTF x", "ZTF-x", "ZTF_x", "ZTF\x01x", id_part("ZTF x")]
    assert len({id_part(name) for name in names}) == len(set(names))


def test_other_scripts_survive_as_character_references():
    assert params(build(scored(object_id="Ω 変"), 0, STYLE).xml)["object_id"] == "Ω 変"


def test_hostile_bands_and_columns_are_cleaned():
    xml = build(scored(band='r"/><x>\x00'), 0, STYLE).xml
    assert params(xml)["band"] == 'r"/><x>\ufffd'


@pytest.mark.parametrize(
    "model", [replace(MODEL, version="1.0+dev"), replace(MODEL, version="1_0"), replace(MODEL, name="a b")]
)
def test_a_model_that_no_broker_takes_in_an_id_is_refused(model):
    with pytest.raises(VOEventError, match="cannot be named"):
        build(scored(model=model), 0, STYLE)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"authority": ""}, "that you own"),
        ({"authority": "ab"}, "3 to 64"),
        ({"authority": "org.example|x"}, "authority"),
        ({"stream": "a//b"}, "stream"),
        ({"stream": "a/../b"}, "stream"),
        ({"stream": "a/"}, "stream"),
        ({"role": "prediction"}, "role"),
        ({"contact_email": "nobody"}, "e-mail"),
        ({"object_url": "javascript:alert(1)"}, "http"),
        ({"object_url": "https://x.org/{oid}"}, "placeholders"),
        ({"object_url": "https://x.org/{object_id!r:>9}"}, "object_url"),
        ({"object_url": "https://x.org/{object_id"}, "object_url"),
        ({"cutout_url": "https://x.org/{object_id}.png"}, "stamp"),
        ({"position_error_arcsec": 0.0}, "0.001"),
        ({"author_title": " "}, "empty"),
        ({"explained": 99}, "explained"),
    ],
)
def test_a_style_that_receivers_would_refuse_is_refused_at_start(setting, says):
    with pytest.raises(ConfigError, match=says):
        EventStyle(**{"authority": "org.example.survey", **setting})


def test_all_problems_of_a_style_are_told_together():
    with pytest.raises(ConfigError) as caught:
        EventStyle(authority="", role="x", object_url="ftp://x")
    assert len(caught.value.problems) == 3


def test_the_authority_has_no_default():
    with pytest.raises(TypeError, match="authority"):
        EventStyle()
