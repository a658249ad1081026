"""A table of Iceberg as history of other origin: all of it at first, then what was appended, snapshot by snapshot.

Up to which snapshot the log has it stands in the commit that brought its rows in (Log.taken), and in each of them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lake.log import Log, iceberg_table
from jobs.process.errors import JobError
from jobs.sources.history import New, as_records, reason, take_again
from stitch.sections import SourceSettings

_OF_CHANGES = ("_change_type", "_change_ordinal", "_commit_snapshot_id")  # the columns that Iceberg adds to them


class IcebergTable:
    """One table, and what the log has of it. Raises JobError where it cannot be read."""

    def __init__(self, spark: SparkSession, log: Log, source: SourceSettings, name: str) -> None:
        self._spark, self._log, self._source, self._name = spark, log, source, name
        self._load()

    def new(self, start: int) -> New | None:
        """What the log, whose position of the source is `start`, lacks of it; None where it lacks nothing. Raises
        JobError where the table does not say that."""
        table = self._load()
        current, taken = table.currentSnapshot(), self._taken(start)
        if current is None or current.snapshotId() == taken:
            return None
        if taken is None:
            rows = self._spark.read.option("snapshot-id", current.snapshotId()).table(self._name)
            told = "snapshots=all"
        else:
            between = self._between(table, taken)
            rows, told = self._appended(between, taken), f"snapshots={len(between)}"
        mark = f"{self._name}@{current.snapshotId()}"
        return New(as_records(rows, self._source, F.lit(mark)), told, mark)

    def took(self, end: int) -> None:
        """The log has what was new, and says so itself."""

    def _load(self) -> Any:
        """The table as it is now, whatever the catalog remembers of it."""
        try:
            self._spark.catalog.refreshTable(self._name)
            table = iceberg_table(self._spark, self._name)
        except AnalysisException as error:
            catalog, said = self._name.partition(".")[0], reason(error)
            if self._name.count(".") > 1 and self._spark.conf.get(f"spark.sql.catalog.{catalog}", None) is None:
                said += f" (Spark's configuration says nothing of a catalog {catalog}: spark.sql.catalog.{catalog})"
            raise JobError(f"sources.{self._source.name}: {self._name} cannot be read: {said}") from None
        if not self._name.replace("`", "").endswith(str(table.name()).rpartition(".")[2]):
            raise JobError(f"sources.{self._source.name}: {self._name} is a branch or a moment of {table.name()}: name "
                           "the table")  # fmt: skip
        return table

    def _taken(self, start: int) -> int | None:
        """The snapshot up to which the log has the table; None where it has nothing of it."""
        mark = self._log.taken(self._source.name)
        if mark is None and start:  # the commits that said it have expired, and nobody noted it: its records say it
            records = self._log.rows().where(F.col("topic_id") == self._source.name)
            mark = records.agg(F.max_by("file", "offset")).collect()[0][0]
            if mark is None:
                raise JobError(
                    f"sources.{self._source.name}: {self._log.name} has had records of {self._name}, and does not say "
                    f"any more up to which snapshot. Take {take_again(self._log, self._source)}"
                )
        snapshot = (mark or "").rpartition("@")[2]
        if mark and not snapshot.isdecimal():
            raise JobError(
                f"sources.{self._source.name}: {self._log.name} has records of files under this name, such as {mark}: "
                f"give the source of the table {self._name} another name"
            )
        return int(snapshot) if snapshot else None

    def _between(self, table: Any, taken: int) -> list[Any]:
        """The snapshots behind the one up to which the log has the table, the current one first. Raises JobError where
        they are not all there."""
        between: list[Any] = []
        at = table.currentSnapshot().snapshotId()
        while at != taken:
            snapshot = None if at is None else table.snapshot(at)
            if snapshot is None:
                raise JobError(
                    f"sources.{self._source.name}: {self._name} does not say any more what was appended since snapshot "
                    f"{taken}, up to which the log has it: that one has expired, or the table was rolled back or "
                    f"recreated. Take {take_again(self._log, self._source)}"
                )
            between.append(snapshot)
            at = snapshot.parentId()
        return between

    def _appended(self, between: list[Any], taken: int) -> DataFrame:
        """The rows that these snapshots added. Raises JobError where one removed or rewrote rows."""
        for snapshot in reversed(between):
            deletes = snapshot.operation() == "delete"
            if _only_adds(snapshot) or (deletes and self._source.ignore_deletes):
                continue
            when = datetime.fromtimestamp(snapshot.timestampMillis() / 1000, UTC)
            go_on = "Go on with `ignore_deletes = true`: the log keeps what it has. Or take" if deletes else "Take"
            raise JobError(
                f"sources.{self._source.name}: {self._name}: snapshot {snapshot.snapshotId()} of {when:%FT%TZ} "
                f"({snapshot.operation()}) removed or rewrote rows, after snapshot {taken}, up to which the log has "
                f"the table. {go_on} {take_again(self._log, self._source)}"
            )
        reader = self._spark.read.option("start-snapshot-id", taken)
        reader = reader.option("end-snapshot-id", between[0].snapshotId())
        if all(snapshot.operation() != "overwrite" for snapshot in between):
            return reader.table(self._name)
        if any(_files(snapshot, "total-delete-files") for snapshot in between):
            raise JobError(
                f"sources.{self._source.name}: {self._name}: rows came by INSERT OVERWRITE, and of a table with delete "
                f"files Iceberg does not say which. Take {take_again(self._log, self._source)}"
            )
        # What INSERT OVERWRITE adds to partitions that were empty is no append, but it is among the changes.
        # (Not `= 'INSERT'`: Spark would ask that of Iceberg, which looks for the column in the table, and fails.)
        return reader.table(f"{self._name}.changes").where("lower(_change_type) = 'insert'").drop(*_OF_CHANGES)


def _only_adds(snapshot: Any) -> bool:
    """Whether it has added rows at most, or written the same rows in other files."""
    if snapshot.operation() in ("append", "replace"):
        return True
    told = snapshot.summary().get("total-data-files") is not None  # not every engine counts files
    return told and not _files(snapshot, "deleted-data-files") and not _files(snapshot, "added-delete-files")


def _files(snapshot: Any, which: str) -> int:
    return int(snapshot.summary().get(which) or 0)
