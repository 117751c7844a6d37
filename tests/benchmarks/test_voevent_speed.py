"""How long an event takes, beside building the same elements one by one with lxml.

Run with ``pytest tests/benchmarks/test_voevent_speed.py --benchmark-enable``.
"""

from __future__ import annotations

from conftest import SHARED, need
from lxml import etree
from voevent_cases import STYLE, element_by_element, scored, spelled

from realbogus.publish.archive import Archive
from realbogus.publish.ledger import Ledger
from realbogus.voevent import build, validate

SCORED = scored(1000)
EVENT = build(SCORED, 0, STYLE)


SPELLED = spelled(etree.fromstring(EVENT.xml))


def test_building_alone(benchmark, monkeypatch):
    monkeypatch.setattr(validate, "read", lambda xml, draft: xml)
    assert benchmark(build, SCORED, 0, STYLE) == EVENT.xml


def test_building_and_all_checks(benchmark):
    assert benchmark(build, SCORED, 0, STYLE) == EVENT


def test_all_checks_of_an_event_from_the_outbox(benchmark):
    assert benchmark(validate.read, EVENT.xml) == EVENT


def test_naive_building_element_by_element(benchmark):
    assert len(benchmark(element_by_element, SPELLED)) > 4000


def test_naive_building_and_the_official_schema(benchmark):
    official = etree.XMLSchema(etree.parse(need(SHARED / "voevent", "needs the official schema") / "VOEvent-v2.0.xsd"))
    assert benchmark(element_by_element, SPELLED, official)


def test_entering_a_batch_into_the_ledger(benchmark, tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    events = [build(SCORED, row, STYLE) for row in range(200)]
    benchmark(ledger.enter, events, ["archive", "kafka"], 0.0)
    ledger.close()


def test_archiving_a_batch(benchmark, tmp_path):
    events = [build(SCORED, row, STYLE) for row in range(200)]
    folders = iter(tmp_path / str(number) for number in range(1000))
    benchmark.pedantic(lambda: Archive(next(folders)).send(events), rounds=5)
