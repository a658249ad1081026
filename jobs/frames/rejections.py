"""What is wrong with the records of the log: reasons by how many records have them, each with the newest example."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from stitch.rejections import SHOWN_VALUE

SHOWN_BYTES = 300  # of an example's payload


def rejected(records: DataFrame) -> DataFrame:
    """The log's records → (topic_id, kind, records, first, last, example) of those that are no events."""
    return _by_kind(records.where(F.col("reject_reason").isNotNull()), F.col("reject_reason"))


def absent(records: DataFrame) -> DataFrame:
    """The same of the fields of events that are absent because something was wrong with them."""
    noted = records.where(F.col("reject_reason").isNull() & F.col("notes").isNotNull())
    return _by_kind(noted.withColumn("note", F.explode("notes")), F.col("note"))


def _by_kind(records: DataFrame, reason: Column) -> DataFrame:
    start = F.substring("value", 1, SHOWN_BYTES).alias("value")
    example = F.struct("partition", "offset", "file", "timestamp", reason.alias("reason"), start)
    kind = F.regexp_replace(reason, SHOWN_VALUE, "")
    named = records.select("topic_id", kind.alias("kind"), "timestamp", example.alias("example"))
    return named.groupBy("topic_id", "kind").agg(
        F.count(F.lit(1)).alias("records"),
        F.min("timestamp").alias("first"),
        F.max("timestamp").alias("last"),
        F.max_by("example", "timestamp").alias("example"),
    )
