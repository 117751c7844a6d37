"""Simulated nights: the same bytes every time, packets that everyone can read, truth that adds up."""

from __future__ import annotations

import csv
import io
import tarfile
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import fastavro
import numpy as np
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from realbogus import packets
from realbogus.alerts import CENTRE, DIFFERENCE
from realbogus.cli import main
from realbogus.limits import Limits
from realbogus.packets.schemas import SchemaStore
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.scoring import WANTED, Scorer
from realbogus.simulation import BOGUS_KINDS, REAL_KINDS, Recipe, Simulated, Truth, night, with_events
from realbogus.simulation.detector import draw_detector
from realbogus.simulation.exposure import make_reference
from realbogus.simulation.history import NEIGHBOUR, forced_rows
from realbogus.simulation.night import plan
from realbogus.simulation.packet import cut, gzip_fits
from realbogus.simulation.pointing import observe
from realbogus.simulation.scene import draw_scene
from realbogus.simulation.truth import Verdict
from realbogus.simulation.ztf import ZtfPackets, _calibration, _earlier_visits, exposure_id
from realbogus.surveys import SURVEYS, recognise

SMALL = Recipe(side=512, visits=2, stars_spread=0.4, variables=25.0, transients=12.0, asteroids=5.0)

QUICK = replace(SMALL, visits=1)


def told(alert: Simulated) -> tuple[bytes, list[str]]:
    """An alert without NaN, which equals nothing."""
    return alert.packet, alert.truth.row()


@pytest.fixture(scope="module")
def alerts() -> list[Simulated]:
    return list(night(3, pointings=4, recipe=SMALL))


@pytest.fixture(scope="module")
def records(alerts) -> list[dict]:
    return [next(fastavro.reader(io.BytesIO(alert.packet))) for alert in alerts]


def batch_of(alerts):
    decoded, rejected = packets.read(
        [alert.packet for alert in alerts], wanted=WANTED, recognise=recognise, store=SchemaStore(), limits=Limits()
    )
    assert not rejected
    batch, refused = SURVEYS["ztf"].to_batch(decoded[0], Limits())
    assert not refused
    return batch


def test_a_night_holds_real_and_bogus_of_both_signs(alerts):
    share = np.mean([alert.truth.real for alert in alerts])
    assert len(alerts) > 60
    assert 0.1 < share < 0.9
    assert {alert.truth.sign for alert in alerts if alert.truth.real} == {1, -1}


def test_the_same_seed_gives_the_same_bytes(alerts):
    again = list(night(3, alerts=25, recipe=SMALL))
    assert [told(alert) for alert in again] == [told(alert) for alert in alerts[:25]]
    assert next(night(4, recipe=QUICK)).packet != alerts[0].packet


def test_several_processes_give_the_same_bytes_in_the_same_order(alerts):
    parallel = list(night(3, pointings=2, recipe=SMALL, jobs=2))
    assert len(parallel) > 20
    assert [told(alert) for alert in parallel] == [told(alert) for alert in alerts[: len(parallel)]]


def test_every_packet_is_schema_complete(alerts, records):
    fields = {"candidate", "prv_candidates", "fp_hists", "cutoutScience", "cutoutTemplate", "cutoutDifference"}
    for alert, record in zip(alerts, records, strict=True):
        assert fields <= record.keys()
        assert record["candid"] == record["candidate"]["candid"] == alert.truth.candid
        assert record["objectId"].startswith("SIM")
        empty = {name for name, value in record["candidate"].items() if value is None}
        assert empty == {"rb", "drb"}  # other classifiers' scores of a sky that does not exist
        numbers = [v for v in record["candidate"].values() if isinstance(v, float)]
        assert np.isfinite(numbers).all()


def test_candids_are_unique_and_times_rise(alerts, records):
    assert len({alert.truth.candid for alert in alerts}) == len(alerts)
    times = [record["candidate"]["jd"] for record in records]
    assert times == sorted(times)


def test_the_rms_of_a_zero_point_grows_by_what_clouds_did_to_its_calibrators():
    clear, clouded = (_calibration(np.random.default_rng(1), 2, 26.0, rms) for rms in (0.0, 0.1))
    assert clouded["magzpscirms"] == pytest.approx(np.hypot(clear["magzpscirms"], 0.1))
    grown = clouded["magzpscirms"] / clear["magzpscirms"]
    assert clouded["magzpsciunc"] == pytest.approx(grown * clear["magzpsciunc"])


def test_packets_of_a_clouded_exposure_tell_it():
    recipe = replace(QUICK, flux_failures=1.0)
    pointing = plan(3, 0, recipe)
    scene = draw_scene(pointing.rng(0), recipe, pointing.jd)
    reference = make_reference(pointing.rng(1), scene, recipe, pointing.jd, pointing.band)
    seen = observe(pointing.rng(4, 0), pointing, recipe, scene, reference, draw_detector(pointing.rng(2), recipe), 0)
    assert seen is not None
    seen = replace(seen, frame=replace(seen.frame, damage=replace(seen.frame.damage, scale_rms=0.3)))
    made = list(ZtfPackets(pointing, recipe, scene, reference).of(pointing.rng(5), seen))
    told = {next(fastavro.reader(io.BytesIO(one.packet)))["candidate"]["magzpscirms"] for one in made}
    assert len(made) > 5
    assert len(told) == 1
    assert 0.3 < told.pop() < 0.35


def test_history_lies_before_the_alert_and_within_thirty_days(records):
    for record in records:
        jd = record["candidate"]["jd"]
        assert all(jd - 31 < row["jd"] < jd for row in record["prv_candidates"])
        assert all(jd - 31 < row["jd"] < jd for row in record["fp_hists"])
        found = sum(row["candid"] is not None for row in record["prv_candidates"])
        assert record["candidate"]["ndethist"] >= found + 1


def test_forced_photometry_put_together_from_pieces_is_what_the_writer_would_write():
    visit = _earlier_visits(plan(5, 0, Recipe()), Recipe())[0]
    row = visit.columns["forced"]
    neighbour = {name: 0.25 * (n + 1) for n, name in enumerate(NEIGHBOUR)}
    (found,) = forced_rows(np.random.default_rng(1), Verdict("noise"), [visit], neighbour, 26.0)
    noise = 10.0 ** (-0.4 * (visit.limit - row["magzpsci"])) / 5.0
    flux = float(np.random.default_rng(1).normal(0.0, noise))
    expected = row | neighbour | {"forcediffimflux": flux, "forcediffimfluxunc": noise}
    assert found == packets.encode_item("ztf/4.02", "fp_hists", expected)


def test_objects_seen_again_carry_their_earlier_detections(alerts, records):
    first: dict[str, int] = {}
    repeats = 0
    for alert, record in zip(alerts, records, strict=True):
        earlier = {row["candid"] for row in record["prv_candidates"]}
        if alert.truth.object_id in first:
            repeats += 1
            assert first[alert.truth.object_id] in earlier
        first.setdefault(alert.truth.object_id, alert.truth.candid)
    assert repeats > 10


def test_our_readers_take_every_packet(alerts):
    batch = batch_of(alerts)
    assert batch.candid.tolist() == [alert.truth.candid for alert in alerts]
    assert set(batch.schema) == {"ztf/4.02"}


def test_the_candidate_is_positive_in_the_middle_for_both_signs(alerts):
    batch = batch_of(alerts)
    middle = batch.triplets[:, DIFFERENCE, CENTRE - 1 : CENTRE + 2, CENTRE - 1 : CENTRE + 2].sum(axis=(1, 2))
    assert (middle > 0).mean() > 0.99
    assert (middle[[alert.truth.real for alert in alerts]] > 0).all()


def test_the_columns_of_a_packet_follow_from_its_stamps(alerts, records):
    batch = batch_of(alerts)
    box = batch.triplets[:, DIFFERENCE, CENTRE - 2 : CENTRE + 3, CENTRE - 2 : CENTRE + 3]
    negative = (box < 0).sum(axis=(1, 2))
    same = negative == [record["candidate"]["nneg"] for record in records]
    assert same.mean() > 0.97  # the box is about the peak of the matched filter, the stamp about the refined place


def test_the_shipped_model_scores_every_packet(alerts):
    registry = Registry(shipped("models"))
    scorer = Scorer(models={"ztf": registry.load()})
    outcomes = scorer.outcomes([alert.packet for alert in alerts])
    assert not outcomes.rejected
    assert len(outcomes.scored[0]) == len(alerts)


def test_truth_adds_up(alerts):
    kinds = Counter(alert.truth.kind for alert in alerts)
    assert kinds.keys() <= set(REAL_KINDS) | set(BOGUS_KINDS)
    for alert in alerts:
        assert alert.truth.real == (alert.truth.kind in REAL_KINDS)
        assert alert.truth.real == np.isfinite(alert.truth.true_mag)
        if alert.truth.real:
            share = 10.0 ** (-0.4 * (alert.truth.true_mag - alert.truth.magpsf))
            assert alert.truth.share == pytest.approx(share, rel=1e-3)


def test_known_asteroids_are_matched_and_nothing_else(alerts, records):
    for alert, record in zip(alerts, records, strict=True):
        assert (record["candidate"]["ssdistnr"] >= 0) <= (alert.truth.kind == "asteroid")


@pytest.mark.parametrize(
    ("x", "y", "shape"), [(3042.3, 735.7, (63, 62)), (2659.6, 26.2, (57, 63)), (2387.8, 3058.6, (53, 63))]
)
def test_stamps_are_trimmed_at_chip_edges_as_the_survey_trims_them(x, y, shape):
    assert cut(np.zeros((3080, 3072), np.float32), x, y, (1, 1)).shape == shape


def test_stamps_are_the_same_bytes_and_hold_nan():
    image = np.full((63, 63), np.nan, np.float32)
    assert gzip_fits(image) == gzip_fits(image.copy())
    assert gzip_fits(image)[4:8] == bytes(4)  # no time of making


def test_an_exposure_id_tells_night_time_and_detector():
    assert exposure_id(2460236.1145332, 32) == 2481614533215


def test_pointings_of_a_night_follow_each_other():
    times = [plan(1, serial, SMALL).jd for serial in range(400)]
    assert times == sorted(times)
    assert len({plan(1, serial, SMALL).night for serial in range(400)}) == 3


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_the_command_writes_tars_that_are_the_same_each_time(ending, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("realbogus.cli.simulate.RECIPES", {"palomar": lambda **changes: QUICK})
    files = [tmp_path / f"{name}{ending}" for name in "ab"]
    for file in files:
        assert main(["simulate", "--alerts", "4", "--out", str(file), "--truth", str(tmp_path / "t.csv")]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    with tarfile.open(files[0]) as tar:
        names = tar.getnames()
    with (tmp_path / "t.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert names == [f"{row['candid']}.avro" for row in rows]
    assert list(rows[0]) == Truth.header()
    assert "4 alerts" in capsys.readouterr().err


def test_the_command_writes_a_folder_with_its_truth(tmp_path, monkeypatch, alerts):
    monkeypatch.setattr("realbogus.cli.simulate.RECIPES", {"palomar": lambda **changes: QUICK})
    assert main(["simulate", "--alerts", "3", "--seed", "3", "--out", str(tmp_path / "night")]) == 0
    written = {path.name: path.read_bytes() for path in Path(tmp_path / "night").glob("*.avro")}
    assert written == {f"{alert.truth.candid}.avro": alert.packet for alert in alerts[:3]}
    assert (tmp_path / "night" / "truth.csv").exists()


def test_a_sky_where_hardly_anything_happens_gives_bogus_alone():
    still = with_events(QUICK, 1e-9)
    assert still.stars == QUICK.stars
    assert not any(alert.truth.real for alert in night(3, alerts=5, recipe=still))
    assert any(alert.truth.real for alert in night(3, alerts=5, recipe=with_events(QUICK, 1.0)))


def test_the_command_takes_the_share_of_events_as_a_fraction(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("realbogus.cli.simulate.RECIPES", {"palomar": lambda **changes: QUICK})
    assert main(["simulate", "--alerts", "5", "--seed", "3", "--events", "1/1000000", "--out", str(tmp_path)]) == 0
    assert "5 alerts" in (told := capsys.readouterr().err)
    assert "0 real, 5 bogus" in told


@pytest.mark.parametrize("share", ["0", "1/0", "many", "-1", "nan", "1e400", "1e999999999", "/2"])
def test_a_share_of_events_that_is_none_is_refused(share, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--out", "x", "--events", share])
    assert ended.value.code == 2
    assert "--events" in capsys.readouterr().err


def test_every_detection_of_an_unvetted_night_has_a_magnitude():
    wild = replace(QUICK, vetted=False, most_alerts=10**6, saturation_dn=2000.0)
    wide = [next(fastavro.reader(io.BytesIO(alert.packet)))["candidate"] for alert in night(3, alerts=300, recipe=wild)]
    assert np.isfinite([[one["magpsf"], one["sigmapsf"], one["magdiff"]] for one in wide]).all()
    assert max(one["magpsf"] for one in wide) == pytest.approx(wild.zero_point, abs=1.0)  # of a fit that is negative


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "nothing to do"),
        (["--out", "x.zip"], "ends in .tar"),
        (["--kafka", "127.0.0.1:1"], "belong together"),
        (["--out", "x", "--rate", "5"], "--rate is for --kafka"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(arguments, complaint, capsys):
    assert main(["simulate", *arguments]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.embedded
def test_the_command_sends_a_night_to_kafka(embedded, monkeypatch, tmp_path, alerts):
    monkeypatch.setattr("realbogus.cli.simulate.RECIPES", {"palomar": lambda **changes: QUICK})
    topic = "ztf_simulated_programid1"
    call = ["simulate", "--alerts", "5", "--seed", "3", "--kafka", embedded, "--topic", topic, "--rate", "200"]
    assert main([*call, "--truth", str(tmp_path / "truth.csv")]) == 0
    reader = Consumer(
        {"bootstrap.servers": embedded, "group.id": "reader", "auto.offset.reset": "earliest", "log_level": 0}
    )
    partitions = reader.list_topics(topic, 10.0).topics[topic].partitions
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    try:
        sent = [message.value() for message in islice(iter(partial(reader.poll, 20.0), None), 5)]
    finally:
        reader.close()
    assert sorted(sent) == sorted(alert.packet for alert in alerts[:5])
