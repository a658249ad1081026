"""Lists of the members that counted most: literal totals, literal lists, and any totals against sorting them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames.rankings import large, ranked, unlike
from jobs.frames.totals import changed_by
from jobs.sinks.totals_table import SCHEMA
from stitch.buckets import EPOCH

MOST, NOW, BEFORE = 3, 20, 10  # a list's length; the write timestamps of this run and of one before

CUTOFF = datetime(2024, 3, 1, tzinfo=UTC)

Row = tuple[str, str | None, int, int]  # key, member, count, write time
Lists = dict[str, tuple[list[str], list[int]]]


def frame(spark: SparkSession, rows: Iterable[Row], granularity: str = "all", at: datetime = EPOCH) -> DataFrame:
    values = [("plays", key, member, granularity, at, count, stamp) for key, member, count, stamp in rows]
    return spark.createDataFrame(values, SCHEMA).repartition(3)


def lists(rows: DataFrame) -> Lists:
    found = ranked(rows, large(rows, changed_by(NOW), MOST), MOST).collect()
    assert len(found) == len({(row.key, row.granularity, row.bucket) for row in found})
    return {row.key: (row.members, row.counts) for row in found}


def members(key: str, counts: Mapping[str, int], stamp: int = NOW) -> list[Row]:
    return [(key, None, sum(counts.values()), stamp), *((key, name, count, stamp) for name, count in counts.items())]


def test_of_more_members_than_a_list_has_the_first_are_listed_by_count_then_by_name(spark: SparkSession) -> None:
    """Names are in the order of code points, as Python has it: not of UTF-16, in which 😀 comes before ﬀ."""
    rows = [
        *members("many", {"a": 1, "b": 9, "c": 5, "d": 7}),
        *members("ties", {"b": 2, "ﬀ": 2, "😀": 2, "B": 2, "é": 2}),
        *members("signs", {"a": -1, "b": 4, "c": -7, "d": -1}),
        *members("code points", {"x": 3, "😀": 1, "ﬀ": 1, "y": 3}),
    ]
    assert lists(frame(spark, rows)) == {
        "many": (["b", "d", "c"], [9, 7, 5]),
        "ties": (["B", "b", "é"], [2, 2, 2]),
        "signs": (["b", "a", "d"], [4, -1, -1]),
        "code points": (["x", "y", "ﬀ"], [3, 3, 1]),
    }


def test_a_bucket_with_no_more_members_that_count_has_an_empty_list_where_it_may_have_had_another(
    spark: SparkSession,
) -> None:
    rows = [
        *members("just as many", {"a": 1, "b": 2, "c": 3}),
        *members("removed", {"a": 1, "b": 0, "c": 3, "d": 5}),
        *members("few", {"a": 1, "b": 2}),
        ("of no member", None, 7, NOW),
    ]
    assert lists(frame(spark, rows)) == {"just as many": ([], []), "removed": ([], [])}


def test_a_bucket_is_listed_whole_when_one_member_changed_and_not_at_all_when_none_did(spark: SparkSession) -> None:
    before = {"a": 1, "b": 9, "c": 5, "d": 7}
    rows = [
        *members("untouched", before, BEFORE),
        *members("touched", before, BEFORE), ("touched", "e", 6, NOW),
        *members("of the key alone", before, BEFORE)[1:], ("of the key alone", None, 22, NOW),
    ]  # fmt: skip
    assert lists(frame(spark, rows)) == {"touched": (["b", "d", "e"], [9, 7, 6])}


def test_members_are_ranked_in_each_bucket_for_itself(spark: SparkSession) -> None:
    day = datetime(2024, 2, 29, tzinfo=UTC)
    rows = frame(spark, members("c1", {"a": 1, "b": 2, "c": 3, "d": 4})).unionByName(
        frame(spark, members("c1", {"a": 4, "b": 3, "c": 2, "d": 1}), "day", day)
    )
    found = ranked(rows, large(rows, F.lit(True), MOST), MOST).collect()
    assert {row.granularity: row.members for row in found} == {
        "all": ["d", "c", "b"],
        "day": ["a", "b", "c"],
    }


def test_of_a_bucket_of_millions_no_task_sends_on_more_than_a_list_has(spark: SparkSession) -> None:
    """Spark's own limit of groups, below the shuffle and above it: without, one task would sort all members."""
    rows = frame(spark, members("many", {"a": 1, "b": 9, "c": 5, "d": 7}))
    first = ranked(rows, large(rows, changed_by(NOW), 1000), 1000)
    plan = first._jdf.queryExecution().executedPlan().toString()
    assert plan.count("WindowGroupLimit") == 2, plan


def test_the_audit_finds_lists_that_are_not_the_first_of_their_totals(spark: SparkSession) -> None:
    """But where a run that has not published has written: then the one may be older than the other."""
    day = timedelta(days=1)
    of_bucket = {"a": 1, "b": 9, "c": 5, "d": 7, "e": 0}
    cases: dict[str, tuple[list[str], list[int], datetime, datetime]] = {  # the cutoffs of the list and of a row
        "right": (["b", "d", "c"], [9, 7, 5], CUTOFF, CUTOFF),
        "shorter": (["b", "d"], [9, 7], CUTOFF - day, CUTOFF),
        "another member": (["b", "d", "a"], [9, 7, 5], CUTOFF, CUTOFF),
        "another count": (["b", "d", "c"], [9, 7, 4], CUTOFF, CUTOFF),
        "another order": (["d", "b", "c"], [7, 9, 5], CUTOFF, CUTOFF),
        "longer than a list is": (["b", "d", "c", "a"], [9, 7, 5, 1], CUTOFF, CUTOFF),
        "with one that counts nothing": (["b", "d", "c", "a", "e"], [9, 7, 5, 1, 0], CUTOFF, CUTOFF),
        "older than what a run loads": (["b"], [4], CUTOFF, CUTOFF + day),
        "of the run that loads": (["b"], [4], CUTOFF + day, CUTOFF),
        "of no bucket": (["b"], [4], CUTOFF, CUTOFF),
    }
    totals = [("plays", key, member, "all", EPOCH, count, cutoff)
              for key, (_, _, _, cutoff) in cases.items() if key != "of no bucket"
              for member, count in {**of_bucket, None: 22}.items()]  # fmt: skip
    columns = "counter string, key string, member string, granularity string, bucket timestamp"
    rows = spark.createDataFrame(totals, f"{columns}, count bigint, cutoff timestamp")
    stored = spark.createDataFrame(
        [("plays", key, "all", EPOCH, names, counts, cutoff) for key, (names, counts, cutoff, _) in cases.items()],
        f"{columns.replace(' member string,', '')}, members array<string>, counts array<bigint>, cutoff timestamp",
    )
    found = {row.key for row in unlike(stored, rows, {"plays": CUTOFF, "likes": CUTOFF}, MOST).collect()}
    assert found == cases.keys() - {"right", "shorter", "older than what a run loads", "of the run that loads"}


NAMES = st.text("aAé😀ﬀ", max_size=2)
CHANGED = st.integers(-3, 3), st.sampled_from([BEFORE, NOW])
TOTALS = st.dictionaries(st.tuples(st.sampled_from("kl"), st.none() | NAMES), st.tuples(*CHANGED), max_size=20)


@settings(max_examples=15)
@given(totals=TOTALS)
def test_a_list_has_the_first_of_all_that_count_and_nobody_else_counted_more_than_its_last(
    spark: SparkSession, totals: dict[tuple[str, str | None], tuple[int, int]]
) -> None:
    found = lists(frame(spark, [(key, member, *of_it) for (key, member), of_it in totals.items()]))
    rows = Counter(key for key, member in totals if member is not None)
    touched = {key for (key, member), (_, stamp) in totals.items() if member is not None and stamp == NOW}
    assert found.keys() == {key for key in touched if rows[key] >= MOST}
    for key, (names, counts) in found.items():
        counted = {name: n for (of, name), (n, _) in totals.items() if of == key and name is not None and n}
        order = sorted(counted, key=lambda name: (-counted[name], name))
        assert names == (order[:MOST] if len(order) > MOST else [])
        assert counts == [counted[name] for name in names]
