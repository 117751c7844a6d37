"""The life of a candidate: each packet says which place it takes, and cites what it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import SHARED, need
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from voevent_cases import MODEL, STYLE, scored

from realbogus.errors import VOEventError
from realbogus.voevent import build, lifecycle
from realbogus.voevent.lifecycle import BY_HAND, in_force, place, published, standing, withdrawal
from realbogus.voevent.validate import Event, read

SECOND = replace(MODEL, version="1.3.0", sha256="f" * 64)
FORMS = {
    "calibrated": (MODEL, SECOND),
    "raw": (replace(MODEL, calibrated=False), replace(SECOND, calibrated=False)),
}


def draft(candid: int = 1, *, model=MODEL, p_real: float = 0.95, revision: int = 0, style=STYLE, **more) -> Event:
    score = more.pop("score", p_real)
    told = scored(candid=candid, model=model, score=score, p_real=p_real if model.calibrated else np.nan, **more)
    return build(told, 0, style, revision=revision)


def lived(*drafts: Event) -> list[Event]:
    """What becomes of drafts of one object, one after the other."""
    events: list[Event] = []
    for one in drafts:
        event = place(one, [published(event) for event in events])
        if event is not None:
            events.append(event)
    return events


def cites(event: Event) -> list[tuple[str, str]]:
    root = etree.fromstring(event.xml)
    return [(node.get("cite"), node.text) for node in root.iterfind("Citations/EventIVORN")]


def params(event: Event) -> dict[str, str]:
    return {node.get("name"): node.get("value") for node in etree.fromstring(event.xml).iterfind("What/Param")}


def test_the_first_candidate_of_an_object_is_published_as_it_was_built():
    assert lived(draft()) == [draft()]
    assert params(draft())["alert_type"] == "initial"
    assert cites(draft()) == []


def test_another_candidate_follows_the_first_packet_and_the_one_in_force():
    first, second, third = lived(draft(1), draft(2), draft(3))
    assert (second.alert_type, cites(second)) == ("subsequent", [("followup", first.ivorn)])
    assert cites(third) == [("followup", first.ivorn), ("followup", second.ivorn)]


@pytest.mark.parametrize(("before", "after"), FORMS.values(), ids=FORMS)
def test_a_candidate_still_real_by_a_new_model_supersedes_what_is_in_force(before, after):
    first, second = lived(draft(model=before), draft(model=after, p_real=0.8))
    assert (second.alert_type, cites(second)) == ("update", [("supersedes", first.ivorn)])
    assert "Retraction" not in params(second)
    words = etree.fromstring(second.xml).findtext("Citations/Description")
    assert f"forest/1.2.0 gave {first.score}" in words
    assert f"forest/1.3.0 gives {second.score}" in words


@pytest.mark.parametrize(("before", "after"), FORMS.values(), ids=FORMS)
def test_a_candidate_found_bogus_by_a_new_model_is_withdrawn(before, after):
    first, second = lived(draft(model=before), draft(model=after, p_real=0.1))
    assert second.ivorn == first.ivorn.replace("1.2.0", "1.3.0") + "-retraction"
    assert (second.alert_type, second.decision) == ("retraction", "bogus")
    assert cites(second) == [("retraction", first.ivorn)]
    assert params(second)["Retraction"] == "1"
    root = etree.fromstring(second.xml)
    words = root.findtext("Citations/Description")
    assert all(told in words for told in (first.score, second.score, first.model, second.model))
    if before.calibrated:
        assert root.find("Why").get("importance") == "0.000000"
        assert root.find("Why/Inference").get("probability") == second.score == "0.100000"
    else:
        assert root.find("Why") is None


def test_what_was_never_published_is_not_withdrawn():
    assert lived(draft(p_real=0.1)) == []
    assert len(lived(draft(1), draft(2, p_real=0.1))) == 1


def test_what_is_withdrawn_is_not_withdrawn_again():
    assert len(lived(draft(), draft(model=SECOND, p_real=0.1), draft(p_real=0.1, revision=1))) == 2


def test_a_withdrawn_candidate_that_is_real_again_supersedes_its_retraction():
    _, gone, back = lived(draft(), draft(model=SECOND, p_real=0.1), draft(revision=1))
    assert (back.alert_type, cites(back)) == ("update", [("supersedes", gone.ivorn)])
    assert back.ivorn.endswith("_forest_1.2.0_r1")


def test_a_new_candidate_of_an_object_withdrawn_altogether_follows_its_first_packet_alone():
    first, _, third = lived(draft(1), draft(1, model=SECOND, p_real=0.1), draft(2))
    assert (third.alert_type, cites(third)) == ("subsequent", [("followup", first.ivorn)])


def test_a_new_candidate_cites_no_withdrawn_one_as_in_force():
    first, second, _, fourth = lived(draft(1), draft(2), draft(2, model=SECOND, p_real=0.1), draft(3))
    assert cites(fourth) == [("followup", first.ivorn)]
    assert second.ivorn not in fourth.xml.decode()


def test_an_update_is_in_force_in_place_of_what_it_supersedes():
    first, second, third = lived(draft(1), draft(1, model=SECOND), draft(2))
    assert cites(third) == [("followup", first.ivorn), ("followup", second.ivorn)]
    thread = [published(event) for event in (first, second, third)]
    assert in_force(thread, "1") == published(second)
    assert [one.ivorn for one in standing(thread)] == [second.ivorn, third.ivorn]


def test_a_person_withdraws_an_event_with_all_that_it_said_and_a_reason():
    (first,) = lived(draft())
    gone = place(withdrawal(first, "  a satellite,\nsays <MPC> & co\x00 "), [published(first)])
    assert gone.ivorn == f"{first.ivorn}-retraction"
    assert cites(gone) == [("retraction", first.ivorn)]
    assert (gone.decision, gone.score) == (first.decision, first.score)  # who filters on the score gets it, too
    root = etree.fromstring(gone.xml)
    assert root.findtext("Description").endswith(f"{BY_HAND}. a satellite, says <MPC> & co\ufffd")
    assert root.find("Why").get("importance") == "0.000000"
    assert root.findtext("Citations/Description") == f"{first.ivorn} was {BY_HAND}"
    assert published(gone).is_by_hand
    assert not published(place(draft(model=SECOND, p_real=0.1), [published(first)])).is_by_hand


@pytest.mark.parametrize("reason", ["", "  \n "])
def test_nobody_withdraws_without_a_reason(reason):
    with pytest.raises(VOEventError, match="says why"):
        withdrawal(draft(), reason)


def test_a_person_withdraws_an_update_by_its_own_name():
    first, second = lived(draft(), draft(model=SECOND))
    gone = place(withdrawal(second, "ghost"), [published(first), published(second)])
    assert gone.ivorn == f"{second.ivorn}-retraction"
    assert cites(gone) == [("retraction", second.ivorn)]


def test_a_draft_and_its_past_give_the_same_bytes():
    assert lived(draft(1), draft(2), draft(1, model=SECOND)) == lived(draft(1), draft(2), draft(1, model=SECOND))


def put(xml: bytes, old: str, new: str) -> bytes:
    assert old.encode() in xml
    return xml.replace(old.encode(), new.encode(), 1)


FIRST, SUBSEQUENT, UPDATE = lived(draft(1), draft(2), draft(1, model=SECOND))
_, GONE = lived(draft(1), draft(1, model=SECOND, p_real=0.1))
CONTRADICTIONS = {
    "initial that cites": put(SUBSEQUENT.xml, '"subsequent"', '"initial"'),
    "subsequent that cites nothing": put(FIRST.xml, '"initial"', '"subsequent"'),
    "update that follows": put(SUBSEQUENT.xml, '"subsequent"', '"update"'),
    "subsequent that supersedes": put(SUBSEQUENT.xml, '"followup"', '"supersedes"'),
    "update of two": put(UPDATE.xml, "</EventIVORN>", '</EventIVORN><EventIVORN cite="supersedes">ivo://a.b/c#test_d</EventIVORN>'),
    "cites one twice": put(
        SUBSEQUENT.xml, "</EventIVORN>", f'</EventIVORN><EventIVORN cite="followup">{FIRST.ivorn}</EventIVORN>'
    ),
    "cites itself": put(SUBSEQUENT.xml, f">{FIRST.ivorn}<", f">{SUBSEQUENT.ivorn}<"),
    "test that cites an observation": put(SUBSEQUENT.xml, '"followup">ivo://org.example.survey/realbogus#test_', '"followup">ivo://org.example.survey/realbogus#'),
    "unknown type": put(FIRST.xml, '"initial"', '"other"'),
    "retraction without the word": GONE.xml.replace(b'name="Retraction" value="1"', b'name="Other" value="1"'),
    "retraction of value 2": put(GONE.xml, 'name="Retraction" value="1"', 'name="Retraction" value="2"'),
    "retraction under another name": put(GONE.xml, "-retraction\" role", '" role'),
    "initial under the name of a retraction": put(FIRST.xml, '_r0" role', '_r0-retraction" role'),
    "retraction of importance": put(GONE.xml, 'importance="0.000000"', 'importance="0.100000"'),
    "retraction that cites nothing": draft(p_real=0.1).xml,
}  # fmt: skip


@pytest.mark.parametrize("xml", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_packets_that_contradict_their_place_are_refused(xml):
    with pytest.raises(VOEventError):
        read(xml)


@pytest.mark.parametrize("event", [SUBSEQUENT, UPDATE, GONE], ids=lambda event: event.alert_type)
def test_what_is_placed_already_is_no_draft(event):
    assert read(event.xml) == event
    with pytest.raises(VOEventError, match="cites nothing"):
        read(event.xml, draft=True)


def test_every_kind_of_packet_is_valid_by_the_official_schema():
    official = etree.XMLSchema(etree.parse(need(SHARED / "voevent", "needs the official schema") / "VOEvent-v2.0.xsd"))
    gone = place(withdrawal(SUBSEQUENT, "because"), [published(SUBSEQUENT)])
    for event in (FIRST, SUBSEQUENT, UPDATE, GONE, gone):
        official.assertValid(etree.fromstring(event.xml))


STEPS = st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.integers(0, 5), st.booleans()), max_size=12)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_retractions_and_citations_keep_the_rules(steps):
    """Candidates judged again and again, real or bogus, now and then withdrawn by hand."""
    events: list[Event] = []
    for candid, real, revision, by_hand in steps:
        thread = [published(event) for event in events]
        if by_hand and standing(thread):
            last = next(event for event in events if event.ivorn == standing(thread)[-1].ivorn)
            one = withdrawal(last, "because")
        else:
            one = draft(candid, p_real=0.95 if real else 0.1, revision=revision)
        if any(event.ivorn == one.ivorn for event in events):
            continue  # the ledger knows it
        event = place(one, thread)
        if event is not None:
            _check(event, events)
            events.append(event)


def _check(event: Event, before: list[Event]) -> None:
    sent = {one.ivorn for one in before}
    assert {ivorn for _, ivorn in cites(event)} <= sent  # whatever is cited was published
    own = [one for one in before if one.candid == event.candid]
    assert (event.alert_type == "initial") == (not before)
    assert (event.alert_type in ("update", "retraction")) == bool(own)
    if event.alert_type == "retraction":
        assert own[-1].alert_type != "retraction"
    if own:
        assert cites(event) == [(lifecycle.validate.CITES[event.alert_type], own[-1].ivorn)]
