"""Contributions summed per ingest window: absolute values, so that writing one twice changes nothing.

The write timestamp is `ingest window start (µs) + movement behind the value`, the movement being Σ |amount|: whichever
writer has seen more of the window wins in Cassandra, in any order of arrival (stitch.write_time has the argument).
A replay, a second driver or a lost checkpoint therefore converges on the same row.
"""

from __future__ import annotations

from datetime import timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from stitch.write_time import MOST_MOVEMENT


def once_per_window(events: DataFrame, ingest_window: timedelta) -> DataFrame:
    """Events (timestamp with a watermark, event_id, …) less those whose event_id was in the same ingest window before.

    Within one window and not across, so that the result depends on the window's records alone: a replay that starts
    at any window's edge decides alike, and the rows converge as they do without.
    """
    window = F.window("timestamp", f"{int(ingest_window.total_seconds())} seconds").alias("_window")
    return events.select("*", window).dropDuplicates(["event_id", "_window"]).drop("_window")


def increments(contributions: DataFrame, ingest_window: timedelta) -> DataFrame:
    """(timestamp, counter, key, member, bucket, amount) → one row per ingest window and bucket (see the select)."""
    seconds = int(ingest_window.total_seconds())
    summed = contributions.groupBy(
        F.window("timestamp", f"{seconds} seconds").alias("w"), "counter", "key", "member", "bucket"
    ).agg(F.sum("amount").alias("count"), F.sum(F.abs("amount")).alias("movement"))
    return summed.select(
        "counter",
        "key",
        "member",
        F.to_date("w.start").alias("ingest_date"),
        F.col("w.start").alias("ingest_window"),
        "bucket",
        "count",
        (F.unix_micros("w.start") + F.least("movement", F.lit(MOST_MOVEMENT))).alias("write_time"),
    )
