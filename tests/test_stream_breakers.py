"""What stops or holds alerts when a night is not as it should be, and what only looks on."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from rescore_cases import FIRST, packets
from stream_cases import Night, candids, destinations, header, model, scorer

from realbogus.alerts import AlertBatch, Outcomes, ScoredBatch
from realbogus.config.guards import BreakerSettings, ExposureSettings
from realbogus.drift import BINS, LEARNED, LEAST, FeatureDrift, ScoreDrift, counted, psi, reference_of, shares
from realbogus.errors import ConfigError, StreamError
from realbogus.packets import annotation
from realbogus.packets.naming import schema_named
from realbogus.policy import Policy
from realbogus.stream import exposures
from realbogus.stream.circuit_breaker import EXIT_CODE, CircuitBreaker
from realbogus.stream.exposure_breaker import ExposureBreaker
from realbogus.stream.shadow import Shadow
from realbogus.stream.watching import DriftWatch

ALERTS = packets(10)
MODEL = model().id
UNKNOWN = b"\x00\x00\x00\x03\x89" + bytes(50)  # schema id 905


# The circuit breaker


def test_a_change_of_schema_stops_the_worker_before_the_night_drains_away():
    breaker = CircuitBreaker(BreakerSettings())
    night = Night(batch_size=100)
    night.send(*ALERTS, *[UNKNOWN] * 200)
    with pytest.raises(StreamError) as caught:
        night.run(reviews=[breaker])
    assert caught.value.exit_code == EXIT_CODE == 4
    assert "90 of the last 100 alerts were refused (90%), 90 of them as unknown_schema with the schema 'id 905'" in str(
        caught.value
    )
    assert not night.parked() + night.annotated()
    assert not night.broker.committed
    assert breaker.health.not_ready.startswith("breaker open: 90 of the last 100")
    assert breaker.metrics.registry.get_sample_value("realbogus_breaker_open") == 1


def test_a_stopped_worker_stays_idle_so_that_alarms_ring_and_then_ends():
    breaker, night = CircuitBreaker(BreakerSettings()), Night(batch_size=64)
    night.send(*ALERTS, *[UNKNOWN] * 54, *[UNKNOWN] * 200)
    worker = night.worker(reviews=[breaker], health=breaker.health, stay_s=300.0)
    seen = []

    def stop() -> bool:
        seen.append((breaker.health.not_ready[:12], breaker.health.stuck(), worker.source.paused))
        return False

    began = night.broker.clock.monotonic()
    with pytest.raises(StreamError, match="stopped before the night drains") as caught:
        worker.run(stop)
    assert caught.value.exit_code == EXIT_CODE
    assert night.broker.clock.monotonic() - began >= 300
    assert set(seen[10:]) == {("breaker open", "", True)}
    assert not night.parked() + night.annotated()


def test_a_stopped_worker_leaves_when_told_to_and_what_was_under_way_is_written():
    breaker, night = CircuitBreaker(BreakerSettings(window=50, least=20)), Night(batch_size=10)
    night.send(*ALERTS, *[UNKNOWN] * 100)
    worker = night.worker(reviews=[breaker], health=breaker.health, stay_s=300.0)
    with pytest.raises(StreamError, match="stopped before"):
        worker.run(lambda: worker.source.paused)
    assert len(night.annotated()) == 10
    assert len(night.parked()) == sum(night.broker.committed.values()) - 10 == 10
    assert breaker.health.not_ready.startswith("breaker open")


def test_a_few_refused_alerts_stop_nothing():
    night = Night()
    night.send(*ALERTS[:5], *[UNKNOWN] * 40)  # most of all, yet fewer than 50
    night.run(reviews=[CircuitBreaker(BreakerSettings())])
    assert len(night.parked()) == 40


def test_a_long_good_night_does_not_hide_the_change():
    breaker = CircuitBreaker(BreakerSettings(window=100, least=20))
    night = Night(batch_size=10)
    night.send(*ALERTS * 20, *[UNKNOWN] * 100)
    with pytest.raises(StreamError):
        night.run(reviews=[breaker])
    assert len(night.parked()) == 20  # a fifth of the window: up to there it is the alerts' own fault


def test_a_share_of_one_never_stops():
    night = Night(batch_size=100)
    night.send(*[UNKNOWN] * 200)
    night.run(reviews=[CircuitBreaker(BreakerSettings(rejected_share=1.0))])
    assert len(night.parked()) == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"rejected_share": 0.0},
        {"rejected_share": 1.1},
        {"stay_s": -1.0},
        {"window": 0, "least": 0},
        {"window": 10, "least": 11},
    ],
)
def test_a_breaker_that_could_never_be_is_a_problem_of_the_configuration(wrong):
    with pytest.raises(ConfigError, match="breaker"):
        BreakerSettings(**wrong)


def test_schemas_are_named_as_people_know_them():
    assert schema_named(ALERTS[0]).startswith("ztf.alert#")
    assert schema_named(UNKNOWN) == "id 905"
    assert schema_named(b"hello") == schema_named(b"") == "none"
    assert schema_named(b"Obj\x01") == "unreadable header"


# The exposure breaker


serial = itertools.count()  # of batches: alerts have candids of their own


def batch(mjd, score, threshold=0.5, survey="ztf", detector=np.nan, model=MODEL) -> Outcomes:
    """Scored alerts with these mid-exposure times, scores and detectors, and nothing else that matters here."""
    count = len(score)
    alerts = AlertBatch(
        survey=survey,
        index=np.arange(count),
        candid=FIRST + 100_000 * next(serial) + np.arange(count),
        object_id=["o"] * count,
        band=["g"] * count,
        schema=["ztf/4.02"] * count,
        columns={
            name: np.broadcast_to(np.asarray(value, float), (count,))
            for name, value in (("mjd", mjd), ("detector", detector))
        },
        triplets=np.zeros((0, 3, 63, 63), np.float32),
    )
    score = np.round(np.asarray(score, float), 6)
    one = ScoredBatch(
        alerts=alerts,
        model=replace(model, threshold=threshold),
        features=np.zeros((count, 0), np.float32),
        feature_names=(),
        score=score,
        p_real=score,
        forward=score >= threshold,
    )
    return Outcomes(count, [one], [])


def usual_scores(random, count):
    """Mostly bogus, some real."""
    return np.where(random.random(count) < 0.15, random.beta(8, 2, count), random.beta(2, 8, count))


def a_night(breaker, exposures=60, typical=300, seed=0):
    """Exposures 40 s apart, each twice as rich or half as rich as usual; what was held."""
    random, held = np.random.default_rng(seed), 0
    for at in range(exposures):
        count = int(typical * np.exp(random.normal(0, 0.5)))
        mjd, detector = 61_000 + at * 40 / 86_400, random.integers(0, 64, count)
        held += held_of(breaker.judge([], batch(mjd, usual_scores(random, count), detector=detector)))
    return held


def held_of(outcomes):
    return sum(len(scored.held) for scored in outcomes)


def test_a_normal_night_is_left_alone():
    assert sum(a_night(ExposureBreaker(), exposures=200, seed=seed) for seed in range(5)) == 0


def test_forty_thousand_bogus_of_one_exposure_are_held_but_for_the_first():
    breaker = ExposureBreaker()
    a_night(breaker)
    random, forwarded, held = np.random.default_rng(1), 0, 0
    for _ in range(157):  # one exposure, batch by batch; a subtraction gone wrong looks real to the forest
        known = bool(breaker.held())
        outcomes = breaker.judge([], batch(61_001.0, random.beta(9, 2, 256)))
        forwarded += int(outcomes.scored[0].forward.sum())
        held += held_of(outcomes)
        assert not (known and outcomes.scored[0].forward.any())
    assert forwarded < 600
    assert held > 38_000
    assert list(breaker.held()) == ["ztf/61001.00000"]
    assert breaker.metrics.registry.get_sample_value("realbogus_held_total", {"survey": "ztf"}) == held
    assert breaker.metrics.registry.get_sample_value("realbogus_held_exposures") == 1


def test_too_many_candidates_alone_are_enough():
    breaker = ExposureBreaker(ExposureSettings(score_psi=0))
    a_night(breaker)
    random = np.random.default_rng(2)
    outcomes = [breaker.judge([], batch(61_001.0, usual_scores(random, 256))) for _ in range(40)]
    assert held_of(outcomes[5]) == 0
    assert held_of(outcomes[-1]) > 0
    assert "candidates so far where" in next(iter(outcomes[-1].scored[0].held.values())).why


def test_a_batch_that_comes_again_counts_once():
    breaker, random = ExposureBreaker(ExposureSettings(score_psi=0)), np.random.default_rng(3)
    a_night(breaker)
    same = batch(61_001.0, usual_scores(random, 256))
    assert sum(held_of(breaker.judge([], same)) for _ in range(40)) == 0


def test_other_exposures_go_on_while_one_is_held_and_after():
    breaker = ExposureBreaker()
    a_night(breaker)
    breaker.judge([], batch(61_001.0, np.full(20_000, 0.9)))
    random = np.random.default_rng(3)
    for at in range(30):
        assert held_of(breaker.judge([], batch(61_001 + (at + 1) * 40 / 86_400, usual_scores(random, 300)))) == 0


def test_nothing_is_held_before_the_usual_is_known():
    breaker = ExposureBreaker()
    assert held_of(breaker.judge([], batch(61_000.0, np.full(40_000, 0.9)))) == 0


def test_what_is_off_stays_off():
    breaker = ExposureBreaker(ExposureSettings(times_usual=0, score_psi=0))
    a_night(breaker)
    assert held_of(breaker.judge([], batch(61_001.0, np.full(40_000, 0.9)))) == 0


def test_surveys_have_each_their_own_usual():
    breaker = ExposureBreaker(ExposureSettings(score_psi=0))
    a_night(breaker)
    assert held_of(breaker.judge([], batch(61_001.0, np.full(40_000, 0.9), survey="rubin"))) == 0


def test_what_was_held_before_a_restart_is_held_after_it():
    breaker = ExposureBreaker()
    why = "40000 candidates so far where 300 are usual"
    breaker.restore([("ztf/61001.00000", why), ("ztf/61002.00000/7", why), ("what somebody else wrote", why)])
    outcomes = breaker.judge([], batch(61_001.0, [0.9, 0.1]))
    assert outcomes.scored[0].forward.tolist() == [False, False]
    assert list(outcomes.scored[0].held) == [0]  # the other was not to be forwarded anyway
    outcomes = breaker.judge([], batch(61_002.0, [0.9, 0.9], detector=[7, 8]))
    assert outcomes.scored[0].forward.tolist() == [False, True]
    assert list(breaker.held()) == ["ztf/61001.00000", "ztf/61002.00000/7"]


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_workers_that_share_the_partitions_find_a_flood_at_the_same_size_as_one_alone(workers):
    """Each sees its part of every exposure; before they hold they let as much through together as one would."""
    random = np.random.default_rng(4)
    crew = [ExposureBreaker(ExposureSettings(score_psi=0), share=lambda: 1 / workers) for _ in range(workers)]
    for breaker in crew:
        a_night(breaker, typical=300 / workers)
    scores = np.array_split(usual_scores(random, 40_000), workers)
    missed = 0
    for breaker, mine in zip(crew, scores, strict=True):
        outcomes = [breaker.judge([], batch(61_001.0, some)) for some in np.array_split(mine, len(mine) // 50)]
        missed += sum(len(one.scored[0]) for one in outcomes if not breaker_held(one))
        assert list(breaker.held()) == ["ztf/61001.00000"]
    assert 2_000 < missed < 5_000


def breaker_held(outcomes):
    return held_of(outcomes) > 0


def test_partitions_that_come_from_others_are_no_flood():
    """Half of the usual share before, all of it afterwards."""
    share = [0.1]
    breaker = ExposureBreaker(ExposureSettings(score_psi=0, times_usual=5), share=lambda: share[0])
    random = np.random.default_rng(5)
    a_night(breaker, typical=100)
    share[0] = 1.0
    for at in range(20):
        assert held_of(breaker.judge([], batch(61_002 + at * 40 / 86_400, usual_scores(random, 1_500)))) == 0
    assert not breaker.held()


def flood(breaker, detector, count=1_000, mjd=61_001.0, seed=6):
    """An exposure as usual, but for one detector; what was held, by what holds it, and what went out of that one."""
    random, held, out = np.random.default_rng(seed), Counter(), 0
    where = random.permutation(np.concatenate([random.integers(0, 64, 300), np.full(count, detector)]))
    for some in np.array_split(where, len(where) // 100):
        (scored,) = breaker.judge([], batch(mjd, usual_scores(random, len(some)), detector=some)).scored
        held.update(one.by for one in scored.held.values())
        out += int(scored.forward[some == detector].sum())
    return held, out


def test_one_detector_that_floods_is_held_while_the_rest_of_its_exposure_goes_on():
    breaker = ExposureBreaker(ExposureSettings(score_psi=0))
    a_night(breaker)
    held, out = flood(breaker, 42)
    assert list(held) == list(breaker.held()) == ["ztf/61001.00000/42"]
    assert "candidates so far where 5 are usual" in breaker.held()["ztf/61001.00000/42"]
    assert held.total() > 4 * out > 0
    assert breaker.metrics.registry.get_sample_value("realbogus_held_exposures") == 1
    assert flood(breaker, 42, mjd=61_001.1, count=100)[0] == Counter()  # the next exposure is as ever


@pytest.mark.parametrize("detector", [np.nan, -999, 1000, 1e300])
def test_where_a_packet_names_no_detector_the_exposure_alone_is_looked_at(detector):
    breaker = ExposureBreaker(ExposureSettings(score_psi=0))
    a_night(breaker)
    assert flood(breaker, detector)[0] == Counter()


def test_an_exposure_of_a_single_detector_is_looked_at_as_a_whole():
    breaker = ExposureBreaker(ExposureSettings(score_psi=0))
    random = np.random.default_rng(7)
    for at in range(60):
        breaker.judge([], batch(61_000 + at * 40 / 86_400, usual_scores(random, 30), detector=at % 9))
    assert held_of(breaker.judge([], batch(61_001.0, usual_scores(random, 900), detector=3))) == 0


def test_a_flood_of_the_whole_camera_is_one_hold():
    breaker = ExposureBreaker(ExposureSettings(score_psi=0))
    a_night(breaker)
    random = np.random.default_rng(8)
    for _ in range(40):
        breaker.judge([], batch(61_001.0, usual_scores(random, 500), detector=random.integers(0, 64, 500)))
    assert list(breaker.held()) == ["ztf/61001.00000"]


def test_detectors_can_be_left_alone():
    breaker = ExposureBreaker(ExposureSettings(score_psi=0, least_on_detector=0))
    a_night(breaker)
    assert flood(breaker, 42)[0] == Counter()


def test_a_flood_among_the_exposures_learnt_from_does_not_condemn_those_after_it():
    breaker, random = ExposureBreaker(), np.random.default_rng(9)
    breaker.judge([], batch(60_999.0, random.beta(30, 2, 40_000)))
    assert a_night(breaker, exposures=80, typical=1_000) == 0


def test_floods_do_not_become_the_usual_however_many_there_are():
    breaker, random = ExposureBreaker(ExposureSettings(score_psi=0, least=100)), np.random.default_rng(15)
    a_night(breaker, typical=30)
    for at in range(150):
        outcomes = breaker.judge([], batch(61_001 + at * 40 / 86_400, usual_scores(random, 400)))
        assert held_of(outcomes) > 0


def test_what_comes_late_of_a_complete_exposure_is_no_example_and_is_still_held():
    breaker, random = ExposureBreaker(ExposureSettings(score_psi=0)), np.random.default_rng(10)
    a_night(breaker, exposures=40, typical=800)
    breaker.judge([], batch(61_001.0, np.full(20_000, 0.9)))
    a_night(breaker, exposures=40, typical=800, seed=1)
    late = [breaker.judge([], batch(61_001.0, np.full(5, 0.9)))]
    for at in range(200):  # a partition that lags behind: of each exposure of the night a few candidates
        late.append(breaker.judge([], batch(61_000 + at % 40 * 40 / 86_400, usual_scores(random, 10))))
    assert [held_of(one) for one in late] == [5] + 200 * [0]
    for at in range(20):
        assert held_of(breaker.judge([], batch(61_002 + at * 40 / 86_400, usual_scores(random, 2_000)))) == 0


def expected(survey):
    """What a model's manifest says of its scores, as `drift.reference_of` gives it."""
    random = np.random.default_rng(11)
    return reference_of({"reference": {"score": shares(usual_scores(random, 10_000), np.arange(10_000) % 2 == 0)}})


def test_before_anything_is_learnt_scores_are_held_to_what_the_model_leads_to_expect():
    breaker, random = ExposureBreaker(reference=expected), np.random.default_rng(12)
    assert held_of(breaker.judge([], batch(61_000.0, usual_scores(random, 2_000)))) == 0
    outcomes = breaker.judge([], batch(61_000.1, random.normal(0.9, 0.01, 2_000)))
    assert held_of(outcomes) > 1_900
    assert next(iter(outcomes.scored[0].held.values())).why.startswith("its scores are unlike its model's: PSI ")


def test_a_reference_that_does_not_fit_the_survey_holds_only_until_the_worker_knows_better():
    breaker, random = ExposureBreaker(reference=expected), np.random.default_rng(13)
    held = [
        held_of(breaker.judge([], batch(61_000 + at * 40 / 86_400, random.normal(0.8, 0.02, 500)))) for at in range(60)
    ]
    assert held[0] == 500
    learn = breaker.settings.learn + exposures.DONE
    assert held[learn + 1 :] == [0] * (59 - learn)


def test_another_model_whose_scores_are_distributed_otherwise_holds_nothing():
    breaker, random = ExposureBreaker(), np.random.default_rng(14)
    a_night(breaker, typical=1_000)
    after = replace(MODEL, version="2")
    held = [
        held_of(breaker.judge([], batch(61_001 + at * 40 / 86_400, random.normal(0.8, 0.02, 500), model=after)))
        for at in range(60)
    ]
    assert sum(held) == 0
    assert held_of(breaker.judge([], batch(61_002.0, usual_scores(random, 500), model=after))) > 0  # by its own measure


def test_what_is_remembered_is_bounded():
    breaker = ExposureBreaker()
    breaker.restore((f"ztf/{at}", "why") for at in range(5_000))
    for at in range(3_000):
        breaker.judge([], batch(61_000 + at / 1000, [0.9], detector=at % 2000))
    (followed,) = breaker._surveys.values()
    assert len(followed.open) <= exposures.DONE + 1
    assert len(followed.past) == len(followed.held) == exposures.PAST
    for count in range(10, 400, 10):  # ever more exposures, all of them still being read
        breaker.judge([], batch(61_010 + np.arange(count) / 1000, np.full(count, 0.9)))
    assert len(followed.open) == exposures.OPEN


def test_a_held_alert_is_annotated_as_held_and_its_event_waits_in_a_topic_of_its_own():
    class HoldAll(ExposureBreaker):
        def _decide(self, followed, place, *told):
            followed.hold(*place, "40000 candidates so far where 300 are usual")

    free, held = Night(), Night(to=destinations(held="held"))
    for night in (free, held):
        night.send(*ALERTS)
    free.run()
    worker = held.run(reviews=[HoldAll()])
    assert free.events()
    assert held.events() == []
    waiting = held.broker.messages("held")
    assert [message.value for message in waiting] == [message.value for message in free.events()]
    assert header(waiting[0], "held_by").startswith("ztf/")
    by_candid = {message.key: message for message in held.annotated()}
    for message in free.annotated():
        before, after = annotation.decode(message.value), annotation.decode(by_candid[message.key].value)
        is_held = before["decision"] == "forward"
        assert after == {**before, "decision": "hold" if is_held else before["decision"]}
        assert ("held_by" in dict(by_candid[message.key].headers)) == is_held
    total = worker.ledger.total()
    assert (total.consumed, total.scored, total.forwarded) == (10, 10, 0)


# The shadow model


def test_a_shadow_scores_the_same_alerts_into_a_column_of_its_own_and_nothing_follows():
    plain, shadowed = Night(), Night()
    shadow = Shadow({"ztf": model()}, "shadow", Policy(threshold=0.2))
    for night in (plain, shadowed):
        night.send(*ALERTS)
    plain.run()
    shadowed.run(reviews=[shadow])
    assert shadowed.annotated() == plain.annotated()
    assert shadowed.events() == plain.events()
    second = shadowed.broker.messages("shadow")
    assert candids(second) == candids(plain.annotated())
    told = [annotation.decode(message.value) for message in second]
    assert [one["score"] for one in told] == [annotation.decode(m.value)["score"] for m in plain.annotated()]
    assert {one["threshold"] for one in told} == {0.2}
    assert {one["decision"] for one in told} == {"hold", "reject"}
    assert header(second[0], "shadow") == "true"
    assert header(second[0], "source") == header(plain.annotated()[0], "source")


def test_a_shadow_measures_for_itself_where_its_features_are_others():
    shadow = Shadow({"ztf": model()}, "shadow", Policy(threshold=0.2))
    outcomes = scorer().outcomes(ALERTS)
    (scored,) = outcomes.scored
    other = replace(scored, model=replace(scored.model, feature_set="other"), features=scored.features * 0)
    (second,) = [shadow._second(other)]
    assert second.score.tolist() == scored.score.tolist()


def test_a_shadow_that_fails_costs_nothing_but_a_line_in_the_log(caplog):
    class Broken:
        def __getattr__(self, name):
            raise ZeroDivisionError("a bug")

    night = Night()
    night.send(*ALERTS)
    worker = night.run(reviews=[Shadow({"ztf": Broken()}, "shadow")])
    assert worker.ledger.total().scored == 10
    assert night.broker.messages("shadow") == []
    assert caplog.text.count("the shadow model fails") == 1


# Drift


def test_the_same_scores_are_no_drift_and_others_are():
    random = np.random.default_rng(0)
    usual = counted(random.beta(2, 5, 20_000))
    assert psi(usual, counted(random.beta(2, 5, 5_000))) < 0.01
    assert psi(usual, counted(random.beta(5, 2, 5_000))) > 1
    assert np.isnan(psi(usual, np.zeros(BINS)))


def test_psi_is_the_sum_that_it_is_said_to_be():
    reference, found = np.array([90.0, 10, *[0] * 8]), np.array([80.0, 20, *[0] * 8])
    assert psi(reference, found) == pytest.approx(-0.1 * np.log(80 / 90) + 0.1 * np.log(20 / 10))


def test_a_model_without_a_reference_is_compared_with_its_own_beginning():
    random, drift = np.random.default_rng(0), ScoreDrift()
    drift.add(random.beta(2, 5, LEARNED))
    assert np.isnan(drift.psi())
    drift.add(random.beta(2, 5, LEAST))
    assert drift.psi() < 0.05
    for _ in range(20):
        drift.add(random.beta(5, 2, 1000))
    assert drift.psi() > 1


@pytest.mark.parametrize(
    "score",
    [
        None,
        3,
        [0.1] * 10,
        {"bogus": [0.1] * 10},
        {"bogus": [0.1] * 10, "real": [float("nan")] * 10},
        {"bogus": [0.1] * 10, "real": ["x"] * 10},
        {"bogus": [0.0] * 10, "real": [0.1] * 10},
    ],
)
def test_a_manifest_without_a_usable_reference_has_none(score):
    assert reference_of({"reference": {"score": score}}) is None
    assert reference_of({"reference": score}) is None
    assert reference_of({}) is None


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_the_reference_of_a_manifest_allows_for_any_share_of_real_and_for_nothing_else(share):
    random = np.random.default_rng(3)
    draw = lambda n, share: np.where(random.random(n) < share, random.beta(6, 2, n), random.beta(1, 6, n))  # noqa: E731
    is_real = np.arange(4000) % 2 == 0
    known = np.where(is_real, random.beta(6, 2, 4000), random.beta(1, 6, 4000))
    drift = ScoreDrift(reference_of({"reference": {"score": shares(known, is_real)}}))
    drift.add(draw(3000, share))
    assert drift.psi() < 0.05
    drift.add(random.beta(20, 20, 3000))  # scores slide to the middle, as when a telescope joins
    assert drift.psi() > 0.5


def test_drift_is_told_by_survey_and_begins_again_with_another_model():
    watch = DriftWatch(scorer)
    random = np.random.default_rng(0)
    for _ in range(7):
        watch.judge([], batch(61_000.0, random.beta(2, 5, 1000)))
    found = watch.metrics.registry.get_sample_value
    assert found("realbogus_score_psi", {"survey": "ztf"}) < 0.1
    other = batch(61_000.0, random.beta(5, 2, 1000)).scored[0]
    other = replace(other, model=replace(other.model, version="2"))
    watch.judge([], Outcomes(1000, [other], []))
    assert found("realbogus_score_psi", {"survey": "ztf"}) < 0.1


def test_a_feature_that_changes_or_goes_missing_drifts_and_the_others_do_not():
    random, drift = np.random.default_rng(0), FeatureDrift(3)
    for _ in range(20):
        drift.add(random.normal(size=(256, 3)).astype(np.float32))
    assert np.isnan(drift.psi()).all()
    for _ in range(40):
        X = random.normal(size=(256, 3)).astype(np.float32)
        X[:, 1] += 2
        X[::2, 2] = np.nan
        drift.add(X)
    same, moved, missing = drift.psi()
    assert same < 0.02
    assert moved > 1
    assert missing > 1


def test_the_features_that_the_model_asks_most_are_followed():
    watch = DriftWatch(scorer)
    (scored,) = scorer().outcomes(ALERTS)
    rows = np.resize(np.arange(len(scored)), 600)
    many = replace(scored, features=scored.features[rows], score=scored.score[rows])
    for _ in range(12):
        watch.judge([], Outcomes(600, [many], []))
    found = [one for family in watch.metrics.registry.collect() for one in family.samples]
    told = {one.labels["feature"]: one.value for one in found if one.name == "realbogus_feature_psi"}
    assert len(told) == 6
    assert told.keys() <= set(scored.feature_names)
    assert max(told.values()) < 1e-3
