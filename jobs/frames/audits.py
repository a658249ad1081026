"""What the audit asks of log and totals: gaps, sums that must agree, records that must all be somewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.frames.contributions import floor_to
from jobs.frames.events import field
from jobs.frames.sums import saturating_sum
from stitch.amounts import MOST_SUM
from stitch.buckets import granularities_of
from stitch.counters import Counter
from stitch.decoding import OWN

KINDS = ("appended", "counted", "duplicates", "rejected", "excluded")


def stretches(offsets: DataFrame) -> DataFrame:
    """(topic_id, partition, offset) → per partition: records, distinct, first, last (offsets), twice: the first
    offset that is there more than once."""
    return (
        offsets.groupBy("topic_id", "partition", "offset")
        .agg(F.count(F.lit(1)).alias("times"))
        .groupBy("topic_id", "partition")
        .agg(
            F.sum("times").alias("records"),
            F.count(F.lit(1)).alias("distinct"),
            F.min("offset").alias("first"),
            F.max("offset").alias("last"),
            F.min(F.when(F.col("times") > 1, F.col("offset"))).alias("twice"),
        )
        .orderBy("topic_id", "partition")
    )


def conserved(
    judged: DataFrame, ingest_window: timedelta, identity: Sequence[str], lost: Column, uncounted: Column
) -> DataFrame:
    """Decoded records with topic_id and verdict → per ingest window, topic and partition: appended (by offsets),
    counted, duplicates, rejected, excluded (by content), first (offset); and of the duplicates that say otherwise than
    the event that counts: differing (how many), differing_first, differing_last (offsets), differing_as: the identity
    of one of them; accepted: how many offsets meet the condition `lost`.

    lost, uncounted: the conditions on records that it was accepted that the log lacks them, or that they do not count;
    the latter are not told as differing
    """
    window = floor_to(F.col("timestamp"), int(ingest_window.total_seconds())).alias("ingest_window")
    order = ("timestamp", "partition", "offset")
    same = Window.partitionBy("verdict", *[field(name) for name in identity]).orderBy(*order)
    named = F.concat_ws(", ", *[field(name).cast("string") for name in identity]).alias("named")
    content = _content(judged, identity)
    is_first, differs = F.row_number().over(same) == 1, content != F.first(content).over(same)
    rows = judged.select(
        window,
        "topic_id",
        "partition",
        "offset",
        "verdict",
        named,
        is_first.alias("is_first"),
        (differs & ~uncounted).alias("differs"),
        lost.alias("accepted"),
    )

    def of(verdict: str, among: Column | None = None) -> Column:
        is_one = F.col("verdict") == verdict
        return F.count(F.when(is_one if among is None else is_one & among, 1))

    differing = (F.col("verdict") == "wanted") & F.col("differs")
    return rows.groupBy("ingest_window", "topic_id", "partition").agg(
        F.min("offset").alias("first"),
        F.count_distinct("offset").alias("appended"),
        of("wanted", F.col("is_first")).alias("counted"),
        of("wanted", ~F.col("is_first")).alias("duplicates"),
        of("rejected").alias("rejected"),
        of("excluded").alias("excluded"),
        F.count_distinct(F.when(F.col("accepted"), F.col("offset"))).alias("accepted"),
        F.count(F.when(differing, 1)).alias("differing"),
        F.min(F.when(differing, F.col("offset"))).alias("differing_first"),
        F.max(F.when(differing, F.col("offset"))).alias("differing_last"),
        F.min(F.when(differing, F.col("named"))).alias("differing_as"),
    )


def _content(judged: DataFrame, identity: Sequence[str]) -> Column:
    """What an event says beside its identity, in 64 bits. Which fields are null goes in, too: the hash skips those, so
    a text in one field and the same text in another would be alike."""
    fields = [f"fields.`{name}`" for name in judged.schema["fields"].dataType.names]
    said = [F.col(name) for name in [name for name in OWN if name not in identity] + fields]
    return F.xxhash64(*said, *[column.isNull() for column in said])


def by_window(parts: DataFrame) -> DataFrame:
    """What `conserved` gives → per ingest window: the sums, and parts: an array of (topic_id, partition, first), one
    for each partition."""
    return parts.groupBy("ingest_window").agg(
        *[F.sum(name).alias(name) for name in (*KINDS, "accepted")],
        F.collect_list(F.struct("topic_id", "partition", "first")).alias("parts"),
    )


def unbalanced() -> Column:
    """The condition on ingest windows (by_window) that their records are not all somewhere, or somewhere twice."""
    return F.col("appended") != sum((F.col(name) for name in KINDS[2:]), F.col(KINDS[1]))


def unequal_zooms(totals: DataFrame, counters: list[Counter], cutoffs: Mapping[str, datetime]) -> DataFrame:
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
    of_counter = F.create_map(*[F.lit(part) for one in cutoffs.items() for part in one])[F.col("counter")]
    # A row written by hand may have no cutoff.
    loaded = F.coalesce(F.col("newest") <= of_counter, F.col("newest").isNull() | of_counter.isNull())
    told = loaded & (F.col("largest") < MOST_SUM)
    return of_key.where(unequal & told).select("counter", "key", "member", "sums")


def gaps(offsets: DataFrame) -> DataFrame:
    """(topic_id, partition, offset) → the stretches between that are not there: (topic_id, partition, first, last)."""
    before = F.lag("offset").over(Window.partitionBy("topic_id", "partition").orderBy("offset"))
    stepped = offsets.select("topic_id", "partition", (before + 1).alias("first"), (F.col("offset") - 1).alias("last"))
    return stepped.where(F.col("first") <= F.col("last"))
