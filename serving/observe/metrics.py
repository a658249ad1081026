"""What the reader counts of itself, for Prometheus at /metrics.

With several workers each process counts for itself; prometheus-client adds them up through files in the folder that
PROMETHEUS_MULTIPROC_DIR names, which serving.server sets before this is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

CONTENT_TYPE = CONTENT_TYPE_LATEST

REQUESTS = Counter("stitch_http_requests", "requests answered", ["endpoint", "method", "status"])
SECONDS = Histogram(
    "stitch_http_request_seconds",
    "time to answer a request",
    ["endpoint"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CACHE_READS = Counter(
    "stitch_cache_reads", "reads of a cache: hit, miss, or joined to one under way", ["cache", "outcome"]
)
LAYER_ERRORS = Counter("stitch_layer_errors", "answers that had to do without a layer", ["layer"])
CIRCUIT_OPEN = Gauge(
    "stitch_circuit_open",
    "1 where a layer is left alone, since it did not answer, and one request at a time tries it",
    ["layer"],
    multiprocess_mode="livemax",
)


@dataclass(frozen=True, eq=False)  # a registry keeps collectors by what they are
class Layers:
    """What the layers say when they are asked for it; not remembered by the process, so it is never of another time.
    Instants, not ages: what does not move any more is still what it was, and the alert knows the time."""

    up: dict[str, bool]
    cutoffs: dict[str, datetime | None]
    realtime_through: datetime | None

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("stitch_layer_up", "1 where the layer answers", labels=["layer"])
        for layer, answers in self.up.items():
            up.add_metric([layer], answers)
        cutoffs = GaugeMetricFamily("stitch_cutoff_timestamp_seconds", "the published cutoff", labels=["counter"])
        for counter, cutoff in self.cutoffs.items():
            if cutoff:
                cutoffs.add_metric([counter], cutoff.timestamp())
        through = GaugeMetricFamily("stitch_realtime_through_timestamp_seconds", "what the increments hold")
        if self.realtime_through:
            through.add_metric([], self.realtime_through.timestamp())
        yield from (up, cutoffs, through)


def exposition(layers: Layers) -> bytes:
    """Everything counted so far, by all workers, and what the layers say now."""
    now = CollectorRegistry()
    now.register(layers)
    counted: CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        multiprocess.MultiProcessCollector(counted)
    return generate_latest(counted) + generate_latest(now)
