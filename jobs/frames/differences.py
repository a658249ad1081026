"""Two tables of the same rows compared: what is stored beside what is expected, and only where they differ.

By a union and a sum in place of a join: a member may be null, and rows may be missing on either side. A missing row
counts 0, for readers see no difference.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def compared(stored: DataFrame, expected: DataFrame, row: list[str], stamp: str) -> DataFrame:
    """(row…, count, stamp), (row…, count[, stamp]) → (row…, stored, expected, stamp), null where a side has
    no such row; of two stamps the later."""
    none = F.lit(None).cast(stored.schema[stamp].dataType)
    both = stored.select(*row, F.col("count").alias("stored"), _none("expected"), F.col(stamp)).unionByName(
        expected.select(
            *row, _none("stored"), F.col("count").alias("expected"),
            (F.col(stamp) if stamp in expected.columns else none).alias(stamp),
        )
    )  # fmt: skip
    return both.groupBy(*row).agg(
        F.sum("stored").alias("stored"), F.sum("expected").alias("expected"), F.max(stamp).alias(stamp)
    )


def differing() -> Column:
    """Whether a compared row differs."""
    return F.coalesce("stored", F.lit(0)) != F.coalesce("expected", F.lit(0))


def _none(name: str) -> Column:
    return F.lit(None).cast("bigint").alias(name)
