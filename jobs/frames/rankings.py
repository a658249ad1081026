"""What counted most in a bucket: totals → lists of its members (the table `ranked_members`) or keys (`ranked_keys`).

A list is as good as its bucket only where it was made of all of the bucket's rows: those that ask give rows of whole
buckets. A row that counts 0 is one whose events a run removed, and is in no list; readers do not tell such either.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from stitch.tables import CHARTED, table


class Lists(NamedTuple):
    """One table of lists: `column` of the totals is listed, in the column `names` beside `counts`."""

    table: str
    column: str
    names: str

    @property
    def bucket(self) -> list[str]:
        """The columns that name a list."""
        return [*table(self.table).key]

    def among(self, totals: DataFrame) -> DataFrame:
        """The totals that lists are made of: of members, or of keys in the buckets that charts have."""
        if self.column == "member":
            return totals.where(F.col("member").isNotNull())
        return totals.where(F.col("member").isNull() & F.col("granularity").isin(*CHARTED))


MEMBERS = Lists("ranked_members", "member", "members")
KEYS = Lists("ranked_keys", "key", "keys")
BUCKET = MEMBERS.bucket


def large(rows: DataFrame, due: Column, most: int) -> DataFrame:
    """Totals → (*BUCKET, counted: how many members count), of the buckets that have a row which is `due`, and as many
    rows of members as a list has.

    Not only of those that have more: a bucket may have had a list, and no member goes but by an erasure, which deletes
    the lists that name it. So all that have a list are among them.
    """
    sizes = (
        MEMBERS.among(rows)
        .groupBy(*BUCKET)
        .agg(F.max(due).alias("due"), F.count(F.lit(1)).alias("rows"), F.count_if(_counts()).alias("counted"))
    )
    return sizes.where(F.col("due") & (F.col("rows") >= most)).select(*BUCKET, "counted")


def ranked(rows: DataFrame, buckets: DataFrame, most: int) -> DataFrame:
    """Totals, and `large` of them → (*BUCKET, members, counts): of each bucket that has more than `most` members that
    count, the first so many; of the others an empty list."""
    listed = rows.join(buckets.where(F.col("counted") > most), BUCKET, "left_semi")
    return first(listed, MEMBERS, most).unionByName(emptied(buckets.where(F.col("counted") <= most), MEMBERS))


def first(rows: DataFrame, of: Lists, most: int) -> DataFrame:
    """Totals → (*of.bucket, names, counts): of each of their buckets what counts, the first `most` by count, then by
    name (by code points, which is the order of UTF-8's bytes); an empty list where nothing does."""
    name = F.col(of.column).alias("name")
    # What counts 0 comes last, and is left out at the end: so a bucket in which nothing counts has a list, too.
    order = Window.partitionBy(*of.bucket).orderBy(F.desc(_counts()), F.desc("count"), F.asc("name"))
    # The condition on the place alone, directly on it: then Spark drops the rest before its shuffle.
    rows = of.among(rows).select(*of.bucket, name, "count")
    placed = rows.select(*of.bucket, "name", "count", F.row_number().over(order).alias("place"))
    in_order = F.array_sort(F.collect_list(F.struct("place", "name", "count")))
    lists = placed.where(F.col("place") <= most).groupBy(*of.bucket).agg(in_order.alias("all"))
    counting = lists.select(*of.bucket, F.filter("all", lambda one: one["count"] != 0).alias("first"))
    return counting.select(*of.bucket, F.col("first.name").alias(of.names), F.col("first.count").alias("counts"))


def emptied(buckets: DataFrame, of: Lists) -> DataFrame:
    """(*of.bucket) → (*of.bucket, names, counts), with empty lists."""
    none = F.array()
    return buckets.select(
        *of.bucket, none.cast("array<string>").alias(of.names), none.cast("array<bigint>").alias("counts")
    )


def unlike(lists: DataFrame, rows: DataFrame, cutoffs: Mapping[str, datetime], most: int) -> DataFrame:
    """Lists (*BUCKET, members, counts, cutoff) that are not the first of their buckets' totals (ROW, count, cutoff). A
    bucket with something of behind its counter's cutoff is left out: a run is loading it, or has died."""
    found = _beside(lists, rows.join(lists, BUCKET, "left_semi"), MEMBERS, cutoffs, most).where("listed")
    alike = [F.slice(of, 1, F.size("members")).eqNullSafe(F.col(name))
             for of, name in (("names", "members"), ("amounts", "counts"))]  # fmt: skip
    return found.where(~(alike[0] & alike[1])).select(*lists.columns)


def unlike_charts(lists: DataFrame, rows: DataFrame, cutoffs: Mapping[str, datetime], most: int) -> DataFrame:
    """As `unlike`, of lists of keys (*KEYS.bucket, keys, counts, cutoff), which each bucket has in which a key counts.
    One that an erasure took the keys from is left out, too: readers know that it says nothing."""
    found = _beside(lists, rows.where(F.col("counter").isin(*cutoffs)), KEYS, cutoffs, most)
    erased = F.col("listed") & F.col("keys").isNull()
    alike = [F.coalesce(of, F.array()).eqNullSafe(F.coalesce(name, F.array()))
             for of, name in (("names", "keys"), ("amounts", "counts"))]  # fmt: skip
    return found.where(~F.coalesce(erased, F.lit(False)) & ~(alike[0] & alike[1])).select(*lists.columns)


def _beside(lists: DataFrame, rows: DataFrame, of: Lists, cutoffs: Mapping[str, datetime], most: int) -> DataFrame:
    """Lists and what they should be by the totals, side by side: (the lists' columns, listed: whether there is such a
    list, names, amounts), where neither is from behind the counter's cutoff."""
    of_them = of.among(rows)
    newest = of_them.groupBy(*of.bucket).agg(F.max("cutoff").alias("newest"))
    right = first(of_them, of, most).withColumnsRenamed({of.names: "names", "counts": "amounts"})
    found = lists.withColumn("listed", F.lit(True)).join(right.join(newest, of.bucket), of.bucket, "full_outer")
    of_counter = F.create_map(*[F.lit(part) for one in cutoffs.items() for part in one])[F.col("counter")]
    told = F.coalesce(F.greatest("cutoff", "newest") <= of_counter, F.lit(True))
    return found.where(told)


def _counts() -> Column:
    return F.col("count") != 0
