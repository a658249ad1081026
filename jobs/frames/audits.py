"""What the audit asks of log and totals: gaps, sums that must agree, records that must all be somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.frames.contributions import floor_to
from jobs.frames.events import field
from jobs.frames.sums import saturating_sum
from stitch.amounts import MOST_SUM
from stitch.buckets import granularities_of
from stitch.counters import Counter


def stretches(offsets: DataFrame) -> DataFrame:
    """(topic_id, partition, offset) → per partition: records, distinct, first, last (offsets)."""
    return (
        offsets.groupBy("topic_id", "partition", "offset")
        .agg(F.count(F.lit(1)).alias("times"))
        .groupBy("topic_id", "partition")
        .agg(
            F.sum("times").alias("records"),
            F.count(F.lit(1)).alias("distinct"),
            F.min("offset").alias("first"),
            F.max("offset").alias("last"),
        )
        .orderBy("topic_id", "partition")
    )


def conserved(judged: DataFrame, ingest_window: timedelta, identity: Sequence[str] = ("event_id",)) -> DataFrame:
    """Decoded records with a verdict → per ingest window: appended (by offsets), counted, duplicates, rejected,
    excluded (by content), first: partition → its first offset."""
    window = floor_to(F.col("timestamp"), int(ingest_window.total_seconds())).alias("ingest_window")
    order = ("timestamp", "partition", "offset")
    same = Window.partitionBy("verdict", *[field(name) for name in identity]).orderBy(*order)
    rows = judged.select(window, "partition", "offset", "verdict", (F.row_number().over(same) == 1).alias("first"))

    def of(verdict: str, first: bool | None = None) -> Column:
        is_one = F.col("verdict") == verdict
        return F.count(F.when(is_one if first is None else is_one & (F.col("first") == first), 1))

    parts = rows.groupBy("ingest_window", "partition").agg(
        F.min("offset").alias("first"),
        F.count_distinct("offset").alias("appended"),
        of("wanted", True).alias("counted"),
        of("wanted", False).alias("duplicates"),
        of("rejected").alias("rejected"),
        of("excluded").alias("excluded"),
    )
    return (
        parts.groupBy("ingest_window")
        .agg(
            *[F.sum(name).alias(name) for name in ("appended", "counted", "duplicates", "rejected", "excluded")],
            F.map_from_entries(F.collect_list(F.struct("partition", "first"))).alias("first"),
        )
        .orderBy("ingest_window")
    )


def unequal_zooms(totals: DataFrame, counters: list[Counter], cutoff: datetime) -> DataFrame:
    """The keys and members whose sums by granularity disagree: (counter, key, member, sums: map). A key that a running
    load is writing is left out, and one with a row at the bound of sums, which says no more than that it is there."""
    by_level = totals.groupBy("counter", "key", "member", "granularity").agg(
        saturating_sum("count").alias("sum"), F.max(F.abs("count")).alias("largest"), F.max("cutoff").alias("newest")
    )
    of_key = by_level.groupBy("counter", "key", "member").agg(
        F.map_from_entries(F.collect_list(F.struct("granularity", "sum"))).alias("sums"),
        F.min("sum").alias("least"),
        F.max("sum").alias("most"),
        F.count(F.lit(1)).alias("levels"),
        F.max("newest").alias("newest"),
        F.max("largest").alias("largest"),
    )
    levels = F.create_map(
        *[F.lit(part) for counter in counters for part in (counter.name, len(granularities_of(counter)))]
    )
    # A level without rows counts 0, as do rows that a recount found to be nobody's.
    lacking = (F.col("levels") != levels[F.col("counter")]) & (F.col("most") != 0)
    unequal = (F.col("least") != F.col("most")) | lacking
    told = (F.col("newest") <= F.lit(cutoff)) & (F.col("largest") < MOST_SUM)
    return of_key.where(unequal & told).select("counter", "key", "member", "sums")


def gaps(offsets: DataFrame) -> DataFrame:
    """(topic_id, partition, offset) → the stretches between that are not there: (topic_id, partition, first, last)."""
    before = F.lag("offset").over(Window.partitionBy("topic_id", "partition").orderBy("offset"))
    stepped = offsets.select("topic_id", "partition", (before + 1).alias("first"), (F.col("offset") - 1).alias("last"))
    return stepped.where(F.col("first") <= F.col("last"))
