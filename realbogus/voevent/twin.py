"""The JSON twin of an event: the core fields of the unified schema of NASA's General Coordinates Network (GCN).

A pure function of the event, with its very numbers. What GCN's core has no field for, who judged and from which score
on, stands under "real_bogus"; whatever an event leaves out is left out here.
"""

from __future__ import annotations

import math
from typing import Any

from realbogus.voevent.reading import Told

ONE_SIGMA = 0.3935  # share of a round normal distribution within 1 sigma of its centre: 1 - exp(-1/2)
RETRACTION = "retraction"
Json = dict[str, Any]


def twin(told: Told) -> Json:
    """The event as GCN describes alerts: times in UTC with Z, angles in deg, magnitudes AB."""
    event = told.event
    known: Json = {
        "alert_datetime": f"{event.date}Z",
        "alert_tense": "test" if event.role == "test" else "current",
        "alert_type": told.alert_type,
        "mission": told.text("identity", "survey"),
        "messenger": "EM",
        "event_name": event.object_id,
        "id": event.candid,
        "trigger_time": told.observed.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "trigger_time_error": told.half_exposure_s,
        "ra": told.ra_deg,
        "dec": told.dec_deg,
        "ra_dec_error": told.error_deg,
        "containment_probability": ONE_SIGMA,
        **_photometry(told),
        **_chance(told),
        "additional_info": told.summary,
        "data_archive_page": told.object_url,
        "reference": {citation.ivorn: citation.kind for citation in told.citations},
        "real_bogus": _judgement(told),
        "ivorn": event.ivorn,
    }
    return {name: value for name, value in known.items() if is_told(value)}


def _photometry(told: Told) -> Json:
    magnitude, limit = told.number("photometry", "mag_psf"), told.number("photometry", "mag_limit")
    return {
        "filter": told.band,
        "mag": magnitude,
        "mag_error": told.number("photometry", "mag_psf_err"),
        "mag_system": "" if math.isnan(magnitude) and math.isnan(limit) else "AB",
        "limiting_mag": limit,
        "limiting_mag_sigma": math.nan if math.isnan(limit) else 5,
    }


def _chance(told: Told) -> Json:
    """The probability that the source is real, only where the score is one."""
    if math.isnan(told.why) or told.alert_type == RETRACTION:
        return {}
    return {"p_astro": told.why, "classification": {"real": told.why, "bogus": round(1 - told.why, 6)}}


def _judgement(told: Told) -> Json:
    known = {
        "score": told.score,
        "threshold": told.number("real_bogus", "rb_threshold"),
        "decision": told.text("real_bogus", "rb_decision"),
        "calibrated": told.is_calibrated,
        "score_raw": told.number("real_bogus", "rb_score_raw"),
        "threshold_raw": told.number("real_bogus", "rb_threshold_raw"),
        **told.params.get("model", {}),
        "contributions": [vars(reason) for reason in told.reasons],
    }
    return {name: value for name, value in known.items() if is_told(value)}


def is_told(value: Any) -> bool:
    """Whether a value says anything: NaN and what is empty do not."""
    return not math.isnan(value) if isinstance(value, float) else value not in ("", {}, [])
