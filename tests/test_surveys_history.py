"""Light curves out of packets: honest measurements only, in UTC and AB magnitudes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realbogus import packets
from realbogus.packets import Limits, SchemaStore
from realbogus.surveys.history import MOST, light_curve
from realbogus.surveys.rubin import utc_of_tai

DETECTION = {"jd": 2460000.5, "fid": 1, "magpsf": 18.5, "sigmapsf": 0.1, "diffmaglim": 20.1, "isdiffpos": "t"}
LIMIT = {"jd": 2459999.5, "fid": 2, "magpsf": None, "sigmapsf": None, "diffmaglim": 20.3, "isdiffpos": None}
SOURCE = {"midpointMjdTai": 61041.25, "band": "i", "psfFlux": 3630.78, "psfFluxErr": 36.3}


def test_ztf_tells_detections_and_limits_by_time_this_one_last():
    limit, detection = light_curve("ztf", {"candidate": DETECTION, "prv_candidates": [LIMIT]})
    assert (limit.band, limit.mag, limit.sign) == ("r", 20.3, 0)
    assert (detection.band, detection.mag, detection.mag_err, detection.sign) == ("g", 18.5, 0.1, 1)
    assert detection.mjd == pytest.approx(60000.0 + 15 / 86400, abs=1e-9)


def test_a_fainter_detection_is_told_as_such():
    (point,) = light_curve("ztf", {"candidate": DETECTION | {"isdiffpos": "f"}})
    assert point.sign == -1


def test_rubin_tells_magnitudes_of_fluxes_at_utc():
    (point,) = light_curve("rubin", {"diaSource": SOURCE, "prvDiaSources": None})
    assert point.mag == pytest.approx(22.5, abs=1e-4)
    assert point.mag_err == pytest.approx(0.01086, abs=1e-4)
    assert point.mjd == pytest.approx(float(utc_of_tai(61041.25)), abs=1e-9)
    (negative,) = light_curve("rubin", {"diaSource": SOURCE | {"psfFlux": -3630.78}})
    assert (negative.sign, negative.mag) == (-1, point.mag)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"jd": math.nan}, {"jd": 0.0}, {"jd": None}, {"magpsf": math.inf}, {"magpsf": -999.0, "diffmaglim": None},
        {"magpsf": 99.0}, {"sigmapsf": -1.0}, {"sigmapsf": 1e9}, {"magpsf": "18"},
        {"isdiffpos": "?"}, {"isdiffpos": None, "diffmaglim": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_honest_measurement_is_left_out(nonsense):
    assert light_curve("ztf", {"candidate": DETECTION | nonsense}) == []


def test_a_survey_without_history_and_a_record_of_another_kind_have_no_light_curve():
    assert light_curve("atlas", {"candidate": DETECTION}) == []
    assert light_curve("ztf", ["candidate"]) == []
    assert light_curve("ztf", {"candidate": 3, "prv_candidates": [None, 7]}) == []


def test_a_light_curve_has_an_end():
    rows = [DETECTION | {"jd": 2460000.5 + number} for number in range(MOST + 50)]
    assert len(light_curve("ztf", {"prv_candidates": rows})) == MOST


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3)


@given(st.dictionaries(st.sampled_from([*DETECTION, *SOURCE]), ANYTHING))
def test_any_values_give_points_that_can_be_drawn(row):
    for survey, record in (("ztf", {"candidate": row}), ("rubin", {"prvDiaSources": [row]})):
        for point in light_curve(survey, record):
            assert math.isfinite(point.mjd)
            assert math.isfinite(point.mag)


@pytest.mark.packets
@pytest.mark.parametrize("survey", ["ztf", "rubin"])
def test_real_packets_have_light_curves_that_end_with_their_own_detection(real_packets, survey):
    read = 0
    for path in sorted((real_packets / survey).rglob("*.avro"))[:400]:
        try:
            record = packets.read_whole(path.read_bytes(), store=SchemaStore(), limits=Limits())
        except ValueError:
            continue
        if isinstance(record, dict) and {"candidate", "diaSource"} & record.keys():
            points = light_curve(survey, record)
            assert points or survey == "rubin", path
            assert [point.mjd for point in points] == sorted(point.mjd for point in points)
            read += bool(points)
    assert read > 50
