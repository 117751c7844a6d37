"""The JSON twin: what the event says, in the words of GCN.

GCN's schema is not at hand as a package, and is others' to publish, so `CORE` states here what its core asks of the
fields that we use: their types, their closed lists, and what their descriptions promise about formats and ranges.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from voevent_cases import MODEL, STYLE, scored
from web_cases import event, lived

from realbogus.voevent import build
from realbogus.voevent.lifecycle import withdrawal
from realbogus.voevent.reading import tell
from realbogus.voevent.twin import twin

NUMBER, TEXT = {"type": "number"}, {"type": "string", "minLength": 1}
MOMENT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
CORE = {
    "type": "object",
    "properties": {
        "alert_datetime": MOMENT,
        "alert_tense": {"enum": ["current", "archival", "planned", "injection", "commanded", "test"]},
        "alert_type": {"enum": ["initial", "subsequent", "update", "retraction"]},
        "mission": TEXT,
        "messenger": {"enum": ["EM", "GW", "Neutrino"]},
        "event_name": TEXT,
        "id": TEXT,
        "data_archive_page": TEXT,
        "trigger_time": MOMENT,
        "trigger_time_error": NUMBER,
        "ra": {"type": "number", "minimum": 0, "exclusiveMaximum": 360},
        "dec": {"type": "number", "minimum": -90, "maximum": 90},
        "ra_dec_error": {"type": "number", "exclusiveMinimum": 0},
        "containment_probability": SHARE,
        "filter": TEXT,
        "mag": NUMBER,
        "mag_error": NUMBER,
        "mag_system": {"const": "AB"},
        "limiting_mag": NUMBER,
        "limiting_mag_sigma": {"const": 5},
        "p_astro": SHARE,
        "classification": {"type": "object", "additionalProperties": SHARE},
        "reference": {"type": "object", "additionalProperties": {"type": ["number", "string"]}},
        "additional_info": TEXT,
        "ivorn": TEXT,
        "real_bogus": {"type": "object"},
    },
    "additionalProperties": False,
    "required": ["alert_datetime", "alert_tense", "alert_type", "event_name", "id", "trigger_time", "ra", "dec"],
}
CHECK = Draft202012Validator(CORE)
FIRST, AGAIN, BETTER = lived(event(1), event(2), event(1, model=replace(MODEL, version="1.3.0")))
WITHDRAWN = lived(event(1), withdrawal(event(1), "a ghost"))[1]
UNKNOWN = build(
    scored(band="", mag_psf=np.nan, mag_psf_err=np.nan, mag_limit=np.nan, snr_psf=np.nan, contributions=False),
    0,
    replace(STYLE, object_url=""),
)
RAW = build(scored(model=replace(MODEL, calibrated=False)), 0, STYLE)
ALL = {
    "first": FIRST, "follow-up": AGAIN, "update": BETTER, "retraction": WITHDRAWN, "bare": UNKNOWN, "raw": RAW,
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_every_kind_of_event_has_a_twin_that_gcn_would_read(name):
    CHECK.validate(twin(tell(ALL[name])))


def test_the_check_above_can_fail():
    assert not CHECK.is_valid(twin(tell(FIRST)) | {"alert_type": "new"})
    assert not CHECK.is_valid(twin(tell(FIRST)) | {"trigger_time": "2026-01-01"})


def test_the_twin_tells_the_numbers_of_the_event():
    told = twin(tell(FIRST))
    assert (told["ra"], told["dec"]) == (123.4567891, -12.3456789)
    assert (told["mag"], told["mag_error"], told["filter"], told["limiting_mag"]) == (18.53, 0.08, "r", 20.5)
    assert told["trigger_time"] == "2023-02-25T02:57:46.598400Z"
    assert told["trigger_time_error"] == 15.0
    assert datetime.fromisoformat(told["alert_datetime"]) > datetime.fromisoformat(told["trigger_time"])
    assert told["ra_dec_error"] == pytest.approx(0.2 / 3600, abs=1e-7)
    assert told["ivorn"] == FIRST.ivorn


def test_one_sigma_of_a_circle_holds_39_per_cent():
    assert twin(tell(FIRST))["containment_probability"] == pytest.approx(1 - math.exp(-0.5), abs=1e-4)


def test_it_says_who_judged_from_which_score_on_and_why():
    judged = twin(tell(FIRST))["real_bogus"]
    assert (judged["score"], judged["threshold"], judged["decision"]) == (0.95, 0.6, "real")
    assert (judged["model_name"], judged["model_version"], judged["model_sha256"]) == (
        "forest", "1.2.0", MODEL.sha256,
    )  # fmt: skip
    largest = judged["contributions"][0]
    assert largest["feature"] == "host_distance"
    assert largest["words"] == "host_distance is 0.8, which speaks for real"


def test_probabilities_of_the_classes_sum_to_one():
    told = twin(tell(FIRST))
    assert told["p_astro"] == told["classification"]["real"] == 0.95
    assert sum(told["classification"].values()) == pytest.approx(1)


def test_without_calibration_no_probability_is_claimed():
    told = twin(tell(RAW))
    assert told["real_bogus"]["calibrated"] is False
    assert not {"p_astro", "classification"} & told.keys()


def test_a_retraction_claims_no_probability_and_names_what_it_withdraws():
    told = twin(tell(WITHDRAWN))
    assert told["alert_type"] == "retraction"
    assert "p_astro" not in told
    assert told["reference"] == {event(1).ivorn: "retraction"}


def test_what_is_not_known_is_left_out():
    assert not {"mag", "mag_system", "filter", "limiting_mag_sigma", "data_archive_page"} & twin(tell(UNKNOWN)).keys()


def test_a_test_is_told_as_a_test():
    assert twin(tell(FIRST))["alert_tense"] == "test"
    assert twin(tell(event(style=replace(STYLE, role="observation"))))["alert_tense"] == "current"


def test_the_same_event_gives_the_same_bytes():
    assert json.dumps(twin(tell(event(7)))) == json.dumps(twin(tell(event(7))))
