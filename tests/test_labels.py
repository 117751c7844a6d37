"""Claims of many sources: imported, kept, settled where they disagree, and never turned into features."""

from __future__ import annotations

import csv
import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realbogus.alerts import COLUMNS
from realbogus.cli import main
from realbogus.errors import LabelError
from realbogus.features import FEATURE_SETS
from realbogus.labels import read_claims
from realbogus.labels.importers import Options, Seen, asteroids, transients, vetting
from realbogus.labels.journal import Claim, append, read, settle
from realbogus.labels.sources import SOURCES, banned
from realbogus.training.examples import check_closure

TIME = "2026-11-22T03:00:00+00:00"


def claim(candid=1, real=True, source="vetting", confidence=0.9, **more):
    told = {"candid": candid, "survey": "ztf", "real": real, "source": source, "confidence": confidence, "time": TIME}
    return Claim(**(told | {"object_id": f"o{candid}", "exposure": "e1"} | more))


CLAIMS = st.lists(
    st.builds(
        claim,
        candid=st.integers(1, 4),
        real=st.booleans(),
        source=st.sampled_from(list(SOURCES)),
        confidence=st.sampled_from([0.5, 0.9, 1.0]),
        labeler=st.sampled_from(["", "ann", "bob"]),
        time=st.sampled_from([TIME, "2026-11-23T03:00:00+00:00"]),
    ),
    max_size=25,
)


# settling


def test_the_higher_source_wins_and_the_contradiction_is_kept_as_data():
    found = settle([claim(real=False), claim(source="asteroid"), claim(source="panel", real=False)])
    assert [(one.real, one.source) for one in found.winners] == [(True, "asteroid")]
    assert found.overruled == {("asteroid", "panel"): 1, ("asteroid", "vetting"): 1}


def test_voices_of_one_source_are_weighed_and_an_even_split_gives_no_label():
    ann, bob, eve = (claim(labeler=name) for name in ("ann", "bob", "eve"))
    assert settle([ann, bob, replace(eve, real=False)]).winners[0].real
    assert not settle([replace(ann, confidence=0.5), replace(eve, real=False)]).winners[0].real
    even = settle([ann, replace(eve, real=False)])
    assert (even.winners, even.disputed) == ([], [1])


def test_who_changes_their_mind_is_counted_once_with_the_latest_word():
    later = claim(real=False, labeler="ann", time="2026-11-23T03:00:00+00:00")
    assert not settle([later, claim(labeler="ann")]).winners[0].real


@given(CLAIMS, st.randoms())
def test_order_and_repetition_of_claims_do_not_matter(claims, random):
    shuffled = random.sample(claims, len(claims)) + claims[:3]
    assert settle(shuffled) == settle(claims)


@given(CLAIMS)
def test_every_alert_is_settled_or_disputed(claims):
    found = settle(claims)
    assert {one.candid for one in found.winners} | set(found.disputed) == {one.candid for one in claims}
    assert len(found.winners) + len(found.disputed) == len({one.candid for one in claims})


def test_settling_what_is_settled_changes_nothing():
    once = settle([claim(1), claim(2, real=False, source="panel"), claim(2)])
    assert settle(once.winners).winners == once.winners


# the journal


@given(CLAIMS)
def test_a_journal_gives_back_what_was_appended(tmp_path_factory, claims):
    path = tmp_path_factory.mktemp("journal") / "labels.jsonl"
    append(path, claims[:10])
    append(path, claims[10:])
    assert read([path]) == claims


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"candid": "x"}, "no whole number"),
        ({"candid": True}, "no whole number"),
        ({"real": 1}, "neither true nor false"),
        ({"source": "rumour"}, "source 'rumour'"),
        ({"confidence": 0}, "confidence"),
        ({"confidence": float("nan")}, "confidence"),
        ({"time": "yesterday"}, "ISO 8601"),
        ({"time": "2026-11-22"}, "ISO 8601"),
        ({"kind": 3}, "kind is no text"),
        ({"mood": "good"}, "is no claim"),
    ],
)
def test_a_line_that_is_no_claim_is_named(tmp_path, changed, message):
    append(tmp_path / "labels.jsonl", [claim()])
    line = json.loads((tmp_path / "labels.jsonl").read_text())
    (tmp_path / "bad.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(line | changed) + "\n")
    with pytest.raises(LabelError, match=f"line 2.*{message}"):
        read([tmp_path / "bad.jsonl"])


@given(st.binary(max_size=200))
def test_any_bytes_are_claims_or_an_error_of_ours(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("journal") / "labels.jsonl"
    path.write_bytes(raw)
    with suppress(LabelError):
        read([path])


# for training


def test_labels_for_training_carry_source_trust_and_groups(tmp_path):
    append(
        tmp_path / "a.jsonl",
        [claim(1, exposure="e1"), claim(2, exposure="e2", object_id="o1"), claim(3, exposure="e9")],
    )
    labels = read_claims([tmp_path / "a.jsonl"]).by_candid
    assert labels[1].group == labels[2].group != labels[3].group
    assert (labels[1].source, labels[1].weight) == ("vetting", 0.9)


def test_labels_without_object_and_exposure_cannot_train(tmp_path):
    append(tmp_path / "a.jsonl", [claim(1, exposure="")])
    with pytest.raises(LabelError, match="import them with --packets"):
        read_claims([tmp_path / "a.jsonl"])


def test_a_source_bans_the_columns_it_looked_at(tmp_path):
    append(tmp_path / "a.jsonl", [claim(1, source="asteroid"), claim(2)])
    labels = read_claims([tmp_path / "a.jsonl"])
    assert labels.made_from == ("mag_psf",)
    tainted = banned(["asteroid"], FEATURE_SETS["full-1"])
    assert tainted
    for name in tainted:
        with pytest.raises(LabelError, match="from which labels were made"):
            check_closure([name], labels.made_from)
    check_closure([name for name in FEATURE_SETS["full-1"] if name not in tainted], labels.made_from)
    append(tmp_path / "b.jsonl", [claim(1, source="asteroid-position")])
    check_closure(FEATURE_SETS["full-1"], read_claims([tmp_path / "b.jsonl"]).made_from)


def test_what_a_source_looked_at_are_columns_that_exist():
    assert {column for source in SOURCES.values() for column in source.made_from} <= set(COLUMNS)


# importers


def table(path, text):
    path.write_text(text)
    return path


def options(packets=None, **more):
    return Options("ztf", TIME, packets or {}, **more)


def seen(ra=10.0, dec=5.0, mjd=60000.0, sign=1.0, name="ZTF1"):
    return Seen("ztf", name, mjd, ra, dec, sign)


def test_asteroids_are_real_within_2_arcsec_and_1_mag(tmp_path):
    path = table(
        tmp_path / "a.csv",
        "candid,ssdistnr,ssmagnr,magpsf\n1,0.5,18.2,18.9\n2,2.5,18,18\n3,-999,-999,18\n4,1,17,18.5\n5,1,-999,18\n",
    )
    assert [one.candid for one in asteroids(path, options())] == [1]
    assert [one.candid for one in asteroids(path, options(position_only=True))] == [1, 4, 5]
    assert {one.source for one in asteroids(path, options(position_only=True))} == {"asteroid-position"}


def test_transients_are_matched_by_place_time_and_sign(tmp_path):
    path = table(
        tmp_path / "tns.csv",
        "name,ra,declination,discoverydate,type\n"
        "2023abc,10.0,5.0,2023-02-25 06:00:00,SN Ia\n"
        "2023abd,50.0,60.0,2023-02-25 06:00:00,\n",
    )
    arcsec = 1 / 3600
    packets = {
        1: seen(dec=5 + 1.5 * arcsec),
        2: seen(dec=5 + 2.5 * arcsec),
        3: seen(mjd=60000 - 40),
        4: seen(mjd=60000 + 150),
        5: seen(sign=-1.0),
        6: seen(ra=50 + 3 * arcsec, dec=60.0),  # 1.5 arcsec on the sky
    }
    found = {one.candid: one for one in transients(path, options(packets))}
    assert set(found) == {1, 6}
    assert (found[1].source, found[1].kind) == ("spectrum", "SN Ia")
    assert (found[6].source, found[6].kind) == ("tns", "transient")
    assert found[1].object_id == "ZTF1"
    with pytest.raises(LabelError, match="by --packets"):
        list(transients(path, options()))


def test_vetting_keeps_who_and_when_and_passes_over_the_undecided(tmp_path):
    path = table(
        tmp_path / "looks.csv",
        "candid,label,labeler,time,confidence\n1,real,ann,2026-11-20T01:00:00Z,0.7\n1,Bogus,bob,,\n2,unsure,ann,,\n",
    )
    found = list(vetting(path, options()))
    assert [(one.real, one.labeler, one.confidence) for one in found] == [(True, "ann", 0.7), (False, "bob", 0.9)]
    assert [one.time for one in found] == ["2026-11-20T01:00:00Z", TIME]


@pytest.mark.parametrize(
    ("importer", "text", "message"),
    [
        (vetting, "candid\n1\n", "no column label"),
        (vetting, "candid,label\nx,real\n", "whole number, is 'x'"),
        (vetting, "candid,label\n1\n", "line 2 is cut short"),
        (asteroids, "candid,ssdistnr,ssmagnr,magpsf\n1,near,1,1\n", "ssdistnr should be a number"),
    ],
)
def test_a_table_that_is_not_one_says_why(tmp_path, importer, text, message):
    with pytest.raises(LabelError, match=message):
        list(importer(table(tmp_path / "a.csv", text), options()))


# the command


@pytest.fixture
def looks(simulated, tmp_path):
    """The truth of a simulated night as a person's table."""
    rows = csv.DictReader((simulated / "truth.csv").read_text().splitlines())
    labelled = [[row["candid"], "real" if row["real"] == "1" else "bogus", "ann"] for row in rows]
    with (tmp_path / "looks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["candid", "label", "labeler"], *labelled])
    return str(tmp_path / "looks.csv")


def test_from_table_to_journal_to_model(simulated, looks, tmp_path, capsys):
    journal = str(tmp_path / "labels.jsonl")
    told = ["labels", "import", "vetting", looks, "--packets", str(simulated), "--out", journal]
    assert main(told) == 0
    claims = json.loads(capsys.readouterr().out)["claims"]
    recipe = ["--trees", "10", "--folds", "2", "--feature-set", "pixel-1", "--threads", "1"]
    told = ["train", "--packets", str(simulated), "--labels", journal, "--name", "vetted", "--version", "1"]
    assert main([*told, *recipe, "--models", str(tmp_path / "models")]) == 0
    manifest = json.loads((tmp_path / "models" / "vetted" / "1" / "manifest.json").read_text())
    counts = manifest["training"]["counts"]["vetting"]
    assert counts["real"] + counts["bogus"] == claims
    assert manifest["training"]["label_rules"] == [SOURCES["vetting"].rule]


def test_report_merge_and_list_tell_what_there_is(simulated, looks, tmp_path, capsys):
    journal, merged = str(tmp_path / "labels.jsonl"), str(tmp_path / "merged.jsonl")
    assert main(["labels", "import", "truth", str(simulated / "truth.csv"), "--out", journal, "--time", TIME]) == 0
    assert main(["labels", "import", "vetting", looks, "--out", journal]) == 0
    assert "tell no object and exposure" in capsys.readouterr().err
    assert main(["labels", "report", journal, "--feature-set", "fast-1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["claims"]) == {"simulated", "vetting"}
    assert set(told["labels"]) == {"simulated"}
    assert told["banned_features"] == {"fast-1": {}}
    assert main(["labels", "merge", journal, "--out", merged]) == 0
    assert main(["labels", "merge", journal, "--out", merged]) == 2
    capsys.readouterr()
    assert main(["labels", "list", merged, "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == sum(told["labels"]["simulated"].values())
    assert main(["labels", "list", merged, "--source", "simulated"]) == 0
    assert "confidence" in capsys.readouterr().out


def test_a_journal_that_is_not_there_is_a_wrong_call(capsys):
    assert main(["labels", "list", "nowhere.jsonl"]) == 2
    assert "nowhere.jsonl: no such file" in capsys.readouterr().err
