"""The event log read back as records: (partition, offset, timestamp, value), whoever wrote it.

For a log of other origin the setting `log.ingest_time` says where the ingest window comes from: `column:NAME` (a field
of the JSON, or a column) or `folder:NAME[/NAME]` (hive folders: a date, then perhaps an hour). Such a log has no
offsets, so a record's order among its duplicates is decided by its text.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import reduce
from pathlib import Path

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.errors import BadOption, JobError
from jobs.lake import Log
from stitch.lake import field_types
from stitch.sections import LogSettings
from stitch.settings import Settings

RECORD = ["partition", "offset", "timestamp", "timestamp_type", "value"]


def read_log(spark: SparkSession, settings: Settings, since: datetime | None, until: datetime) -> DataFrame:
    """Records with `since` ≤ timestamp < `until` whose payloads are still to be decoded (RECORD). The type is null where
    the log says nothing of it: its timestamps are trusted."""
    if settings.log.origin == "archive":
        return _archive(spark, settings).where(~_decoded(spark, settings) & _within(since, until)).select(*RECORD)
    _check_there(settings.log)
    try:  # a record without an ingest time is in no window: it is read each time, to be rejected with that reason
        records = _foreign(spark, settings.log).where(_within(since, until) | F.col("timestamp").isNull())
    except AnalysisException as error:
        raise JobError(
            f"the event log {settings.log.path} cannot be read as {settings.log.origin}: {error.getMessage() or error}"
        ) from None
    return records.select(*RECORD)


def read_decoded(spark: SparkSession, settings: Settings, since: datetime | None, until: datetime) -> DataFrame:
    """The other records of the log, as the archive decoded them: their payloads need not be parsed again."""
    rows = _archive(spark, settings).where(_decoded(spark, settings) & _within(since, until))
    there = Log(spark, settings).fields()
    fields = [
        (F.col(f"fields.`{name}`") if name in there else F.lit(None)).cast(kind).alias(name)
        for name, kind in field_types(settings.rules).items()
    ]
    return rows.withColumn("fields", F.struct(*fields))


def read_offsets(spark: SparkSession, settings: Settings, topic_id: str | None = None) -> DataFrame:
    """(topic_id, partition, offset) of every archived record (of the topic with that id)."""
    rows = _archive(spark, settings).select("topic_id", "partition", "offset")
    return rows if topic_id is None else rows.where(F.col("topic_id") == topic_id)


def last_appended(spark: SparkSession, settings: Settings, partition: int | None = None) -> datetime | None:
    """When the newest archived record (of the partition) was appended: by the broker's stamps, not by producers'."""
    rows = _archive(spark, settings).where(F.coalesce("timestamp_type", F.lit(1)) == 1)
    if partition is not None:
        rows = rows.where(F.col("partition") == partition)
    seconds = rows.agg(F.max("timestamp").cast("double")).first()
    return datetime.fromtimestamp(seconds[0], UTC) if seconds and seconds[0] is not None else None


def _archive(spark: SparkSession, settings: Settings) -> DataFrame:
    return Log(spark, settings).rows()


def _decoded(spark: SparkSession, settings: Settings) -> Column:
    """Whether a record's columns are what the settings' decoder makes of its payload. None are where a field of the
    table has another type: it was written by other settings, and its archive has not been started with these."""
    have = Log(spark, settings).fields()
    alike = all(have.get(name) == kind for name, kind in field_types(settings.rules).items())
    return F.col("decoder") == settings.decoder if alike else F.lit(False)


def _check_there(log: LogSettings) -> None:
    if not Path(log.path).exists() and "://" not in log.path:
        raise JobError(f"no event log at {log.path}: set log.path")


def _within(since: datetime | None, until: datetime) -> Column:
    within = F.col("timestamp") < F.lit(until)
    return within & (F.col("timestamp") >= F.lit(since)) if since else within


def _foreign(spark: SparkSession, log: LogSettings) -> DataFrame:
    where, _, name = log.ingest_time.partition(":")
    if where not in ("column", "folder") or not name:
        raise BadOption(f'log.ingest_time={log.ingest_time!r}: write "column:NAME" or "folder:NAME[/NAME]"')
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
        F.lit(None).cast("int").alias("timestamp_type"),
        F.col("text").cast("binary").alias("value"),  # as it was read, UTF-8 or not
    )


def _folder_instant(names: list[str]) -> Column:
    date = F.regexp_extract(F.input_file_name(), rf"/{names[0]}=(\d{{4}}-\d{{2}}-\d{{2}})/", 1)
    if len(names) == 1:
        return date.cast("timestamp")
    hour = F.regexp_extract(F.input_file_name(), rf"/{names[1]}=(\d{{1,2}})/", 1)
    return F.concat(date, F.lit(" "), F.lpad(hour, 2, "0"), F.lit(":00:00")).cast("timestamp")
