"""What a run changes of what readers saw before it: per counter and day, the count before and after.

Before: the previous totals and the increments that the run replaces. After: the new totals. The difference is what
the batch corrects (duplicates, exclusions, records that the real-time layer lacks), and what its publish guard looks
at.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.frames.sums import saturating_sum


def days(previous: DataFrame, live: DataFrame, new: DataFrame) -> DataFrame:
    """Totals, increments, totals → (counter, day: date, previous, live, after), one row per counter and day."""
    nothing = F.lit(0).cast("bigint")
    rows = (
        _day_totals(previous).select("counter", "day", F.col("count").alias("previous"), nothing.alias("live"), nothing.alias("after"))
        .unionByName(
            live.where(F.col("member").isNull())
            .select("counter", F.to_date("bucket").alias("day"), nothing.alias("previous"), F.col("count").alias("live"),
                    nothing.alias("after"))
        )
        .unionByName(
            _day_totals(new).select("counter", "day", nothing.alias("previous"), nothing.alias("live"), F.col("count").alias("after"))
        )
    )  # fmt: skip
    sums = [saturating_sum(name).alias(name) for name in ("previous", "live", "after")]
    return rows.groupBy("counter", "day").agg(*sums).select("counter", "day", "previous", "live", "after")


def _day_totals(totals: DataFrame) -> DataFrame:
    of_keys = totals.where((F.col("granularity") == "day") & F.col("member").isNull())
    return of_keys.select("counter", F.to_date("bucket").alias("day"), "count")
