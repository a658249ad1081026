"""Tops that lists of members decide, through the whole reader: what is read for them. Layers in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from serving.app import create_app
from stitch.buckets import EPOCH
from stitch.merge import Increment, Ranking, Total
from stitch.sections import ServingSettings
from stitch.settings import load_settings
from tests.answers import get
from tests.fakes import FakeLayers

HOUR = timedelta(hours=1)
DAY = datetime(2024, 3, 14, tzinfo=UTC)
NOW, CUTOFF = DAY + 12.5 * HOUR, DAY + 10 * HOUR
TOP = "/v1/top?counter=creator_plays&key=c1&limit=2"
LONG = 1000  # members


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: found[0])
    return found


@pytest.fixture
def layers() -> FakeLayers:
    """Of all time, and of two days, 1,000 members counted 1 to 1,000, and there is a list of the first ten."""
    fake = FakeLayers()
    fake.published, fake.through = {"creator_plays": CUTOFF}, NOW
    for granularity, start in (("all", EPOCH), ("day", DAY - 24 * HOUR), ("day", DAY - 48 * HOUR)):
        bucket = ("creator_plays", "c1", granularity, start)
        fake.total_rows[bucket] = Total(LONG * (LONG + 1) // 2, CUTOFF)
        for n in range(LONG):
            fake.member_total_rows[*bucket, f"t{n}"] = Total(LONG - n, CUTOFF)
        fake.ranked_rows[bucket] = Ranking([f"t{n}" for n in range(10)], [LONG - n for n in range(10)], CUTOFF)
    return fake


@pytest.fixture
def client(layers: FakeLayers, clock: list[float]) -> FlaskClient:
    settings = load_settings("conf/stitch.toml").model_copy(update={"serving": ServingSettings()})
    return create_app(settings, layers, now=lambda: NOW).test_client()


def live(layers: FakeLayers, member: str, count: int, window: datetime = CUTOFF) -> None:
    layers.increment_rows.append(("creator_plays", "c1", Increment(DAY, window, count)))
    layers.member_increment_rows.append(("creator_plays", "c1", Increment(DAY, window, count, member)))


def members(answer: Any) -> list[tuple[str, int]]:
    return [(row["member"], row["count"]) for row in answer["members"]]


def test_a_top_is_read_from_the_list_and_who_might_come_before_by_name(
    client: FlaskClient, layers: FakeLayers, clock: list[float]
) -> None:
    live(layers, "t500", 3)
    answer = get(client, TOP)
    assert members(answer) == [("t0", 1000), ("t1", 999)] and layers.member_rows == 0
    assert answer["total"] == 500_503 and answer["others"] == 500_503 - 1999
    live(layers, "t500", 600)
    live(layers, "new", 999)
    clock[0] += 5
    assert members(get(client, TOP)) == [("t500", 1103), ("t0", 1000)] and layers.member_rows == 1


def test_pages_go_on_by_the_list_and_behind_it_by_all_members(client: FlaskClient, layers: FakeLayers) -> None:
    found, after = [], ""
    for page in range(6):
        answer = get(client, f"{TOP}{after and '&after=' + after}")
        found += members(answer)
        assert answer["others"] == answer["total"] - sum(count for _, count in found)
        after = answer["next"]
        assert layers.member_rows == (0 if page < 4 else LONG)  # of a page it has to be known that there are more
    assert found == [(f"t{n}", LONG - n) for n in range(12)]


def test_members_of_a_page_are_compared_by_name(client: FlaskClient, layers: FakeLayers) -> None:
    layers.ranked_rows["creator_plays", "c1", "day", DAY - 24 * HOUR] = Ranking(["t3", "t4", "t5"], [9, 7, 5], CUTOFF)
    layers.member_total_rows["creator_plays", "c1", "day", DAY - 24 * HOUR, "t3"] = Total(9, CUTOFF)
    layers.member_total_rows["creator_plays", "c1", "day", DAY - 24 * HOUR, "t4"] = Total(7, CUTOFF)
    layers.ranked_rows["creator_plays", "c1", "day", DAY - 48 * HOUR] = Ranking(["t0", "t4", "t1"], [9, 8, 7], CUTOFF)
    answer = get(client, f"{TOP}&start=2024-03-13&end=2024-03-14&compare=previous_period")
    assert [tuple(row.values())[:3] for row in answer["comparison"]["data"]] == [("t3", 9, 997), ("t4", 7, 8)]
    assert layers.member_rows == 1


@pytest.mark.parametrize("why", ["published by an earlier version", "no list", "an answer from increments alone"])
def test_without_a_list_that_is_right_all_members_are_read(client: FlaskClient, layers: FakeLayers, why: str) -> None:
    live(layers, "t500", 3)
    if why == "published by an earlier version":
        layers.ranked_with_it = False
    elif why == "no list":
        layers.ranked_rows = {}
    else:
        assert members(get(client, f"{TOP}&layer=realtime")) == [("t500", 3)]
        return
    layers.member_total_rows["creator_plays", "c1", "all", EPOCH, "t700"] = Total(5000, CUTOFF)
    assert members(get(client, TOP)) == [("t700", 5000), ("t0", 1000)] and layers.member_rows == LONG


def test_the_batch_layer_alone_is_told_by_its_lists(client: FlaskClient, layers: FakeLayers) -> None:
    live(layers, "t500", 999)
    assert members(get(client, f"{TOP}&layer=batch")) == [("t0", 1000), ("t1", 999)] and layers.member_rows == 0


def test_without_the_batch_layer_a_list_that_is_remembered_decides_and_what_it_does_not_is_not_known(
    client: FlaskClient, layers: FakeLayers, clock: list[float]
) -> None:
    live(layers, "t0", 50, CUTOFF - HOUR)  # which the totals have
    get(client, TOP)
    layers.down = {"batch"}
    live(layers, "t1", 7)
    clock[0] += 5
    assert members(get(client, TOP)) == [("t1", 1006), ("t0", 1000)]
    live(layers, "t500", 999)
    clock[0] += 5
    assert get(client, TOP, 503)["status"] == 503
    left = get(client, f"{TOP}&partial=allow")
    assert left["meta"]["partial"] and members(left) == [("t500", 999), ("t0", 50)]


def test_who_of_a_page_is_not_remembered_has_no_change(
    client: FlaskClient, layers: FakeLayers, clock: list[float]
) -> None:
    before = ("creator_plays", "c1", "day", DAY - 48 * HOUR)
    layers.ranked_rows[before] = Ranking(["t0", "t2"], [1000, 998], CUTOFF)
    day = f"{TOP}&start=2024-03-13&end=2024-03-14"
    for asked in (day, f"{TOP}&start=2024-03-12&end=2024-03-13"):
        get(client, asked)
    layers.down = {"batch"}
    clock[0] += 5
    changes = get(client, f"{day}&compare=previous_period")["comparison"]["data"]
    assert [(row["member"], row["previous"]) for row in changes] == [("t0", None), ("t1", None)]


@pytest.mark.parametrize("days", [4, 27])  # of so many, lists are asked for of those that have totals
def test_each_list_is_that_of_its_bucket_where_some_have_no_totals(
    client: FlaskClient, layers: FakeLayers, days: int
) -> None:
    answer = get(client, f"{TOP}&start={DAY - (days - 1) * 24 * HOUR:%F}&end={DAY + 24 * HOUR:%F}")
    assert members(answer) == [("t0", 2000), ("t1", 1998)] and layers.member_rows == 0
