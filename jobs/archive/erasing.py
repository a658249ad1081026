"""The records of the log that hold a value, and the snapshots that still have them: deleted."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames.events import field as of_event
from jobs.lake.log import Log
from jobs.sinks.maintenance import Maintenance
from jobs.totals.counting import read_events
from stitch.settings import Settings


def erase_from_log(spark: SparkSession, settings: Settings, field: str, value: str, now: datetime) -> int:
    """Erase the records that hold the value, and the snapshots that still have them; returns how many records."""
    log = Log(spark, settings)
    if not log.exists():
        return 0
    table = Maintenance(log)
    for ref in table.other_refs():
        print(f"stitch: {log.name} has the branch or tag {ref}, which keeps what it names: drop it", flush=True)
    records = holding(spark, settings, field, value).persist()
    try:
        found = records.count()
        if found:
            table.erase(records)
        log.note_positions()
        table.expire(now + timedelta(days=1))  # all but the last, also what was added meanwhile
    finally:
        records.unpersist()
    return found


def holding(spark: SparkSession, settings: Settings, field: str, value: str) -> DataFrame:
    """(topic_id, partition, offset) of the log's records that hold the value: in the field, as their key, or, where
    they are no events, as a word of the payload."""
    events = read_events(spark, settings, None, None, also=("topic_id", "key", "value"))
    in_field = F.coalesce(of_event(field).cast("string") == value, F.lit(False))
    as_key = F.coalesce(F.col("key").cast("string") == value, F.lit(False))
    word = F.col("value").cast("string").rlike(rf"(?<!\w){re.escape(value)}(?!\w)")
    as_word = F.col("reject_reason").isNotNull() & F.coalesce(word, F.lit(False))
    return events.where(in_field | as_key | as_word).select("topic_id", "partition", "offset")
