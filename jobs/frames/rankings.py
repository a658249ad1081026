"""The members of a bucket that counted most: totals → the lists of the table `ranked_members`.

A list is as good as its bucket only where it was made of all of the bucket's rows: those that ask give rows of whole
buckets. A row that counts 0 is one whose events a run removed, and is in no list; readers do not tell such members
either.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

BUCKET = ["counter", "key", "granularity", "bucket"]


def large(rows: DataFrame, due: Column, most: int) -> DataFrame:
    """Totals → (*BUCKET, counted: how many members count), of the buckets that have a row which is `due`, and as many
    rows of members as a list has.

    Not only of those that have more: a bucket may have had a list, and no member goes but by an erasure, which deletes
    the lists that name it. So all that have a list are among them.
    """
    sizes = (
        rows.where(F.col("member").isNotNull())
        .groupBy(*BUCKET)
        .agg(F.max(due).alias("due"), F.count(F.lit(1)).alias("rows"), F.count_if(_counts()).alias("counted"))
    )
    return sizes.where(F.col("due") & (F.col("rows") >= most)).select(*BUCKET, "counted")


def ranked(rows: DataFrame, buckets: DataFrame, most: int) -> DataFrame:
    """Totals, and `large` of them → (*BUCKET, members, counts): of each bucket that has more than `most` members that
    count, the first so many; of the others an empty list."""
    listed = rows.join(buckets.where(F.col("counted") > most), BUCKET, "left_semi")
    return first(listed, most).unionByName(emptied(buckets.where(F.col("counted") <= most)))


def first(rows: DataFrame, most: int) -> DataFrame:
    """Totals → (*BUCKET, members, counts): of each bucket's members that count, the first `most` by count, then by
    name (by code points, which is the order of UTF-8's bytes)."""
    counting = rows.where(F.col("member").isNotNull() & _counts())
    order = Window.partitionBy(*BUCKET).orderBy(F.desc("count"), F.asc("member"))
    # The condition on the place alone, directly on it: then Spark drops the rest before its shuffle.
    placed = counting.select(*BUCKET, "member", "count", F.row_number().over(order).alias("place"))
    in_order = F.array_sort(F.collect_list(F.struct("place", "member", "count")))
    lists = placed.where(F.col("place") <= most).groupBy(*BUCKET).agg(in_order.alias("first"))
    return lists.select(*BUCKET, F.col("first.member").alias("members"), F.col("first.count").alias("counts"))


def emptied(buckets: DataFrame) -> DataFrame:
    """(*BUCKET) → (*BUCKET, members, counts), with empty lists."""
    none = F.array()
    return buckets.select(
        *BUCKET, none.cast("array<string>").alias("members"), none.cast("array<bigint>").alias("counts")
    )


def unlike(lists: DataFrame, rows: DataFrame, cutoffs: Mapping[str, datetime], most: int) -> DataFrame:
    """Lists (*BUCKET, members, counts, cutoff) that are not the first of their buckets' totals (ROW, count, cutoff). A
    bucket with something of behind its counter's cutoff is left out: a run is loading it, or has died."""
    of_them = rows.where(F.col("member").isNotNull()).join(lists, BUCKET, "left_semi")
    newest = of_them.groupBy(*BUCKET).agg(F.max("cutoff").alias("newest"))
    right = first(of_them, most).withColumnsRenamed({"members": "names", "counts": "amounts"})
    found = lists.join(newest, BUCKET, "left").join(right, BUCKET, "left")
    of_counter = F.create_map(*[F.lit(part) for one in cutoffs.items() for part in one])[F.col("counter")]
    told = F.coalesce(F.greatest("cutoff", "newest") <= of_counter, F.lit(True))
    alike = [F.slice(of, 1, F.size("members")).eqNullSafe(F.col(name))
             for of, name in (("names", "members"), ("amounts", "counts"))]  # fmt: skip
    return found.where(told & ~(alike[0] & alike[1])).select(*lists.columns)


def _counts() -> Column:
    return F.col("count") != 0
