"""Events weighed, summed and merged into totals: literal events, literal rows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.frames.contributions import contributions
from jobs.frames.increments import increments, once_per_window, windowed
from jobs.frames.sums import saturating_sum
from jobs.frames.totals import added, deduplicated, replaced, totals
from jobs.process.errors import JobError
from stitch.amounts import MOST_SUM
from stitch.counters import Counter
from stitch.write_time import of_increment

LIKES = Counter(name="likes", key="track_id", weights={"like": 1, "unlike": -1})
CREATOR_PLAYS = Counter(name="creator_plays", key="creator_id", member="track_id", weights={"play": 1})
SECONDS = Counter(name="seconds", key="track_id", weights={"play": "duration_s"}, resolution="15m")
GERMAN = Counter(name="german", key="track_id", weights={"play": 1}, where="country = 'DE' and duration_s >= 30")

EVENT = (
    "timestamp timestamp, event_id string, type string, occurred_at timestamp, "
    "fields struct<track_id: string, creator_id: string, country: string, duration_s: bigint>"
)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2024, 2, day, hour, minute, tzinfo=UTC)


def events(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return spark.createDataFrame([(at(29, 23), "e1", *row[:2], row[2:]) for row in rows], EVENT)


def weighed(spark: SparkSession, counter: Counter, *rows: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    frame = contributions(events(spark, *rows), [counter])
    found = frame.selectExpr("key", "member", "cast(bucket as string) as bucket", "amount").collect()
    return sorted((tuple(row) for row in found), key=str)


def test_an_unlike_takes_back_a_like(spark: SparkSession) -> None:
    assert weighed(
        spark, LIKES, ("like", at(29, 10, 59), "t1", None, None, None), ("unlike", at(29, 11), "t1", None, None, None)
    ) == [("t1", None, "2024-02-29 10:00:00", 1), ("t1", None, "2024-02-29 11:00:00", -1)]


def test_a_breakdown_counts_the_key_and_the_member(spark: SparkSession) -> None:
    assert weighed(
        spark, CREATOR_PLAYS, ("play", at(29, 10), "t1", "c1", None, None), ("play", at(29, 10), None, "c1", None, None)
    ) == [
        ("c1", "t1", "2024-02-29 10:00:00", 1),
        ("c1", None, "2024-02-29 10:00:00", 1),
        ("c1", None, "2024-02-29 10:00:00", 1),
    ]


def test_a_weight_may_be_a_field_and_a_resolution_a_quarter_of_an_hour(spark: SparkSession) -> None:
    assert weighed(
        spark, SECONDS, ("play", at(29, 10, 44), "t1", None, None, 31), ("play", at(29, 10, 45), "t1", None, None, None)
    ) == [("t1", None, "2024-02-29 10:30:00", 31)]


def test_a_condition_and_a_missing_key_leave_an_event_out(spark: SparkSession) -> None:
    assert weighed(
        spark,
        GERMAN,
        ("play", at(29, 10), "t1", None, "DE", 30),
        ("play", at(29, 10), "t1", None, "DE", 29),
        ("play", at(29, 10), "t1", None, None, 99),
        ("play", at(29, 10), "", None, "DE", 99),
        ("play", at(29, 10), None, None, "DE", 99),
        ("like", at(29, 10), "t1", None, "DE", 99),
    ) == [("t1", None, "2024-02-29 10:00:00", 1)]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("country = ", "counters.odd.where is not a SQL condition: 'country = '"),
        ("country + 1", "counters.odd.where does not fit the types of its fields"),
        ("no_such_function(country)", "counters.odd.where does not fit the types of its fields"),
        ("percentile(duration_s, 0.5) > 1", "counters.odd.where does not fit the types of its fields"),
    ],
)
def test_a_condition_that_spark_cannot_use_is_told(spark: SparkSession, where: str, message: str) -> None:
    odd = Counter(name="odd", key="track_id", weights={"play": 1}, where=where)
    with pytest.raises(JobError, match=re.escape(message)):
        weighed(spark, odd, ("play", at(29, 10), "t1", None, "DE", 30))


def test_days_months_and_all_time_are_the_sums_of_hours(spark: SparkSession) -> None:
    rows = [("like", at(28, 23), "t1", None, None, None), ("like", at(29, 0), "t1", None, None, None)]
    frame = totals(contributions(events(spark, *rows), [LIKES]), [LIKES])
    found = {
        (r.granularity, r.bucket_text): r["count"]
        for r in frame.selectExpr("*", "cast(bucket as string) bucket_text").collect()
    }
    assert found == {
        ("hour", "2024-02-28 23:00:00"): 1,
        ("hour", "2024-02-29 00:00:00"): 1,
        ("day", "2024-02-28 00:00:00"): 1,
        ("day", "2024-02-29 00:00:00"): 1,
        ("month", "2024-02-01 00:00:00"): 2,
        ("all", "1970-01-01 00:00:00"): 2,
    }


def test_of_two_records_with_one_event_id_the_first_appended_counts(spark: SparkSession) -> None:
    schema = (
        "timestamp timestamp, partition int, offset bigint, event_id string, type string, occurred_at timestamp, "
        "reject_reason string, fields struct<track_id: string>"
    )
    decoded = spark.createDataFrame(
        [
            (at(29, 11), 0, 5, "e1", "like", at(29, 9), None, ("late copy",)),
            (at(29, 10), 1, 9, "e1", "like", at(29, 9), None, ("first",)),
            (at(29, 9), 1, 1, "e1", "like", at(29, 9), "not UTF-8", ("rejected",)),
            (at(29, 11), 0, 6, "e2", "like", at(29, 9), None, ("other",)),
        ],
        schema,
    )
    assert sorted(row.fields.track_id for row in deduplicated(decoded).collect()) == ["first", "other"]


def test_identity_may_be_more_than_an_id_or_another_field(spark: SparkSession) -> None:
    schema = (
        "timestamp timestamp, partition int, offset bigint, event_id string, type string, occurred_at timestamp, "
        "reject_reason string, fields struct<order_id: bigint>"
    )
    rows = [("e1", "play", 1), ("e1", "like", 1), ("e1", "like", 2), ("e2", "like", 2)]
    decoded = spark.createDataFrame(
        [
            (at(29, 10), 0, n, event_id, kind, at(29, 9), None, (order,))
            for n, (event_id, kind, order) in enumerate(rows)
        ],
        schema,
    )

    def kept(*identity: str) -> list[tuple[str, str, int]]:
        found = deduplicated(decoded, identity).selectExpr("event_id", "type", "fields.order_id").collect()
        return sorted(tuple(row) for row in found)

    assert kept("event_id", "type") == sorted([rows[0], rows[1], rows[3]])
    assert kept("order_id") == sorted([rows[0], rows[2]])
    placed = windowed(decoded.drop("partition", "offset", "reject_reason"), timedelta(hours=1))
    assert once_per_window(placed, ("event_id", "type")).count() == 3
    assert once_per_window(placed, ("order_id",)).count() == 2


BEFORE, NOW = 1, 2  # write timestamps


def totals_frame(spark: SparkSession, *rows: tuple[str, int], again: bool = False) -> DataFrame:
    """Previous totals, or what is added to them."""
    schema = "counter string, key string, member string, granularity string, bucket timestamp, count bigint"
    values = [("likes", key, None, "hour", at(29, 10), count, BEFORE, again) for key, count in rows]
    return spark.createDataFrame(values, f"{schema}, write_time bigint, again boolean")


def table(frame: DataFrame) -> dict[str, tuple[int, bool]]:
    """key → (count, whether it is to be written)"""
    rows = frame.collect()
    assert {row.write_time for row in rows} <= {BEFORE, NOW}
    return {row.key: (row["count"], row.write_time == NOW) for row in rows}


def test_an_incremental_run_writes_only_the_rows_whose_count_changes(spark: SparkSession) -> None:
    previous = totals_frame(spark, ("t1", 5), ("t2", 7), ("t4", 4), ("t6", 6))
    delta = totals_frame(spark, ("t2", -2), ("t3", 1), ("t4", 0), ("t5", 0))  # of t4 and t5, likes and unlikes
    delta = delta.unionByName(totals_frame(spark, ("t6", 0), again=True))
    assert table(added(previous, delta, NOW)) == {
        "t1": (5, False), "t2": (5, True), "t3": (1, True), "t4": (4, False), "t5": (0, True), "t6": (6, True),
    }  # fmt: skip


def test_a_full_run_zeroes_rows_that_vanished_and_leaves_those_that_are_stored_alike(spark: SparkSession) -> None:
    previous, recounted = (
        totals_frame(spark, ("t1", 5), ("t2", 7), ("t3", 1)),
        totals_frame(spark, ("t2", 6), ("t3", 1)),
    )
    assert table(replaced(previous, recounted, None, NOW)) == {"t1": (0, True), "t2": (6, True), "t3": (1, True)}
    stored = totals_frame(spark, ("t1", 5), ("t2", 7), ("t3", 1), ("t4", 2), ("t5", 0))
    everything = previous.unionByName(stored)
    assert table(replaced(everything, recounted, stored, NOW)) == {
        "t1": (0, True), "t2": (6, True), "t3": (1, False), "t4": (0, True), "t5": (0, False),
    }  # fmt: skip


def test_an_increment_holds_its_whole_window_and_its_write_time_is_the_movement_behind_it(spark: SparkSession) -> None:
    rows = [("like", at(29, 10), "t1", None, None, None)] * 3 + [("unlike", at(29, 10), "t1", None, None, None)]
    frame = increments(windowed(events(spark, *rows), timedelta(hours=1)), [LIKES])
    (row,) = frame.selectExpr("*", "cast(ingest_window as string) as w").collect()
    assert (row["count"], row.w, row.write_time) == (2, "2024-02-29 23:00:00", of_increment(at(29, 23), 4))


HUGE = 999_999_999_999_999_999
SUMS: list[tuple[list[Any], int | None]] = [
    ([HUGE] * 10, MOST_SUM),
    ([-HUGE] * 10, -MOST_SUM),
    ([HUGE] * 10 + [-HUGE] * 9, HUGE),  # exact until it is put together: no order matters
    ([MOST_SUM - 1, 1], MOST_SUM),
    ([MOST_SUM, -1], MOST_SUM - 1),
    ([-MOST_SUM, 1], 1 - MOST_SUM),
    ([-MOST_SUM, -1], -MOST_SUM),
    ([2**63 - 1, 2**63 - 1], MOST_SUM),
    ([-(2**63), 2**63 - 1], -1),
    ([-1, -2**32, 2**32, 5], 4),
    ([None, 3], 3),
    ([None], None),
]  # fmt: skip


def test_a_sum_beyond_what_is_kept_is_the_bound_and_never_wraps(spark: SparkSession) -> None:
    rows = [(n, amount) for n, (amounts, _) in enumerate(SUMS) for amount in amounts]
    frame = spark.createDataFrame(rows, "n int, amount bigint").groupBy("n").agg(saturating_sum("amount").alias("sum"))
    assert [row["sum"] for row in frame.orderBy("n").collect()] == [expected for _, expected in SUMS]


def test_both_layers_keep_a_sum_of_huge_amounts_at_the_bound(spark: SparkSession) -> None:
    rows = [("play", at(29, 10), "t1", None, None, HUGE)] * 10
    (increment,) = increments(windowed(events(spark, *rows), timedelta(hours=1)), [SECONDS]).collect()
    found = totals(contributions(events(spark, *rows), [SECONDS]), [SECONDS]).collect()
    assert increment["count"] == MOST_SUM and {row["count"] for row in found} == {MOST_SUM}
    assert increment.write_time == int(at(29, 23).timestamp()) * 10**6 + MOST_SUM < 2**63
    previous = totals_frame(spark, ("t1", MOST_SUM), ("t2", -MOST_SUM))
    delta = totals_frame(spark, ("t1", MOST_SUM), ("t2", 1 - MOST_SUM))
    assert table(added(previous, delta, NOW)) == {"t1": (MOST_SUM, False), "t2": (-MOST_SUM, False)}
