"""Rows of both layers are the same whether events are added up or each one is weighed by itself."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames.alike import added_up
from jobs.frames.contributions import contributions
from jobs.frames.events import accepted, decode
from jobs.frames.increments import increments, streamed
from jobs.frames.totals import totals
from jobs.streaming.windows import Span
from jobs.streaming_counts import rows_of
from stitch.combining import combining
from stitch.settings import Settings

HOUR = timedelta(hours=1)
FIRST = datetime(2026, 11, 27, 22, 0, tzinfo=UTC)
SETTINGS = Settings.model_validate({
    "events": {"types": {"duration_s": "int", "premium": "boolean", "volume": "double"}, "max_text": 20},
    "counters": [
        {"name": "plays", "key": "track_id", "member": "country", "weights": {"play": 1}},
        {"name": "likes", "key": "track_id", "weights": {"like": 3, "unlike": -3}, "resolution": "1m"},
        {"name": "seconds", "key": "country", "member": "track_id", "weights": {"play": "duration_s"}},
        {"name": "loud", "key": "premium", "weights": {"play": 1, "like": 2}, "resolution": "15m",
         "where": "volume >= 0.5 or country in ('DE', '31') and not premium"},
        {"name": "types", "key": "type", "weights": {"play": 1, "unlike": 1}},
    ],
})  # fmt: skip

RECORD = "value binary, timestamp timestamp, timestamp_type int"


def records(count: int) -> Iterator[tuple[bytearray, datetime, int]]:
    """Events of few tracks over some hours, some of them broken or without a field, appended over three hours."""
    dice = random.Random(27)
    for n in range(count):
        event: dict[str, Any] = {
            "event_id": f"e{n}",
            "type": dice.choice(["play", "play", "like", "unlike", "skip"]),
            "occurred_at": (FIRST - timedelta(seconds=dice.randrange(-3600, 7200))).isoformat(),
            "track_id": dice.choice(["t1", "t2", "", None, 31, "x" * 21]),
            "country": dice.choice(["DE", "FR", 31, None]),
            "duration_s": dice.choice([-30, 0, 7, 10**12, 10**13, "long", None]),
            "premium": dice.choice([True, False, None]),
            "volume": dice.choice([0, 0.25, 0.5, -1e9]),
        }
        kept = {name: value for name, value in event.items() if dice.random() < 0.99}
        yield bytearray(json.dumps(kept).encode()), FIRST + timedelta(seconds=dice.randrange(3 * 3600)), 1


def test_increments_are_those_of_events_that_are_weighed_one_by_one(spark: SparkSession) -> None:
    frame = spark.createDataFrame(list(records(3000)), RECORD)
    each = accepted(decode(frame, SETTINGS, ["timestamp"]))
    expected = sorted(map(str, increments(streamed(each, SETTINGS), SETTINGS.counters).collect()))
    assert sorted(map(str, rows_of(frame, SETTINGS).collect())) == expected
    assert {counter.name for counter in SETTINGS.counters} == {row.split("'")[1] for row in expected}


def test_totals_are_those_of_events_that_are_weighed_one_by_one(spark: SparkSession) -> None:
    each = accepted(decode(spark.createDataFrame(list(records(3000)), RECORD), SETTINGS, ["timestamp"])).persist()
    how = combining(SETTINGS, SETTINGS.counters)
    few = added_up(each, how)
    assert few.count() < each.count() and few.agg({"times": "sum"}).first()[0] == each.count()
    assert counted(few) == counted(each)


def test_no_row_is_of_more_events_than_their_sum_can_hold(spark: SparkSession) -> None:
    each = accepted(decode(spark.createDataFrame(list(records(100)), RECORD), SETTINGS, ["timestamp"]))
    thrice = each.withColumn("n", F.explode(F.array(F.lit(1), F.lit(2), F.lit(3))))
    few = added_up(thrice, combining(SETTINGS, SETTINGS.counters)._replace(most=2))
    assert {row.times for row in few.collect()} == {1, 2}
    assert counted(few) == counted(thrice)


def counted(events: DataFrame) -> list[str]:
    return sorted(map(str, totals(contributions(events, SETTINGS.counters), SETTINGS.counters).collect()))


def test_events_are_not_added_up_where_their_ids_or_instants_count(spark: SparkSession) -> None:
    asked = [SETTINGS.counters[0].model_copy(update={"where": "occurred_at < '2026-11-27T22:30:00Z'"})]
    each = accepted(decode(spark.createDataFrame(list(records(500)), RECORD), SETTINGS, ["timestamp"]))
    found = added_up(each, combining(SETTINGS, asked))
    expected, got = (totals(contributions(events, asked), asked).collect() for events in (each, found))
    assert sorted(map(str, got)) == sorted(map(str, expected))
    by_id = [SETTINGS.counters[0].model_copy(update={"member": "event_id"})]
    assert added_up(each, combining(SETTINGS, by_id)) is each


def test_rows_of_some_windows_are_those_of_all_that_are_in_them(spark: SparkSession) -> None:
    frame = spark.createDataFrame(list(records(2000)), RECORD).persist()
    second = Span(FIRST + HOUR, FIRST + 2 * HOUR)
    of_all = rows_of(frame, SETTINGS).where(F.col("ingest_window") == F.lit(second.since))
    expected = sorted(map(str, of_all.collect()))
    assert sorted(map(str, rows_of(frame, SETTINGS, second).collect())) == expected and len(expected) > 20
