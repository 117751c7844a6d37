"""What an event says: its parameters, in groups whose names and number formats are a public interface.

Every UCD and unit is of the controlled vocabularies; what is undefined is left out, never written as nan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from realbogus.alerts import AlertBatch, ScoredBatch
from realbogus.voevent.text import clean, decimal, escape, share

LAYOUT = "1.0"  # of names, groups and number formats: subscribers filter on them
STAMPS = ("science", "template", "difference")
OBSERVATORIES = {  # survey -> its name in print, its observatory
    "ztf": ("ZTF", "Palomar Observatory, Zwicky Transient Facility"),
    "rubin": ("LSST", "Vera C. Rubin Observatory"),
}
BAND_UCDS = {"u": "em.opt.U", "g": "em.opt.B", "r": "em.opt.R", "i": "em.opt.I", "z": "em.opt.I", "y": "em.opt.I"}

_PLAIN_LIMIT = 1e6  # a magnitude or S/N beyond is nonsense and left out


@dataclass(frozen=True)
class Verdict:
    """What the event says of the candidate: numbers as printed, and the decision that follows from them."""

    score: str
    threshold: str
    raw_score: str
    raw_threshold: str
    calibrated: bool  # score and threshold are probabilities; otherwise they are the raw ones

    @property
    def decision(self) -> str:
        """real or bogus."""
        return "real" if float(self.score) >= float(self.threshold) else "bogus"


def verdict(scored: ScoredBatch, row: int) -> Verdict:
    """Score and threshold on one scale: as probabilities if the model is calibrated, else as the model gave them.

    A calibration may map a score just below the threshold onto the threshold's own probability; printed as
    probabilities, score and decision would contradict each other. Such a candidate is told on the raw scale.
    """
    model, p_real = scored.model, float(scored.p_real[row])
    score, threshold = share(float(scored.score[row]), "score"), share(model.threshold, "threshold")
    raw = Verdict(score, threshold, score, threshold, calibrated=False)
    if not model.calibrated or model.threshold_p_real is None or math.isnan(p_real):
        return raw
    told = Verdict(
        share(p_real, "p_real"), share(model.threshold_p_real, "threshold_p_real"), score, threshold, calibrated=True
    )
    return told if told.decision == raw.decision else raw


def param(name: str, value: object, ucd: str, kind: str = "string", unit: str = "") -> str:
    """One parameter; value is escaped here."""
    unit = f' unit="{unit}"' if unit else ""
    text = escape(value) if isinstance(value, str) else value
    return f'<Param name="{name}" value="{text}" ucd="{ucd}"{unit} dataType="{kind}"/>\n'


def reference(url: str, mimetype: str) -> str:
    """A link; the URL is escaped here."""
    return f'<Reference uri="{escape(url)}" mimetype="{mimetype}"/>\n'


def top(alert_type: str) -> str:
    """The parameters before the groups. `Retraction` is what some readers look for, and nothing else."""
    retraction = param("Retraction", 1, "meta.code", "int") if alert_type == "retraction" else ""
    return param("schema_version", LAYOUT, "meta.version") + param("alert_type", alert_type, "meta.code") + retraction


def printed_survey(survey: str) -> str:
    """The name of a survey as events give it."""
    return OBSERVATORIES.get(survey, (survey,))[0]


def identity(alerts: AlertBatch, object_id: str, candid: int) -> str:
    """Which object and which detection. candid is text: as a float it would lose digits."""
    return "".join(
        (
            '<Group name="identity">\n',
            param("object_id", object_id, "meta.id;src;meta.main"),
            param("candidate_id", candid, "meta.id;obs"),
            param("survey", printed_survey(alerts.survey), "meta.id;instr"),
            "</Group>\n",
        )
    )


def real_bogus(alerts: AlertBatch, row: int, verdict: Verdict) -> str:
    """Score, threshold and decision, and the survey's own numbers where it has them."""
    pieces = [
        '<Group name="real_bogus">\n',
        param("rb_score", verdict.score, "stat.probability;meta.main", "float"),
        param("rb_threshold", verdict.threshold, "stat.probability", "float"),
        param("rb_decision", verdict.decision, "meta.code.class"),
        param("rb_score_calibrated", int(verdict.calibrated), "meta.code.qual", "int"),
    ]
    if verdict.calibrated:
        pieces.append(param("rb_score_raw", verdict.raw_score, "stat.probability", "float"))
        pieces.append(param("rb_threshold_raw", verdict.raw_threshold, "stat.probability", "float"))
    for name in ("survey_rb", "survey_drb"):
        value = float(alerts.columns[name][row])
        if 0 <= value <= 1:
            pieces.append(param(name, decimal(value, 6), "stat.probability", "float"))
    return "".join((*pieces, "</Group>\n"))


def photometry(alerts: AlertBatch, row: int) -> str:
    """Magnitude, error, limit and S/N; what is undefined is left out, and the group with it if nothing is known."""
    band = clean(alerts.band[row], 16)
    pieces = [
        _number(alerts, row, "mag_psf", f"phot.mag;{BAND_UCDS.get(band, 'em.opt')}", "mag"),
        _number(alerts, row, "mag_psf_err", "stat.error;phot.mag", "mag"),
        _number(alerts, row, "mag_limit", "phot.mag;stat.max", "mag"),
        _number(alerts, row, "snr_psf", "stat.snr", "", name="snr"),
        param("band", band, "instr.bandpass") if band else "",
        _sign(float(alerts.columns["diff_sign"][row])),
    ]
    inside = "".join(pieces)
    return f'<Group name="photometry">\n{inside}</Group>\n' if inside else ""


def _number(alerts: AlertBatch, row: int, column: str, ucd: str, unit: str, name: str = "") -> str:
    """A column as parameter with four decimals, "" where it is undefined."""
    value = float(alerts.columns[column][row])
    return param(name or column, decimal(value, 4), ucd, "float", unit) if abs(value) < _PLAIN_LIMIT else ""


def _sign(sign: float) -> str:
    """Brighter or fainter than the template."""
    return param("diff_sign", "positive" if sign > 0 else "negative", "meta.code") if sign in (1, -1) else ""


def explanation(scored: ScoredBatch, row: int, most: int) -> str:
    """The features that moved the score most, in numbers and in words; "" where contributions were not computed."""
    shares = scored.contributions.get(row)
    if shares is None or not most:
        return ""
    largest = np.argsort(-np.abs(shares), kind="stable")[:most]
    pieces = [
        _contribution(scored.feature_names[feature], float(scored.features[row, feature]), decimal(shares[feature], 6))
        for feature in largest.tolist()
        if abs(shares[feature]) >= 1e-6
    ]
    told = "<Description>Features that moved the raw score most, each with its share of it</Description>\n"
    return f'<Group name="explanation">\n{told}{"".join(pieces)}</Group>\n' if pieces else ""


def _contribution(feature: str, value: float, moved: str) -> str:
    """A parameter named as the feature; its value is the share of the score, its description says it in words."""
    measured = "undefined" if math.isnan(value) else f"{value:.6g}"
    verdict = "against real" if moved[0] == "-" else "for real"
    words = f"{escape(feature)} is {measured}, which speaks {verdict}"
    head = f'<Param name="{escape(feature)}" value="{moved}" ucd="stat.value" dataType="float">'
    return f"{head}<Description>{words}</Description></Param>\n"


def cutouts(template: str, links: Mapping[str, object]) -> str:
    """Links to the pictures of the three stamps; pixels are never embedded."""
    if not template:
        return ""
    inside = "".join(
        param(f"cutout_{stamp}_url", template.format(**links, stamp=stamp), "meta.ref.url") for stamp in STAMPS
    )
    return f'<Group name="cutouts">\n{inside}</Group>\n'


def object_page(template: str, links: Mapping[str, object]) -> str:
    """Link to the page of the object."""
    return reference(template.format(**links), "text/html") if template else ""
