"""Which keys of a counter counted most in each day, each month and all time: its charts, loaded beside the totals.

A run lists the buckets in which it changed the total of a key, and those whose lists an erasure took; of a counter that
it recounts, or whose last publication was without charts, all. So where readers rely on charts, a bucket without a list
is one in which no key counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.frames.rankings import KEYS, emptied, first
from jobs.sources.stored import lacking_charts, read_lists, uncharted
from jobs.totals.ranking import write
from jobs.totals.work import Work
from stitch.runs import Run
from stitch.tables import RANKED_KEYS


def load_charts(work: Work, run: Run, counters: Collection[str], days: Mapping[str, Collection[date]]) -> None:
    """Write the lists of keys of the buckets that the run changed, from what its branch holds, which is all keys of
    these. counters: those that the run publishes; days: granularity → those on which its buckets begin in which the
    run changed keys of them."""
    charted = {counter.name for counter in work.named(counters) if counter.chart}
    whole = charted & (run.recount | uncharted(work.cassandra))
    lacking = (charted & lacking_charts(work.cassandra)) - whole
    if not whole and not lacking and not (charted and days):
        return
    # What is to be made, or else emptied: all that a counter has, or the lists that are not there any more.
    again, erased = (F.col("counter").isin(sorted(names)) for names in (whole, lacking))
    held = read_lists(work.spark, work.settings, KEYS.table)
    held = held.where((again & ~F.col("keys").eqNullSafe(F.array())) | (erased & F.col("keys").isNull()))
    touched = {name: {*of_it} for name, of_it in days.items()}
    if lacking:
        for row in held.where(erased).select("granularity", F.to_date("bucket").alias("day")).distinct().collect():
            touched.setdefault(row.granularity, set()).add(row.day)
    # Without asking which of the counters changed on such a day: nobody's list is less right for being written again.
    wanted = reduce(Column.__or__, [again, *(_of_days(work, name, of_it) for name, of_it in touched.items())])
    rows = KEYS.among(work.table.written()).where(F.col("counter").isin(sorted(charted)) & wanted)
    write(first(rows, KEYS, RANKED_KEYS), KEYS, work, run)
    if whole or lacking:
        made = rows.where(again | erased).select(*KEYS.bucket).distinct()
        write(emptied(held.join(made, KEYS.bucket, "left_anti"), KEYS), KEYS, work, run)


def _of_days(work: Work, granularity: str, days: Collection[date]) -> Column:
    return (F.col("granularity") == granularity) & work.table.of_days(days)


def let_charts_expire(work: Work, run: Run, retired: Collection[str], expire: timedelta) -> None:
    """Write the stored lists of the counters once more, to be gone after so long, as their totals."""
    held = read_lists(work.spark, work.settings, KEYS.table).where(F.col("counter").isin(sorted(retired)))
    write(held, KEYS, work, run, expire)
