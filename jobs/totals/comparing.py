"""What a run would change of what readers saw, and whether a person must look at it first (stitch.guard judges)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames import corrections
from jobs.frames.increments import not_before
from jobs.frames.totals import changed_by
from jobs.lake.log import Log
from jobs.process.errors import JobError, Unreachable
from jobs.proof.completeness import uncounted_offsets
from jobs.sinks.cassandra import NoLayer
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import read_increments
from jobs.totals.counting import excluded_contributions
from stitch.definitions import name_of
from stitch.guard import Day, Limits, Refusal, losses, objections, unknown
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


class Verdict(NamedTuple):
    """What the guard found.

    refused: the counters that differ too much
    why:     what that means
    said:    why the real-time layer was not asked; "" where it was
    """

    refused: dict[str, Refusal]
    why: str
    said: str

    def text(self, begin: str) -> str:
        """For people: what was refused, and why."""
        because = f"{begin}, {self.why}{f' ({self.said})' if self.said else ''}:"
        return "\n  ".join([because, *(f"{name_of(name)}: {one.said}" for name, one in sorted(self.refused.items()))])


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
    live = nothing(spark, INCREMENTS) if not_live else replaced_increments(spark, settings, run).persist()
    excluded = nothing(spark, CONTRIBUTIONS) if not_live else known_exclusions(spark, settings, run)
    touched = {*days, *(row[0] for row in live.select(F.to_date("bucket")).distinct().collect())}
    there = F.col("counter").isin(sorted(run.recount)) | table.of_days(touched)
    new = table.written().where(there).withColumn("changed", changed_by(run.target.write_time))
    held = run.base is None or table.holds(run.base)
    previous = table.read(run.base).where(there) if held else stored
    rows = corrections.days(previous, live, excluded, new, settings.streaming.ingest_window, run.recount).collect()
    live.unpersist()
    found = [Day(*row) for row in rows]
    before = {day.counter for day in found if day.held}
    # New counters, and new definitions: their history corrects nothing.
    backfilled = run.redefined | (run.recount - before - run.cutoffs.keys()) if run.base else frozenset()
    return Compared([day for day in found if day.counter not in backfilled], not_live)


def known_exclusions(spark: SparkSession, settings: Settings, run: Run) -> DataFrame:
    """What the increments that the run replaces hold of events that each counter's totals left out before, too:
    (counter, key, member, bucket, amount)."""
    found = nothing(spark, CONTRIBUTIONS)
    for held, names in run.by_held([counter.name for counter in settings.counters]):
        if held.excluding:
            rows = excluded_contributions(spark, settings, held.cutoff, run.target.cutoff, held.excluding)
            found = found.unionByName(rows.where(F.col("counter").isin(names)))
    return found


def replaced_increments(spark: SparkSession, settings: Settings, run: Run) -> DataFrame:
    """The increments that readers add to what is published, and that the run replaces."""
    since = run.base.cutoff if run.base else None
    rows = read_increments(spark, settings, min([since, *run.cutoffs.values()]) if since else None, run.target.cutoff)
    return rows.where(not_before(run.cutoffs, since))


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


def guard(compared: Compared, run: Run, settings: Settings, now: datetime) -> Verdict:
    """Which counters the run would change too much for readers."""
    limits = Limits(settings.batch.max_difference, settings.batch.min_difference)
    said = f"not compared with the real-time layer: {compared.not_live}" if compared.not_live else ""
    why = f"since readers would see counts change by more than batch.max_difference={limits.share}"
    before = run.compared_before
    if not compared.not_live:
        found = objections(compared.days, run.recount, limits, before)
        gone = [name for name, held in run.behind.items() if held.cutoff < now - settings.realtime.retention]
        found |= unjudged(
            gone, before, "increments since its cutoff have expired, and nothing tells whether it is right"
        )
    elif run.base:
        # What was refused may not pass because nothing can be compared now. Where nothing ever can, it was losses.
        names = before.keys() if settings.log.kafka else ()
        found = unjudged(names, before, "it was refused before, and nothing tells whether it is right now")
        found |= losses(compared.days, run.recount, limits)
    else:
        # Without a topic readers saw nothing before, in no layer.
        found = unknown(compared.days, limits) if settings.log.kafka else {}
        why = "since these are the first totals, and nothing tells whether they are right"
    return Verdict(found, why, said)


def unjudged(names: Iterable[str], before: Mapping[str, int], said: str) -> dict[str, Refusal]:
    """Refusals of counters that nothing can be compared with; `before`: what they were compared with."""
    return {name: Refusal(said, before.get(name, 0)) for name in names}
