"""Snapshots of totals in a folder: which stay, and what a run finds in its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from jobs.sinks.snapshots import SCHEMA, mark_published, read_snapshot, write_snapshot, written
from stitch.buckets import EPOCH
from stitch.cutoff import Published

FIRST, SECOND, THIRD = (Published(datetime(2024, 5, 1, tzinfo=UTC) + timedelta(days=n), 0) for n in range(3))


def one_row(spark: SparkSession, count: int) -> DataFrame:
    return spark.createDataFrame([("plays", "t1", None, "all", EPOCH, count, True)], SCHEMA)


def test_a_run_replaces_the_snapshot_of_one_that_published_before_the_cluster_was_lost(
    spark: SparkSession, tmp_path: Path
) -> None:
    snapshots = str(tmp_path)
    write_snapshot(one_row(spark, 1), snapshots, FIRST, None)
    mark_published(snapshots, FIRST)
    write_snapshot(one_row(spark, 2), snapshots, FIRST, None)
    assert [row["count"] for row in read_snapshot(spark, snapshots, FIRST).collect()] == [2]


def test_snapshots_of_tries_that_did_not_publish_go_with_the_next_but_for_the_one_it_starts_from(
    spark: SparkSession, tmp_path: Path
) -> None:
    snapshots = str(tmp_path)
    for at in (FIRST, SECOND):
        write_snapshot(one_row(spark, 1), snapshots, at, FIRST)
    write_snapshot(one_row(spark, 1), snapshots, THIRD, FIRST)
    assert written(snapshots) == [FIRST, THIRD]
    mark_published(snapshots, THIRD)
    write_snapshot(one_row(spark, 1), snapshots, SECOND, None)
    assert written(snapshots) == [SECOND, THIRD]
