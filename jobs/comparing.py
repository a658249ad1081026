"""What a run would change of what readers saw, and whether a person must look at it first (stitch.guard judges)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.completeness import uncounted_offsets
from jobs.counting import excluded_contributions
from jobs.errors import JobError, Unreachable
from jobs.frames import corrections
from jobs.frames.totals import changed_by
from jobs.lake import Log
from jobs.sinks.cassandra import NoLayer
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import read_increments
from stitch.guard import Day, Limits, losses, objections, unknown
from stitch.runs import Run
from stitch.settings import Settings

CONTRIBUTIONS = "counter string, key string, member string, bucket timestamp, amount bigint"
INCREMENTS = (
    "counter string, key string, member string, ingest_window timestamp, bucket timestamp, count bigint, "
    "write_time bigint"
)
WHAT_TO_DO = (
    "Look into it (`stitch audit` compares log and increments), then run again, with --accept where the log is right"
)


class RefusedByGuard(JobError):
    """A person must look at what the run would change."""


def nothing(spark: SparkSession, schema: str) -> DataFrame:
    """No rows, where a layer or the log is not to be read."""
    return spark.createDataFrame([], schema)


class Compared(NamedTuple):
    """What a run changes of what readers saw; `not_live`: why the increments that it replaces say nothing about it, so
    that the days hold none of them; None where they do."""

    days: list[Day]
    not_live: str | None


def compare(
    table: TotalsTable, settings: Settings, run: Run, days: Collection[date], stored: DataFrame, now: datetime
) -> Compared:
    """What the run, as its branch has it, changes of what readers saw before it.

    days:   those that it touches; of counters that it recounts, it touches all
    stored: loading.stored_totals, which is asked where the previous totals are not kept
    """
    spark = stored.sparkSession
    not_live = not_comparable(spark, settings, run, now)
    if not_live and run.base and not run.recount:
        return Compared([], not_live)  # events are only added to the previous totals: nothing to read them for
    since, until = run.base.cutoff if run.base else None, run.target.cutoff
    live = nothing(spark, INCREMENTS) if not_live else replaced_increments(spark, settings, run).persist()
    excluded = (
        nothing(spark, CONTRIBUTIONS) if not_live or not run.excluding
        else excluded_contributions(spark, settings, since, until, run.excluding)
    )  # fmt: skip
    touched = {*days, *(row[0] for row in live.select(F.to_date("bucket")).distinct().collect())}
    there = F.col("counter").isin(sorted(run.recount)) | table.of_days(touched)
    new = table.written().where(there).withColumn("changed", changed_by(run.target.write_time))
    held = run.base is None or table.holds(run.base)
    previous = table.read(run.base).where(there) if held else stored
    rows = corrections.days(previous, live, excluded, new, settings.streaming.ingest_window, run.recount).collect()
    live.unpersist()
    found = [Day(*row) for row in rows]
    before = {day.counter for day in found if day.held}
    backfilled = run.recount - before if run.base else frozenset()  # new counters: their history corrects nothing
    return Compared([day for day in found if day.counter not in backfilled], not_live)


def replaced_increments(spark: SparkSession, settings: Settings, run: Run) -> DataFrame:
    """The increments that readers add to what is published, and that the run replaces."""
    since = run.base.cutoff if run.base else None
    rows = read_increments(spark, settings, min([since, *run.cutoffs.values()]) if since else None, run.target.cutoff)
    within = F.lit(True) if since is None else F.col("ingest_window") >= F.lit(since)
    for counter, cutoff in run.cutoffs.items():
        within = F.when(F.col("counter") == counter, F.col("ingest_window") >= F.lit(cutoff)).otherwise(within)
    return rows.where(within)


def not_comparable(spark: SparkSession, settings: Settings, run: Run, now: datetime) -> str | None:
    """Why the increments that the run replaces say nothing about it; None where they do."""
    if not settings.log.kafka:
        return "log.kafka is false: there is no real-time layer"
    since = run.base.cutoff if run.base else Log(spark, settings).first_day()
    if since < now - settings.realtime.retention:
        return "increments of the windows since then have expired"
    try:
        if uncounted_offsets(settings, run.target.cutoff):
            return "streaming_counts has not come to the cutoff yet"
    except (Unreachable, NoLayer) as error:
        return str(error)
    return None


def guard(compared: Compared, run: Run, settings: Settings, accept: bool) -> str:
    """What the ledger is to say of it: what a person accepted, and why the real-time layer was not asked.

    Raises RefusedByGuard where the run would change too much of what readers saw, and nobody accepts it.
    """
    limits = Limits(settings.batch.max_difference, settings.batch.min_difference)
    said = f"not compared with the real-time layer: {compared.not_live}" if compared.not_live else ""
    why = f"since readers would see counts change by more than batch.max_difference={limits.share}"
    if not compared.not_live:
        found = objections(compared.days, run.recount, limits)
    elif run.base:
        found = losses(compared.days, run.recount, limits)
    else:
        # Without a topic readers saw nothing before, in no layer.
        found = unknown(compared.days, limits) if settings.log.kafka else []
        why = "since these are the first totals, and nothing tells whether they are right"
    if said:
        print(said, flush=True)
    if found and not accept:
        told = f"nothing was loaded, {why}{f' ({said})' if said else ''}:"
        raise RefusedByGuard("\n  ".join([told, *found]) + f"\n{WHAT_TO_DO}")
    return "\n  ".join([*([said] if said else []), *(["accepted:", *found] if found else [])])
