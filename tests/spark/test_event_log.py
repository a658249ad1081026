"""What the log keeps and gives back: instants of any year, and files that an earlier release wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.sources.segments import begin
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.counting import read_events
from jobs.frames.events import decode
from jobs.spark import session
from stitch.settings import Settings

APPENDED = datetime(2026, 11, 25, 10, 30, tzinfo=UTC)
YEARS = ["0001-01-02", "1000-01-01", "1582-10-10", "1601-01-01", "1899-12-30", "1969-12-31", "2024-02-29", "2100-01-01"]
LATER = datetime(2026, 12, 1, tzinfo=UTC)


def settings(folder: Path, **events: Any) -> Settings:
    log = {"path": str(folder / "log"), "exclusions": str(folder / "none.jsonl")}
    counters = [{"name": "plays", "key": "track_id", "weights": {"play": 1}}]
    return Settings.model_validate({"log": log, "events": events, "counters": counters})


def payload(day: str) -> bytearray:
    event = {"event_id": day, "type": "play", "occurred_at": f"{day}T12:00:00.000001Z", "track_id": "t1"}
    return bytearray(json.dumps(event), "utf-8")


def test_an_instant_of_any_year_that_is_accepted_is_written_and_read_as_it_is(
    spark: SparkSession, tmp_path: Path
) -> None:
    wide = settings(tmp_path, max_past="1000000d", max_future="100000d")
    with session("test", wide):
        rows = [(payload(day), APPENDED, 1) for day in YEARS]
        records = spark.createDataFrame(rows, "value binary, timestamp timestamp, timestamp_type int")
        decode(records, wide, ["timestamp"]).write.parquet(str(tmp_path / "written"))
        read = spark.read.parquet(str(tmp_path / "written"))
        found = read.select("event_id", F.unix_micros("occurred_at"), "reject_reason").collect()
    epoch = datetime(1970, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
    days = {day: (datetime.fromisoformat(f"{day}T12:00:00.000001+00:00") - epoch).days for day in YEARS}
    expected = {day: days[day] * 86_400 * 10**6 + 43_200 * 10**6 + 1 for day in YEARS}
    assert {row[0]: row[1] for row in found} == expected and {row[2] for row in found} == {None}


def test_a_log_that_an_earlier_release_wrote_is_decoded_again_and_its_stamps_are_trusted(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Without the columns timestamp_type and notes, under the name of another decoder."""
    old = settings(tmp_path)
    segment = begin(old.log, "topic")
    schema = "partition int, offset bigint, timestamp timestamp, value binary, decoder string, verdict string, "
    schema += "ingest_date date, ingest_hour int"
    spark.createDataFrame(
        [(0, n, APPENDED, payload(day), "1-abc", "accepted", APPENDED.date(), 10) for n, day in enumerate(YEARS)],
        schema,
    ).write.parquet(str(tmp_path / "rows"))
    query = (
        spark.readStream.schema(schema).parquet(str(tmp_path / "rows")).writeStream.format("parquet")
        .partitionBy("decoder", "verdict", "ingest_date", "ingest_hour").trigger(availableNow=True)
        .option("checkpointLocation", str(tmp_path / "checkpoint")).start(str(segment.path))
    )  # fmt: skip
    query.awaitTermination(60)
    with session("test", old):
        found = read_events(spark, old, None, LATER).select("event_id", "notes", "reject_reason").collect()
    accepted = {row.event_id for row in found if row.reject_reason is None}
    assert len(found) == len(YEARS) and accepted == {"2024-02-29"}
    assert {row.notes for row in found} == {None}
    reasons = {row.reject_reason.split(":")[0] for row in found if row.reject_reason}
    assert reasons == {"occurred_at is too far in the past", "occurred_at is too far in the future"}
