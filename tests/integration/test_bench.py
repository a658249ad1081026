"""The benches in small: what they measure beside our jobs still reads what our jobs write."""

from __future__ import annotations

from collections.abc import Callable

from bench.bench import backlog, counter_updates, duckdb_seconds
from stitch.local.producer import produce
from tests.conftest import Stack


def test_the_plain_ways_beside_the_jobs_count_the_same_backlog(fresh: Stack, run_job: Callable[..., None]) -> None:
    sent = produce(fresh.settings.kafka, backlog(10_000))
    assert counter_updates(fresh.settings, 1_000) > 0
    run_job("archive_events")
    seconds, rows = duckdb_seconds(fresh.settings)
    assert sent > 10_000 and seconds > 0 and rows > 1_000
