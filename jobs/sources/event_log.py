"""The event log read back as records: (partition, offset, timestamp, value), whoever wrote it.

For a log of other origin the setting `log.ingest_time` says where the ingest window comes from: `column:NAME` (a field
of the JSON, or a column) or `folder:NAME[/NAME]` (hive folders: a date, then perhaps an hour). Such a log has no
offsets, so a record's order among its duplicates is decided by its text.
"""

from __future__ import annotations

from datetime import datetime
from functools import reduce
from pathlib import Path

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.errors import JobError
from stitch.settings import LogSettings


def read_log(spark: SparkSession, log: LogSettings, since: datetime | None, until: datetime) -> DataFrame:
    """Records with `since` ≤ timestamp < `until`: (partition: int, offset: bigint, timestamp, value: binary)."""
    if not Path(log.path).exists() and "://" not in log.path:
        raise JobError(f"no event log at {log.path}: run archive_events first, or set log.path")
    try:
        records = _archived(spark, log, since, until) if log.origin == "archive" else _foreign(spark, log)
    except AnalysisException as error:
        raise JobError(
            f"the event log {log.path} cannot be read as {log.origin}: {error.getMessage() or error}"
        ) from None
    within = F.col("timestamp") < F.lit(until)
    if since:
        within &= F.col("timestamp") >= F.lit(since)
    return records.where(within).select("partition", "offset", "timestamp", "value")


def archived_offsets(spark: SparkSession, log: LogSettings) -> dict[int, int]:
    """partition → the offset after the last that the log holds."""
    if not Path(log.path).exists() and "://" not in log.path:
        raise JobError(f"no event log at {log.path}: run archive_events first, or set log.path")
    try:
        last = spark.read.parquet(log.path).groupBy("partition").agg(F.max("offset").alias("last"))
    except AnalysisException:  # a log that has no file yet
        return {}
    return {row["partition"]: row["last"] + 1 for row in last.collect()}


def _archived(spark: SparkSession, log: LogSettings, since: datetime | None, until: datetime) -> DataFrame:
    days = F.col("ingest_date") <= F.lit(until.date())
    if since:
        days &= F.col("ingest_date") >= F.lit(since.date())
    return spark.read.parquet(log.path).where(days)


def _foreign(spark: SparkSession, log: LogSettings) -> DataFrame:
    where, _, name = log.ingest_time.partition(":")
    if where not in ("column", "folder") or not name:
        raise JobError(f'log.ingest_time={log.ingest_time!r}: write "column:NAME" or "folder:NAME[/NAME]"')
    if log.origin == "json":
        lines = spark.read.option("recursiveFileLookup", "true").text(log.path).withColumnRenamed("value", "text")
        column = F.get_json_object("text", f"$.{name}")
    else:
        rows = spark.read.option("recursiveFileLookup", "true").parquet(log.path)
        column = reduce(lambda field, part: field[part], name.split(".")[1:], F.col(name.split(".")[0]))
        lines = rows.withColumn("text", F.to_json(F.struct(*[F.col(c) for c in rows.columns])))
    timestamp = column.cast("timestamp") if where == "column" else _folder_instant(name.split("/"))
    return lines.select(
        F.lit(0).alias("partition"),
        F.xxhash64("text").alias("offset"),
        timestamp.alias("timestamp"),
        F.encode("text", "UTF-8").alias("value"),
    )


def _folder_instant(names: list[str]) -> Column:
    date = F.regexp_extract(F.input_file_name(), rf"/{names[0]}=(\d{{4}}-\d{{2}}-\d{{2}})/", 1)
    if len(names) == 1:
        return date.cast("timestamp")
    hour = F.regexp_extract(F.input_file_name(), rf"/{names[1]}=(\d{{1,2}})/", 1)
    return F.concat(date, F.lit(" "), F.lpad(hour, 2, "0"), F.lit(":00:00")).cast("timestamp")
