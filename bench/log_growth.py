"""`make bench-log`: what a log of many days costs: files, bytes of metadata, seconds of a commit and of a night.

Days are simulated: each has so many commits of the archive, with a record for each partition, and a night of
`maintain_log`. No Kafka takes part: records are made, and appended as archive_events appends them.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from pyspark.sql import SparkSession

from bench.session import spark_in
from jobs.frames.log_rows import topic_rows
from jobs.lake.log import Log
from jobs.maintain_log import maintain
from jobs.process.spark import session
from jobs.sinks.event_log import append
from stitch.lake import KAFKA_RECORD, field_types
from stitch.settings import Settings

TOPIC = "a-topic"
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Day:
    """What a day left: data files before and after its night, bytes of metadata after it, seconds."""

    number: int
    files_before: int
    files: int
    metadata: int
    commit_seconds: float
    night_seconds: float


def days(spark: SparkSession, settings: Settings, count: int, commits: int, partitions: int) -> Iterator[Day]:
    """Live through the days, one after the other."""
    offset = 0
    for number in range(count):
        # Snapshots bear the hour of this machine's clock, in which a day lasts seconds: it ends when the next begins.
        opened = datetime.now(UTC)
        with session("bench", settings):
            log = Log(spark, settings)
            log.begin(field_types(settings.rules))
            began = time.monotonic()
            for commit in range(commits):
                at = FIRST + timedelta(days=number, seconds=commit * 86_400 / commits)
                rows = [(p, offset, at, 1, None, bytearray(payload(f"{p}:{offset}", at))) for p in range(partitions)]
                offset += 1
                records = topic_rows(spark.createDataFrame(rows, KAFKA_RECORD), settings, TOPIC)
                append(log, records, TOPIC, dict.fromkeys(range(partitions), offset))
            each = (time.monotonic() - began) / commits
        began = time.monotonic()
        figures = maintain(settings, opened + settings.lake.history)
        night = time.monotonic() - began
        metadata = sum(file.stat().st_size for file in Path(settings.lake.warehouse).rglob("metadata/*"))
        yield Day(number + 1, figures["files_before"], figures["files"], metadata, each, night)


def payload(name: str, at: datetime) -> bytes:
    event = {"event_id": name, "type": "play", "occurred_at": f"{at:%FT%TZ}", "track_id": "t1"}
    return json.dumps(event).encode()


def settings_in(folder: Path) -> Settings:
    """A log of its own, of which snapshots go after a day."""
    counters = [{"name": "plays", "key": "track_id", "weights": {"play": 1}}]
    lake = {
        "catalog": f"bench_{folder.name}".lower().replace("-", "_"),
        "warehouse": str(folder / "lake"),
        "history": "1d",
    }
    return Settings.model_validate({"counters": counters, "lake": lake})


@click.command()
@click.option("--days", "count", default=30, show_default=True)
@click.option("--commits", default=24, show_default=True, help="of the archive, a day")
@click.option("--partitions", default=8, show_default=True)
def main(count: int, commits: int, partitions: int) -> None:
    """Measure, and print the table of bench/README.md."""
    with tempfile.TemporaryDirectory(prefix="log_growth") as folder:
        settings = settings_in(Path(folder))
        spark = spark_in(Path(folder), "log_growth")
        print("| day | files before the night | files | metadata | a commit | the night |")
        print("| --- | --- | --- | --- | --- | --- |")
        for day in days(spark, settings, count, commits, partitions):
            if day.number in (1, 2, 3, count) or day.number % 10 == 0:
                print(f"| {day.number} | {day.files_before} | {day.files} | {day.metadata / 1e6:.2f} MB | "
                      f"{day.commit_seconds:.2f} s | {day.night_seconds:.1f} s |", flush=True)  # fmt: skip
        spark.stop()


if __name__ == "__main__":
    main()
