"""Which members of large buckets counted most, loaded beside the totals: lists that spare readers whole partitions.

A run lists the buckets in which it changed a member, and all of counters that it recounts. Whether it comes to publish
or dies, a list is as right as a total of its: it says up to which cutoff it counts.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.frames.rankings import BUCKET, MEMBERS, Lists, emptied, large, ranked
from jobs.frames.totals import changed_by
from jobs.sinks.cassandra import upsert
from jobs.sources.stored import read_lists, unranked
from jobs.totals.work import Work
from stitch.runs import Run
from stitch.tables import RANKED_MEMBERS


def load_lists(work: Work, run: Run, days: Collection[date]) -> None:
    """Write the lists of the buckets that the run changed, from what its branch holds; empty those that it does not
    bring up to its totals. days: those on which the buckets begin in which it changed members."""
    with_members = {counter.name for counter in work.settings.counters if counter.member}
    recounted, stale = run.recount & with_members, unranked(work.cassandra) & with_members
    if not recounted and not stale and not days:
        return
    again, wanted = F.col("counter").isin(sorted(recounted)), work.table.of_days(days)
    rows = work.table.written().where(F.col("counter").isin(sorted(with_members)))
    rows = rows.where(again | wanted if recounted else wanted)
    buckets = large(rows, again | changed_by(run.target.write_time), RANKED_MEMBERS).persist()
    try:
        if buckets.take(1):
            write(ranked(rows, buckets, RANKED_MEMBERS), MEMBERS, work, run)
        if recounted or stale:
            held = read_lists(work.spark, work.settings, MEMBERS.table)
            held = held.where(F.col("counter").isin(sorted(recounted | stale)))
            others = held.where(F.size("members") > 0).join(buckets, BUCKET, "left_anti")
            write(emptied(others, MEMBERS), MEMBERS, work, run)
    finally:
        buckets.unpersist()


def let_expire(work: Work, run: Run, rows: DataFrame, expire: timedelta) -> None:
    """Write the lists of the rows once more, to be gone after so long, as the totals that they are of."""
    write(ranked(rows, large(rows, F.lit(True), RANKED_MEMBERS), RANKED_MEMBERS), MEMBERS, work, run, expire)


def write(lists: DataFrame, of: Lists, work: Work, run: Run, expire: timedelta | None = None) -> None:
    """Upsert lists (*of.bucket, names, counts) as of the run."""
    at = F.lit(run.target.cutoff).alias("cutoff"), F.lit(run.target.write_time).alias("write_time")
    upsert(lists.select(*of.bucket, of.names, "counts", *at), work.settings.batch, of.table, expire)
