"""Which keys of a counter counted most in each day, each month and all time: its charts, loaded beside the totals.

A run lists the buckets in which it changed the total of a key; of a counter that it recounts, or whose last publication
was without charts, all. So where readers rely on charts, a bucket without a list is one in which no key counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.frames.rankings import KEYS, emptied, first
from jobs.sources.stored import read_lists, uncharted
from jobs.totals.ranking import write
from jobs.totals.work import Work
from stitch.runs import Run
from stitch.tables import RANKED_KEYS


def load_charts(work: Work, run: Run, counters: Collection[str], days: Mapping[str, Collection[date]]) -> None:
    """Write the lists of keys of the buckets that the run changed, from what its branch holds, which is all keys of
    these. counters: those that the run publishes; days: granularity → those on which its buckets begin in which the run
    changed keys of them."""
    charted = {counter.name for counter in work.named(counters) if counter.chart}
    whole = charted & (run.recount | uncharted(work.cassandra))
    if not whole and not (charted and days):
        return
    # Without asking which of the counters changed on such a day: nobody's list is less right for being written again.
    touched = [(F.col("granularity") == name) & work.table.of_days(of_it) for name, of_it in days.items()]
    again = F.col("counter").isin(sorted(whole))
    wanted = reduce(Column.__or__, touched, again if whole else F.lit(False))
    rows = KEYS.among(work.table.written()).where(F.col("counter").isin(sorted(charted)) & wanted)
    write(first(rows, KEYS, RANKED_KEYS), KEYS, work, run)
    if whole:
        held = read_lists(work.spark, work.settings, KEYS.table).where(again & ~F.col("keys").eqNullSafe(F.array()))
        others = held.join(rows.where(again).select(*KEYS.bucket).distinct(), KEYS.bucket, "left_anti")
        write(emptied(others, KEYS), KEYS, work, run)


def let_charts_expire(work: Work, run: Run, retired: Collection[str], expire: timedelta) -> None:
    """Write the stored lists of the counters once more, to be gone after so long, as their totals."""
    held = read_lists(work.spark, work.settings, KEYS.table).where(F.col("counter").isin(sorted(retired)))
    write(held, KEYS, work, run, expire)
