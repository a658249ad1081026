"""What a run changes of what readers saw before it: per counter and day, the count before and after.

Before: the previous totals and the increments that the run replaces. After: the new totals. The difference is what
the batch corrects (duplicates, exclusions, records that the real-time layer lacks), and what its publish guard looks
at (stitch.guard.Day says what each column is).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.frames.sums import saturating_sum

_SIDES = ("previous", "live", "moved", "excluded", "after")
_COLUMNS = ("previous", "live", "after", "changed", "lost", "moved", "held")


def days(
    previous: DataFrame,
    live: DataFrame,
    excluded: DataFrame,
    new: DataFrame,
    ingest_window: timedelta,
    recount: Collection[str] = (),
) -> DataFrame:
    """Totals, increments, excluded contributions (counter, key, member, bucket, amount), totals → (counter, day: date,
    previous, live, after, changed, lost, moved, held), one row per counter and day that the run touches: of the
    counters of `recount`, all days.

    excluded: of events that are in the increments and that the run leaves out as every run before did
    """
    counted, before, replaced = _day_totals(new), _day_totals(previous), _by_day(live)
    at = ["counter", "day"]
    judged = counted.where(F.col("changed") | F.col("counter").isin(sorted(recount)))
    touched = F.broadcast(judged.select(at).unionByName(replaced.select(at)).distinct())
    of_keys = (
        _side(before.join(touched, at, "left_semi"), previous=F.col("count"))
        .unionByName(_side(counted.join(touched, at, "left_semi"), after=F.col("count")))
        .unionByName(_side(replaced, live=F.col("count"), moved=_movement(ingest_window)))
        .unionByName(_side(_by_day(excluded), excluded=F.col("amount")))
        .groupBy("counter", "key", "day")
        .agg(*[saturating_sum(name).alias(name) for name in _SIDES])
    )
    compared = of_keys.select(
        "counter", "day", "previous", "live", "moved", "after",
        _beyond(F.col("previous") + F.col("live") - F.col("after"), F.col("excluded")).alias("changed"),
        F.greatest(F.least(F.col("previous") - F.col("after"), F.col("previous")), F.lit(0)).alias("lost"),
        F.abs("previous").alias("held"),
    )  # fmt: skip
    return compared.groupBy("counter", "day").agg(*[saturating_sum(name).alias(name) for name in _COLUMNS])


def _beyond(taken: Column, known: Column) -> Column:
    """How much what a run takes away exceeds what it is known to leave out: nothing anywhere between that and none, for
    increments that were repaired lack it already."""
    none = F.lit(0).cast("bigint")
    return F.greatest(taken - F.greatest(known, none), none) + F.greatest(F.least(known, none) - taken, none)


def _movement(ingest_window: timedelta) -> Column:
    """Σ |amount| behind an increment, which its write timestamp tells: the ingest window's start and the movement
    (stitch.write_time). Where that is as large as the window is long, the timestamp may be of a row that was repaired
    or written by hand, at some time of day: such a row has moved no more than it counts."""
    beyond = F.col("write_time") - F.unix_micros("ingest_window")
    trusted = beyond < F.lit(int(ingest_window.total_seconds() * 1_000_000))
    return F.greatest(F.abs("count"), F.when(trusted, beyond).otherwise(F.lit(0)))


def _day_totals(totals: DataFrame) -> DataFrame:
    return _by_day(totals.where(F.col("granularity") == "day"))


def _by_day(rows: DataFrame) -> DataFrame:
    """The rows of keys, not of members, with the day of their bucket."""
    return rows.where(F.col("member").isNull()).withColumn("day", F.to_date("bucket"))


def _side(rows: DataFrame, **values: Column) -> DataFrame:
    zero = F.lit(0).cast("bigint")
    return rows.select("counter", "key", "day", *[values.get(name, zero).alias(name) for name in _SIDES])
