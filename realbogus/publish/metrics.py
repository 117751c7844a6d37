"""The publisher's counts as Prometheus metrics, beside those of `telemetry.Metrics` in its registry.

====================================== ======= ==========================================================
metric (prefix ``realbogus_``)         kind    meaning
====================================== ======= ==========================================================
outbox_records_total                   counter records taken, by result (new, known, conflict, moot, invalid)
events_sent_total                      counter events that a sink has, by sink
events_failed_total                    counter attempts that a sink did not take, by sink
events_parked_total                    counter events given up on until somebody looks, by sink
====================================== ======= ==========================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from realbogus.publish.outbox import Counts


@dataclass(frozen=True, eq=False)
class PublisherMetrics(Collector):
    """Reads the counts whenever somebody asks: ``registry.register(PublisherMetrics(publisher.counts))``."""

    counts: Counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The metrics of the table above."""
        counts = self.counts
        results = {
            "new": counts.new,
            "known": counts.known,
            "conflict": counts.conflicts,
            "moot": counts.moot,
            "invalid": counts.invalid,
        }
        yield _family("outbox_records", "Records taken from the outbox", "result", results)
        yield _family("events_sent", "Events that a sink has", "sink", counts.sent)
        yield _family("events_failed", "Attempts that a sink did not take", "sink", counts.failed)
        yield _family("events_parked", "Events given up on until somebody looks", "sink", counts.parked)


def _family(name: str, meaning: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"realbogus_{name}", meaning, labels=[label])
    for value, number in dict(values).items():
        family.add_metric([value], number)
    return family
