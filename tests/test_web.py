"""Drawings and numbers of the pages: right against astropy, sound whatever they are given."""

from __future__ import annotations

import json
import math
import re

import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from web_cases import event

from realbogus.publish.http.catalogue import Entry
from realbogus.surveys.history import Point
from realbogus.voevent.reading import tell
from realbogus.voevent.twin import twin
from realbogus.web.cards import card, galactic_latitude, links_out, mjd_of, sexagesimal
from realbogus.web.lightcurve import legend, light_curve, sparkline
from realbogus.web.scales import plain, ticks
from realbogus.web.sky import HEIGHT, WIDTH, galactic_to_icrs, project, sky

RA, DEC = st.floats(0, 360, exclude_max=True), st.floats(-90, 90)
POINTS = st.lists(
    st.builds(
        Point,
        mjd=st.floats(50_000, 80_000),
        band=st.sampled_from(["g", "r", "i", "", '"><script>']),
        mag=st.floats(-4.9, 39.9),
        mag_err=st.floats(0, 5) | st.just(math.nan),
        sign=st.sampled_from([-1, 0, 1]),
    ),
    max_size=20,
)


@given(RA, DEC)
def test_directions_in_hours_and_degrees_are_those_of_astropy(ra, dec):
    told = sexagesimal(ra, dec)
    back = SkyCoord(told, unit=(units.hourangle, units.deg))
    assert back.separation(SkyCoord(ra * units.deg, dec * units.deg)).arcsec < 0.11
    assert re.fullmatch(r"\d\d \d\d \d\d\.\d\d [+-]\d\d \d\d \d\d\.\d", told)


def test_seconds_are_never_printed_as_sixty():
    assert sexagesimal(15 * (1 / 60) - 1e-9, 1 - 1e-9) == "00 01 00.00 +01 00 00.0"
    assert sexagesimal(359.9999999, -0.0000001) == "00 00 00.00 -00 00 00.0"


@given(st.floats(0, 360), st.floats(-90, 90))
def test_the_plane_of_the_galaxy_is_where_astropy_has_it(along, up):
    ra, dec = galactic_to_icrs(along, up)
    expected = SkyCoord(along * units.deg, up * units.deg, frame="galactic").icrs
    assert SkyCoord(ra * units.deg, dec * units.deg).separation(expected).arcsec < 1
    assert galactic_latitude(ra, dec) == pytest.approx(up, abs=1e-3)


@given(RA, DEC)
def test_every_direction_lies_on_the_map(ra, dec):
    x, y = project(ra, dec)
    assert ((x - WIDTH / 2) / 196) ** 2 + ((y - HEIGHT / 2) / 98) ** 2 <= 1 + 1e-9


def test_east_is_to_the_left_and_north_up():
    assert project(190, 0)[0] < project(180, 0)[0] < project(170, 0)[0]
    assert project(180, 10)[1] < project(180, 0)[1]
    assert project(180, 0) == (WIDTH / 2, HEIGHT / 2)


def test_labels_on_the_map_are_escaped():
    drawn = etree.fromstring(str(sky([(10.0, 20.0, '"><script>', '/x"onclick="')])))
    assert drawn.find(".//{*}title") is None or "script" in "".join(drawn.itertext())
    assert not [node for node in drawn.iter() if "script" in str(node.tag) or node.get("onclick")]


@given(POINTS, st.floats(50_000, 80_000))
def test_any_light_curve_is_drawn_well_formed_and_within_its_frame(points, now):
    for draw in (light_curve, sparkline):
        text = str(draw(points, now))
        if not points:
            assert text == ""
            continue
        drawn = etree.fromstring(text)
        assert "nan" not in text.lower().replace("nano", "")
        assert "script" not in text
        _, _, width, height = (float(part) for part in drawn.get("viewBox").split())
        for node in drawn.iter("path"):
            if node.get("class").startswith(("point", "limit")):
                x, y = re.fullmatch(r"translate\((\S+) (\S+)\)", node.get("transform")).groups()
                assert 0 <= float(x) <= width
                assert 0 <= float(y) <= height
    etree.fromstring(str(legend(points)))


def test_brighter_is_up_and_later_to_the_right_and_this_detection_ringed():
    points = [Point(60000.0, "g", 20.0, 0.1), Point(60005.0, "r", 18.0, 0.1), Point(60002.0, "r", 21.0, sign=0)]
    drawn = etree.fromstring(str(light_curve(points, 60005.0)))
    places = {
        node.get("class"): [float(part) for part in node.get("transform")[10:-1].split()]
        for node in drawn.iter("path")
        if node.get("transform")
    }
    assert places["point band-g"][0] < places["point band-r"][0]
    assert places["point band-g"][1] > places["point band-r"][1]
    ring = drawn.find("circle")
    assert [float(ring.get("cx")), float(ring.get("cy"))] == places["point band-r"]
    assert drawn.get("aria-label").startswith("Light curve: 2 detections over 5.0 days, brightest 18.00 mag")


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4), st.integers(2, 9))
def test_ticks_are_few_round_and_within_the_axis(low, length, about):
    found = ticks(low, low + length, about)
    assert len(found) <= about + 2
    assert all(low - 1e-6 * length <= tick <= low + length * (1 + 1e-6) for tick in found)


def test_numbers_of_axes_have_no_needless_digits():
    assert [plain(value) for value in (20.0, 0.5, -3.0, 18.25, 0.1 + 0.2)] == ["20", "0.5", "-3", "18.25", "0.3"]


def made(**more):
    one = event(1, **more)
    return card(
        Entry(
            1,
            one.ivorn.partition("#")[2],
            one.ivorn,
            one.object_id,
            one.candid,
            0.0,
            "current",
            json.dumps(twin(tell(one))),
            False,
        )
    )


def test_a_card_says_what_the_event_says():
    shown = made()
    assert shown.magnitude == "18.53 ± 0.08 mag"
    assert shown.score_words == "P(real) 0.950"
    assert [one.measured for one in shown.speaking_for] == [
        "host_distance is 0.8",
        "peak_snr is 41.5",
        "fwhm_over_psf is 1.02",
    ]
    assert [one.measured for one in shown.speaking_against] == ["negative_pixels is 3"]
    assert mjd_of(shown.when) == pytest.approx(60000.123456, abs=1e-6)


@pytest.mark.parametrize(("survey", "names"), [("ztf", 4), ("rubin", 4), ("other", 1)])
def test_links_lead_out_by_name_and_by_position(survey, names):
    links = dict(links_out(made(survey=survey, object_id='a"b/c').told))
    assert len(links) == names
    assert "123.456789+-12.345679" in links["SIMBAD"]
    assert all("a%22b%2Fc" in url for name, url in links.items() if name != "SIMBAD")
