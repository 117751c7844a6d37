"""Rubin packets from simulated frames: schema, units, signs, times and histories."""

from __future__ import annotations

import io
import json

import erfa
import fastavro
import numpy as np
import pytest
from astropy.io import fits

from realbogus import packets
from realbogus.alerts import CENTRE, DIFFERENCE
from realbogus.cli import main
from realbogus.limits import Limits
from realbogus.packets.schemas import SchemaStore, read_schema
from realbogus.scoring import WANTED
from realbogus.simulation import RECIPES, Simulated, night
from realbogus.simulation.rubin.plate import visit_id
from realbogus.surveys import SURVEYS, recognise

SMALL = RECIPES["pachon"](side=512, visits=3, variables=40.0, transients=12.0, asteroids=12.0)


@pytest.fixture(scope="module")
def alerts() -> list[Simulated]:
    return list(night(3, pointings=2, recipe=SMALL))


@pytest.fixture(scope="module")
def records(alerts) -> list[dict]:
    return [next(fastavro.reader(io.BytesIO(alert.packet))) for alert in alerts]


@pytest.fixture(scope="module")
def batch(alerts):
    decoded, rejected = packets.read(
        [alert.packet for alert in alerts], wanted=WANTED, recognise=recognise, store=SchemaStore(), limits=Limits()
    )
    assert not rejected
    batch, refused = SURVEYS["rubin"].to_batch(decoded[0], Limits())
    assert not refused
    return batch


def test_there_are_alerts_of_both_signs_and_kinds(alerts):
    assert len(alerts) > 60
    assert {alert.truth.sign for alert in alerts if alert.truth.real} == {1, -1}
    assert {alert.truth.real for alert in alerts} == {True, False}


def test_the_newest_shipped_schema_is_complete(records):
    schema = fastavro.parse_schema(json.loads(read_schema("rubin/11.0")))
    for record in records:
        fastavro.schemaless_writer(io.BytesIO(), schema, record, strict=True)  # no field missing, none too many


def test_our_reader_takes_every_packet(alerts, batch):
    assert batch.candid.tolist() == [alert.truth.candid for alert in alerts]
    assert set(batch.schema) == {"rubin/11.0"}


def test_the_difference_is_science_minus_template_for_both_signs(records):
    for record in records:
        stamp = fits.open(io.BytesIO(record["cutoutDifference"]))[0].data
        middle = np.nansum(stamp[13:18, 13:18] if stamp.shape == (30, 30) else stamp[len(stamp) // 2 - 2 :][:5])
        if stamp.shape == (30, 30):
            assert (middle < 0) == record["diaSource"]["isNegative"]
        assert (record["diaSource"]["psfFlux"] < 0) == record["diaSource"]["isNegative"]


def test_the_candidate_is_positive_in_the_middle_after_reading(batch):
    box = batch.triplets[:, DIFFERENCE, CENTRE - 1 : CENTRE + 2, CENTRE - 1 : CENTRE + 2]
    assert (np.nansum(box, axis=(1, 2)) > 0).mean() > 0.98


def test_magnitudes_follow_from_nanojanskys(alerts, batch):
    np.testing.assert_allclose(batch.columns["mag_psf"], [alert.truth.magpsf for alert in alerts], rtol=1e-5)
    real = np.array([alert.truth.real and alert.truth.snr > 15 for alert in alerts])
    true = np.array([alert.truth.true_mag for alert in alerts])
    # The PSF that a pipeline believes in lacks the outer wings, and hosts leave residuals: tenths of a magnitude.
    assert np.median(np.abs(batch.columns["mag_psf"] - true)[real]) < 0.3


def test_times_are_tai_at_mid_exposure(records, batch):
    first = records[0]["diaSource"]["midpointMjdTai"]
    assert (first - batch.columns["mjd"][0]) * 86400 == pytest.approx(37.0, abs=0.01)


def test_stamps_are_plain_fits_with_variance_and_psf(records):
    record = records[0]
    for name in ("cutoutScience", "cutoutTemplate", "cutoutDifference"):
        with fits.open(io.BytesIO(record[name])) as units:
            units.verify("exception")
            image, variance, psf = (unit.data for unit in units)
            assert units[0].header["BUNIT"] == "nJy"
            assert image.shape == variance.shape
            assert psf.sum() == pytest.approx(1.0, abs=1e-6)


def test_the_variance_beside_a_stamp_is_that_of_its_pixels(records):
    ratios = []
    for record in records[:40]:
        with fits.open(io.BytesIO(record["cutoutDifference"])) as units:
            pixels, variance = units[0].data, units[1].data
        spread = 1.4826 * np.nanmedian(np.abs(pixels - np.nanmedian(pixels)))
        ratios.append(spread / np.sqrt(np.nanmedian(variance)))
    assert np.median(ratios) == pytest.approx(1.0, abs=0.12)


def test_histories_come_from_the_same_frames(records):
    seen, repeats = {}, 0
    for record in records:
        source = record["diaSource"]
        for earlier in record["prvDiaSources"] or ():
            assert earlier == seen[earlier["diaSourceId"]]
            assert earlier["midpointMjdTai"] < source["midpointMjdTai"]
            repeats += 1
        forced = record["prvDiaForcedSources"] or ()
        if forced:
            assert forced[-1]["visit"] == source["visit"]
            assert forced[-1]["psfFlux"] == pytest.approx(source["psfFlux"], rel=0.5)
            assert record["diaObject"]["nDiaSources"] == len(record["prvDiaSources"]) + 1
        seen[source["diaSourceId"]] = source
    assert repeats > 10


def test_known_asteroids_have_no_object_but_an_orbit(records, alerts):
    moving = [record for record in records if record["ssSource"]]
    assert moving
    for record in moving:
        assert record["diaObject"] is None
        assert record["diaSource"]["diaObjectId"] is None
        assert record["ssSource"]["ssObjectId"] == record["diaSource"]["ssObjectId"]
    kinds = {alert.truth.kind for alert, record in zip(alerts, records, strict=True) if record["ssSource"]}
    assert kinds == {"asteroid"}


def test_a_visit_is_numbered_by_the_date_of_its_noon():
    assert visit_id(sum(erfa.cal2jd(2026, 1, 16)) + 1.25) // 100_000 == 20260116


def test_the_command_makes_them(tmp_path, monkeypatch, capsys, alerts):
    monkeypatch.setattr("realbogus.cli.simulate.RECIPES", {"pachon": lambda **changes: SMALL})
    assert main(["simulate", "--survey", "rubin", "--alerts", "3", "--seed", "3", "--out", str(tmp_path / "n")]) == 0
    assert (tmp_path / "n" / f"{alerts[0].truth.candid}.avro").read_bytes() == alerts[0].packet


def test_a_recipe_of_another_survey_is_refused(tmp_path, capsys):
    call = ["simulate", "--survey", "rubin", "--recipe", "windy", "--alerts", "3", "--out", str(tmp_path / "n")]
    assert main(call) == 2
    assert "makes packets of ztf, not of rubin" in capsys.readouterr().err
