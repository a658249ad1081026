"""What readers get of a counter whose definition changes: the old one whole, then the new one whole. Layers in memory,
with rows of both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from serving.app import create_app
from serving.layers.interface import Corrected
from stitch.buckets import EPOCH
from stitch.counters import Counter
from stitch.definitions import stored_names
from stitch.merge import Increment, Total
from stitch.sections import ServingSettings
from stitch.settings import Settings, load_settings
from tests.answers import get
from tests.fakes import FakeLayers

DAY = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = DAY + timedelta(hours=12, minutes=30)
OLD, NEW = "plays@0001", "plays@0002"
BY_QUARTERS = Counter(name="plays", key="track_id", weights={"play": 1}, resolution="15m")
HOURLY = BY_QUARTERS.model_copy(update={"resolution": "1h", "weights": {"play": 3}})


@pytest.fixture(scope="module")
def settings() -> Settings:
    """In which the counter has quarters of an hour."""
    found = load_settings("conf/stitch.toml")
    serving = ServingSettings(cache=timedelta(0))
    return found.model_copy(update={"serving": serving, "counters": [BY_QUARTERS]})


@pytest.fixture
def layers() -> FakeLayers:
    """By the old definition a play counts 3: 10 up to ten o'clock, 4 since. By the new one it counts 1."""
    fake = FakeLayers()
    fake.published, fake.definitions = {OLD: DAY + 10 * HOUR}, {OLD: HOURLY, NEW: BY_QUARTERS}
    fake.through = NOW
    nine, eleven = DAY + 9 * HOUR, DAY + 11 * HOUR
    for stored, weight, finest in ((OLD, 3, "hour"), (NEW, 1, "quarter_hour")):
        for granularity, start in (("all", EPOCH), ("day", DAY), ("hour", nine), (finest, nine)):
            fake.total_rows[stored, "t1", granularity, start] = Total(10 * weight, DAY + 10 * HOUR)
        fake.increment_rows.append((stored, "t1", Increment(eleven, eleven, 4 * weight)))
        fake.correction_rows.append((stored, Corrected(DAY.date(), DAY + 10 * HOUR, 0, 10 * weight)))
    return fake


@pytest.fixture
def client(settings: Settings, layers: FakeLayers) -> FlaskClient:
    return create_app(settings, layers, now=lambda: NOW).test_client()


def plays(client: FlaskClient, query: str = "") -> int:
    count: int = get(client, f"/v1/totals?counters=plays&keys=t1{query}")["data"][0]["counts"]["plays"]
    return count


def test_readers_get_the_old_definition_whole_until_the_new_one_is_published(
    client: FlaskClient, layers: FakeLayers
) -> None:
    asked = "/v1/corrections?counter=plays&start=2024-03-01&end=2024-03-02"
    found = (plays(client), plays(client, "&layer=batch"), plays(client, "&layer=realtime"))
    assert found == (42, 30, 12)
    assert [row["after"] for row in get(client, asked)["data"]] == [30]
    layers.published[NEW] = DAY + 11 * HOUR
    found = (plays(client), plays(client, "&layer=batch"), plays(client, "&layer=realtime"))
    assert found == (14, 10, 4)
    assert [row["after"] for row in get(client, asked)["data"]] == [10]
    assert get(client, "/v1/keys?counter=plays")["data"] == [{"key": "t1"}]
    assert get(client, "/v1/status")["cutoffs"] == {"plays": "2024-03-01T11:00:00Z"}


def test_of_a_counter_of_which_nothing_is_published_readers_get_the_definition_of_the_settings(
    client: FlaskClient, layers: FakeLayers, settings: Settings
) -> None:
    layers.published = {}
    eleven = DAY + 11 * HOUR
    layers.increment_rows.append((stored_names(settings)["plays"], "t1", Increment(eleven, eleven, 5)))
    assert plays(client) == 5


def test_buckets_that_the_old_definition_does_not_have_are_refused_and_not_zero(
    client: FlaskClient, layers: FakeLayers
) -> None:
    quarters = "/v1/series?counters=plays&key=t1&start=2024-03-01T09:00Z&end=2024-03-01T10:00Z&granularity=quarter_hour"
    assert "its counts are by the hour, and no finer" in get(client, quarters, 503)["detail"]
    assert plays(client, "&start=2024-03-01T09:00Z&end=2024-03-01T10:00Z") == 30
    assert "no finer" in get(client, "/v1/totals?counters=plays&keys=t1&start=2024-03-01T09:15Z&end=2024-03-01T10:00Z",
                             503)["detail"]  # fmt: skip
    layers.published[NEW] = DAY + 11 * HOUR
    assert [point["counts"]["plays"] for point in get(client, quarters)["points"]] == [10, 0, 0, 0]


@pytest.mark.parametrize(
    ("then", "said"), [(None, "its counts are without a breakdown"), ("country", "its counts are by country")]
)
def test_a_breakdown_that_the_old_definition_does_not_have_is_refused(
    settings: Settings, layers: FakeLayers, then: str | None, said: str
) -> None:
    by_creator = BY_QUARTERS.model_copy(update={"member": "creator_id"})
    layers.definitions[OLD] = HOURLY.model_copy(update={"member": then})
    client = create_app(settings.model_copy(update={"counters": [by_creator]}), layers, now=lambda: NOW).test_client()
    assert said in get(client, "/v1/top?counter=plays&key=t1", 503)["detail"]
    assert plays(client) == 42


@pytest.mark.parametrize(("published", "own"), [("1m", "15m"), ("15m", "1m"), ("15m", "1h")])
def test_a_reader_with_another_resolution_reads_the_buckets_that_are_published(
    settings: Settings, published: Any, own: Any
) -> None:
    """The one of a minute keeps minutes and no quarters of an hour, and the other way round."""
    layers, ten, minutes = FakeLayers(), DAY + 10 * HOUR, 15 if published == "15m" else 1
    layers.published, layers.through = {NEW: DAY + 12 * HOUR}, NOW
    layers.definitions = {NEW: BY_QUARTERS.model_copy(update={"resolution": published})}
    for start in range(0, 60, minutes):
        at = ten + timedelta(minutes=start)
        layers.total_rows[NEW, "t1", "minute" if minutes == 1 else "quarter_hour", at] = Total(minutes, DAY + 12 * HOUR)
    layers.total_rows[NEW, "t1", "hour", ten] = Total(60, DAY + 12 * HOUR)
    counters = [BY_QUARTERS.model_copy(update={"resolution": own})]
    client = create_app(settings.model_copy(update={"counters": counters}), layers, now=lambda: NOW).test_client()
    assert plays(client, "&start=2024-03-01T10:00Z&end=2024-03-01T11:00Z") == 60
    if own != "1h":
        assert plays(client, "&start=2024-03-01T10:15Z&end=2024-03-01T10:45Z") == 30
        series = "/v1/series?counters=plays&key=t1&start=2024-03-01T10:00Z&end=2024-03-01T11:00Z&granularity="
        points = get(client, f"{series}quarter_hour")["points"]
        assert [point["counts"]["plays"] for point in points] == [15] * 4


def test_while_the_batch_layer_is_away_readers_get_the_increments_of_what_they_got_before(
    client: FlaskClient, layers: FakeLayers
) -> None:
    layers.published[NEW] = DAY + 11 * HOUR
    assert plays(client) == 14
    layers.down = {"batch"}
    assert plays(client, "&partial=allow") == 4


@pytest.mark.parametrize("minute", [37, 5])  # of an hour of which the old definition has no part
def test_while_a_definition_gets_finer_comparisons_are_cut_at_the_buckets_that_are_published(
    settings: Settings, layers: FakeLayers, minute: int
) -> None:
    by_creator = BY_QUARTERS.model_copy(update={"member": "creator_id"})
    layers.definitions[OLD] = by_creator.model_copy(update={"resolution": "1h"})
    layers.through = now = DAY + timedelta(hours=12, minutes=minute)
    client = create_app(settings.model_copy(update={"counters": [by_creator]}), layers, now=lambda: now).test_client()
    for path in ("totals?counters=plays&keys=t1", "series?counters=plays&key=t1", "top?counter=plays&key=t1"):
        for period in ("month", "24h", "7d"):
            found = get(client, f"/v1/{path}&period={period}&compare=previous_period")["comparison"]
            assert found["current"]["end"] == "2024-03-01T12:00:00Z", (path, period)
    edge = "start=2024-03-01T09:15Z&end=2024-03-01T10:00Z&compare=previous_period"
    assert "no finer" in get(client, f"/v1/top?counter=plays&key=t1&{edge}", 503)["detail"]
