"""Contributions summed per ingest window: absolute values, so that writing one twice changes nothing.

The write timestamp is `ingest window start (µs) + number of events behind the value`: whichever writer has seen more
events of the window wins in Cassandra, in any order of arrival. A replay, a second driver or a lost checkpoint
therefore converges on the same row.
"""

from __future__ import annotations

from datetime import timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def increments(contributions: DataFrame, ingest_window: timedelta, watermark: timedelta) -> DataFrame:
    """(timestamp, counter, key, member, bucket, amount) → one row per ingest window and bucket (see the select)."""
    seconds = int(ingest_window.total_seconds())
    summed = (
        contributions.withWatermark("timestamp", f"{int(watermark.total_seconds())} seconds")
        .groupBy(F.window("timestamp", f"{seconds} seconds").alias("w"), "counter", "key", "member", "bucket")
        .agg(F.sum("amount").alias("count"), F.count(F.lit(1)).alias("events"))
    )
    return summed.select(
        "counter",
        "key",
        "member",
        F.to_date("w.start").alias("ingest_date"),
        F.col("w.start").alias("ingest_window"),
        "bucket",
        "count",
        (F.unix_micros("w.start") + F.col("events")).alias("write_time"),
    )
