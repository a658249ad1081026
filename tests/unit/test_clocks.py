"""Clocks that differ: which edge has passed, by the grace that brokers' clocks are granted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.process.errors import JobError
from jobs.process.options import checked_edge, passed_edge
from stitch.settings import Settings

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
COUNTERS = [{"name": "plays", "key": "track_id", "weights": {"play": 1}}]
SETTINGS = Settings.model_validate({"counters": COUNTERS, "log": {"grace": "5s"}})
SECOND = timedelta(seconds=1)
EDGES = {
    "just before the edge": (NOON - SECOND, NOON - timedelta(hours=1)),
    "on the edge: a broker may be behind": (NOON, NOON - timedelta(hours=1)),
    "a moment before the grace is over": (NOON + 4 * SECOND, NOON - timedelta(hours=1)),
    "when the grace is over": (NOON + 5 * SECOND, NOON),
}


@pytest.mark.parametrize(("now", "edge"), EDGES.values(), ids=EDGES.keys())
def test_an_edge_has_passed_when_the_slowest_broker_has_come_to_it(now: datetime, edge: datetime) -> None:
    assert passed_edge(SETTINGS, now) == edge
    assert checked_edge(SETTINGS, edge, now) == edge
    with pytest.raises(JobError, match="must be the edge of an ingest window"):
        checked_edge(SETTINGS, edge + timedelta(hours=1), now)
