"""From counted totals to published ones: load, publish. The same for every job that makes totals.

Each row carries its own cutoff, so a reader merges a half-finished load exactly and a run that died is simply run
again. Only after all rows are in are the counters' cutoffs published, all of them in one logged batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames.rankings import KEYS, MEMBERS
from jobs.frames.totals import changed_by
from jobs.lake.figures import note_table
from jobs.ledger.runs import note, statement
from jobs.process.causes import cause_of
from jobs.sinks.cassandra import upsert, upsert_by_member
from jobs.sinks.cutoffs import publish
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import read_lists, read_totals
from jobs.totals.charts import let_charts_expire, load_charts
from jobs.totals.comparing import Compared
from jobs.totals.figures import note_published
from jobs.totals.ranking import let_expire, load_lists
from jobs.totals.work import Work
from stitch.cutoff import Published
from stitch.guard import Day, corrected
from stitch.runs import How, Run, State, overwriting, tag
from stitch.settings import Settings
from stitch.tables import CHARTED, KEY_SHARDS

EXPIRE = timedelta(days=1)  # longer than any request, or answer that is kept


def stored_totals(spark: SparkSession, settings: Settings, run: Run) -> tuple[DataFrame, Run]:
    """What the batch layer holds of the counters that the run recounts, and of runs that died; and the run with a
    revision that overwrites it.

    A scan, for only that finds rows damaged or added by hand, at whatever time they were written; persisted, to be read
    once.
    """
    recounted = F.col("counter").isin(sorted(run.recount))
    since = run.loaded_since
    wanted = recounted if since is None else recounted | (F.col("write_time") > since)
    ours = F.col("counter").isin([counter.name for counter in settings.counters])
    stored = read_totals(spark, settings).where(ours & wanted)
    if not run.recount and since is None:
        return stored, run
    stored = stored.persist()
    latest = stored.where(recounted).agg(F.max("write_time")).collect()[0][0]
    run = overwriting(run, latest, "totals (or member_totals)")
    for name in (MEMBERS.table, KEYS.table):
        listed = read_lists(spark, settings, name).where(recounted).agg(F.max("write_time")).collect()[0][0]
        run = overwriting(run, listed, name)
    return stored, run


def load(work: Work, run: Run, counters: Collection[str]) -> int:
    """Upsert what the run changed in its branch, with the cutoff that it holds and the run's write timestamp: totals,
    then the lists of their members and keys. Returns how many totals.

    counters: those that the run publishes
    """
    rows, settings = work.table.written(), work.settings
    ours = F.col("counter").isin([counter.name for counter in settings.counters])
    changed = rows.where(changed_by(run.target.write_time) & ours).select(
        "counter", "key", "member", "granularity", "bucket", "count",
        F.lit(run.target.cutoff).alias("cutoff"),
        F.lit(run.target.write_time).alias("write_time"),
    )  # fmt: skip
    changed = changed.persist()  # a recount of years has as many files as days: to be opened once
    try:
        upsert_by_member(changed, settings.batch, "totals")
        upsert(keys(rows, run), settings.batch, "keys")
        by_day = changed.groupBy("granularity", F.to_date("bucket").alias("day"))
        found = by_day.agg(F.count("*").alias("rows"), F.count("member").alias("members")).collect()
    finally:
        changed.unpersist()
    load_lists(work, run, {row.day for row in found if row.members})
    days = {name: {row.day for row in found if row.granularity == name and row.rows > row.members} for name in CHARTED}
    load_charts(work, run, counters, {name: of_it for name, of_it in days.items() if of_it})
    return sum(row.rows for row in found)


def keys(rows: DataFrame, run: Run) -> DataFrame:
    """Totals → the rows of the keys that changed, and of all keys of recounted counters, so that readers find them by
    prefix; in shards, for one counter may have millions."""
    wanted = changed_by(run.target.write_time) | F.col("counter").isin(sorted(run.recount))
    whole = rows.where(wanted & (F.col("granularity") == "all") & F.col("member").isNull())
    return whole.select("counter", _shard(), "key", F.lit(run.target.write_time).alias("write_time"))


def retire(work: Work, run: Run, retired: Collection[str]) -> None:
    """Let the totals of definitions that were replaced expire, and take them out of the run's branch."""
    if retired:
        stamp = F.lit(run.target.write_time).alias("write_time")
        rows = work.table.read(run.base).where(F.col("counter").isin(sorted(retired)))
        columns = ("counter", "key", "member", "granularity", "bucket", "count")
        cutoff = F.lit(run.target.cutoff).alias("cutoff")  # the whole row is to go
        upsert_by_member(rows.select(*columns, cutoff, stamp), work.settings.batch, "totals", EXPIRE)
        whole = rows.where((F.col("granularity") == "all") & F.col("member").isNull())
        upsert(whole.select("counter", _shard(), "key", stamp), work.settings.batch, "keys", EXPIRE)
        let_expire(work, run, rows, EXPIRE)
        let_charts_expire(work, run, retired, EXPIRE)
        work.table.forget(retired)


def _shard() -> Column:
    return F.pmod(F.xxhash64("key"), F.lit(KEY_SHARDS)).cast("int").alias("shard")


def keep_corrections(spark: SparkSession, rows: Iterable[Day], settings: Settings, run: Run) -> None:
    """One row for each counter and day that the run changes: readers ask there why their plays dropped."""
    stamp = (run.target.cutoff, run.target.revision, run.target.write_time)
    values = [(day.counter, day.day, *stamp, day.before, day.after) for day in rows]
    if values:
        schema = (
            "counter string, day date, cutoff timestamp, revision bigint, write_time bigint, "
            "before bigint, after bigint"
        )
        upsert(spark.createDataFrame(values, schema), settings.batch, "corrections")


def load_and_publish(
    work: Work,
    run: Run,
    compared: Compared,
    how: How,
    reason: str = "",
    facts: Mapping[str, int] | None = None,
    retired: Collection[str] = (),
) -> int:
    """Load what the run has in its branch, and publish it, save the counters that it leaves behind; returns the number
    of rows written. Raises NotYet where another run has the lease.

    retired: stored names that nobody gets any more: they go

    how: its totals were counted; reason, facts: what the ledger is to say beside that
    """
    settings, table = work.settings, work.table
    # Before the lease is asked: whoever has it then must know of this run.
    note(work.cassandra, run, State.LOADING, reason)
    work.lease.check()
    retire(work, run, retired)
    published = set(work.names) - how.behind.keys()
    written = load(work, run, published)
    days = [day for day in corrected(compared.days) if day.counter not in how.behind]
    if compared.not_live is None:  # else what readers saw is not known
        keep_corrections(work.spark, days, settings, run)
    left = {"left": len(how.behind)} if how.behind else {}
    figures = {**how.figures, **(facts or {}), **left, "rows_written": written}
    work.lease.check()
    publish(
        work.cassandra, run.done, work.named(published),
        statement(run, State.PUBLISHED, reason, how.counters, figures), retired,
    )  # fmt: skip
    note_published(run.done.cutoff, written, facts or {}, days if compared.not_live is None else ())
    keep(table, run.done)
    note_table(work.spark, table.name)
    return written


def keep(table: TotalsTable, at: Published) -> None:
    """The run is published: the table follows. What hinders that is no failure of the run, and the next one mends
    it."""
    try:
        table.keep(at)
    except (Py4JJavaError, PySparkException) as error:
        print(f"stitch: {tag(at)} is published, and {table.name} not brought up to it yet, which the next run does: "
              f"{cause_of(error)}", flush=True)  # fmt: skip
