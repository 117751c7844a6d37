"""Scored alerts to VOEvents: a pure function, the same bytes for the same packet and model wherever it runs.

What is built cites nothing: an alert judged real becomes the first packet of its object, one judged bogus a retraction.
Which place it takes beside what was published before is told by `lifecycle`, where that is known.

No clock is read. Who/Date is the end of the exposure in UTC, to the second: no packet could have been written before,
and a replay, a restart and an archive run agree on it.

Text is put together directly, escaped piece by piece, and what all events of a model share is made once; then the
packet is parsed and checked like any other. See tests/benchmarks/test_voevent_speed.py for what that saves.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import quote

from realbogus import __version__
from realbogus.alerts import AlertBatch, ModelId, ScoredBatch
from realbogus.errors import VOEventError
from realbogus.voevent import validate, what
from realbogus.voevent.style import EventStyle
from realbogus.voevent.text import clean, decimal, escape, id_part, printed

FRAME = "UTC-ICRS-TOPO"  # the one that the standard suggests
CONCEPT = "http://ivoat.ivoa.net/process.variation;em.opt"

_MJD_ZERO = datetime(1858, 11, 17)
_MJD_RANGE = (15020.0, 88069.0)  # d; the years 1900 to 2099
_NAME, _VERSION = re.compile(r"[A-Za-z0-9._-]{1,64}"), re.compile(r"[A-Za-z0-9.-]{1,64}")


def build(scored: ScoredBatch, row: int, style: EventStyle, *, revision: int = 0) -> validate.Event:
    """The event that announces, or withdraws, one scored alert, checked as `validate.read` checks any draft.

    revision counts republications of one candidate by one model, at another threshold or after a rollback. Raises
    VOEventError where position, time or score are such that no honest event can be made of them.
    """
    alerts, model = scored.alerts, scored.model
    object_id, candid = printed(alerts.object_id[row]), int(alerts.candid[row])
    verdict = what.verdict(scored, row)
    ivorn = style.prefix + local_part(style.role, alerts.object_id[row], candid, model, revision)
    if verdict.decision == "bogus":
        ivorn += validate.RETRACTED
    start, end = _exposure(alerts, row)
    who, who_made, how = _shared(style, model, alerts.survey)
    links = {"survey": quote(alerts.survey), "object_id": quote(object_id, safe=""), "candid": candid}
    pieces = (
        f'{_HEAD}ivorn="{ivorn}" role="{style.role}">\n{who % end}<What>\n',
        what.top("initial" if verdict.decision == "real" else "retraction"),
        what.identity(alerts, object_id, candid),
        what.real_bogus(alerts, row, verdict),
        who_made,
        what.param("input_schema", clean(alerts.schema[row]) or "unknown", "meta.version"),
        "</Group>\n",
        what.photometry(alerts, row),
        what.explanation(scored, row, style.explained),
        what.cutouts(style.cutout_url, links),
        what.object_page(style.object_url, links),
        "</What>\n",
        _where_when(alerts, row, start, style),
        how,
        _why(verdict),
        _summary(object_id, candid, model, verdict),
        "</voe:VOEvent>\n",
    )
    return validate.read("".join(pieces).encode("ascii"), draft=True)


def local_part(role: str, object_id: str, candid: int, model: ModelId, revision: int = 0) -> str:
    """What follows '#' in the IVORN: object, candidate, model and revision; no two candidates or models share one."""
    if not (_NAME.fullmatch(model.name) and _VERSION.fullmatch(model.version)):
        raise VOEventError(
            f"model {model.name}/{model.version} cannot be named in an IVORN: its name may hold A-Z a-z 0-9 . _ - "
            "and its version A-Z a-z 0-9 . -, at most 64 of them"
        )
    test = "test_" if role == "test" else ""
    return f"{test}{id_part(object_id)}_{candid}_{model.name}_{model.version}_r{revision}"


def _exposure(alerts: AlertBatch, row: int) -> tuple[str, str]:
    """UTC at mid-exposure to the microsecond and at its end to the second."""
    mjd = float(alerts.columns["mjd"][row])
    if not _MJD_RANGE[0] <= mjd < _MJD_RANGE[1]:
        raise VOEventError(f"time of exposure is MJD {mjd}; expected {_MJD_RANGE[0]} to {_MJD_RANGE[1]}")
    day = int(mjd)
    middle = _MJD_ZERO + timedelta(days=day, microseconds=round((mjd - day) * 86_400e6))
    half = _half_exposure(alerts, row)
    end = middle + timedelta(seconds=(0.0 if half is None else half) + 0.5)
    return middle.isoformat(timespec="microseconds"), end.replace(microsecond=0).isoformat()


def _half_exposure(alerts: AlertBatch, row: int) -> float | None:
    """Half the exposure in s: how far from the stated time the photons may have come. None = not known."""
    half = float(alerts.columns["exposure_s"][row]) / 2
    return half if 1e-3 <= half <= 86_400.0 else None


# What all events, or all events of a model, have in common


@lru_cache(maxsize=32)
def _shared(style: EventStyle, model: ModelId, survey: str) -> tuple[str, str, str]:
    """Who (with a place for the date), the group model (left open for the schema of the input), and How."""
    contact = "".join(
        f"<{tag}>{escape(clean(text))}</{tag}>\n"
        for tag, text in (("contactName", style.contact_name), ("contactEmail", style.contact_email))
        if text
    )
    who = (
        f"<Who>\n<AuthorIVORN>ivo://{style.authority}/{style.stream}</AuthorIVORN>\n<Date>\0</Date>\n<Author>\n"
        f"<title>{escape(clean(style.author_title))}</title>\n"
        f"<shortName>{escape(clean(style.author_short_name))}</shortName>\n{contact}</Author>\n</Who>\n"
    )
    made = "".join(
        (
            '<Group name="model">\n',
            what.param("model_name", model.name, "meta.id;meta.software"),
            what.param("model_version", model.version, "meta.version;meta.software"),
            what.param("model_sha256", model.sha256, "meta.checksum"),
            what.param("feature_set_version", clean(model.feature_set), "meta.version"),
            what.param("training_set_id", told, "meta.id") if (told := clean(model.training_set)) else "",
            what.param("pipeline_version", __version__, "meta.version;meta.software"),
        )
    )
    card = style.model_card_url.format(name=quote(model.name, safe=""), version=quote(model.version, safe=""))
    how = (
        f"<How>\n<Description>{escape(what.OBSERVATORIES.get(survey, (survey,))[0])} alert judged real or bogus by the "
        f"random forest {model.name}/{model.version} of realbogus {__version__}</Description>\n"
        f"{what.reference(card, 'text/html') if card else ''}</How>\n"
    )
    return who.replace("%", "%%").replace("\0", "%s"), made, how


_HEAD = validate.HEAD.decode("ascii")


# WhereWhen, Why and the summary


def _where_when(alerts: AlertBatch, row: int, middle: str, style: EventStyle) -> str:
    ra, dec = _position(float(alerts.columns["ra_deg"][row]), float(alerts.columns["dec_deg"][row]))
    half = _half_exposure(alerts, row)
    error = "" if half is None else f"<Error>{decimal(half, 3)}</Error>"
    observatory = what.OBSERVATORIES.get(alerts.survey, ("", alerts.survey))[1]
    return f"""<WhereWhen>
<ObsDataLocation>
<ObservatoryLocation id="{escape(observatory)}"/>
<ObservationLocation>
<AstroCoordSystem id="{FRAME}"/>
<AstroCoords coord_system_id="{FRAME}">
<Time unit="s"><TimeInstant><ISOTime>{middle}</ISOTime></TimeInstant>{error}</Time>
<Position2D unit="deg">
<Name1>RA</Name1><Name2>Dec</Name2>
<Value2><C1>{ra}</C1><C2>{dec}</C2></Value2>
<Error2Radius>{_error_radius(alerts, row, style)}</Error2Radius>
</Position2D>
</AstroCoords>
</ObservationLocation>
</ObsDataLocation>
</WhereWhen>
"""


def _position(ra: float, dec: float) -> tuple[str, str]:
    """Degrees with seven decimals; 359.99999999 would print as 360 and becomes 0."""
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise VOEventError(f"position is ra {ra}, dec {dec} deg; expected 0 to 360 and -90 to 90")
    text = decimal(ra, 7)
    return ("0.0000000" if text == "360.0000000" else text), decimal(dec, 7)


def _error_radius(alerts: AlertBatch, row: int, style: EventStyle) -> str:
    """1 sigma in degrees, never 0, which a receiver would replace by its own guess."""
    stated = float(alerts.columns["position_error_arcsec"][row])
    arcsec = stated if 0 < stated <= 3600 else style.position_error_arcsec
    return decimal(max(arcsec / 3600, 1e-7), 7)


def _why(verdict: what.Verdict) -> str:
    """The probability that the candidate is real, only where it is one. What is withdrawn has no importance."""
    if not verdict.calibrated:
        return ""
    importance = verdict.score if verdict.decision == "real" else decimal(0.0, 6)
    return (
        f'<Why importance="{importance}">\n<Inference probability="{verdict.score}" relation="identified">\n'
        f"<Concept>{CONCEPT}</Concept>\n<Description>Real: something in the sky changed, and the detection is no flaw "
        "of the detector or of the subtraction</Description>\n</Inference>\n</Why>\n"
    )


def _summary(object_id: str, candid: int, model: ModelId, verdict: what.Verdict) -> str:
    kind = "probability of being real" if verdict.calibrated else "score"
    side = "at or above" if verdict.decision == "real" else "below"
    return (
        f"<Description>{escape(object_id)}, candidate {candid}: {verdict.decision}, {kind} "
        f"{verdict.score} is {side} the threshold {verdict.threshold} of {model.name}/{model.version}</Description>\n"
    )
