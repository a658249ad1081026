"""The event log counted: events read, excluded, deduplicated, weighed and summed, and added to the previous totals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import reduce
from typing import NamedTuple

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from jobs.frames.alike import added_up
from jobs.frames.contributions import contributions
from jobs.frames.differences import compared
from jobs.frames.events import DECODED, accepted, decode, noted
from jobs.frames.increments import increments, streamed
from jobs.frames.totals import ROW, added, deduplicated, replaced, totals
from jobs.lake.exclusions import Exclusions
from jobs.lake.log import at_or_behind
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.event_log import as_decoded, read_log, undecoded
from jobs.sources.stored import read_increments
from stitch.combining import combining
from stitch.counters import Counter
from stitch.decoding import TOPIC
from stitch.runs import Held, Position, Run
from stitch.settings import Settings

Facts = dict[str, int]
IS_NEW = "_is_new"  # a record that no earlier run has counted
INCREMENT = ["counter", "key", "member", "ingest_window", "bucket"]


class Counted(NamedTuple):
    """What a run wrote into its branch.

    days: those on which buckets begin that it added to; of counters that it recounts, it has rewritten all
    """

    days: set[date]
    facts: Facts


class Windows(NamedTuple):
    """Totals (ROW, count) of ingest windows, and what was read for them, to be asked after they were computed."""

    rows: DataFrame
    facts: Callable[[], Facts]


def count_totals(table: TotalsTable, settings: Settings, run: Run, stored: DataFrame) -> Counted:
    """Bring the run's branch, which has the previous totals, to the run's cutoff.

    stored: loading.stored_totals. Of recounted counters, rows of it and of the previous totals that the log does not
            give become 0, and those that it gives alike stay; of others, its rows are written again, whether new events
            touch them or not
    """
    spark = stored.sparkSession
    again = [counter for counter in settings.counters if counter.name in run.recount]
    recounted = F.col("counter").isin(sorted(run.recount))
    days: set[date] = set()
    facts: Facts = {}
    onward = run.by_held([counter.name for counter in settings.counters if counter.name not in run.recount])
    if onward:
        parts = []
        for held, names in onward:
            counters = [counter for counter in settings.counters if counter.name in names]
            parts.append(count_windows(spark, settings, counters, held, run))
        days = add(table, run, reduce(DataFrame.unionByName, [part.rows for part in parts]), stored.where(~recounted))
        facts = max((part.facts() for part in parts), key=lambda found: found["records"])
    if again:
        new = count_windows(spark, settings, again, None, run)
        before = table.written().where(recounted).select(*ROW).unionByName(stored.where(recounted).select(*ROW))
        rows = replaced(before, new.rows, standing(stored, run), run.target.write_time)
        table.recount(rows, run.recount)
        facts = new.facts()  # the figures of what was recounted, where anything was
    return Counted(days, facts)


def add(table: TotalsTable, run: Run, new: DataFrame, died: DataFrame) -> set[date]:
    """Add what is new (ROW, count) to the run's branch, in which only their days are read and rewritten; returns the
    days. Rows of runs that died (ROW), and all that is new after one, are written again, whatever they are."""
    rows = new.select(*ROW, "count", F.lit(run.died).alias("again"))
    nothing_new = died.select(*ROW, F.lit(0).cast("bigint").alias("count"), F.lit(True).alias("again"))
    delta = rows.unionByName(nothing_new).persist()
    try:
        days = {row[0] for row in delta.select(F.to_date("bucket")).distinct().collect()}
        if days:
            previous = table.written().where(table.of_days(days))
            table.rewrite(added(previous, delta, run.target.write_time))
        return days
    finally:
        delta.unpersist()


def standing(stored: DataFrame, run: Run) -> DataFrame | None:
    """The stored rows that a recount may leave where it counts the same: not those with a cutoff behind the run's, for
    readers would miss increments, nor those that expire; and none after a run that died, whose last writes may still be
    on their way."""
    return None if run.died else stored.where((F.col("cutoff") <= F.lit(run.target.cutoff)) & ~F.col("expires"))


def count_windows(
    spark: SparkSession, settings: Settings, counters: list[Counter], held: Held | None, run: Run
) -> Windows:
    """What the log adds to the totals of the counters, by what they hold (None: nothing): the ingest windows from their
    cutoff to the run's, and records behind their position under a stamp from before their cutoff (a broker's clock that
    was behind; a source with older history).

    The figures are observed while the totals are computed: a pass of their own would read the log again.
    """
    read, valid, kept = Observation(), Observation(), Observation()
    since = held.cutoff if held else None
    late = at_or_behind(held.position) if held and held.position else None
    records = read_log(spark, settings, since - settings.log.lookback if since else None, run.target.cutoff, late=late)
    new = F.lit(True)
    if since:
        new = F.col("timestamp") >= F.lit(since)
        new = new | late if late is not None else new
    if run.upto:
        records = records.where(~at_or_behind(run.upto))
    decoded = (
        decode_log(records, settings, also=["topic_id"])
        .withColumn(IS_NEW, new)
        .drop("topic_id")
        .observe(
            read,
            F.count(F.when(F.col(IS_NEW), 1)).alias("records"),
            F.count(F.when(F.col(IS_NEW), F.col("reject_reason"))).alias("rejected"),
            noted(F.col(IS_NEW)).alias("noted"),
        )
    )
    wanted = not_excluded(spark, decoded, settings).observe(valid, F.count(F.when(F.col(IS_NEW), 1)).alias("wanted"))
    # Of each event_id one: where an earlier run has counted it, that one; else the first that was appended.
    first = deduplicated(wanted, settings.identity, [IS_NEW]).where(IS_NEW)
    first = first.observe(kept, F.count(F.lit(1)).alias("events"))

    def facts() -> Facts:
        records, rejected = read.get["records"], read.get["rejected"]
        wanted, events = valid.get["wanted"], kept.get["events"]
        excluded = records - rejected - wanted
        return {"records": records, "rejected": rejected, "excluded": excluded, "duplicates": wanted - events,
                "events": events, "noted": read.get["noted"]}  # fmt: skip

    rows = added_up(first, combining(settings, counters))
    return Windows(totals(contributions(rows, counters), counters), facts)


def read_events(
    spark: SparkSession,
    settings: Settings,
    since: datetime | None,
    until: datetime | None,
    of_topic: bool = False,
    also: Sequence[str] = (),
) -> DataFrame:
    """The log decoded (DECODED, and the columns `also`). until: None, also records that are in no ingest window.

    of_topic: what the real-time layer counts, too: no records of [[sources]]
    """
    return decode_log(read_log(spark, settings, since, until, of_topic), settings, also)


def decode_log(records: DataFrame, settings: Settings, also: Sequence[str] = ()) -> DataFrame:
    """Records of the log decoded (DECODED, the columns `also`, and TOPIC where there are several): as the archive did
    where the decoder is the same, else again from the payloads."""
    kept = [*also, *([TOPIC] if settings.topics else [])]
    known, others = as_decoded(records, settings).select(*DECODED, *kept), undecoded(records, settings)
    if others is None:
        return known
    return known.unionByName(decode(others, settings, ["partition", "offset", "timestamp", *also]))


def not_excluded(spark: SparkSession, decoded: DataFrame, settings: Settings) -> DataFrame:
    """Decoded records → the valid ones that no exclusion names, the same columns."""
    return judged(spark, decoded, settings).where(F.col("verdict") == "wanted").drop("verdict")


def judged(spark: SparkSession, decoded: DataFrame, settings: Settings, known: int | None = None) -> DataFrame:
    """Decoded records → the same with a verdict: rejected, excluded or wanted.

    known: exclude by the rules alone that were in force at this snapshot of the exclusions, too; None: by all
    """
    table = Exclusions(spark, settings)
    flagged, named = table.named_by(decoded, table.rules() if known is None else table.known(known))
    rejected = F.col("reject_reason").isNotNull()
    verdict = F.when(rejected, "rejected").when(named, "excluded").otherwise("wanted")
    return flagged.select(*decoded.columns, verdict.alias("verdict"))


def first_events(spark: SparkSession, settings: Settings, until: datetime, upto: Position) -> DataFrame:
    """The events that a full recount to that cutoff and position counts: valid, not excluded, of each event_id the
    first."""
    records = read_log(spark, settings, None, until)
    if upto:
        records = records.where(~at_or_behind(upto))
    return deduplicated(not_excluded(spark, decode_log(records, settings), settings), settings.identity)


def expected_increments(spark: SparkSession, settings: Settings, since: datetime, until: datetime) -> DataFrame:
    """What the increments of the ingest windows in [since, until) should be, by the log: as frames.increments makes
    them."""
    events = not_excluded(spark, read_events(spark, settings, since, until, of_topic=True), settings)
    return increments(streamed(accepted(events), settings), settings.counters)


def excluded_contributions(
    spark: SparkSession, settings: Settings, since: datetime | None, until: datetime, known: int
) -> DataFrame:
    """What the increments of the ingest windows in [since, until) hold of events that the exclusions name which were in
    force at the snapshot `known` of their table, and still are: (counter, key, member, bucket, amount)."""
    verdicts = judged(spark, read_events(spark, settings, since, until, of_topic=True), settings, known)
    events = verdicts.where(F.col("verdict") == "excluded").drop("verdict")
    return contributions(streamed(accepted(events), settings), settings.counters)


def compared_increments(spark: SparkSession, settings: Settings, since: datetime, until: datetime) -> DataFrame:
    """Increments of the ingest windows in [since, until) beside what the log says: (INCREMENT…, stored, expected,
    write_time: the later of what is stored and of what a writer that has read the whole window writes)."""
    stored = read_increments(spark, settings, since, until)
    return compared(stored, expected_increments(spark, settings, since, until), INCREMENT, "write_time")
