"""The last gate: no packet leaves, and none is taken from the outbox, that does not pass here.

Our own schema (schemas/voevent/event.xsd) says what a schema can say cheaply; the rest is checked beside it: names are
unique (XSD can tell, and takes as long for it as for all else together), values are of their type, and what a packet
says of itself does not contradict itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from threading import Lock

from lxml import etree

from realbogus.errors import VOEventError
from realbogus.resources import shipped

_BUILDING = Lock()

VERSION = "2.0"
NAMESPACE = f"http://www.ivoa.net/xml/VOEvent/v{VERSION}"
HEAD = f'<?xml version="1.0" encoding="US-ASCII"?>\n<voe:VOEvent xmlns:voe="{NAMESPACE}" version="{VERSION}" '.encode()
BYTES_LIMIT = 99_999  # Comet closes the connection on one byte more
NEEDED = {  # group ("" = none) -> parameters that every event has
    "": ("schema_version", "alert_type"),
    "identity": ("object_id", "candidate_id", "survey"),
    "real_bogus": ("rb_score", "rb_threshold", "rb_decision", "rb_score_calibrated"),
    "model": ("model_name", "model_version", "model_sha256", "feature_set_version", "pipeline_version"),
}
SHARES = ("rb_score", "rb_threshold", "rb_score_raw", "rb_threshold_raw")  # numbers of the group real_bogus in [0, 1]

_FORMS = {
    "float": re.compile(r"-?\d{1,9}\.\d{1,9}", re.ASCII),
    "int": re.compile(r"-?\d{1,18}", re.ASCII),
    "string": re.compile(r".+", re.DOTALL),
}
LOCAL_LIMIT = 230  # characters after '#': with an ending it must do as the name of a file

RETRACTED = "-retraction"  # end of the local part of a retraction
CITES = {
    "initial": "",
    "subsequent": "followup",
    "update": "supersedes",
    "retraction": "retraction",
}  # alert_type -> cite

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_UCD = re.compile(r"[a-z][A-Za-z.-]*(;[a-z][A-Za-z.-]*)*", re.ASCII)
_VALUES = ("AuthorIVORN", "Date", "ISOTime", "Error", "C1", "C2", "Error2Radius", "Concept", "EventIVORN")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_Params = Mapping[str, Mapping[str, str]]  # group -> name -> value


@dataclass(frozen=True)
class Event:
    """A packet that may leave: its bytes, and what they say of themselves."""

    ivorn: str
    xml: bytes
    role: str  # "observation" or "test"
    date: str  # UTC, "2026-11-22T04:05:06": the end of the exposure
    survey: str  # "ZTF", "LSST", ...
    object_id: str
    candid: str
    model: str  # "name/version"
    model_version: str
    alert_type: str  # one of CITES
    decision: str  # "real" or "bogus"
    score: str  # as printed, like the threshold on its scale
    threshold: str
    raw_threshold: str  # on the model's own scale


def read(xml: bytes, *, draft: bool = False) -> Event:
    """The event in these bytes, once they passed every check; raises VOEventError with the first that failed.

    A draft is what the outbox holds: it cites nothing yet, since only the publisher knows what was published before.
    Safe on any bytes: the size is capped and DOCTYPE, entities, comments and processing instructions are refused
    before a parser sees them; nothing is fetched.
    """
    _check_bytes(xml)
    root = _parse(xml)
    schema = _schema()
    if not schema.validate(root):
        error = schema.error_log.last_error
        raise VOEventError(f"not a valid event: {error.message if error else 'the schema gives no reason'}")
    params = _params(root[1])
    for problem in _problems(root, params, draft):
        raise VOEventError(problem)
    model, told = params["model"], params["real_bogus"]
    return Event(
        ivorn=root.attrib["ivorn"],
        xml=xml,
        role=root.attrib["role"],
        date=root[0][1].text or "",
        survey=params["identity"]["survey"],
        object_id=params["identity"]["object_id"],
        candid=params["identity"]["candidate_id"],
        model=f"{model['model_name']}/{model['model_version']}",
        model_version=model["model_version"],
        alert_type=params[""]["alert_type"],
        decision=told["rb_decision"],
        score=told["rb_score"],
        threshold=told["rb_threshold"],
        raw_threshold=told.get("rb_threshold_raw", told["rb_threshold"]),
    )


def _check_bytes(xml: bytes) -> None:
    """Raise VOEventError unless the bytes are plain elements in US-ASCII under the prefix voe, and not too many."""
    if len(xml) > BYTES_LIMIT:
        raise VOEventError(f"{len(xml)} bytes; brokers take {BYTES_LIMIT}")
    if not xml.isascii():
        raise VOEventError("not US-ASCII")
    if not xml.startswith(HEAD):
        raise VOEventError("does not begin as our events do: XML declaration, prefix voe, namespace and version")
    rest = xml[len(HEAD) :]
    if any(mark[1:] in rest and mark in rest for mark in (b"<!", b"<?")):  # a single byte is found far faster than two
        raise VOEventError("holds a DOCTYPE, comment, CDATA section or processing instruction")


def _parse(xml: bytes) -> etree._Element:
    try:
        root = etree.fromstring(xml, parser())
    except etree.XMLSyntaxError as error:
        raise VOEventError(f"not well-formed: {error.msg}") from None
    if xml.count(b"xmlns") > 1 and any(len(node.nsmap) > 1 for node in root.iter()):
        raise VOEventError("declares namespaces other than voe")
    return root


@cache
def parser() -> etree.XMLParser:
    """The parser with everything shut that reaches beyond the bytes: entities, DTDs, the network."""
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def _schema() -> etree.XMLSchema:
    """Our schema, built by one thread alone: what libxml2 sets up for the first one is not safe from others."""
    with _BUILDING:
        return _built_schema()


@cache
def _built_schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(shipped("schemas") / "voevent" / "event.xsd"), parser()))


def _params(what: etree._Element) -> _Params:
    """Values of What's parameters by group and name; raises where names repeat or a value is not of its dataType."""
    found: dict[str, dict[str, str]] = {"": {}}
    for node in what:
        if node.tag == "Param":
            _take(node, found[""])
        elif node.tag == "Group":
            name = str(node.get("name"))
            if name in found:
                raise VOEventError(f"two groups are named {name}")
            _check_name(name)
            group = found[name] = {}
            for param in node.iterchildren("Param"):
                _take(param, group)
    return found


def _take(param: etree._Element, into: dict[str, str]) -> None:
    given = dict(param.items())  # all at once: three times as fast as one after the other
    name, value, kind = given["name"], given["value"], given["dataType"]
    _check_name(name, given["ucd"], given.get("unit", "s"))
    if not _FORMS[kind].fullmatch(value):
        raise VOEventError(f"parameter {name} is {value!r}, not a plain {kind}")
    if name in into:
        raise VOEventError(f"two parameters of one group are named {name}")
    into[name] = value


@lru_cache(maxsize=1024)
def _check_name(name: str, ucd: str = "meta", unit: str = "s") -> None:
    """Raise VOEventError unless subscribers can write the name into a filter, and UCD and unit look like such."""
    if not (_WORD.fullmatch(name) and _UCD.fullmatch(ucd) and _WORD.fullmatch(unit)):
        raise VOEventError(f"a name, UCD or unit is not written as such: {name!r}, {ucd!r}, {unit!r}")


def _problems(root: etree._Element, params: _Params, draft: bool) -> Iterator[str]:
    """What the schema could not see."""
    ivorn, role = root.attrib["ivorn"], root.attrib["role"]
    if (role == "test") != is_test(ivorn):
        yield f"role is {role}, but the local part of {ivorn} says otherwise"
    if len(ivorn.partition("#")[2]) > LOCAL_LIMIT:
        yield f"the local part of {ivorn} is longer than {LOCAL_LIMIT} characters"
    for group, names in NEEDED.items():
        for name in names:
            if name not in params.get(group, ()):
                yield f"parameter {name} is missing" + (f" in group {group}" if group else "")
    if not _SHA256.fullmatch(params["model"]["model_sha256"]):
        yield "model_sha256 is not 64 hexadecimal digits"
    retracted = params[""]["alert_type"] == "retraction"
    yield from _score_problems(params["real_bogus"], root.find("Why"), retracted)
    yield from _padding_problems(root)
    yield from _time_problems(root)
    yield from _life_problems(params, ivorn)
    yield from _citation_problems(root, params[""]["alert_type"], role, draft)


def _score_problems(told: Mapping[str, str], why: etree._Element | None, retracted: bool) -> Iterator[str]:
    for name in SHARES:
        value = float(told.get(name, "0"))
        if not (math.isfinite(value) and 0 <= value <= 1):
            yield f"{name} is {value}, outside 0 to 1"
    decision = "real" if float(told["rb_score"]) >= float(told["rb_threshold"]) else "bogus"
    if told["rb_decision"] != decision:
        yield f"rb_decision is {told['rb_decision']}, but the score {told['rb_score']} and the threshold say {decision}"
    if told["rb_score_calibrated"] not in ("0", "1"):
        yield "rb_score_calibrated is neither 0 nor 1"
    if (why is not None) != (told["rb_score_calibrated"] == "1"):
        yield "an event says Why exactly if its score is a calibrated probability"
    if why is not None:
        if why[0].attrib["probability"] != told["rb_score"]:
            yield "the probability differs from rb_score"
        if why.attrib["importance"] != ("0.000000" if retracted else told["rb_score"]):
            yield "importance differs from rb_score, or from 0.000000 on a retraction"


def _time_problems(root: etree._Element) -> Iterator[str]:
    for path in ("Who/Date", "WhereWhen/ObsDataLocation/ObservationLocation/AstroCoords/Time/TimeInstant/ISOTime"):
        text = root.findtext(path) or ""
        try:
            datetime.fromisoformat(text)
        except ValueError:
            yield f"{path} is {text!r}, which is no time"


def _padding_problems(root: etree._Element) -> Iterator[str]:
    """White space around a value: one engine strips it before it looks, another does not, and readers seldom do."""
    values = [(str(node.tag), node.text or "") for node in root.iter(*_VALUES)]
    values += [("uri", str(node.get("uri"))) for node in root.iter("Reference")]
    values.append(("ivorn", str(root.get("ivorn"))))
    for name, value in values:
        if value != value.strip():
            yield f"white space around {name} {value!r}"


def _life_problems(params: _Params, ivorn: str) -> Iterator[str]:
    """What a packet says of its place in the life of its candidate."""
    kind, decision = params[""]["alert_type"], params["real_bogus"]["rb_decision"]
    if kind not in CITES:
        yield f"alert_type is {kind}; expected one of {', '.join(CITES)}"
    retracted = kind == "retraction"
    if params[""].get("Retraction", "") != ("1" if retracted else ""):
        yield "the parameter Retraction is 1 on retractions and absent otherwise"
    if ivorn.endswith(RETRACTED) != retracted:
        yield f"alert_type is {kind}, but {ivorn} says otherwise"
    if decision == "bogus" and not retracted:
        yield "what was found bogus can only be withdrawn"


def _citation_problems(root: etree._Element, kind: str, role: str, draft: bool) -> Iterator[str]:
    cited = list(root.iterfind("Citations/EventIVORN"))
    if draft:
        if cited or kind not in ("initial", "retraction"):
            yield f"the draft of an event cites nothing and is initial or a retraction, not {kind}"
        return
    if {str(one.get("cite")) for one in cited} != ({CITES[kind]} - {""}):
        yield f"alert_type is {kind}, but it cites {[one.get('cite') for one in cited]}"
    if kind in ("update", "retraction") and len(cited) > 1:
        yield f"one packet is in force for a candidate; {len(cited)} are cited"
    names = [one.text or "" for one in cited]
    if len({*names, str(root.get("ivorn"))}) != len(names) + 1:
        yield "a packet is cited twice, or cites itself"
    yield from (f"a packet of role {role} cites {name}" for name in names if (role == "test") != is_test(name))


def is_test(ivorn: str) -> bool:
    """Whether an IVORN of ours is that of a test."""
    return ivorn.partition("#")[2].startswith("test_")
