"""Contributions summed per ingest window: absolute values, so that writing one twice changes nothing.

The write timestamp is `ingest window start (µs) + movement behind the value`, the movement being Σ |amount|: whichever
writer has seen more of the window wins in Cassandra, in any order of arrival (stitch.write_time has the argument).
A replay, a second driver or a lost checkpoint therefore converges on the same row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.frames.contributions import contributions
from jobs.frames.events import field
from jobs.frames.sums import saturating_sum
from stitch.amounts import MOST_SUM
from stitch.counters import Counter
from stitch.settings import Settings


def windowed(events: DataFrame, ingest_window: timedelta) -> DataFrame:
    """Events (timestamp, perhaps with a watermark, …) → the same with their ingest window (start, end) in its place."""
    window = F.window("timestamp", f"{int(ingest_window.total_seconds())} seconds").alias("ingest_window")
    return events.select(window, *[name for name in events.columns if name != "timestamp"])


def once_per_window(windowed: DataFrame, identity: Sequence[str] = ("event_id",)) -> DataFrame:
    """Events less those whose identity was in the same ingest window before.

    Within one window and not across, so that the result depends on the window's records alone: a replay that starts
    at any window's edge decides alike, and the rows converge as they do without.
    """
    named = windowed.select("*", *[field(name).alias(f"key_{name}") for name in identity])
    keys = [f"key_{name}" for name in identity]
    return named.dropDuplicates([*keys, "ingest_window"]).drop(*keys)


def streamed(events: DataFrame, settings: Settings) -> DataFrame:
    """Events → those that the real-time layer counts, each with its ingest window."""
    placed = windowed(events, settings.streaming.ingest_window)
    return once_per_window(placed, settings.identity) if settings.streaming.deduplicate else placed


def increments(windowed: DataFrame, counters: list[Counter]) -> DataFrame:
    """Events with their ingest window → one row per ingest window and bucket (see the select)."""
    weighed = contributions(windowed, counters, "ingest_window")
    summed = weighed.groupBy("ingest_window", "counter", "key", "member", "bucket").agg(
        saturating_sum("amount").alias("count"), saturating_sum(F.abs("amount")).alias("movement")
    )
    start = F.col("ingest_window.start")
    return summed.select(
        "counter",
        "key",
        "member",
        F.to_date(start).alias("ingest_date"),
        start.alias("ingest_window"),
        "bucket",
        "count",
        (F.unix_micros(start) + F.least("movement", F.lit(MOST_SUM))).alias("write_time"),
    )


def not_before(cutoffs: Mapping[str, datetime], since: datetime | None) -> Column:
    """The condition on increments that they are of ingest windows from their counter's cutoff on; of a counter that has
    none, from `since` on."""
    within = F.lit(True) if since is None else F.col("ingest_window") >= F.lit(since)
    for counter, cutoff in cutoffs.items():
        within = F.when(F.col("counter") == counter, F.col("ingest_window") >= F.lit(cutoff)).otherwise(within)
    return within
