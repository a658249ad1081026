"""Contributions of the event log summed into totals: the finest buckets first, the coarser from them.

An increment of the nightly run is the sum over the new ingest windows; the new totals are the previous rows plus it.
Rows whose count a run changes, and no others, get its write timestamp: they are what is to be loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.frames.contributions import floor_to
from jobs.frames.events import field
from jobs.frames.sums import saturating_sum
from stitch.buckets import granularities_of
from stitch.counters import Counter
from stitch.decoding import OWN
from stitch.lake import TOTALS_KEY

ROW = TOTALS_KEY


def deduplicated(decoded: DataFrame, identity: Sequence[str] = ("event_id",), before: Sequence[str] = ()) -> DataFrame:
    """Decoded records → events (and the columns `before`), of each identity the first: by the columns `before`, then by
    broker timestamp, partition, offset."""
    valid = decoded.where(F.col("reject_reason").isNull())
    rest = [name for name in OWN if name not in identity]
    first = F.min(F.struct(*before, "timestamp", "partition", "offset", *rest, "fields")).alias("e")
    grouped = valid.groupBy(*[field(name).alias(f"key_{name}") for name in identity]).agg(first)
    own = [F.col(f"key_{name}" if name in identity else f"e.{name}").alias(name) for name in OWN]
    return grouped.select("e.timestamp", *own, "e.fields", *[f"e.{name}" for name in before])


def totals(contributions: DataFrame, counters: list[Counter]) -> DataFrame:
    """(counter, key, member, bucket, amount) → (counter, key, member, granularity, bucket, count)."""
    finest = contributions.groupBy("counter", "key", "member", "bucket").agg(saturating_sum("amount").alias("count"))
    rolled = finest.withColumn("g", F.explode(_buckets(counters)))
    keys = ["counter", "key", "member", F.col("g.granularity").alias("granularity"), F.col("g.start").alias("bucket")]
    return rolled.groupBy(*keys).agg(saturating_sum("count").alias("count")).select(*ROW, "count")


def added(previous: DataFrame, delta: DataFrame, stamp: int) -> DataFrame:
    """Previous totals (ROW, count, write_time) and the new windows' (ROW, count, again) → (ROW, count, write_time):
    the totals of both; `stamp` where the count is another, or the row is to be written `again` whatever it is."""
    nobody = F.lit(None).cast("bigint")
    both = previous.select(*ROW, "count", "write_time", F.col("count").alias("was"), F.lit(False).alias("again"))
    both = both.unionByName(delta.select(*ROW, "count", "again", nobody.alias("was"), nobody.alias("write_time")))
    rows = both.groupBy(*ROW).agg(
        saturating_sum("count").alias("count"), *[F.max(name).alias(name) for name in ("write_time", "was", "again")]
    )
    changed = F.col("again") | ~F.col("count").eqNullSafe(F.col("was"))
    return rows.select(*ROW, "count", F.when(changed, F.lit(stamp)).otherwise(F.col("write_time")).alias("write_time"))


def changed_by(stamp: int) -> Column:
    """The condition on totals that the run with that write timestamp changed."""
    return F.col("write_time") == stamp


def replaced(previous: DataFrame, recounted: DataFrame, standing: DataFrame | None, stamp: int) -> DataFrame:
    """A recount (ROW, count) in place of the previous rows (ROW) → (ROW, count, write_time): a row that vanished
    becomes 0.

    standing: rows (ROW, count, write_time) that are stored and may stay: those that the recount gives too stay as they
              are; all others get `stamp`
    """
    nobody, none = F.lit(None).cast("bigint"), F.lit(0).cast("bigint")
    parts = [
        previous.select(*ROW, none.alias("count"), nobody.alias("stands"), nobody.alias("write_time")),
        recounted.select(*ROW, "count", nobody.alias("stands"), nobody.alias("write_time")),
    ]
    if standing is not None:
        parts.append(standing.select(*ROW, none.alias("count"), F.col("count").alias("stands"), "write_time"))
    rows = reduce(DataFrame.unionByName, parts).groupBy(*ROW).agg(
        saturating_sum("count").alias("count"), *[F.max(name).alias(name) for name in ("stands", "write_time")]
    )  # fmt: skip
    changed = ~F.col("count").eqNullSafe(F.col("stands"))
    return rows.select(*ROW, "count", F.when(changed, F.lit(stamp)).otherwise(F.col("write_time")).alias("write_time"))


def _buckets(counters: list[Counter]) -> Column:
    """The array of (granularity, start) that a counter's finest bucket belongs to."""
    chain: Column | None = None
    for resolution in {counter.resolution for counter in counters}:
        alike = [counter for counter in counters if counter.resolution == resolution]
        levels = F.array(*[_bucket(granularity) for granularity in granularities_of(alike[0])])
        named = F.col("counter").isin([counter.name for counter in alike])
        chain = F.when(named, levels) if chain is None else chain.when(named, levels)
    assert chain is not None  # settings hold one counter at least
    return chain


def _bucket(granularity: str) -> Column:
    if granularity == "all":
        start = F.timestamp_seconds(F.lit(0))
    elif granularity == "quarter_hour":
        start = floor_to(F.col("bucket"), 900)
    else:
        start = F.date_trunc(granularity, F.col("bucket"))
    return F.struct(F.lit(granularity).alias("granularity"), start.alias("start"))
