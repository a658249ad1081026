"""History of other origin: JSON lines or Parquet below a folder, as records for the log, each file once.

`ingest_time` says when a record was appended: `column:NAME` (a field of the JSON, or a column) or `folder:NAME[/NAME]`
(hive folders: a date, then perhaps an hour). What is read is a record's text, for a row of Parquet the JSON of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import reduce
from urllib.parse import unquote

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.errors import JobError
from jobs.lake import Log
from stitch.sections import SourceSettings

_GLOB = re.compile(r"([\\{}\[\]*?])")  # Spark takes a path for a pattern


def new_files(spark: SparkSession, source: SourceSettings, known: Collection[str]) -> list[str]:
    """The files of the source that are not known, as URIs. Raises JobError where there is no such folder."""
    try:
        there = _reader(spark, source, [source.path]).inputFiles()
    except AnalysisException as error:
        raise JobError(f"sources.{source.name}: {source.path} cannot be read as {source.format}: {error}") from None
    return sorted(set(there) - set(known))


def files_of(log: Log, source: SourceSettings) -> set[str]:
    """The files of the source that the log has records of."""
    rows = log.rows().where(F.col("topic_id") == source.name).select("file").distinct().collect()
    return {row.file for row in rows}


def read_files(spark: SparkSession, source: SourceSettings, files: list[str]) -> DataFrame:
    """(file, timestamp, timestamp_type: null, value) of every record in the files."""
    where, _, name = source.ingest_time.partition(":")
    rows = _reader(spark, source, [_GLOB.sub(r"\\\1", unquote(file)) for file in files])
    try:
        if source.format == "json":
            lines = rows.withColumnRenamed("value", "text")
            column = F.get_json_object("text", f"$.{name}")
        else:
            column = reduce(lambda field, part: field[part], name.split(".")[1:], F.col(name.split(".")[0]))
            lines = rows.withColumn("text", F.to_json(F.struct(*[F.col(c) for c in rows.columns])))
        return lines.select(
            F.input_file_name().alias("file"),
            (column.cast("timestamp") if where == "column" else _folder_instant(name.split("/"))).alias("timestamp"),
            F.lit(None).cast("int").alias("timestamp_type"),
            F.col("text").cast("binary").alias("value"),  # as it was read, UTF-8 or not
        )
    except AnalysisException as error:
        raise JobError(f"sources.{source.name}: ingest_time={source.ingest_time!r}: {error}") from None


def _reader(spark: SparkSession, source: SourceSettings, paths: list[str]) -> DataFrame:
    reader = spark.read.option("recursiveFileLookup", "true")
    return reader.text(paths) if source.format == "json" else reader.option("mergeSchema", "true").parquet(*paths)


def _folder_instant(names: list[str]) -> Column:
    date = F.regexp_extract(F.input_file_name(), rf"/{names[0]}=(\d{{4}}-\d{{2}}-\d{{2}})/", 1)
    if len(names) == 1:
        return date.cast("timestamp")
    hour = F.regexp_extract(F.input_file_name(), rf"/{names[1]}=(\d{{1,2}})/", 1)
    return F.concat(date, F.lit(" "), F.lpad(hour, 2, "0"), F.lit(":00:00")).cast("timestamp")
