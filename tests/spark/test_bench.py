"""The benches in small: what they measure still is what the jobs do."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from bench.log_growth import days, settings_in


def test_a_log_of_days_has_as_many_files_as_days_and_partitions(spark: SparkSession, tmp_path: Path) -> None:
    found = list(days(spark, settings_in(tmp_path), count=2, commits=6, partitions=2))
    assert [(day.number, day.files_before, day.files) for day in found] == [(1, 12, 2), (2, 14, 4)]
    assert all(day.metadata > 0 and day.commit_seconds > 0 for day in found)
