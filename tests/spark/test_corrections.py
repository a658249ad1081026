"""What a run changes of what readers saw: literal layers, literal days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.frames.corrections import days
from jobs.totals.comparing import CONTRIBUTIONS, INCREMENTS
from stitch.buckets import micros
from stitch.guard import Day

Found = Callable[..., list[Day]]
HOUR = timedelta(hours=1)
SCHEMA = (
    "counter string, key string, member string, granularity string, bucket timestamp, count bigint, changed boolean"
)
WINDOW, NOON, NEXT = (datetime(2024, 5, 1, hour, tzinfo=UTC) for hour in (10, 12, 13))
MIDNIGHT, MAY = datetime(2024, 5, 1, tzinfo=UTC), date(2024, 5, 1)


def total(key: str, count: int, changed: bool = True, **other: Any) -> tuple[Any, ...]:
    row = {"counter": "plays", "key": key, "member": None, "granularity": "day", "bucket": MIDNIGHT} | other
    return (*row.values(), count, changed)


def increment(
    key: str, count: int, movement: int, counter: str = "plays", member: str | None = None
) -> tuple[Any, ...]:
    return (counter, key, member, WINDOW, NOON, count, micros(WINDOW) + movement)


@pytest.fixture
def found(spark: SparkSession) -> Found:
    def of(
        previous: list[Any], live: list[Any], new: list[Any], excluded: list[Any] | None = None, recount: str = ""
    ) -> list[Day]:
        rows = days(
            spark.createDataFrame(previous, SCHEMA), spark.createDataFrame(live, INCREMENTS),
            spark.createDataFrame(excluded or [], CONTRIBUTIONS), spark.createDataFrame(new, SCHEMA), HOUR, [recount],
        )  # fmt: skip
        return sorted(Day(*row) for row in rows.collect())

    return of


def test_changes_are_summed_key_by_key(found: Found) -> None:
    previous = [total("t1", 100), total("t2", 50), total("t1", 150, granularity="month")]
    live = [increment("t1", 10, 10), increment("t1", 7, 7, member="m"), increment("t2", 10, 10)]
    new = [total("t1", 105), total("t2", 65), total("t1", 105, granularity="month"), total("t1", 5, member="m")]
    assert found(previous, live, new) == [
        Day("plays", MAY, previous=150, live=20, after=170, changed=10, lost=0, moved=20, held=150)
    ]


def test_days_that_the_run_does_not_touch_are_compared_only_of_recounted_counters(found: Found) -> None:
    before = {"bucket": MIDNIGHT - timedelta(days=1)}
    previous = [total("t1", 100), total("t1", 70, **before)]
    new = [total("t1", 110), total("t1", 70, changed=False, **before)]
    live = [increment("t1", 10, 10)]
    assert [day.day for day in found(previous, live, new)] == [MAY]
    assert [day.held for day in found(previous, live, new, recount="plays")] == [70, 100]


def test_increments_that_the_log_does_not_have_are_a_change_too(found: Found) -> None:
    previous = [total("t1", 100)]
    assert found(previous, [increment("t2", 9, 9)], [total("t1", 100, changed=False)]) == [
        Day("plays", MAY, previous=100, live=9, after=100, changed=9, lost=0, moved=9, held=100)
    ]


def test_what_known_exclusions_leave_out_every_night_is_no_change(found: Found) -> None:
    live, new = [increment("t1", 100, 100)], [total("t1", 88)]
    assert [(day.changed, day.difference) for day in found([], live, new)] == [(12, -12)]
    excluded = [("plays", "t1", None, NOON, 12), ("plays", "t1", "m", NOON, 12)]
    assert [(day.changed, day.difference) for day in found([], live, new, excluded)] == [(0, -12)]
    repaired = [increment("t1", 88, 88)]
    assert [(day.changed, day.difference) for day in found([], repaired, new, excluded)] == [(0, 0)]
    for count, beyond in ((101, 1), (87, 1)):
        assert [day.changed for day in found([], [increment("t1", count, count)], new, excluded)] == [beyond]


def test_a_movement_is_told_by_the_write_timestamp_unless_somebody_wrote_it_at_some_time_of_day(found: Found) -> None:
    by_hand = micros(NEXT) - micros(WINDOW)
    live = [increment("t1", -2, 100), increment("t2", 3, by_hand), increment("t3", -5, 0)]
    assert [day.moved for day in found([], live, [])] == [100 + 3 + 5]


def test_what_keys_lost_is_told_apart_from_what_others_gained(found: Found) -> None:
    previous = [total("t1", 100), total("t2", 50), total("t4", 3)]
    new = [total("t1", 40), total("t2", 500), total("t3", -7), total("t4", -2)]
    assert [(day.lost, day.held) for day in found(previous, [], new)] == [(60 + 3, 153)]
