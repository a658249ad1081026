"""What Spark keeps in a checkpoint, whatever the session says."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from jobs.sources.checkpoint import Checkpoint

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
