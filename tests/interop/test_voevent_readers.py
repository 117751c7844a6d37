"""Our events in the hands of the libraries that subscribers use."""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib import resources
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from conftest import SHARED, need
from lxml import etree
from voevent_cases import MODEL, STYLE, scored

from realbogus.publish.kafka_topic import headers
from realbogus.resources import shipped
from realbogus.voevent import EventStyle, build

pytestmark = pytest.mark.interop

RAW = replace(MODEL, calibrated=False)
EVENTS = {
    "calibrated": build(scored(), 0, STYLE),
    "observation": build(scored(), 0, replace(STYLE, role="observation")),
    "raw": build(scored(model=RAW, p_real=np.nan), 0, STYLE),
    "bare": build(scored(mag_psf=np.nan, exposure_s=np.nan, contributions=False), 0, EventStyle(authority="org.x")),
    "rubin": build(scored(survey="rubin", object_id="169298433000964123", band="y"), 0, STYLE),
    "other scripts": build(scored(object_id="Ω <変光星> & \x00"), 0, replace(STYLE, contact_name="Jürgen Müller")),
}
events = pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)


def third_party(name: str, because: str) -> ModuleType:
    """Import a package whose own warnings are not our concern."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=because, exc_type=ImportError)


@pytest.fixture(scope="module")
def official():
    return need(SHARED / "voevent", "needs the official schema") / "VOEvent-v2.0.xsd"


@events
def test_libxml2_finds_them_valid(event, official):
    etree.XMLSchema(etree.parse(official)).assertValid(etree.fromstring(event.xml))


@events
def test_a_second_engine_finds_them_valid(event, official):
    xmlschema = third_party("xmlschema", "xmlschema is a second engine beside libxml2")
    xmlschema.XMLSchema10(str(official)).validate(event.xml.decode("ascii"))


def test_a_second_engine_finds_our_own_schema_valid_and_our_events_by_it():
    xmlschema = third_party("xmlschema", "xmlschema is a second engine beside libxml2")
    ours = xmlschema.XMLSchema10(str(shipped("schemas") / "voevent" / "event.xsd"))
    for event in EVENTS.values():
        ours.validate(event.xml.decode("ascii"))


@events
def test_hop_reads_a_record_of_the_topic(event):
    io, models = third_party("hop.io", "hop-client"), third_party("hop.models", "hop-client")
    told = headers(event)
    message = io.Deserializer.deserialize(SimpleNamespace(value=lambda: event.xml, headers=lambda: told))
    assert isinstance(message, models.VOEvent)
    assert message._raw == event.xml
    assert (message.ivorn, message.role) == (event.ivorn, event.role)
    groups = {group["name"]: group for group in message.What["Group"]}
    found = {param["name"]: param["value"] for param in groups["identity"]["Param"]}
    assert found["candidate_id"] == event.candid
    assert io.Consumer.is_test(SimpleNamespace(headers=lambda: told)) == (event.role == "test")


@events
def test_voevent_parse_reads_position_and_time(event):
    vp = third_party("voeventparse", "voevent-parse, which builds on Python 3.11 only")
    packet = vp.loads(event.xml)
    assert vp.valid_as_v2_0(packet)
    position = vp.get_event_position(packet)
    assert position.system == "UTC-ICRS-TOPO"
    assert (position.ra, position.dec) == (123.4567891, -12.3456789)
    assert position.err == pytest.approx(0.2 / 3600, abs=5e-8)  # printed with seven decimals
    assert position.units == "deg"
    time = vp.get_event_time_as_utc(packet)
    assert time.replace(tzinfo=None).isoformat() == "2023-02-25T02:57:46.598400"
    params = vp.get_grouped_params(packet)
    assert params["model"]["model_sha256"]["value"] == MODEL.sha256
    assert packet.attrib["ivorn"] == event.ivorn


@events
def test_comets_own_checks_accept_them(event):
    comet = third_party("comet.utility", "Comet")
    schema = resources.files("comet") / "schema" / "VOEvent-v2.0.xsd"
    etree.XMLSchema(etree.fromstring(schema.read_bytes())).assertValid(etree.fromstring(event.xml))
    authority, stream, local = comet.parse_ivoid(event.ivorn)
    assert event.ivorn == f"ivo://{authority}{stream}#{local}"
