"""The flights that left New York in 2013, from the producer to HTTP: every count equals the CSV's, at every stage.

One test, since its stages are one story: real-time alone, half-way through the batch's load, and after it. A twelfth of
the flights has rows of all kinds; all of them are counted in `make faults`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.process.errors import JobError
from stitch.cutoff import window_start
from stitch.settings import Settings, load_settings
from stitch_local import flights
from stitch_local.producer import produce
from stitch_local.schema import apply_schema
from stitch_local.topic import create_topics
from tests.conftest import Reader, Stack, run_in, write_config
from tests.faults.failpoints import armed
from tests.logs import lake

FLIGHTS_CONFIG = Path(__file__).parents[2] / "conf/flights.toml"


@pytest.fixture
def flights_stack(stack: Stack, tmp_path: Path) -> Stack:
    local = stack.settings
    config = write_config(
        tmp_path / "flights.toml",
        base=FLIGHTS_CONFIG,
        kafka={"bootstrap_servers": local.kafka.bootstrap_servers},
        realtime={"port": local.realtime.port},
        batch={"port": local.batch.port},
        streaming={"checkpoint": str(tmp_path / "checkpoints/streaming")},
        lake=lake(tmp_path),
    )
    settings = load_settings(config)
    create_topics(settings)
    apply_schema(settings)
    return Stack(settings, config)


def answers(client: FlaskClient, expected: dict[str, Any], layer: str = "merged") -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for counter, keys in expected.items():
        response = client.post("/v1/totals", json={"counters": [counter], "keys": list(keys), "layer": layer})
        assert response.status_code == 200, response.text
        assert "partial" not in response.json["meta"] or not response.json["meta"]["partial"]
        found[counter] = {row["key"]: row["counts"][counter] for row in response.json["data"]}
    return found


def months_of(client: FlaskClient, counter: str, key: str) -> int:
    query = f"/v1/series?counters={counter}&key={key}&granularity=month&start=2013-01-01&end=2014-02-01"
    response = client.get(query)
    assert response.status_code == 200, response.text
    points = response.json["points"]
    assert response.json["totals"][counter] == sum(point["counts"][counter] for point in points)
    return response.json["totals"][counter]


def next_edge(settings: Settings) -> datetime:
    """Wait until every event sent so far is in a finished ingest window; returns its end."""
    cutoff = window_start(datetime.now(UTC), settings.streaming.ingest_window) + settings.streaming.ingest_window
    wait = cutoff + settings.log.grace + timedelta(seconds=0.5) - datetime.now(UTC)
    time.sleep(wait.total_seconds())
    return cutoff


@pytest.mark.thorough
@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_all_flight_counts_equal_the_csv_in_real_time_half_way_through_the_load_and_after_it(
    flights_stack: Stack, reader: Reader, spark: Any, every: int
) -> None:
    settings = flights_stack.settings
    expected = {counter: dict(keys) for counter, keys in flights.expected(every).items()}
    client = reader(settings)

    assert produce(settings.kafka, flights.events(every)) == -(-flights.FLIGHTS // every)
    run_in(settings, "streaming_counts")
    assert answers(client, expected) == expected
    assert answers(client, expected, "realtime") == expected

    run_in(settings, "archive_events")
    cutoff = next_edge(settings)
    with armed("half_loaded"), pytest.raises(JobError, match="half_loaded"):
        run_in(settings, "batch_totals", cutoff=cutoff)
    half = answers(client, expected, "batch")
    assert half != expected and any(count for keys in half.values() for count in keys.values())
    assert answers(client, expected) == expected
    assert months_of(client, "departures", "JFK") == expected["departures"]["JFK"]

    run_in(settings, "batch_totals", cutoff=cutoff)  # simply run again
    assert answers(client, expected, "batch") == expected
    assert answers(client, expected) == expected
    assert months_of(client, "departures", "JFK") == expected["departures"]["JFK"]
