"""The realism report: it cannot tell equals apart, it tells a planted difference and names it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from realbogus.alerts import DIFFERENCE
from realbogus.cli import main
from realbogus.features import FEATURE_SETS, extract
from realbogus.simulation import RECIPES, Recipe, night
from realbogus.training.labelled import Tally, batches
from realbogus.training.pages.realism import realism_page
from realbogus.training.realism import Sample, as_json, compare, stamp_statistics, transfer, two_sample

SET = FEATURE_SETS["fast-2"]
NAMES = ("alpha", "beta", "gamma", "column mag_psf")


def sample(seed: int, rows: int = 240, shift: float = 0.0, missing: float = 0.0) -> Sample:
    """Gaussian quantities; beta is shifted, gamma missing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.0, 1.0, (rows, len(NAMES))).astype(np.float32)
    is_real = np.arange(rows) % 2 == 0
    values[:, 0] += 2.0 * is_real
    values[:, 1] += shift
    values[rng.random(rows) < missing, 2] = np.nan
    return Sample(NAMES, values, is_real, np.array([str(k // 6) for k in range(rows)]))


def test_equals_cannot_be_told_apart():
    auc, _ = two_sample(sample(1), sample(2))
    assert auc == pytest.approx(0.5, abs=0.08)


def test_what_tells_one_exposure_from_another_does_not_tell_the_two_apart():
    """A quantity that is the same in all alerts of an exposure would name each exposure that was seen in training."""
    exposure = np.arange(240) % 40
    both = [replace(sample(seed), group=exposure.astype(str)) for seed in (1, 2)]
    for seed, one in enumerate(both):
        one.values[:, 3] = np.random.default_rng(seed).normal(size=40)[exposure]
    assert two_sample(*both)[0] == pytest.approx(0.5, abs=0.15)


def test_a_shift_is_seen_and_named():
    found = compare("real", sample(1), sample(2, shift=2.0), NAMES[:3])
    assert found.auc > 0.85
    assert found.separating[0][0] == "beta"
    distances = {marginal.name: marginal.distance for marginal in found.marginals}
    assert distances["beta"] > 0.5 > distances["alpha"]


def test_what_real_packets_often_lack_is_left_out_and_said():
    found = compare("real", sample(1, missing=0.5), sample(2), NAMES[:3])
    assert found.left_out == ("gamma",)
    assert found.auc == pytest.approx(0.5, abs=0.1)


def test_what_is_learnt_from_simulation_is_judged_on_real_alerts():
    moved = transfer(sample(1), sample(2))
    assert 0.8 < moved["auc"] < 0.99
    assert moved["mdr_at_fpr_10"] < moved["mdr_at_fpr_1"]


@pytest.fixture(scope="module")
def skies() -> list[Sample]:
    """Two surveys of a telescope with other fields and nights, and one of another telescope: small frames, many."""
    return [simulated(name, seed) for name, seed in (("palomar", 1), ("palomar", 2), ("windy", 3))]


def simulated(name: str, seed: int) -> Sample:
    sparse = {"stars": 1500.0, "galaxies": 300.0, "variables": 25.0, "transients": 5.0, "asteroids": 3.0}
    recipe = RECIPES[name](side=512, visits=1, most_alerts=12, **sparse)
    alerts = list(night(seed, pointings=20, recipe=recipe))
    X = [extract(batch, SET) for batch in batches((one.packet for one in alerts), "ztf", Tally(), lambda _: None)]
    truth = [alert.truth for alert in alerts]
    fields = np.array([f"{name} {seed} {told.field}" for told in truth])
    return Sample(SET, np.concatenate(X), np.array([told.real for told in truth]), fields)


def test_two_surveys_of_one_telescope_cannot_be_told_apart_and_another_can(skies):
    first, second, other = skies
    assert two_sample(first, second)[0] < 0.65  # 20 fields each, which are never twice the same
    assert two_sample(first, other)[0] > 0.9


def test_what_one_telescope_teaches_holds_for_another_with_a_bounded_loss(skies):
    first, second, other = skies
    within, across = transfer(second, first)["auc"], transfer(other, first)["auc"]
    assert within > 0.85
    assert across > within - 0.1


def test_statistics_of_stamps_measure_noise_and_its_correlation():
    rng = np.random.default_rng(3)
    white = rng.normal(0.0, 5.0, (20, 3, 63, 64)).astype(np.float32)
    triplets = white[..., 1:].copy()
    triplets[:, DIFFERENCE] += 0.5 * white[:, DIFFERENCE, :, :-1]
    triplets[:, DIFFERENCE, :7] = np.nan

    class Batch:
        pass

    batch = Batch()
    batch.triplets = triplets
    found = stamp_statistics(batch)
    assert np.median(found["S noise"]) == pytest.approx(5.0, rel=0.05)
    assert np.median(found["D correlation x1"]) == pytest.approx(0.4, abs=0.03)
    assert np.median(found["D correlation y1"]) == pytest.approx(0.0, abs=0.03)
    np.testing.assert_allclose(found["D missing"], 7 / 63)


def test_the_page_stands_alone_and_holds_its_numbers():
    found = [compare(title, sample(1), sample(2, shift=1.0), NAMES[:3]) for title in ("real", "bogus")]
    moved = transfer(sample(1), sample(2))
    text = realism_page(found, moved, "two <samples>")
    assert "two &lt;samples&gt;" in text
    assert not re.search(r"(src|href)=[\"']?http", text)
    assert text.count("<svg") >= 8
    raw = re.search(r'<script type="application/json" id="report">(.*?)</script>', text)
    assert raw
    assert json.loads(raw[1]) == json.loads(json.dumps(as_json(found, moved)))


def test_the_command_compares_two_nights(tmp_path, capsys):
    recipe = Recipe(side=512, visits=2, stars_spread=0.3, variables=25.0, transients=12.0)
    rows = []
    for name, seed in (("a", 5), ("b", 6)):
        (tmp_path / name).mkdir()
        alerts = list(night(seed, pointings=3, recipe=recipe))
        for alert in alerts:
            (tmp_path / name / f"{alert.truth.candid}.avro").write_bytes(alert.packet)
        table = [
            alert.truth.header() if k < 0 else alert.truth.row() for k, alert in enumerate([alerts[0], *alerts], -1)
        ]
        (tmp_path / name / "truth.csv").write_text("\n".join(",".join(line) for line in table) + "\n")
        rows.append(alerts)
    manifest = tmp_path / "manifest.csv"
    head = "candid,objectId,survey,jd,component,panel,panel_kind,label_source,braai,rb,drb"
    lines = [f"{a.truth.candid},{a.truth.object_id},ztf,{a.truth.exposure},1,{'real' if a.truth.real else 'bogus'},,,,,"
             for a in rows[0]]  # fmt: skip
    manifest.write_text("\n".join([head, *lines]) + "\n")
    call = ["realism", "--packets", str(tmp_path / "a"), "--manifest", str(manifest)]
    assert main([*call, "--simulated", str(tmp_path / "b"), "--out", str(tmp_path / "r.html")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["two_sample_auc"]) == {"real", "bogus"}
    assert 0.3 < told["two_sample_auc"]["real"] < 0.85  # simulation against simulation
    assert told["transfer_to_real"]["auc"] > 0.7
    assert json.loads((tmp_path / "r.json").read_text())["classes"]["real"]["rows_real"] > 20


def test_the_command_needs_both_sides(tmp_path, capsys):
    assert main(["realism", "--out", str(tmp_path / "r.html")]) == 2
    assert "give both" in capsys.readouterr().err
