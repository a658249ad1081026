"""History of other origin in the log: each record once, whoever else brings it in and whatever became of the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.archive.importing import Sources
from jobs.lake.log import Log
from jobs.process.spark import session
from stitch.settings import Settings
from tests.logs import begun, log_settings


def play(event_id: str) -> str:
    return json.dumps({"event_id": event_id, "type": "play", "track_id": "t1", "occurred_at": "2024-02-28T12:00:00Z"})


def of_folder(folder: Path) -> Settings:
    """Settings of a log whose only source is the folder `in`, with a first file in it."""
    source = {"name": "history", "path": str(folder / "in"), "format": "json", "ingest_time": "folder:day"}
    (folder / "in/day=2024-02-28").mkdir(parents=True)
    add_file(folder, "a")
    return log_settings(folder, log={"kafka": False}, sources=[source])


def add_file(folder: Path, event_id: str) -> None:
    (folder / f"in/day=2024-02-28/{event_id}.json").write_text(play(event_id) + "\n", "utf-8")


def brought(log: Log) -> list[str]:
    return sorted(row.event_id for row in log.rows().select("event_id").collect())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return of_folder(tmp_path)


@pytest.fixture
def log(spark: SparkSession, settings: Settings) -> Iterator[Log]:
    """The log of these settings, begun."""
    with session("test", settings):
        yield begun(spark, settings)


def test_an_archive_that_runs_on_does_not_take_what_another_has_taken_meanwhile(
    log: Log, settings: Settings, tmp_path: Path
) -> None:
    one, other = (Sources(log.spark, log, settings) for _ in range(2))
    one.bring()
    add_file(tmp_path, "b")
    other.bring()
    one.bring()
    add_file(tmp_path, "c")
    other.bring()
    assert brought(log) == ["a", "b", "c"]


def test_an_archive_that_runs_on_takes_again_what_a_rollback_of_the_log_has_removed(
    log: Log, settings: Settings, tmp_path: Path
) -> None:
    sources = Sources(log.spark, log, settings)
    sources.bring()
    base, _ = log.position("history")
    add_file(tmp_path, "b")
    sources.bring()
    log.spark.sql(f"CALL {settings.lake.catalog}.system.rollback_to_snapshot('stitch.events', {base})")
    sources.bring()
    assert brought(log) == ["a", "b"]


def test_the_text_of_a_row_is_its_json_with_instants_to_the_microsecond(spark: SparkSession, tmp_path: Path) -> None:
    row = "SELECT 'a' AS event_id, 'play' AS type, 't1' AS track_id, 1 AS `a.b`, CAST(NULL AS string) AS nothing, "
    instants = "TIMESTAMP '{0}' AS occurred_at, TIMESTAMP_NTZ '{0}' AS local, TIMESTAMP '{0}' AS ingested_at"
    said = "2024-02-28T12:00:00.123456"
    spark.sql(row + instants.format(said)).write.parquet(str(tmp_path / "in"))
    source = {"name": "history", "path": str(tmp_path / "in"), "format": "parquet"}
    settings = log_settings(tmp_path, log={"kafka": False}, sources=[source])
    with session("test", settings):
        log = begun(spark, settings)
        Sources(spark, log, settings).bring()
        [found] = log.rows().select("value", F.col("occurred_at").cast("string")).collect()
    assert json.loads(found.value) == {
        "event_id": "a", "type": "play", "track_id": "t1", "a.b": 1,
        "occurred_at": f"{said}Z", "local": said, "ingested_at": f"{said}Z",
    }  # fmt: skip
    assert found.occurred_at == "2024-02-28 12:00:00.123456"
