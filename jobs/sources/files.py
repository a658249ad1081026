"""History of other origin as files, each taken once: JSON lines or Parquet below a folder.

`ingest_time` may also be `folder:NAME[/NAME]`: what hive folders say, a date, then perhaps an hour.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from urllib.parse import unquote

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lake.log import Log
from jobs.process.errors import JobError
from jobs.sources.history import New, as_records, reason
from stitch.sections import SourceSettings

_GLOB = re.compile(r"([\\{}\[\]*?])")  # Spark takes a path for a pattern


class Files(ABC):
    """The files of a source. Which have been taken is asked of the log, and remembered as long as the log's position
    of the source is as this archive has left it: another one takes files too, and a log may be rolled back."""

    def __init__(self, spark: SparkSession, log: Log, source: SourceSettings) -> None:
        self._spark, self._log, self._source = spark, log, source
        self._taken: set[str] = set()
        self._found: set[str] = set()
        self._at: int | None = None  # the position at which the log has taken these

    def new(self, start: int) -> New | None:
        """What the log, whose position of the source is `start`, lacks of it; None where it lacks nothing. Raises
        JobError where the source cannot be read."""
        if start != self._at:
            self._taken, self._at = files_of(self._log, self._source), start
            if marks := [file for file in self._taken if ":/" not in file and not file.startswith("/")]:
                raise JobError(
                    f"sources.{self._source.name}: {self._log.name} has records of a table under this name, such as "
                    f"{min(marks)}: give the source of the files another name"
                )
        there = set(self.listed())
        self._found = there - self._taken
        files = sorted(self._found)
        return New(self.read(files), f"files={len(files)}") if files else None

    def took(self, end: int) -> None:
        """The log has what was new, and its position is `end` now."""
        self._taken, self._at = self._taken | self._found, end

    @abstractmethod
    def listed(self) -> Collection[str]:
        """The URIs of all that are there."""

    @abstractmethod
    def read(self, files: list[str]) -> DataFrame:
        """Their records (New)."""


class Folder(Files):
    """The files below the source's `path`."""

    def listed(self) -> Collection[str]:
        """The URIs of all that are there."""
        try:
            return self._rows([str(self._source.path)]).inputFiles()
        except AnalysisException as error:
            told = f"{self._source.path} cannot be read as {self._source.format}: {reason(error)}"
            raise JobError(f"sources.{self._source.name}: {told}") from None

    def read(self, files: list[str]) -> DataFrame:
        """Their records (New)."""
        rows = self._rows([_GLOB.sub(r"\\\1", unquote(file)) for file in files])
        where, _, name = self._source.ingest_time.partition(":")
        appended = _folder_instant(name.split("/")) if where == "folder" else None
        if self._source.format == "parquet":
            return as_records(rows, self._source, F.input_file_name(), None, appended)
        text = F.col("value")  # as it was read, UTF-8 or not
        appended = F.get_json_object(text, f"$.{name}") if appended is None else appended
        return as_records(rows, self._source, F.input_file_name(), text, appended)

    def _rows(self, paths: list[str]) -> DataFrame:
        reader = self._spark.read.option("recursiveFileLookup", "true")
        if self._source.format == "json":
            return reader.text(paths)
        return reader.option("mergeSchema", "true").parquet(*paths)


def files_of(log: Log, source: SourceSettings) -> set[str]:
    """The files of the source that the log has records of."""
    rows = log.rows().where(F.col("topic_id") == source.name).select("file").distinct().collect()
    return {row.file for row in rows}


def _folder_instant(names: list[str]) -> Column:
    date = F.regexp_extract(F.input_file_name(), rf"/{names[0]}=(\d{{4}}-\d{{2}}-\d{{2}})/", 1)
    if len(names) == 1:
        return date.cast("timestamp")
    hour = F.regexp_extract(F.input_file_name(), rf"/{names[1]}=(\d{{1,2}})/", 1)
    return F.concat(date, F.lit(" "), F.lpad(hour, 2, "0"), F.lit(":00:00")).cast("timestamp")
