"""What the reader counts of itself, for Prometheus at /metrics.

With several gunicorn workers each process counts for itself; prometheus-client adds them up through files in the folder
that PROMETHEUS_MULTIPROC_DIR names, which serving.server sets before this is imported.
"""

from __future__ import annotations

import os
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
LAYER_UP = Gauge("stitch_layer_up", "1 where the layer answers", ["layer"], multiprocess_mode="mostrecent")
CUTOFF_AGE = Gauge(
    "stitch_cutoff_age_seconds", "time since the published cutoff", ["counter"], multiprocess_mode="mostrecent"
)
REALTIME_LAG = Gauge(
    "stitch_realtime_lag_seconds", "time since what the increments hold", multiprocess_mode="mostrecent"
)


def observe(
    now: datetime, up: dict[str, bool], cutoffs: dict[str, datetime | None], realtime_through: datetime | None
) -> None:
    """Set the gauges from what the layers say now."""
    for layer, answers in up.items():
        LAYER_UP.labels(layer).set(answers)
    for counter, cutoff in cutoffs.items():
        if cutoff:
            CUTOFF_AGE.labels(counter).set((now - cutoff).total_seconds())
    if realtime_through:
        REALTIME_LAG.set((now - realtime_through).total_seconds())


def exposition() -> bytes:
    """Everything counted so far, by all workers."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry)
