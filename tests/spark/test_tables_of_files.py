"""History from a table of Spark's catalog that is files, as Hive's are: each file once, and none that was
overwritten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.archive.importing import Sources
from jobs.lake.log import Log
from jobs.process.errors import JobError
from jobs.process.spark import session
from tests.logs import begun, log_settings

COLUMNS = "event_id string, type string, track_id string, occurred_at timestamp, loaded date, part string"


def of_files(spark: SparkSession, folder: Path, definition: str) -> tuple[Log, Sources]:
    """A log whose source is the table `plays_of_files`, of files below the folder."""
    source = {"name": "history", "table": "plays_of_files", "ingest_time": "column:loaded"}
    settings = log_settings(folder, log={"kafka": False}, sources=[source])
    spark.sql(f"CREATE TABLE plays_of_files ({COLUMNS}) {definition} LOCATION '{folder}/plays'")
    with session("test", settings):
        log = begun(spark, settings)
    return log, Sources(spark, log, settings)


@pytest.fixture
def dropped(spark: SparkSession) -> Iterator[None]:
    yield
    spark.sql("DROP TABLE IF EXISTS plays_of_files")


def insert(spark: SparkSession, event_id: str, day: str, part: str, how: str = "INTO") -> None:
    play = f"'{event_id}' AS event_id, 'play' AS type, 't1' AS track_id, TIMESTAMP '{day} 12:00:00' AS occurred_at"
    rest = f"DATE '{day}' AS loaded, '{part}' AS part"
    spark.sql(f"INSERT {how} plays_of_files SELECT {play}, {rest}")


def looked(log: Log, archive: Sources) -> list[str]:
    archive.bring()
    archive.raise_last()
    return sorted(row.event_id for row in log.rows().select("event_id").collect())


@pytest.mark.parametrize("form", ["parquet", "orc", "csv", "json"])
def test_a_table_of_files_comes_in_file_by_file(spark: SparkSession, tmp_path: Path, dropped: None, form: str) -> None:
    log, archive = of_files(spark, tmp_path, f"USING {form}")
    assert looked(log, archive) == []
    insert(spark, "a", "2024-02-29", "x")
    insert(spark, "b", "2024-02-29", "x")
    assert looked(log, archive) == ["a", "b"]
    insert(spark, "c", "2024-03-01", "x")
    assert looked(log, archive) == looked(log, archive) == ["a", "b", "c"]
    rows = log.rows().orderBy("event_id").collect()
    assert len({row.file for row in rows}) == 3 and f"{rows[2].timestamp:%F}" == "2024-03-01"


ODD = "x [0]* {100%} é:/y=z"


def test_the_partitions_of_a_table_of_files_are_columns_and_those_that_were_taken_are_not_opened_again(
    spark: SparkSession, tmp_path: Path, dropped: None
) -> None:
    log, archive = of_files(spark, tmp_path, "USING parquet PARTITIONED BY (loaded, part)")
    insert(spark, "a", "2024-02-29", ODD)
    insert(spark, "b", "2024-02-29", "7")
    assert looked(log, archive) == ["a", "b"]
    for file in (tmp_path / "plays").rglob("*.parquet"):
        file.write_bytes(b"no parquet")
    insert(spark, "c", "2024-03-01", ODD)
    spark.sql("INSERT INTO plays_of_files VALUES ('d', 'play', 't1', TIMESTAMP '2024-03-01', DATE '2024-03-01', NULL)")
    assert looked(log, archive) == ["a", "b", "c", "d"]
    said = {row.event_id: json.loads(row.value).get("part") for row in log.rows().collect()}
    assert said == {"a": ODD, "b": "7", "c": ODD, "d": None}


def test_a_partition_of_files_that_is_dropped_is_none_of_our_business_and_one_that_is_overwritten_an_error(
    spark: SparkSession, tmp_path: Path, dropped: None
) -> None:
    log, archive = of_files(spark, tmp_path, "USING parquet PARTITIONED BY (part)")
    for event, part in (("a", "1"), ("b", "2")):
        insert(spark, event, "2024-02-29", part)
    assert looked(log, archive) == ["a", "b"]
    spark.sql("ALTER TABLE plays_of_files DROP PARTITION (part = '1')")
    insert(spark, "c", "2024-03-01", "3")
    assert looked(log, archive) == ["a", "b", "c"]
    spark.sql(
        "INSERT OVERWRITE plays_of_files PARTITION (part = '2') SELECT 'b', 'play', 't1', TIMESTAMP '2024-02-29', "
        "DATE '2024-02-29'"
    )
    with pytest.raises(JobError, match=r"in part=2 files that the log has are gone.*Take the whole table in"):
        looked(log, archive)
    assert sorted(row.event_id for row in log.rows().collect()) == ["a", "b", "c"]
