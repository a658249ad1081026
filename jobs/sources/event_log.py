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
from jobs.sources.segments import segments
from stitch.sections import LogSettings

FOLDERS = "decoder string, verdict string, ingest_date date, ingest_hour int"
RAW = f"partition int, offset bigint, timestamp timestamp, timestamp_type int, value binary, {FOLDERS}"
DECODED = (
    "partition int, offset bigint, timestamp timestamp, event_id string, type string, occurred_at timestamp, "
    f"notes array<string>, reject_reason string, fields {{fields_type}}, {FOLDERS}"
)


def read_log(spark: SparkSession, log: LogSettings, since: datetime | None, until: datetime, decoder: str) -> DataFrame:
    """Records with `since` ≤ timestamp < `until` that this decoder has not decoded: (partition, offset, timestamp,
    timestamp_type, value). The type is null where the log says nothing of it: its timestamps are trusted."""
    _check_there(log)
    try:
        if log.origin == "archive":
            records = _archive(spark, log, RAW).where(F.col("decoder") != decoder)
            records = records.where(_days(since, until)).where(_within(since, until))
        else:  # a record without an ingest time is in no window: it is read each time, to be rejected with that reason
            records = _foreign(spark, log).where(_within(since, until) | F.col("timestamp").isNull())
    except AnalysisException as error:
        raise JobError(
            f"the event log {log.path} cannot be read as {log.origin}: {error.getMessage() or error}"
        ) from None
    return records.select("partition", "offset", "timestamp", "timestamp_type", "value")


def read_decoded(
    spark: SparkSession, log: LogSettings, since: datetime | None, until: datetime, decoder: str, fields_type: str
) -> DataFrame:
    """The other records of an archived log, as the archive decoded them: their payloads need not be parsed again."""
    _check_there(log)
    rows = _archive(spark, log, DECODED.format(fields_type=fields_type))
    return rows.where(F.col("decoder") == decoder).where(_days(since, until)).where(_within(since, until))


def archived_offsets(spark: SparkSession, log: LogSettings, topic_id: str) -> dict[int, int]:
    """partition → the offset after the last that the log holds of the topic with that id."""
    last = _archive(spark, log, RAW, topic_id).groupBy("partition").agg(F.max("offset").alias("last"))
    return {row["partition"]: row["last"] + 1 for row in last.collect()}


def read_offsets(spark: SparkSession, log: LogSettings, only: str | None = None) -> DataFrame:
    """(topic_id, partition, offset) of every archived record (of the topic with the id `only`)."""
    parts = [
        _archive(spark, log, RAW, topic_id).select(F.lit(topic_id).alias("topic_id"), "partition", "offset")
        for topic_id in sorted({segment.topic_id for segment in segments(log)})
        if only in (None, topic_id)
    ]
    return (
        reduce(DataFrame.unionByName, parts)
        if parts
        else spark.createDataFrame([], "topic_id string, partition int, offset bigint")
    )


def last_appended(spark: SparkSession, log: LogSettings, partition: int | None = None) -> datetime | None:
    """When the newest archived record (of the partition) was appended: by the broker's stamps, not by producers'."""
    rows = _archive(spark, log, RAW).where(F.coalesce("timestamp_type", F.lit(1)) == 1)
    if partition is not None:
        rows = rows.where(F.col("partition") == partition)
    seconds = rows.agg(F.max("timestamp").cast("double")).first()
    return datetime.fromtimestamp(seconds[0], UTC) if seconds and seconds[0] is not None else None


def _archive(spark: SparkSession, log: LogSettings, schema: str, topic_id: str | None = None) -> DataFrame:
    """The committed records of all segments (of one topic): each is read by itself, for only so does Spark honour its
    record of which files count."""
    parts = [
        spark.read.schema(schema).parquet(str(segment.path))
        for segment in segments(log)
        if segment.readable and topic_id in (None, segment.topic_id)
    ]
    return reduce(DataFrame.unionByName, parts) if parts else spark.createDataFrame([], schema)


def first_ingest_day(log: LogSettings) -> datetime:
    """The earliest ingest date of an archived log's events, by its folders; now where there is none."""
    folders = Path(log.path).glob("segment=*/decoder=*/verdict=accepted/ingest_date=*")
    days = [path.name.partition("=")[2] for path in folders]
    return datetime.fromisoformat(min(days)).replace(tzinfo=UTC) if days else datetime.now(UTC)


def _check_there(log: LogSettings) -> None:
    if not Path(log.path).exists() and "://" not in log.path:
        raise JobError(f"no event log at {log.path}: run archive_events first, or set log.path")


def _days(since: datetime | None, until: datetime) -> Column:
    """The folders that may hold the range: all others are not opened."""
    days = F.col("ingest_date") <= F.lit(until.date())
    return days & (F.col("ingest_date") >= F.lit(since.date())) if since else days


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
