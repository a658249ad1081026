"""The totals at a cutoff as a Parquet snapshot beside the log: what the next run adds to, and what reloads a lost cluster.

A snapshot is written under a temporary name and renamed when whole, so one that can be read is complete.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from stitch.cutoff import Published

SCHEMA = (
    "counter string, key string, member string, granularity string, bucket timestamp, count bigint, changed boolean"
)


def folder(snapshots: str, at: Published) -> Path:
    """Where the snapshot of that cutoff and revision is, or would be."""
    return Path(snapshots, f"cutoff={_stamp(at.cutoff)}-r{at.revision}")


def read_snapshot(spark: SparkSession, snapshots: str, at: Published | None) -> DataFrame:
    """The totals at a cutoff (SCHEMA); no rows where there is none."""
    if at is None or not folder(snapshots, at).is_dir():
        return spark.createDataFrame([], SCHEMA)
    return spark.read.schema(SCHEMA).parquet(str(folder(snapshots, at)))


def write_snapshot(rows: DataFrame, snapshots: str, at: Published) -> DataFrame:
    """Write the rows (SCHEMA) as the snapshot of that cutoff and read them back."""
    target = folder(snapshots, at)
    unfinished = target.with_name(f".{target.name}.unfinished")
    rows.write.mode("overwrite").parquet(str(unfinished))
    if target.exists():  # an earlier try of the same run that died before it published
        shutil.rmtree(target)
    unfinished.rename(target)
    return read_snapshot(rows.sparkSession, snapshots, at)


def _stamp(instant: datetime) -> str:
    return instant.strftime("%Y%m%dT%H%M%SZ")
