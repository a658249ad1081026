"""The table of totals: what a run rewrites, who sees it when, what is kept, and what an erasure leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.process.errors import BadOption, JobError, NotYet
from jobs.process.spark import session
from jobs.sinks.totals_table import SCHEMA, TotalsTable
from jobs.totals.counting import add
from stitch.buckets import EPOCH
from stitch.cutoff import Published
from stitch.runs import Held, How, Run, tag
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
        (counter, key, None, "day" if day else "all", MAY.replace(day=day) if day else EPOCH, count, 0)
        for (counter, key, day), count in rows.items()
    ]
    return spark.createDataFrame(values, SCHEMA)


def run(base: Published | None, target: Published) -> Run:
    return Run(base, target, frozenset(), "incremental")


def night(spark: SparkSession, table: TotalsTable, base: Published | None, target: Published, rows: Rows) -> set[date]:
    """A run that adds the rows to the base, and is published."""
    table.begin(run(base, target), How(frozenset({f"plays@{target.cutoff:%F}"}), {("t:1", 0): 3}, {"exclusions": 1}))
    days = add(table, run(base, target), delta(spark, rows), delta(spark, {}))
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
    assert len(before) == 4
    assert night(spark, table, FIRST, SECOND, {("plays", "t1", 3): 10, ("plays", "t2", 3): 1, ("plays", "t1", 0): 10})
    now = table.read(SECOND)
    assert rows_of(now) == history | {("plays", "t1", 3): 13, ("plays", "t2", 3): 1, ("plays", "t1", 0): 10}
    assert len(files(now) & before) == 2
    assert len(files(now.where(table.of_days({date(2024, 5, 3)})))) == 1
    assert rows_of(now.where(f"write_time = {SECOND.write_time}")).keys() == {
        ("plays", "t1", 3), ("plays", "t2", 3), ("plays", "t1", 0),
    }  # fmt: skip
    assert night(spark, table, SECOND, THIRD, {}) == set()  # a night without events is kept as well
    assert rows_of(table.read(THIRD)) == rows_of(table.read(SECOND))
    assert rows_of(now.where(table.of_days([date(1970, 1, 1) + timedelta(days=n) for n in range(2000)]))) == rows_of(
        now
    )


@pytest.mark.parametrize("left", [["plays"], ["likes"], ["plays", "likes"], ["reposts"]], ids="-".join)
def test_a_counter_that_is_left_is_as_it_was_and_the_others_are_not(
    spark: SparkSession, table: TotalsTable, left: list[str]
) -> None:
    both = ("plays", "likes")
    night(spark, table, None, FIRST, {(counter, "t1", day): day + 1 for counter in both for day in (0, 1, 2)})
    table.begin(second := run(FIRST, SECOND), How(frozenset({"plays@a", "likes@b"})))
    new: Rows = {(counter, key, day): 10 for counter in both for key in ("t1", "t2") for day in (0, 2, 3)}
    add(table, second, delta(spark, new), delta(spark, {}))
    whole = rows_of(table.written())
    table.leave(left, second, How(frozenset({"likes@b"}), behind={"plays": Held(FIRST.cutoff)}))
    expected = {row: n for row, n in whole.items() if row[0] not in left}
    expected |= {row: n for row, n in rows_of(table.read(FIRST)).items() if row[0] in left}
    assert rows_of(table.written()) == expected
    changed = table.written().where(f"write_time = {SECOND.write_time}")
    assert {row[0] for row in rows_of(changed)} == set(both) - set(left)
    table.keep(SECOND)
    assert rows_of(table.read(SECOND)) == expected and table.read(SECOND).count() == len(expected)
    assert table.how(SECOND) == How(frozenset({"likes@b"}), behind={"plays": Held(FIRST.cutoff)})


def test_a_counter_that_is_forgotten_goes_with_the_next_run_and_stays_in_those_that_are_kept(
    spark: SparkSession, table: TotalsTable
) -> None:
    night(spark, table, None, FIRST, {(counter, "t1", day): 1 for counter in ("plays@1", "plays@2") for day in (0, 2)})
    before = rows_of(table.read(FIRST))
    table.begin(second := run(FIRST, SECOND), How())
    table.forget([])
    assert rows_of(table.written()) == before
    table.forget(["plays@1", "never"])
    table.keep(SECOND)
    assert rows_of(table.read(SECOND)) == {row: n for row, n in before.items() if row[0] == "plays@2"}
    assert rows_of(table.read(FIRST)) == before and second.target == SECOND


def test_nobody_sees_a_run_before_it_is_published_and_what_died_or_was_refused_goes(
    spark: SparkSession, table: TotalsTable, tmp_path: Path
) -> None:
    night(spark, table, None, FIRST, {("plays", "t1", 1): 1})
    refused = run(FIRST, SECOND)
    table.begin(refused, How())
    add(table, refused, delta(spark, {("plays", "t1", 1): 100}), delta(spark, {}))
    assert rows_of(table.written()) == {("plays", "t1", 1): 101}
    assert rows_of(spark.table(table.name)) == rows_of(table.read(FIRST)) == {("plays", "t1", 1): 1}
    assert table.kept() == [FIRST] and not table.holds(SECOND) and table.read(SECOND).count() == 0
    again = run(FIRST, SECOND._replace(revision=1))
    table.begin(again, How())
    assert rows_of(table.written()) == {("plays", "t1", 1): 1}
    refs = {row["name"] for row in spark.sql(f"SELECT name FROM {table.name}.refs").collect()}
    (branch,) = refs - {"main", tag(FIRST)}
    assert branch.startswith(f"run_{again.target.write_time}_")
    assert len(list(tmp_path.glob("lake/stitch/totals/data/**/*.parquet"))) == 1
    table.keep(refused.target)  # stood still meanwhile: it is too late
    assert table.kept() == [FIRST]


def test_a_run_that_stood_still_while_another_began_ends_whatever_it_was_about_to_do(
    spark: SparkSession, settings: Settings, table: TotalsTable
) -> None:
    night(spark, table, None, FIRST, {("plays", "t1", 1): 1})
    mine, other, rows = run(FIRST, SECOND), TotalsTable(spark, settings), delta(spark, {("plays", "t1", 1): 1})
    table.begin(mine, How())
    rows_of_mine = rows.drop("write_time").withColumn("write_time", F.lit(0))
    other.begin(mine, How())  # of the same name, for neither knew of the other
    for write in (lambda: table.rewrite(rows_of_mine), lambda: table.recount(rows_of_mine, ["plays"])):
        with pytest.raises(NotYet, match=r"another run writes .* at this moment"):
            write()
    add(other, mine, rows, delta(spark, {}))
    assert rows_of(other.written()) == {("plays", "t1", 1): 2}
    other.keep(SECOND)
    assert table.kept() == [FIRST, SECOND] and rows_of(table.read(SECOND)) == {("plays", "t1", 1): 2}
    # Had mine been about to commit, Iceberg would have made its branch again: of two nobody can tell the published one.
    other.begin(run(SECOND, THIRD), How())
    spark.sql(f"ALTER TABLE {table.name} CREATE BRANCH run_{THIRD.write_time}_other")
    other.keep(THIRD)
    assert table.kept() == [FIRST, SECOND]


def test_what_a_run_that_died_has_written_is_written_again_and_so_is_all_that_is_new_then(
    spark: SparkSession, table: TotalsTable
) -> None:
    night(spark, table, None, FIRST, {("plays", "t1", 1): 5, ("plays", "t2", 1): 5, ("plays", "t3", 1): 5})
    second = replace(run(FIRST, SECOND), died=True)
    table.begin(second, How())
    assert add(table, second, delta(spark, {("plays", "t1", 1): 0}), delta(spark, {("plays", "t2", 1): 99})) == {
        MAY.date()
    }
    assert rows_of(table.written().where(f"write_time = {SECOND.write_time}")) == {
        ("plays", "t1", 1): 5, ("plays", "t2", 1): 5,
    }  # fmt: skip


def test_a_table_with_the_totals_of_another_keyspace_is_refused(
    spark: SparkSession, settings: Settings, table: TotalsTable
) -> None:
    night(spark, table, None, FIRST, {("plays", "t1", 1): 1})
    batch = settings.batch.model_copy(update={"keyspace": "staging"})
    other = TotalsTable(spark, settings.model_copy(update={"batch": batch}))
    with pytest.raises(
        JobError, match="has the totals of the keyspace 'stitch_batch', not of 'staging': set another lake"
    ):
        other.begin(run(None, SECOND), How())
    spark.sql(f"ALTER TABLE {table.name} UNSET TBLPROPERTIES ('stitch.keyspace')")
    other.begin(run(FIRST, SECOND), How())
    assert rows_of(other.written()) == {("plays", "t1", 1): 1}


def test_how_a_kept_run_was_counted_is_not_that_of_a_try_of_the_same_name(
    spark: SparkSession, table: TotalsTable
) -> None:
    night(spark, table, None, FIRST, {("plays", "t1", 1): 1})
    kept = table.how(FIRST)
    table.begin(run(None, FIRST), How(frozenset({"plays@another"})))  # by a cluster that was lost, and is refused
    assert table.how(FIRST) == kept != How(frozenset({"plays@another"}))


def test_a_run_that_died_between_its_publication_and_its_tag_is_kept_by_the_next(
    spark: SparkSession, table: TotalsTable
) -> None:
    table.settle(FIRST)  # of a cluster whose totals were made by another version: there is no table
    night(spark, table, None, FIRST, {("plays", "t1", 1): 1})
    table.begin(run(FIRST, SECOND), How(frozenset({"plays@2"})))
    add(table, run(FIRST, SECOND), delta(spark, {("plays", "t1", 1): 1}), delta(spark, {}))
    table.settle(FIRST)  # died before: it is not published
    assert table.kept() == [FIRST]
    table.settle(SECOND)
    assert table.kept() == [FIRST, SECOND] and table.named(None) == SECOND
    assert rows_of(spark.table(table.name)) == {("plays", "t1", 1): 2}
    assert table.how(SECOND).counters == {"plays@2"}
    table.settle(SECOND)
    assert table.kept() == [FIRST, SECOND]


def test_so_many_published_runs_are_kept_and_the_files_of_older_ones_go(
    spark: SparkSession, table: TotalsTable, tmp_path: Path
) -> None:
    for base, target in ((None, FIRST), (FIRST, SECOND), (SECOND, THIRD), (THIRD, FOURTH)):
        night(spark, table, base, target, {("plays", "t1", 1): 1})
    assert table.kept() == [THIRD, FOURTH] and table.named(tag(THIRD)) == THIRD
    assert table.how(FOURTH) == How(frozenset({f"plays@{FOURTH.cutoff:%F}"}), {("t:1", 0): 3}, {"exclusions": 1})
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
    of_plays = "(key = :value AND counter IN ('plays'))"
    assert table.erase(of_plays, name) == 0  # there is no table
    night(spark, table, None, FIRST, {("plays", name, 1): 1, ("plays", "t2", 1): 1, ("likes", name, 1): 5})
    night(spark, table, FIRST, SECOND, {("plays", name, 2): 1})
    table.begin(run(SECOND, THIRD), How())
    add(table, run(SECOND, THIRD), delta(spark, {("plays", name, 3): 1}), delta(spark, {}))
    spark.sql(f"ALTER TABLE {table.name} CREATE TAG of_somebody AS OF VERSION {table._refs()[tag(FIRST)]}")
    spark.sql(f"DELETE FROM {table.name} WHERE bucket > TIMESTAMP '2024-05-01'")  # main is now nobody's
    assert table.erase(of_plays, name) == 1 + 2 + 3 + 1
    kept: Rows = {("plays", "t2", 1): 1, ("likes", name, 1): 5}
    for frame in (table.read(FIRST), table.read(SECOND), spark.table(table.name), table.written()):
        assert rows_of(frame) == kept
    everywhere = f"{of_plays} OR (key = :value AND counter IN ('likes')) OR (member = :value AND counter IN ('plays'))"
    assert table.erase(everywhere, name) == 4 and table.kept() == [FIRST, SECOND]
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


def test_a_task_has_one_file_open_at_a_time(spark: SparkSession, table: TotalsTable) -> None:
    table.begin(run(None, FIRST), How())  # with one for each day, a recount of years does not fit into memory
    table.recount(delta(spark, {}), ["plays"])
    delta(spark, {("plays", "t1", 1): 1}).createOrReplaceTempView("_rows")
    plan = spark.sql(f"EXPLAIN INSERT OVERWRITE {table.name} SELECT * FROM _rows").collect()[0][0]
    assert re.search(r"Sort \[granularity.* ASC NULLS FIRST, .*DaysFunction", plan), plan


def test_a_recount_of_some_counters_leaves_the_others(spark: SparkSession, table: TotalsTable) -> None:
    rows: Rows = {(counter, "t1", day): day + 1 for counter in ("plays", "likes", "gone") for day in (0, 1, 2)}
    night(spark, table, None, FIRST, rows)
    table.begin(run(FIRST, SECOND), How())
    table.recount(delta(spark, {("plays", "t9", 1): 7}), ["plays", "new"])
    assert rows_of(table.written()) == {("plays", "t9", 1): 7} | {
        row: n for row, n in rows.items() if row[0] != "plays"
    }
    table.recount(delta(spark, {}), ["plays", "likes", "gone"])
    assert rows_of(table.written()) == {}
