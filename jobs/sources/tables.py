"""History of other origin as a table of one of Spark's catalogs.

What is new of it is told by its kind: one of Iceberg has snapshots, one that is files (Hive's, for example) is taken
file by file, and of any other nobody can say it.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import reduce
from operator import and_, or_
from urllib.parse import unquote

from pyspark.errors import AnalysisException, IllegalArgumentException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lake.log import Log
from jobs.process.errors import JobError
from jobs.sources.files import Files
from jobs.sources.history import as_records, take_again
from jobs.sources.iceberg import IcebergTable
from stitch.sections import SourceSettings

_PLAIN = frozenset({"parquet", "orc", "avro", "csv", "json", "text", "hive"})  # files that nobody rewrites unasked
_MOST_PARTITIONS = 500  # in a condition
_NULL = "__HIVE_DEFAULT_PARTITION__"


def opened(spark: SparkSession, log: Log, source: SourceSettings, name: str) -> Files | IcebergTable:
    """The table, by its kind. Raises JobError where there is none, or one of another kind."""
    try:
        return IcebergTable(spark, log, source, name)
    except IllegalArgumentException as error:
        if "is not an Iceberg table" not in str(error):
            raise
    kind = _kind(spark, name)
    if kind in _PLAIN and _is_files(spark, name):
        return TableOfFiles(spark, log, source, name)
    told = f"a table of the kind {kind}" if kind else "a view, or a table of a database"
    raise JobError(
        f"sources.{source.name}: {name} is {told}, and nobody can say which of its rows are new: write them into a "
        "table of Iceberg (INSERT INTO), or into a folder as JSON lines or Parquet, and name that"
    )


class TableOfFiles(Files):
    """A table of files that stay as they are, each taken once."""

    def __init__(self, spark: SparkSession, log: Log, source: SourceSettings, name: str) -> None:
        super().__init__(spark, log, source)
        self._name = name

    def listed(self) -> Collection[str]:
        """The URIs of all that are there. Raises JobError where others are in the place of some that were taken."""
        self._spark.catalog.refreshTable(self._name)
        there = set(self._spark.table(self._name).inputFiles())
        columns = self._partition_columns()

        def places(files: Collection[str]) -> set[str]:
            return {_place(file, columns) for file in files}

        if replaced := places(self._taken - there) & places(there - self._taken):
            raise JobError(
                f"sources.{self._source.name}: {self._name}: in {min(replaced) or 'it'} files that the log has are "
                "gone and others are new: it was overwritten or compacted, and rows would come in twice. Take "
                f"{take_again(self._log, self._source)}"
            )
        return there

    def read(self, files: list[str]) -> DataFrame:
        """Their records (New)."""
        # Spark asks a file for its name when it has opened it, so those of other partitions are left out beforehand.
        rows = self._spark.table(self._name).where(_partitions_of(files, self._partition_columns()))
        return as_records(rows.where(F.input_file_name().isin(files)), self._source, F.input_file_name())

    def _partition_columns(self) -> list[str]:
        return [column.name for column in self._spark.catalog.listColumns(self._name) if column.isPartition]


def _place(file: str, columns: Collection[str]) -> str:
    """The partition that the file is of, whatever folder of it; of a table without partitions, the table."""
    said = _said(_folder(file))
    return "/".join(f"{column}={said.get(column.lower())}" for column in columns)


def _kind(spark: SparkSession, name: str) -> str | None:
    """What the catalog says the table is made of; None for a view and where it does not say it."""
    rows = [tuple(row[:2]) for row in spark.sql(f"DESCRIBE TABLE EXTENDED {name}").collect()]
    own = next((n for n, (title, _) in enumerate(rows) if title.startswith("# Detailed")), len(rows))
    return dict(rows[own:]).get("Provider")


def _is_files(spark: SparkSession, name: str) -> bool:
    """Whether Spark itself reads the files: of those that Hive's classes read it knows no names."""
    try:
        return bool(spark.table(name).select("_metadata.file_path").columns)
    except AnalysisException:
        return False


def _folder(file: str) -> str:
    return file.rpartition("/")[0]


def _partitions_of(files: Collection[str], columns: Collection[str]) -> Column:
    """The condition that a row is of the partitions in whose folders (…/day=2024-02-29/…) the files are. All rows,
    where the folders do not say that, or where there are too many."""
    found = [_said(folder) for folder in {_folder(file) for file in files}]
    told = all(column.lower() in said for said in found for column in columns)
    if not columns or not told or len(found) > _MOST_PARTITIONS:
        return F.lit(True)
    return reduce(or_, (reduce(and_, (_is(column, said[column.lower()]) for column in columns)) for said in found))


def _said(folder: str) -> dict[str, str]:
    """name → value of the partition that has this folder, a URI. Spark escapes values beside what a URI does."""
    parts = (unquote(part).partition("=") for part in folder.split("/"))
    return {name.lower(): unquote(value) for name, equals, value in parts if equals}


def _is(column: str, value: str) -> Column:
    at = F.col(f"`{column}`")
    return at.isNull() if value == _NULL else at == F.lit(value)
