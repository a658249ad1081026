"""Which lists of keys a run writes, from a table of totals into rows that a later write timestamp overwrites."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.sinks.totals_table import TotalsTable
from jobs.totals.charts import let_charts_expire, load_charts
from jobs.totals.counting import add
from jobs.totals.work import Work
from stitch.buckets import EPOCH
from stitch.counters import Counter
from stitch.cutoff import Published
from stitch.definitions import with_counters
from stitch.runs import How, Run
from stitch.settings import Settings
from tests.spark.test_totals_table import FIRST, MAY, SECOND, THIRD, Rows, delta, settings, table

__all__ = ["settings", "table"]  # fixtures
COLUMNS = (
    "counter string, granularity string, bucket timestamp, keys array<string>, counts array<bigint>, "
    "cutoff timestamp, write_time bigint"
)
HISTORY: Rows = {("plays", key, day): count for day in (0, 1, 2, 3) for key, count in {"a": day + 1, "b": 2}.items()}
OF_HISTORY = {1: "a2 b2", 2: "a3 b2", 3: "a4 b2", 0: "b2 a1"}
Lists = dict[int, str]  # day of May (0: all) → keys and counts


class Charts:
    """The table ranked_keys, and which counters were published with it."""

    def __init__(self, spark: SparkSession) -> None:
        self.spark, self.uncharted, self.lacking = spark, set[str](), set[str]()
        self.rows: dict[tuple[str, str, datetime], tuple[Any, ...]] = {}
        self.written, self.expire = set[int](), None

    expire: timedelta | None

    def upsert(self, lists: DataFrame, _: Any, name: str, expire: timedelta | None = None) -> None:
        assert name == "ranked_keys"
        for row in lists.collect():
            at = row.bucket.replace(tzinfo=UTC)
            before = self.rows.get((row.counter, row.granularity, at))
            assert before is None or before[3] < row.write_time
            self.rows[row.counter, row.granularity, at] = (row.keys, row.counts, row.cutoff, row.write_time)
            self.written.add(0 if at == EPOCH else at.day)
            self.expire = expire

    def read(self, *_: Any) -> DataFrame:
        return self.spark.createDataFrame([(*of, *row) for of, row in self.rows.items()], COLUMNS)

    def lists(self, counter: str = "plays") -> Lists:
        return {
            0 if at == EPOCH else at.day: " ".join(f"{name}{n}" for name, n in zip(row[0], row[1], strict=True))
            for (of, _, at), row in self.rows.items()
            if of == counter
        }


@pytest.fixture
def charts(spark: SparkSession) -> Iterator[Charts]:
    charts = Charts(spark)
    with (
        mock.patch("jobs.totals.ranking.upsert", charts.upsert),
        mock.patch("jobs.totals.charts.read_lists", charts.read),
        mock.patch("jobs.totals.charts.uncharted", lambda _: charts.uncharted),
        mock.patch("jobs.totals.charts.lacking_charts", lambda _: charts.lacking),
    ):
        yield charts


def work_of(settings: Settings, table: TotalsTable, chart: bool = True) -> Work:
    plays = Counter(name="plays", key="track_id", weights={"play": 1}, chart=chart)
    likes = Counter(name="likes", key="track_id", weights={"like": 1})
    nobody: Any = None
    return Work(nobody, with_counters(settings, [plays, likes]), nobody, nobody, table, MAY, 0.0)


def night(
    charts: Charts, work: Work, base: Published | None, target: Published, rows: Rows,
    counters: Collection[str] = ("plays", "likes"), recount: Collection[str] = (),
) -> Lists:  # fmt: skip
    """A run that adds the rows to the base, lists what it changed, and is published; returns the lists that it
    wrote."""
    run, charts.written = Run(base, target, frozenset(recount), "incremental"), set()
    work.table.begin(run, How(frozenset({"plays", "likes"}), {("t:1", 0): 3}, {"exclusions": 1}))
    add(work.table, run, delta(charts.spark, rows), delta(charts.spark, {}))
    load_charts(work, run, counters, changed({day for _, _, day in rows}))
    work.table.keep(target)
    return {day: said for day, said in charts.lists().items() if day in charts.written}


def changed(days: Collection[int]) -> Mapping[str, Collection[date]]:
    found: dict[str, set[date]] = {}
    for day in days:
        found.setdefault("day" if day else "all", set()).add(MAY.replace(day=day).date() if day else EPOCH.date())
    return found


def test_a_night_lists_the_days_that_it_changes_and_all_time(
    charts: Charts, settings: Settings, table: TotalsTable
) -> None:
    work = work_of(settings, table)
    assert night(charts, work, None, FIRST, HISTORY | {("likes", "a", 1): 9}, recount=["plays", "likes"]) == OF_HISTORY
    of_night: Rows = {("plays", "c", 3): 9, ("plays", "c", 0): 9, ("plays", "b", 3): -2}
    assert night(charts, work, FIRST, SECOND, of_night) == {3: "c9 a4", 0: "c9 b2 a1"}
    assert charts.lists() == OF_HISTORY | {3: "c9 a4", 0: "c9 b2 a1"} and charts.lists("likes") == {}
    assert night(charts, work, SECOND, THIRD, {}) == {}


def test_a_day_in_which_no_key_counts_any_more_gets_an_empty_list(
    charts: Charts, settings: Settings, table: TotalsTable
) -> None:
    work = work_of(settings, table)
    night(charts, work, None, FIRST, {("plays", "a", 1): 1, ("plays", "a", 2): 1}, recount=["plays"])
    assert night(charts, work, FIRST, SECOND, {("plays", "a", 2): -1}) == {2: ""}


def test_a_counter_that_was_published_without_charts_gets_all_of_them_and_what_is_there_of_no_bucket_is_emptied(
    charts: Charts, settings: Settings, table: TotalsTable
) -> None:
    night(charts, work_of(settings, table, chart=False), None, FIRST, HISTORY, recount=["plays"])
    assert charts.rows == {}
    charts.uncharted = {"plays", "likes"}
    for day, names in ((2, ["old"]), (9, ["ghost"]), (8, None)):  # None: of a row from which an erasure took the keys
        charts.rows["plays", "day", MAY.replace(day=day)] = (names, names and [7], FIRST.cutoff, 1)
    assert night(charts, work_of(settings, table), FIRST, SECOND, {}) == OF_HISTORY | {9: "", 8: ""}
    charts.uncharted = {"likes"}
    assert night(charts, work_of(settings, table), SECOND, THIRD, {}) == {}


def test_lists_that_an_erasure_took_are_made_again_or_emptied_where_no_key_is_left(
    charts: Charts, settings: Settings, table: TotalsTable
) -> None:
    work = work_of(settings, table)
    night(charts, work, None, FIRST, HISTORY, recount=["plays"])
    for day in (1, 7):
        charts.rows["plays", "day", MAY.replace(day=day)] = (None, None, FIRST.cutoff, 1)
    charts.lacking = {"plays"}
    assert night(charts, work, FIRST, SECOND, {}) == {1: OF_HISTORY[1], 7: ""}
    assert charts.lists() == OF_HISTORY | {7: ""}
    charts.lacking = {"likes"}
    assert night(charts, work, SECOND, THIRD, {}) == {}


def test_a_counter_that_the_run_leaves_as_it_was_keeps_its_lists(
    charts: Charts, settings: Settings, table: TotalsTable
) -> None:
    work = work_of(settings, table)
    night(charts, work, None, FIRST, HISTORY, recount=["plays"])
    charts.uncharted = {"plays"}
    assert night(charts, work, FIRST, SECOND, {("likes", "a", 1): 1}, counters=["likes"]) == {}
    assert charts.lists() == OF_HISTORY


def test_lists_of_a_definition_that_was_replaced_stay_as_they_are_until_they_expire(
    charts: Charts, settings: Settings, table: TotalsTable
) -> None:
    work = work_of(settings, table)
    night(charts, work, None, FIRST, HISTORY, recount=["plays"])
    let_charts_expire(work, Run(FIRST, SECOND, frozenset(), "incremental"), {"plays"}, timedelta(days=1))
    assert charts.lists() == OF_HISTORY and charts.expire == timedelta(days=1)
    assert {row[3] for row in charts.rows.values()} == {SECOND.write_time}
