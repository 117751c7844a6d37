"""The last gate: what ours accepts the official schema accepts; what receivers refuse or misread ours refuses."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from conftest import SHARED, need
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from voevent_cases import MODEL, STYLE, scored

from realbogus.errors import VOEventError
from realbogus.voevent import build, validate
from realbogus.voevent.validate import BYTES_LIMIT, read

GOOD = build(scored(), 0, STYLE).xml
RAW = build(scored(model=replace(MODEL, calibrated=False), p_real=np.nan), 0, STYLE).xml


@pytest.fixture(scope="module")
def official() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(need(SHARED / "voevent", "needs the official schema") / "VOEvent-v2.0.xsd"))


def test_read_gives_back_the_event_that_was_built():
    assert read(GOOD) == build(scored(), 0, STYLE)


def put(old: str, new: str, xml: bytes = GOOD) -> bytes:
    """The event with the first piece that matches replaced."""
    changed, count = re.subn(old.encode(), new.encode(), xml, count=1, flags=re.DOTALL)
    assert count, f"{old} is not in the event"
    return changed


CITATIONS = '<Citations><EventIVORN cite="{cite}">ivo://org.example/s#{local}</EventIVORN></Citations><Description>'
REFUSED = {
    # what passes the official schema and is refused, lost or misread all the same
    "no role": put(' role="test"', ""),
    "role of no use here": put('role="test"', 'role="utility"'),
    "default namespace": GOOD.replace(b"xmlns:voe", b"xmlns").replace(b"voe:", b""),
    "another prefix": GOOD.replace(b"voe:", b"v:").replace(b":voe", b":v"),
    "too large": put("<title>.*</title>", f"<title>{'x' * BYTES_LIMIT}</title>"),
    "long text": put("<title>.*</title>", f"<title>{'x' * 1025}</title>"),
    "id with a space": put("_r0", " r0"),
    "id with a bar": put("_r0", "|r0"),
    "id with ?": put("realbogus#", "realbogus?"),
    "id with two #": put("_r0", "#r0"),
    "id without local part": put("#test_[^\"]*", "#"),
    "long local part": put("_r0", "x" * 200 + "_r0"),
    "short authority": put("ivo://org.example.survey/", "ivo://ab/"),
    "NaN position": put("<C1>.*</C1>", "<C1>NaN</C1>"),
    "infinite position": put("<C2>.*</C2>", "<C2>INF</C2>"),
    "position off the sky": put("<C1>.*</C1>", "<C1>360.0</C1>"),
    "declination beyond the pole": put("<C2>.*</C2>", "<C2>-90.0000001</C2>"),
    "position 999": put("<C1>.*</C1>", "<C1>999</C1>"),
    "nan position": put("<C1>.*</C1>", "<C1>nan</C1>"),
    "probability with exponent": put('probability="[^"]*"', 'probability="9.5e-01"'),
    "date with a fraction": put("</Date>", ".5</Date>"),
    "broken UTF-8": GOOD.replace(b"Night desk", b"Night \xe4\xff desk"),
    "name with a space": put('name="mag_psf"', 'name="mag psf"'),
    "name of a group with a quote": put('Group name="photometry"', 'Group name="a&apos;b"'),
    "UCD that is none": put('ucd="meta.code.class"', 'ucd="Meta code"'),
    "unit that is none": put('unit="mag"', 'unit="in mag"'),
    "importance 2": put('importance="[^"]*"', 'importance="2.0"'),
    "importance NaN": put('importance="[^"]*"', 'importance="NaN"'),
    "negative error": put("<Error2Radius>.*</Error2Radius>", "<Error2Radius>-1.0</Error2Radius>"),
    "zero error": put("<Error2Radius>.*</Error2Radius>", "<Error2Radius>0.0</Error2Radius>"),
    "float nan": put('value="18.5300"', 'value="nan"'),
    "float abc": put('value="18.5300"', 'value="abc"'),
    "float with exponent": put('value="18.5300"', 'value="1.853e+01"'),
    "float in other digits": put('value="18.5300"', 'value="&#1633;&#1640;.&#1637;"'),
    "int abc": put('value="1" ucd="meta.code.qual"', 'value="x" ucd="meta.code.qual"'),
    "same name twice": put('name="mag_limit"', 'name="mag_psf"'),
    "same name twice on top": put('name="alert_type"', 'name="schema_version"'),
    "same group twice": put('Group name="photometry"', 'Group name="cutouts"'),
    "no What": put("<What>.*</What>\n", ""),
    "empty What": put("<What>.*</What>\n", "<What></What>"),
    "no Who": put("<Who>.*</Who>\n", ""),
    "no date": put("<Date>.*</Date>\n", ""),
    "no WhereWhen": put("<WhereWhen>.*</WhereWhen>\n", ""),
    "no description": put("<Description>ZTF20.*</Description>\n", ""),
    "ISOTime yesterday": put("<ISOTime>.*</ISOTime>", "<ISOTime>yesterday</ISOTime>"),
    "ISOTime of no day": put("<ISOTime>2023-02-25", "<ISOTime>2023-02-30"),
    "ISOTime with zone": put("</ISOTime>", "Z</ISOTime>"),
    "date at 24 h": put("<Date>.*</Date>", "<Date>2023-02-25T24:00:00</Date>"),
    "cite missing": put("<Description>ZTF20", CITATIONS.replace(' cite="{cite}"', "") + "ZTF20"),
    "cites free text": put("<Description>ZTF20", CITATIONS.format(cite="followup", local="a b") + "ZTF20"),
    "test cites observation": put("<Description>ZTF20", CITATIONS.format(cite="followup", local="a") + "ZTF20"),
    "date on a line of its own": put("<Date>", "<Date>\n"),
    "padded id": put('ivorn="', 'ivorn=" '),
    "padded position": put("<C1>", "<C1>&#10;"),
    "padded link": put('uri="', 'uri=" '),
    "not ASCII": put("Night desk", "Nachtdienst \u00e4"),
    # what passes neither
    "version 2.1": GOOD.replace(b"2.0", b"2.1", 2),
    "probability 1.0000001": put('probability="[^"]*"', 'probability="1.0000001"'),
    "no error radius": put("<Error2Radius>.*</Error2Radius>", ""),
    "unknown coordinate system": GOOD.replace(b"UTC-ICRS-TOPO", b"UTC-ICRS-MOON"),
    "another coordinate system": GOOD.replace(b"UTC-ICRS-TOPO", b"TT-ICRS-TOPO"),
    "nested group": put('<Group name="identity">(.*?)</Group>', r'<Group name="x"><Group name="y">\1</Group></Group>'),
    "two descriptions": put("</voe:VOEvent>", "<Description>more</Description></voe:VOEvent>"),
    "unknown child": put("</voe:VOEvent>", "<Extra/></voe:VOEvent>"),
    "empty citations": put("<Description>ZTF20", "<Citations/><Description>ZTF20"),
    "unknown cite": put("<Description>ZTF20", CITATIONS.format(cite="like", local="test_a") + "ZTF20"),
    "control character": put("Night desk", "Night\x01desk"),
    "control reference": put("Night desk", "Night&#1;desk"),
    "cut short": GOOD[:-20],
    "empty": b"",
    # attacks
    "internal entity": put("<voe:VOEvent", '<!DOCTYPE x [<!ENTITY e "boom">]>\n<voe:VOEvent'),
    "undeclared entity": put("Night desk", "&e;"),
    "external entity": put("<voe:VOEvent", '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>\n<voe:VOEvent'),
    "entity bomb": put("<voe:VOEvent", '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;&a;">]>\n<voe:VOEvent'),
    "comment": put("<Who>", "<!-- --><Who>"),
    "stylesheet": put("<Who>", '<?xml-stylesheet href="x"?><Who>'),
    "other encoding": put("US-ASCII", "UTF-7"),
    "type of another schema": put("<Who>", '<Who xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="x">'),
    "schema location": put("<Who>", '<Who xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:schemaLocation="a b">'),
    # what contradicts itself
    "decision against the score": put('value="real"', 'value="bogus"'),
    "score beyond 1": RAW.replace(b'value="0.900000"', b'value="1.900000"'),
    "calibrated without why": put("<Why.*</Why>\n", ""),
    "why of another score": put('importance="0.950000"', 'importance="0.940000"'),
    "why without calibration": put('value="1" ucd="meta.code.qual"', 'value="0" ucd="meta.code.qual"'),
    "calibrated 2": put('value="1" ucd="meta.code.qual"', 'value="2" ucd="meta.code.qual"'),
    "test under the id of an observation": put("#test_", "#"),
    "observation under the id of a test": put('role="test"', 'role="observation"'),
    "no model": put('<Param name="model_name"[^>]*>', ""),
    "no score": put('name="rb_score"', 'name="score"'),
    "sha256 cut": put(MODEL.sha256, MODEL.sha256[:-1]),
}  # fmt: skip


@pytest.mark.parametrize("xml", REFUSED.values(), ids=REFUSED)
def test_what_receivers_refuse_or_misread_is_refused(xml):
    with pytest.raises(VOEventError):
        read(xml)


def test_an_external_entity_is_refused_before_any_file_is_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("do not tell")
    with pytest.raises(VOEventError, match="does not begin") as caught:
        read(put("<voe:VOEvent", f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]>\n<voe:VOEvent'))
    assert "do not tell" not in str(caught.value)


def test_the_largest_event_that_brokers_take_is_accepted_by_size():
    with pytest.raises(VOEventError, match="100000 bytes"):
        read(GOOD.ljust(BYTES_LIMIT + 1))
    assert read(GOOD.ljust(BYTES_LIMIT)).xml == GOOD.ljust(BYTES_LIMIT)


@pytest.mark.parametrize("xml", [GOOD, RAW], ids=["calibrated", "raw"])
def test_our_events_are_valid_by_the_official_schema(official, xml):
    official.assertValid(etree.fromstring(xml))


@pytest.mark.parametrize(
    "name", ["no role", "NaN position", "same name twice", "ISOTime yesterday", "float nan", "no WhereWhen"]
)
def test_ours_is_narrower_than_the_official_schema(official, name):
    official.assertValid(etree.fromstring(REFUSED[name]))


CHUNKS = [bytes(chunk) for chunk in re.findall(rb"<[^>]*>|[^<]+", GOOD)]
TEXTS = st.sampled_from(
    b"||x|1|-1.0|NaN|0.5|2.0|1e5| |2023-02-25T00:00:00|&amp;|&#233;|&#65534;|ivo://a/b#c|http://a##b|%zz|UTC-FK5-GEO|"
    b"test|true|https://x.org/%zz|https://x.org/a#b#c|https://[x".split(b"|")
)


def _accepted_by_ours(xml: bytes) -> bool:
    try:
        read(xml)
    except VOEventError:
        return False
    return True


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The event with a few pieces dropped, doubled, swapped or exchanged, values rewritten, or bytes flipped."""
    chunks = list(CHUNKS)
    for _ in range(draw(st.integers(1, 3))):
        i, j = draw(st.integers(0, len(chunks) - 1)), draw(st.integers(0, len(chunks) - 1))
        kind = draw(st.sampled_from(["drop", "double", "swap", "value", "text", "byte", "pad"]))
        if kind == "drop":
            chunks[i] = b""
        elif kind == "double":
            chunks[i] += chunks[j]
        elif kind == "swap":
            chunks[i], chunks[j] = chunks[j], chunks[i]
        elif kind == "text":
            chunks[i] = chunks[i] if chunks[i].startswith(b"<") else draw(TEXTS)
        elif kind == "value":
            text = draw(TEXTS)
            chunks[i] = re.sub(rb'="[^"]*"', lambda _, text=text: b'="' + text + b'"', chunks[i], count=1)
        elif kind == "pad":
            space = draw(st.sampled_from([b" ", b"\n", b"&#10;", b"&#xA0;"]))
            inside = chunks[i].replace(b'="', b'="' + space, 1)
            around = space + chunks[i] if draw(st.booleans()) else chunks[i] + space
            chunks[i] = inside if chunks[i].startswith(b"<") else around
        elif chunks[i]:
            at = draw(st.integers(0, len(chunks[i]) - 1))
            chunks[i] = chunks[i][:at] + bytes([draw(st.integers(0, 255))]) + chunks[i][at + 1 :]
    return b"".join(chunks)


@settings(max_examples=1500, deadline=None)
@given(xml=mutated())
def test_whatever_ours_accepts_the_official_schema_accepts(official, xml):
    if _accepted_by_ours(xml):
        official.assertValid(etree.fromstring(xml))


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=40), ra=st.floats(0, 360), dec=st.floats(-90, 90), score=st.floats(0, 1),
       mjd=st.floats(40000, 80000), mag=st.floats(allow_nan=True, allow_infinity=True))  # fmt: skip
def test_whatever_alert_comes_its_event_is_valid_by_both(official, text, ra, dec, score, mjd, mag):
    batch = scored(
        object_id=text,
        band=text[:3],
        ra_deg=ra,
        dec_deg=dec,
        p_real=score,
        mjd=mjd,
        mag_psf=mag,
        snr_psf=mag,
        mag_psf_err=-mag,
    )
    official.assertValid(etree.fromstring(build(batch, 0, STYLE).xml))


@given(xml=st.binary(max_size=300))
def test_any_bytes_raise_only_our_error(xml):
    with pytest.raises(VOEventError):
        read(xml)


@given(tail=st.binary(max_size=300))
def test_any_bytes_behind_a_good_beginning_raise_only_our_error(tail):
    with pytest.raises(VOEventError):
        read(GOOD[:200] + tail)


def test_mutation_leaves_some_events_acceptable():
    assert _accepted_by_ours(b"".join(CHUNKS))
    assert _accepted_by_ours(put("Night desk", "0.5"))


def test_threads_that_begin_together_build_one_schema(monkeypatch):
    """libxml2 sets up its types with the first schema; three threads at once broke one process in 28."""
    validate._built_schema.cache_clear()
    built, schema = [], etree.XMLSchema

    def slow(tree):
        built.append(tree)
        time.sleep(0.05)
        return schema(tree)

    monkeypatch.setattr(validate.etree, "XMLSchema", slow)
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(lambda _: validate._schema(), range(4)))
    assert len(built) == len(found) == 1
