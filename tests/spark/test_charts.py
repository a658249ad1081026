"""Lists of the keys that counted most: literal totals, literal lists, and any totals against sorting them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from jobs.frames.rankings import KEYS, first, unlike_charts
from jobs.sinks.totals_table import SCHEMA
from stitch.buckets import EPOCH

MOST = 3  # a list's length
DAY, MONTH = datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
CUTOFF = datetime(2024, 3, 1, tzinfo=UTC)

Row = tuple[str, str, str | None, str, datetime, int]  # counter, key, member, granularity, bucket, count
Lists = dict[tuple[str, str, datetime], tuple[list[str], list[int]]]


def frame(spark: SparkSession, rows: Iterable[Row]) -> DataFrame:
    return spark.createDataFrame([(*row, 1) for row in rows], SCHEMA).repartition(3)


def lists(rows: DataFrame) -> Lists:
    found = first(rows, KEYS, MOST).collect()
    assert len(found) == len({(row.counter, row.granularity, row.bucket) for row in found})
    return {(row.counter, row.granularity, row.bucket.replace(tzinfo=UTC)): (row.keys, row.counts) for row in found}


def keys(counter: str, counts: Mapping[str, int], granularity: str = "all", bucket: datetime = EPOCH) -> list[Row]:
    return [(counter, key, None, granularity, bucket, count) for key, count in counts.items()]


def test_the_first_keys_of_a_counter_are_listed_by_count_then_by_name_and_of_fewer_all(spark: SparkSession) -> None:
    """Names are in the order of code points, as Python has it: not of UTF-16, in which 😀 comes before ﬀ."""
    rows = [
        *keys("many", {"a": 1, "b": 9, "c": 5, "d": 7}),
        *keys("ties", {"b": 2, "ﬀ": 2, "😀": 2, "B": 2, "é": 2}),
        *keys("code points", {"x": 3, "😀": 1, "ﬀ": 1, "y": 3}),
        *keys("signs", {"a": -1, "b": 4, "c": -7, "d": -1}),
        *keys("few", {"a": 1, "b": 2}),
        *keys("some removed", {"a": -1, "b": 0, "c": 3, "d": 0}),
        *keys("all removed", {"a": 0, "b": 0}),
    ]
    assert lists(frame(spark, rows)) == {
        ("many", "all", EPOCH): (["b", "d", "c"], [9, 7, 5]),
        ("ties", "all", EPOCH): (["B", "b", "é"], [2, 2, 2]),
        ("code points", "all", EPOCH): (["x", "y", "ﬀ"], [3, 3, 1]),
        ("signs", "all", EPOCH): (["b", "a", "d"], [4, -1, -1]),
        ("few", "all", EPOCH): (["b", "a"], [2, 1]),
        ("some removed", "all", EPOCH): (["c", "a"], [3, -1]),
        ("all removed", "all", EPOCH): ([], []),
    }


def test_keys_are_ranked_in_each_day_month_and_all_time_for_itself_and_members_and_hours_not_at_all(
    spark: SparkSession,
) -> None:
    rows = [
        *keys("plays", {"a": 1, "b": 2}, "day", DAY),
        *keys("plays", {"a": 2, "b": 2}, "day", DAY - timedelta(days=1)),
        *keys("plays", {"a": 4, "b": 3}, "month", MONTH),
        *keys("plays", {"a": 5, "b": 9}),
        *keys("plays", {"a": 1, "b": 2}, "hour", DAY),
        *keys("plays", {"a": 1}, "quarter_hour", DAY), *keys("plays", {"a": 1}, "minute", DAY),
        ("plays", "a", "m", "day", DAY, 1), ("plays", "c", "m", "day", DAY, 7),
    ]  # fmt: skip
    assert lists(frame(spark, rows)) == {
        ("plays", "day", DAY): (["b", "a"], [2, 1]),
        ("plays", "day", DAY - timedelta(days=1)): (["a", "b"], [2, 2]),
        ("plays", "month", MONTH): (["a", "b"], [4, 3]),
        ("plays", "all", EPOCH): (["b", "a"], [9, 5]),
    }


def test_of_millions_of_keys_no_task_sends_on_more_than_a_list_has(spark: SparkSession) -> None:
    """Spark's own limit of groups, below the shuffle and above it: without, one task would sort all keys."""
    plan = first(frame(spark, keys("many", {"a": 1, "b": 9})), KEYS, 1000)._jdf.queryExecution().executedPlan()
    assert plan.toString().count("WindowGroupLimit") == 2, plan.toString()


def test_the_audit_finds_charts_that_are_not_those_of_their_totals_and_those_that_are_lacking(
    spark: SparkSession,
) -> None:
    """But where a run that has not published has written, and where an erasure took the keys."""
    day = timedelta(days=1)
    of_bucket = {"a": 1, "b": 9, "c": 5, "d": 7, "e": 0}
    right = ["b", "d", "c"], [9, 7, 5]
    cases: dict[str, tuple[list[str] | None, list[int] | None, datetime, datetime]] = {  # cutoffs of list and rows
        "right": (*right, CUTOFF, CUTOFF),
        "older than its rows would have it": (*right, CUTOFF - day, CUTOFF),
        "erased": (None, None, CUTOFF, CUTOFF),
        "shorter": (["b", "d"], [9, 7], CUTOFF, CUTOFF),
        "another key": (["b", "d", "a"], [9, 7, 5], CUTOFF, CUTOFF),
        "another count": (["b", "d", "c"], [9, 7, 4], CUTOFF, CUTOFF),
        "another order": (["d", "b", "c"], [7, 9, 5], CUTOFF, CUTOFF),
        "without counts": (["b", "d", "c"], None, CUTOFF, CUTOFF),
        "empty": ([], [], CUTOFF, CUTOFF),
        "older than what a run loads": (["b"], [4], CUTOFF, CUTOFF + day),
        "of the run that loads": (["b"], [4], CUTOFF + day, CUTOFF),
        "of no bucket": (["b"], [4], CUTOFF, CUTOFF),
        "empty, of no bucket": ([], [], CUTOFF, CUTOFF),
    }
    lacking = {"lacking": of_bucket, "lacking where nothing counts": {"a": 0}}
    of_no_bucket = {"of no bucket", "empty, of no bucket"}
    totals = [(counter, key, None, "all", EPOCH, count, cutoff)
              for counter, (_, _, _, cutoff) in cases.items() if counter not in of_no_bucket
              for key, count in of_bucket.items()]  # fmt: skip
    totals += [(counter, key, None, "all", EPOCH, count, CUTOFF)
               for counter, of_it in lacking.items() for key, count in of_it.items()]  # fmt: skip
    totals += [("without a chart", "a", None, "all", EPOCH, 1, CUTOFF)]
    columns = "counter string, {}granularity string, bucket timestamp, {}, cutoff timestamp"
    rows = spark.createDataFrame(totals, columns.format("key string, member string, ", "count bigint"))
    stored = spark.createDataFrame(
        [(counter, "all", EPOCH, names, counts, cutoff) for counter, (names, counts, cutoff, _) in cases.items()],
        columns.format("", "keys array<string>, counts array<bigint>"),
    )
    cutoffs = dict.fromkeys([*cases, *lacking], CUTOFF)
    found = {row.counter for row in unlike_charts(stored, rows, cutoffs, MOST).collect()}
    assert found == {"shorter", "another key", "another count", "another order", "without counts", "empty",
                     "of no bucket", "lacking"}  # fmt: skip


NAMES = st.text("aAé😀ﬀ", max_size=2)
PLACES = st.tuples(st.sampled_from("pq"), NAMES, st.none() | NAMES, st.sampled_from(["day", "hour", "all"]))
TOTALS = st.dictionaries(PLACES, st.integers(-3, 3), max_size=20)


@settings(max_examples=15)
@given(totals=TOTALS)
def test_a_chart_has_the_first_of_all_keys_that_count_and_nobody_else_counted_more_than_its_last(
    spark: SparkSession, totals: dict[tuple[str, str, str | None, str], int]
) -> None:
    at = {"day": DAY, "hour": DAY, "all": EPOCH}
    rows = [(*place, at[place[3]], count) for place, count in totals.items()]
    found = lists(frame(spark, rows))
    of_keys = {place: count for place, count in totals.items() if place[2] is None and place[3] != "hour"}
    assert found.keys() == {(counter, granularity, at[granularity]) for counter, _, _, granularity in of_keys}
    for (counter, granularity, _), (names, counts) in found.items():
        counted = {
            name: n for (of, name, _, of_it), n in of_keys.items() if (of, of_it) == (counter, granularity) and n
        }
        order = sorted(counted, key=lambda name: (-counted[name], name))[:MOST]
        assert (names, counts) == (order, [counted[name] for name in order])
