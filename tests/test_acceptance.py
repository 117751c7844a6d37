"""What science asks of a score as a whole, on real packets with the shipped model. The table is docs/evaluation.md."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import realbogus
from realbogus import archives
from realbogus.alerts import AlertBatch
from realbogus.drift import ScoreDrift, reference_of
from realbogus.features import extract
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.training.labelled import Tally, batches

pytestmark = pytest.mark.packets
TESTS = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def model():
    return Registry(shipped("models")).load()


@pytest.fixture(scope="module")
def alerts(real_packets) -> AlertBatch:
    """256 real ZTF alerts, every sixth."""
    messages = [message for _, message in archives.messages([real_packets / "ztf"])][::6]
    (batch,) = batches(iter(messages[:256]), "ztf", Tally(), lambda _: None)
    return batch


def scores(model, batch):
    return model.score(extract(batch, model.feature_names))


def turned(triplets, quarter, flip):
    found = np.rot90(triplets, quarter, axes=(2, 3))
    return np.ascontiguousarray(found[..., ::-1] if flip else found)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("quarter", range(4))
def test_a_score_does_not_depend_on_which_way_the_camera_was_turned(model, alerts, quarter, flip):
    """Sums over pixels in another order round differently, and a rounded feature may cross a split: hence not zero."""
    moved = scores(model, replace(alerts, triplets=turned(alerts.triplets, quarter, flip))) - scores(model, alerts)
    assert (np.abs(moved) < 1e-9).mean() > 0.9
    assert np.abs(moved).max() < 0.02


def test_masking_a_tenth_of_the_pixels_moves_a_score_little(model, alerts):
    random = np.random.default_rng(1)
    whole = np.isfinite(alerts.triplets).all(axis=(1, 2, 3))
    triplets = alerts.triplets.copy()
    holes = random.random((len(alerts), 1, 63, 63)) < 0.1
    triplets[np.broadcast_to(holes, triplets.shape)] = np.nan
    moved = np.abs(scores(model, replace(alerts, triplets=triplets)) - scores(model, alerts))[whole]
    assert np.median(moved) < 0.05
    assert np.quantile(moved, 0.95) < 0.25


def test_scores_of_trimmed_and_holed_stamps_do_not_pile_up_at_one_value(model, real_packets):
    """Networks that were fed rows of NaN gave them all about the same score."""
    messages = (message for _, message in archives.messages([real_packets / "ztf"]))
    found = []
    for batch in batches(messages, "ztf", Tally(), lambda _: None):
        holed = ~np.isfinite(batch.triplets).all(axis=(1, 2, 3))
        found += scores(model, batch)[holed].tolist()
    assert len(found) > 100
    counts = np.histogram(found, bins=20, range=(0, 1))[0]
    inner, beside = counts[1:-1], np.maximum(counts[:-2], counts[2:])  # at the ends lie most of all alerts
    assert (inner <= 2 * beside + 3 * np.sqrt(len(found) / 20)).all()


def drawn(model, random, n, share):
    """Scores of alerts of which this share is real, as the model's manifest leads to expect."""
    bins = {kind: np.array(counts) / sum(counts) for kind, counts in model.manifest["reference"]["score"].items()}
    real, bogus = (random.choice(10, n, p=bins[kind]) for kind in ("real", "bogus"))
    return (np.where(random.random(n) < share, real, bogus) + random.random(n)) / 10


def test_drift_is_quiet_through_a_moon_cycle_and_tells_of_a_new_telescope_within_one_exposure(model):
    """Moonlight takes alerts away, real ones above all; with a telescope not seen before scores slide to the middle."""
    random, drift, quiet = np.random.default_rng(0), ScoreDrift(reference_of(model.manifest)), []
    for night in range(30):
        moon = 0.5 - 0.5 * np.cos(2 * np.pi * night / 29.5)
        drift.add(drawn(model, random, round(6000 - 4000 * moon), 0.5 - 0.4 * moon))
        quiet.append(drift.psi())
    assert max(quiet) < 0.05
    for batch in np.split(random.beta(6, 6, 10_240), 40):  # one exposure of a camera like Rubin's
        drift.add(batch)
    assert drift.psi() > 0.25


def test_every_row_of_the_table_names_tests_that_exist():
    """The page of the documentation says which test covers what: none of them may have gone."""
    text = (Path(realbogus.__file__).parent / "docs" / "evaluation.md").read_text()
    named = set(re.findall(r"`(test_\w+)\.py::(test_\w+)`", text))
    assert len(named) > 15
    for file, test in named:
        assert f"def {test}(" in (TESTS / f"{file}.py").read_text(), f"{file}::{test}"
