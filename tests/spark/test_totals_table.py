"""The table of totals: what a run rewrites, who sees it when, what is kept, and what an erasure leaves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.counting import add
from jobs.errors import BadOption
from jobs.sinks.totals_table import SCHEMA, TotalsTable
from jobs.spark import session
from stitch.buckets import EPOCH
from stitch.cutoff import Published
from stitch.runs import How, Run, tag
from stitch.settings import Settings
from tests.logs import log_settings
from tests.spark.test_maintain_log import holding

MAY = datetime(2024, 5, 1, tzinfo=UTC)
FIRST, SECOND, THIRD, FOURTH = (Published(MAY + timedelta(days=n), 0) for n in range(4))
Rows = dict[tuple[str, str, int], int]  # counter, key, day of May (0: all) → count


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return log_settings(tmp_path, lake={**log_settings(tmp_path).lake.model_dump(), "keep_runs": 2})


@pytest.fixture
def table(spark: SparkSession, settings: Settings) -> Iterator[TotalsTable]:
    with session("test", settings) as spark:
        yield TotalsTable(spark, settings)


def delta(spark: SparkSession, rows: Rows) -> DataFrame:
    values = [
        (counter, key, None, "day" if day else "all", MAY.replace(day=day) if day else EPOCH, count, False)
        for (counter, key, day), count in rows.items()
    ]
    return spark.createDataFrame(values, SCHEMA.replace("write_time bigint", "again boolean"))


def run(base: Published | None, target: Published) -> Run:
    return Run(base, target, frozenset(), "incremental")


def night(spark: SparkSession, table: TotalsTable, base: Published | None, target: Published, rows: Rows) -> set[date]:
    """A run that adds the rows to the base, and is published."""
    table.begin(run(base, target), How({"plays": target.cutoff.isoformat()}, {("t:1", 0): 3}, {"exclusions": 1}))
    days = add(table, run(base, target), delta(spark, rows))
    table.keep(target)
    return days


def rows_of(frame: DataFrame) -> Rows:
    return {
        (row.counter, row.key, 0 if row.granularity == "all" else row.bucket.day): row["count"]
        for row in frame.collect()
    }


def files(frame: DataFrame) -> set[str]:
    return set(frame.selectExpr("input_file_name()").distinct().toPandas().iloc[:, 0])


def test_a_night_reads_and_rewrites_only_the_days_that_it_touches(spark: SparkSession, table: TotalsTable) -> None:
    history: Rows = {(counter, "t1", day): day for counter in ("plays", "likes") for day in (0, 1, 2, 3)}
    assert night(spark, table, None, FIRST, history) == {date(1970, 1, 1), *(date(2024, 5, day) for day in (1, 2, 3))}
    before = files(table.read(FIRST))
    assert len(before) == 8
    assert night(spark, table, FIRST, SECOND, {("plays", "t1", 3): 10, ("plays", "t2", 3): 1, ("plays", "t1", 0): 10})
    now = table.read(SECOND)
    assert rows_of(now) == history | {("plays", "t1", 3): 13, ("plays", "t2", 3): 1, ("plays", "t1", 0): 10}
    assert len(files(now) & before) == 6
    assert len(files(now.where(table.of_days({date(2024, 5, 3)})))) == 2
    assert rows_of(now.where(f"write_time = {SECOND.write_time}")).keys() == {
        ("plays", "t1", 3), ("plays", "t2", 3), ("plays", "t1", 0),
    }  # fmt: skip
    assert night(spark, table, SECOND, THIRD, {}) == set()  # a night without events is kept as well
    assert rows_of(table.read(THIRD)) == rows_of(table.read(SECOND))
    assert rows_of(now.where(table.of_days([date(1970, 1, 1) + timedelta(days=n) for n in range(2000)]))) == rows_of(
        now
    )


def test_nobody_sees_a_run_before_it_is_published_and_what_died_or_was_refused_goes(
    spark: SparkSession, settings: Settings, table: TotalsTable
) -> None:
    night(spark, table, None, FIRST, {("plays", "t1", 1): 1})
    refused = run(FIRST, SECOND)
    table.begin(refused, How())
    add(table, refused, delta(spark, {("plays", "t1", 1): 100}))
    assert rows_of(table.written(refused)) == {("plays", "t1", 1): 101}
    assert rows_of(spark.table(table.name)) == rows_of(table.read(FIRST)) == {("plays", "t1", 1): 1}
    assert table.kept() == [FIRST] and not table.holds(SECOND) and table.read(SECOND).count() == 0
    again = run(FIRST, SECOND._replace(revision=1))
    table.begin(again, How())
    assert rows_of(table.written(again)) == {("plays", "t1", 1): 1}
    refs = {row["name"] for row in spark.sql(f"SELECT name FROM {table.name}.refs").collect()}
    assert refs == {"main", tag(FIRST), f"run_{again.target.write_time}"}
    table.keep(refused.target)  # stood still meanwhile: it is too late
    assert table.kept() == [FIRST]


def test_a_run_that_died_between_its_publication_and_its_tag_is_kept_by_the_next(
    spark: SparkSession, table: TotalsTable
) -> None:
    table.settle(FIRST)  # of a cluster whose totals were made by another version: there is no table
    night(spark, table, None, FIRST, {("plays", "t1", 1): 1})
    table.begin(run(FIRST, SECOND), How({"plays": "second"}))
    add(table, run(FIRST, SECOND), delta(spark, {("plays", "t1", 1): 1}))
    table.settle(FIRST)  # died before: it is not published
    assert table.kept() == [FIRST]
    table.settle(SECOND)
    assert table.kept() == [FIRST, SECOND] and table.named(None) == SECOND
    assert rows_of(spark.table(table.name)) == {("plays", "t1", 1): 2}
    assert table.how(SECOND).definitions == {"plays": "second"}
    table.settle(SECOND)
    assert table.kept() == [FIRST, SECOND]


def test_so_many_published_runs_are_kept_and_the_files_of_older_ones_go(
    spark: SparkSession, table: TotalsTable, tmp_path: Path
) -> None:
    for base, target in ((None, FIRST), (FIRST, SECOND), (SECOND, THIRD), (THIRD, FOURTH)):
        night(spark, table, base, target, {("plays", "t1", 1): 1})
    assert table.kept() == [THIRD, FOURTH] and table.named(tag(THIRD)) == THIRD
    assert table.how(FOURTH) == How({"plays": FOURTH.cutoff.isoformat()}, {("t:1", 0): 3}, {"exclusions": 1})
    assert table.how(FIRST) == How()
    assert [rows_of(table.read(at)) for at in (THIRD, FOURTH)] == [{("plays", "t1", 1): 3}, {("plays", "t1", 1): 4}]
    assert len(list(tmp_path.glob("lake/stitch/totals/data/**/*.parquet"))) == 2
    with pytest.raises(BadOption, match=rf"no totals {tag(FIRST)} in .*; there are: {tag(THIRD)}, {tag(FOURTH)}"):
        table.named(tag(FIRST))
    # A lost cluster has forgotten that this one has published, and publishes it again, from an older one.
    night(spark, table, THIRD, FOURTH, {("plays", "t1", 1): 10})
    assert table.kept() == [THIRD, FOURTH] and rows_of(table.read(FOURTH)) == {("plays", "t1", 1): 13}


def test_what_is_erased_is_in_no_kept_totals_and_in_no_file(
    spark: SparkSession, table: TotalsTable, tmp_path: Path
) -> None:
    name = "o'erased\\track"
    assert table.erase(["plays"], [], name) == 0  # there is no table
    night(spark, table, None, FIRST, {("plays", name, 1): 1, ("plays", "t2", 1): 1, ("likes", name, 1): 5})
    night(spark, table, FIRST, SECOND, {("plays", name, 2): 1})
    table.begin(run(SECOND, THIRD), How())
    add(table, run(SECOND, THIRD), delta(spark, {("plays", name, 3): 1}))
    assert table.erase(["plays"], ["members"], name) == 1 + 2 + 3
    kept: Rows = {("plays", "t2", 1): 1, ("likes", name, 1): 5}
    for frame in (table.read(FIRST), table.read(SECOND), spark.table(table.name), table.written(run(SECOND, THIRD))):
        assert rows_of(frame) == kept
    assert table.erase(["plays", "likes"], ["plays"], name) == 3 and table.kept() == [FIRST, SECOND]
    assert holding(tmp_path, name.encode()) == [] and holding(tmp_path, b"t2")
    assert table.how(SECOND).figures == {"exclusions": 1}
    night(spark, table, SECOND, THIRD, {("plays", "t2", 1): 1})
    assert rows_of(spark.table(table.name)) == {("plays", "t2", 1): 2}


def test_the_condition_on_days_takes_any(spark: SparkSession, table: TotalsTable) -> None:
    rows: Rows = {("plays", "t1", 1): 1}
    night(spark, table, None, FIRST, rows)
    cases: list[tuple[list[date], Any]] = [
        ([], {}),
        ([date(1, 1, 1), date(9999, 12, 31)], {}),
        ([date(2024, 5, 1)], rows),
    ]
    for days, found in cases:
        assert rows_of(table.read(FIRST).where(table.of_days(days))) == found
