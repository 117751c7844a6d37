"""What somebody may ask for: every parameter read strictly, every problem told at once, both ways to answer alike."""

from __future__ import annotations

import math
import random
from contextlib import closing

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import angular_separation
from hypothesis import given
from hypothesis import strategies as st
from web_cases import event

from realbogus.publish.http.catalogue import Catalogue
from realbogus.publish.http.search import MOST, BadRequest, Search, read, separation_deg


def test_every_parameter_is_read():
    asked = read(
        {
            "min_score": "0.9", "max_score": "1", "min_mag": "-1.5", "max_mag": "19", "band": "g, r", "ra": "359.9",
            "dec": "-5", "radius": ".5", "role": "test", "type": "initial,update", "state": "current",
            "object": " ZTF18abc ", "survey": "ZTF", "after": "17", "limit": "20",
        }.items()
    )  # fmt: skip
    assert asked == Search(
        min_score=0.9, max_score=1, min_mag=-1.5, max_mag=19, band=("g", "r"), ra=359.9, dec=-5, radius=0.5,
        role="test", type=("initial", "update"), state="current", object="ZTF18abc", survey="ZTF", after=17, limit=20,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "unix"),
    [("1970-01-02", 86400), ("1970-01-01T00:00:10Z", 10), ("1970-01-01 00:01", 60), ("1970-01-01T00:00:00.25Z", 0.25)],
)
def test_since_is_a_time_in_utc(text, unix):
    assert read([("since", text)]).since == unix


def test_nothing_asked_asks_for_everything():
    assert read([]) == read([("object", ""), ("min_score", " ")]) == Search()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_score", "nan"), ("min_score", "inf"), ("min_score", "1.01"), ("min_score", "-0.1"), ("max_score", "0x1"),
        ("min_score", "1_0"), ("min_score", "१"), ("min_mag", "1e400"), ("max_mag", "9" * 400), ("ra", "360.1"),
        ("dec", "91"), ("radius", "-1"), ("band", "g;DROP TABLE events"), ("band", ","), ("band", "a," * 20),
        ("role", "prediction"), ("type", "initial,nova"), ("state", "in force"), ("since", "yesterday"),
        ("since", "2026-13-01"), ("since", "2026-01-01T00:00:00+02:00"), ("after", "-1"), ("after", "9" * 19),
        ("after", "1.0"), ("before", "NaN"), ("limit", "0"), ("limit", str(MOST + 1)), ("object", "x" * 301),
        ("order", "score"), ("x" * 10_000, "1"), ("'; --", "1"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_a_short_sentence(name, value):
    with pytest.raises(BadRequest) as caught:
        read([(name, value)])
    (problem,) = caught.value.problems
    assert len(problem) < 300


def test_all_problems_are_told_at_once_but_not_without_end():
    with pytest.raises(BadRequest) as caught:
        read([("min_score", "x"), ("max_mag", "y"), *((f"p{number}", "1") for number in range(100))])
    assert caught.value.problems[0].startswith("min_score is 'x'; expected a number from 0 to 1")
    assert len(caught.value.problems) == 10


@pytest.mark.parametrize(
    "query",
    [
        [("ra", "1")], [("ra", "1"), ("dec", "2")], [("radius", "1")], [("after", "1"), ("before", "2")],
        [("since", "2026-01-01"), ("before", "2")], [("min_score", "0.9"), ("max_score", "0.1")],
        [("min_mag", "20"), ("max_mag", "19")], [("band", "g"), ("band", "r")],
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(query):
    with pytest.raises(BadRequest):
        read(query)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_any_text_is_read_or_refused(query):
    try:
        found = read(query)
    except BadRequest:
        return
    assert found.limit <= MOST


@given(
    *([st.floats(0, 360), st.floats(-90, 90)] * 2),
)
def test_separations_are_those_of_astropy(ra1, dec1, ra2, dec2):
    expected = angular_separation(*np.radians([ra1, dec1, ra2, dec2])) * units.rad
    assert separation_deg(ra1, dec1, ra2, dec2) == pytest.approx(expected.to_value(units.deg), abs=2e-6)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """Sixty events all over the sky, some without a magnitude."""
    rng = random.Random(5)
    with closing(Catalogue(tmp_path_factory.mktemp("catalogue") / "c.sqlite")) as made:
        for candid in range(1, 61):
            one = event(
                candid,
                object_id=f"ZTF20{'abc'[candid % 3] * 7}",
                p_real=round(rng.uniform(0.6, 1), 3),
                band=rng.choice("gri"),
                mag_psf=rng.choice([math.nan, rng.uniform(15, 20)]),
                ra_deg=rng.choice([0.01, 359.99, rng.uniform(0, 360)]),
                dec_deg=rng.choice([-89.9, 0.0, rng.uniform(-90, 90)]),
            )
            made.enter([one], now=float(candid))
        yield made


SEARCHES = [
    Search(), Search(min_score=0.8), Search(max_score=0.7), Search(min_score=0.7, max_score=0.9), Search(max_mag=18),
    Search(min_mag=19.5), Search(band=("g",)), Search(band=("r", "i")), Search(object="ZTF20aaaaaaa"),
    Search(object="nobody"), Search(survey="ZTF"), Search(survey="LSST"), Search(role="test"),
    Search(role="observation"), Search(type=("initial",)), Search(type=("retraction",)), Search(state="current"),
    Search(state="retracted"), Search(ra=0, dec=0, radius=0.5), Search(ra=180, dec=-90, radius=5),
    Search(ra=200, dec=30, radius=60), Search(ra=10, dec=10, radius=180), Search(ra=10, dec=10, radius=0),
    Search(min_score=0.7, max_mag=19, band=("g", "r"), ra=0, dec=0, radius=90),
]  # fmt: skip


@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_followers_get_what_a_search_finds(catalogue, search):
    everything = catalogue.search(Search(limit=MOST))
    found = {entry.number for entry in catalogue.search(Search(**{**vars(search), "limit": MOST}))}
    assert found == {entry.number for entry in everything if search.matches(entry.twin, entry.state)}


def test_the_searches_above_part_the_events(catalogue):
    counts = {len(catalogue.search(Search(**{**vars(search), "limit": MOST}))) for search in SEARCHES}
    assert len(counts) > 8


def test_a_cone_over_the_zero_of_right_ascension_holds_both_sides(catalogue):
    found = catalogue.search(Search(ra=0, dec=0, radius=0.5, limit=MOST))
    assert {round(entry.twin["ra"], 2) for entry in found} == {0.01, 359.99}


def test_a_search_asked_in_a_url_is_read_back_the_same():
    from urllib.parse import parse_qsl

    from realbogus.web.pages import query

    for search in SEARCHES:
        assert read(parse_qsl(query(search))) == search
