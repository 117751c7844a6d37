"""The metrics of a worker. The only place where they are named.

======================================== ========= =============================================================
metric (prefix ``realbogus_``)           kind      meaning
======================================== ========= =============================================================
alerts_consumed_total                    counter   messages read, by topic and partition
annotations_total                        counter   alerts scored and annotated, by survey and action (forward, hold)
rejected_total                           counter   alerts sent to the dead letters, by reason and stage
parked_total                             counter   alerts that wait for a schema or a model, by reason and stage
held_total                               counter   promising alerts of exposures on hold, by survey
duplicates_total                         counter   alerts that were sent before and are left out, by survey
transactions_total                       counter   transactions of exactly-once delivery, by result (committed, aborted)
voevents_total                           counter   events made of forwarded alerts, by result (made, refused)
decode_fallback_total                    counter   records that the plain decoder read for the compiled one
batches_total                            counter   batches delivered, by result (committed, repeated)
rebalances_total                         counter   changes of our partitions, by kind (assign, revoke, lost, mend)
offset_resets_total                      counter   partitions that begin where the group had not ended, by kind
client_errors_total                      counter   complaints of the Kafka client that are not fatal, by code
stage_seconds                            histogram time of a stage for one batch, s; see docs/operations.md
batch_size                               histogram messages in a batch
latency_seconds                          histogram from a message's Kafka timestamp to its result delivered, s
alert_age_seconds                        histogram from mid-exposure to the result delivered, s
score                                    histogram scores, by survey
consumer_lag                             gauge     messages not yet read, by topic and partition
lag_seconds                              gauge     the same in time, s: age of the last message read if more are waiting
assigned_partitions                      gauge     partitions that this worker reads
paused_partitions                        gauge     those of them that it lets wait, since what it writes is not taken
prefetch_bytes                           gauge     what the client has fetched ahead, every 5 s
forwarded_ratio                          gauge     share of the scored alerts that is forwarded, since start
last_commit_timestamp_seconds            gauge     Unix time of the last commit, s
refused_share                            gauge     share of the last alerts (breaker.window) rejected or parked
breaker_open                             gauge     1 once the worker stops because of that share
held_exposures                           gauge     exposures and detectors on hold that still get candidates here
score_psi                                gauge     how far recent scores are from the model's reference, by survey
feature_psi                              gauge     how far a feature is from what it was first, by survey and feature
shadow_scored_total                      counter   alerts scored by the shadow model too, by survey and agreement
model_info                               gauge     1; the model in force in its labels
model_golden_difference                  gauge     largest difference from its golden scores at load, by survey
model_swaps_total                        counter   changes of model, by result (swapped, refused)
worker_info                              gauge     1; the version of realbogus in its label
======================================== ========= =============================================================

A label never holds a candid, an object or a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from realbogus import __version__
from realbogus.alerts import ModelId

STAGE_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
LATENCY_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200, 43200, 86400)
BATCH = (1, 4, 16, 64, 128, 256, 512, 1024, 4096)
SCORE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_MODEL_LABELS = ("survey", "model", "sha256", "feature_set", "threshold")


class Spread:
    """A histogram that takes arrays: a batch of alerts is counted in one go."""

    def __init__(self, name: str, meaning: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> None:
        self.name, self.meaning, self.labels = name, meaning, labels
        self.edges = np.array(buckets, np.float64)
        self._counts: dict[tuple[str, ...], NDArray[np.int64]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def observe(self, values: NDArray[np.float64], *labels: str) -> None:
        """Count (N,) values; NaN is left out."""
        known = values[~np.isnan(values)]
        counts = self._counts.setdefault(labels, np.zeros(len(self.edges) + 1, np.int64))
        counts += np.bincount(np.searchsorted(self.edges, known), minlength=len(counts))
        self._sums[labels] = self._sums.get(labels, 0.0) + float(known.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The histogram, for a registry."""
        family = HistogramMetricFamily(self.name, self.meaning, labels=self.labels)
        names = [*map(floatToGoString, self.edges.tolist()), "+Inf"]
        for labels, counts in list(self._counts.items()):
            family.add_metric(labels, list(zip(names, np.cumsum(counts).tolist(), strict=True)), self._sums[labels])
        yield family


class Metrics:
    """Every metric of a process; see the table above. One set a registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"realbogus_{name}", meaning, labels, registry=registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"realbogus_{name}", meaning, labels, registry=registry)

        def histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"realbogus_{name}", meaning, labels, buckets=buckets, registry=registry)

        self.consumed = counter("alerts_consumed", "Messages read", "topic", "partition")
        self.annotations = counter("annotations", "Alerts scored and annotated", "survey", "action")
        self.rejected = counter("rejected", "Alerts sent to the dead letters", "reason", "stage")
        self.parked = counter("parked", "Alerts that wait for a schema or a model", "reason", "stage")
        self.duplicates = counter("duplicates", "Alerts that were sent before and are left out", "survey")
        self.transactions = counter("transactions", "Transactions of exactly-once delivery", "result")
        self.voevents = counter("voevents", "Events made of forwarded alerts", "result")
        self.fallbacks = counter("decode_fallback", "Records that the plain decoder read for the compiled one")
        self.batches = counter("batches", "Batches delivered", "result")
        self.rebalances = counter("rebalances", "Changes of this worker's partitions", "kind")
        self.offset_resets = counter("offset_resets", "Partitions that do not begin where the group ended", "kind")
        self.client_errors = counter("client_errors", "Complaints of the Kafka client that are not fatal", "code")
        self.stage = histogram("stage_seconds", "Time of a stage for one batch, s", STAGE_S, "stage")
        self.batch_size = histogram("batch_size", "Messages in a batch", BATCH)
        self.latency = Spread("realbogus_latency_seconds", "Kafka timestamp to result delivered, s", LATENCY_S)
        self.age = Spread("realbogus_alert_age_seconds", "Mid-exposure to result delivered, s", LATENCY_S)
        self.score = Spread("realbogus_score", "Scores", SCORE, ("survey",))
        self.lag = gauge("consumer_lag", "Messages not yet read", "topic", "partition")
        self.lag_seconds = gauge(
            "lag_seconds", "Age of the last message read where more are waiting, else 0, s", "topic", "partition"
        )
        self.partitions = gauge("assigned_partitions", "Partitions that this worker reads")
        self.paused = gauge("paused_partitions", "Partitions that it lets wait, since what it writes is not taken")
        self.prefetch = gauge("prefetch_bytes", "What the Kafka client has fetched ahead")
        self.forwarded_ratio = gauge("forwarded_ratio", "Share of the scored alerts that is forwarded, since start")
        self.last_commit = gauge("last_commit_timestamp_seconds", "Unix time of the last commit, s")
        self.model = gauge(
            "model_info", "1; the model in force", "survey", "model", "sha256", "feature_set", "threshold"
        )
        self.held = counter("held", "Promising alerts of exposures on hold", "survey")
        self.held_exposures = gauge(
            "held_exposures", "Exposures and detectors of one on hold that this worker still gets candidates of"
        )
        self.refused_share = gauge("refused_share", "Share of the last alerts that was rejected or parked")
        self.breaker_open = gauge("breaker_open", "1 once the worker stops because of the share of refused alerts")
        self.score_psi = gauge("score_psi", "Population stability index of recent scores", "survey")
        self.feature_psi = gauge("feature_psi", "The same of features that the model asks most", "survey", "feature")
        self.shadow = counter("shadow_scored", "Alerts scored by the shadow model too", "survey", "agreement")
        self.golden = gauge(
            "model_golden_difference", "Largest difference of the model in force from its golden scores", "survey"
        )
        self.model_swaps = counter("model_swaps", "Changes of model", "result")
        self._in_force: dict[str, tuple[str, ...]] = {}
        for one in (self.latency, self.age, self.score):
            registry.register(one)
        self.worker = gauge("worker_info", "1; the version of realbogus", "version")
        self.worker.labels(__version__).set(1)

    def model_in_force(self, survey: str, model: ModelId, threshold: float, golden_difference: float = 0.0) -> None:
        """Say who judges a survey from now on."""
        name = f"{model.name}/{model.version}"
        labels = (survey, name, model.sha256, model.feature_set, f"{threshold:.6f}")
        if survey in self._in_force:
            self.model.remove(*self._in_force[survey])
        self.model.labels(*labels).set(1)
        self.golden.labels(survey).set(golden_difference)
        self._in_force[survey] = labels

    def show_lag(
        self, behind: Mapping[tuple[str, int], int], read_up_to: Mapping[tuple[str, int], int], now: float
    ) -> None:
        """Tell messages not yet read, by partition, and how old the last one read was; read_up_to in ms, now in s.

        Partitions that are not ours any more are no longer told.
        """
        self.lag.clear()
        self.lag_seconds.clear()
        for (topic, number), count in behind.items():
            stamp = read_up_to.get((topic, number), -1)
            age = max(now - stamp / 1000, 0.0) if count and stamp >= 0 else 0.0
            self.lag.labels(topic, str(number)).set(count)
            self.lag_seconds.labels(topic, str(number)).set(age)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Time a stage."""
        with self.stage.labels(stage).time():
            yield

    def text(self) -> bytes:
        """All metrics in the form that Prometheus reads."""
        return generate_latest(self.registry)
