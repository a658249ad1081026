"""What Spark keeps in a checkpoint, whatever the session says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.sources.checkpoint import Batches, Checkpoint, Span
from stitch.buckets import EPOCH

PARTITIONS = "spark.sql.shuffle.partitions"


def test_settings_that_the_state_was_begun_with_are_told_where_the_session_has_others(
    spark: SparkSession, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(spark, f"{tmp_path}/checkpoint")

    def counted(line: str) -> int:
        """Count one more line by an aggregation; returns how many partitions its state has."""
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{line}.txt").write_text(line, "utf-8")
        query = (
            spark.readStream.text(f"{tmp_path}/in")
            .groupBy("value")
            .count()
            .writeStream.outputMode("update")
            .option("checkpointLocation", checkpoint.path)
            .foreachBatch(lambda batch, _: batch.collect())
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        return len([path for path in (tmp_path / "checkpoint/state/0").iterdir() if path.name.isdigit()])

    before = spark.conf.get(PARTITIONS)
    try:
        spark.conf.set(PARTITIONS, 3)
        assert checkpoint.kept_settings() == {}  # nothing there yet
        assert (counted("a"), checkpoint.kept_settings()) == (3, {})
        spark.conf.set(PARTITIONS, 5)
        assert checkpoint.kept_settings() == {PARTITIONS: ("3", "5")}
        assert counted("b") == 3
        assert checkpoint.kept_settings() == {PARTITIONS: ("3", "5")}
    finally:
        spark.conf.set(PARTITIONS, before)


def test_windows_that_are_to_be_counted_again_outlive_the_checkpoint_that_is_removed(
    spark: SparkSession, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(spark, f"{tmp_path}/checkpoint")
    noon = datetime(2024, 2, 29, 12, tzinfo=UTC)
    owed = Span(noon, noon + timedelta(hours=2))
    checkpoint.remove(noon)  # there is none
    assert checkpoint.owed() == (None, -1) and checkpoint.last_batches(3) is None
    (tmp_path / "checkpoint/offsets").mkdir(parents=True)
    (tmp_path / "checkpoint/commits").mkdir()
    for batch, offset in enumerate((5, 7, 9)):
        spark_says = [
            "v1",
            json.dumps({"batchWatermarkMs": 1000 * batch, "conf": {}}),
            json.dumps({"events": {"0": offset}}),
        ]
        (tmp_path / f"checkpoint/offsets/{batch}").write_text("\n".join(spark_says), "utf-8")
        (tmp_path / f"checkpoint/commits/{batch}").touch()
    (tmp_path / "checkpoint/offsets/3").touch()  # planned, not committed
    assert checkpoint.last_batches(1) == Batches(2, EPOCH + timedelta(seconds=2), {"events": {0: 7}})
    assert (
        checkpoint.last_batches(2)
        == checkpoint.last_batches(9)
        == Batches(2, EPOCH + timedelta(seconds=2), {"events": {0: 5}})
    )
    checkpoint.write_owed(owed, 2)
    assert checkpoint.owed() == (owed, 2)
    checkpoint.remove(noon)
    assert checkpoint.owed() == (owed, -1) and not checkpoint.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    checkpoint.write_owed(None, 4)
    assert checkpoint.owed() == (None, 4)
