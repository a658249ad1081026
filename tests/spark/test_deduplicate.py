"""The streaming job's own deduplication: within one ingest window, so that a replay from any edge decides alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames.increments import increments, once_per_window, windowed
from stitch.counters import Counter
from stitch.decoding import TOPIC

LIKES = Counter(name="likes", key="track_id", weights={"like": 1})
SCHEMA = "timestamp timestamp, event_id string, type string, occurred_at timestamp, fields struct<track_id: string>"
HOUR = timedelta(hours=1)
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def counted(rows: DataFrame) -> list[tuple[str, int]]:
    found = rows.select(F.date_format("ingest_window", "HH:mm").alias("window"), "count").collect()
    return sorted((row.window, row["count"]) for row in found)


def records(*appended: tuple[str, int]) -> list[tuple[Any, ...]]:
    return [(NOON + timedelta(minutes=minute), event_id, "like", NOON, ("t1",)) for event_id, minute in appended]


def test_an_event_sent_twice_within_an_ingest_window_counts_once_and_in_the_next_again(spark: SparkSession) -> None:
    rows = spark.createDataFrame(records(("e1", 0), ("e1", 59), ("e2", 59), ("e1", 60)), SCHEMA)
    assert counted(increments(once_per_window(windowed(rows, HOUR)), [LIKES])) == [
        ("12:00", 2),
        ("13:00", 1),
    ]


def test_of_several_topics_an_event_is_sent_twice_only_within_one_of_them(spark: SparkSession) -> None:
    schema = f"{SCHEMA}, {TOPIC} string"
    rows = [(*records(("e1", minute))[0], topic) for minute, topic in ((0, "a"), (1, "b"), (2, "a"))]
    placed = windowed(spark.createDataFrame(rows, schema), HOUR)
    assert counted(increments(once_per_window(placed, ["event_id", TOPIC]), [LIKES])) == [("12:00", 2)]


@pytest.fixture
def deduplicating(spark: SparkSession) -> Iterator[SparkSession]:
    check = "spark.sql.streaming.unsupportedOperationCheck"
    spark.conf.set(check, "false")  # as jobs.process.spark does for streaming.deduplicate
    yield spark
    spark.conf.unset(check)


def test_streaming_may_deduplicate_before_it_sums(deduplicating: SparkSession, tmp_path: Path) -> None:
    spark = deduplicating
    batches = [[("e1", 0), ("e2", 1)], [("e1", 2), ("e3", 3), ("e1", 61)]]
    for number, batch in enumerate(batches):
        spark.createDataFrame(records(*batch), SCHEMA).coalesce(1).write.parquet(str(tmp_path / f"in/{number}"))
    files = spark.readStream.schema(SCHEMA).option("maxFilesPerTrigger", 1).option("recursiveFileLookup", "true")
    timed = files.parquet(str(tmp_path / "in")).withWatermark("timestamp", "1 day")
    rows = increments(once_per_window(windowed(timed, HOUR)), [LIKES])
    written: list[list[tuple[str, int]]] = []
    query = (
        rows.writeStream.outputMode("update")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .foreachBatch(lambda batch, _: written.append(counted(batch)))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    assert [rows for rows in written if rows] == [[("12:00", 2)], [("12:00", 3), ("13:00", 1)]]
