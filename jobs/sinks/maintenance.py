"""What Iceberg does to keep the log's table in shape, and to erase from it; tried again where another commit was first.

The archive only adds, so it is not hindered, nor does it hinder: what collides is two of these at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs.lake.log import Log, retried
from jobs.process.causes import cause_of, is_gone
from jobs.process.errors import NotYet
from jobs.sinks.event_log import REFUSED, TRIES

TARGET_BYTES = 256 * 2**20
Answer = TypeVar("Answer")


class Maintenance:
    """Of one log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        catalog, _, self._table = log.name.partition(".")
        self._call = f"CALL {catalog}.system"

    def files(self) -> int:
        """How many data files the log has."""
        return int(self._first(f"SELECT count(*) FROM {self._log.name}.files"))

    def remove_before(self, instant: datetime, sources: Sequence[str]) -> None:
        """Remove the days before the day of the instant (UTC), whole files at a time; but not of those sources, for
        what the log lacks of their files would be brought in again."""
        kept = "".join(f" AND topic_id != '{name}'" for name in sources)
        statement = f"DELETE FROM {self._log.name} WHERE timestamp < DATE '{instant:%F}'{kept}"
        self._committed(lambda: self._first(statement))

    def compact(self) -> int:
        """Join small files; returns how many were rewritten."""
        options = f"'target-file-size-bytes', '{TARGET_BYTES}'"
        statement = f"{self._call}.rewrite_data_files(table => '{self._table}', options => map({options}))"
        rewritten = int(self._committed(lambda: self._first(statement)))
        self._committed(lambda: self._first(f"{self._call}.rewrite_manifests('{self._table}')"))
        return rewritten

    def expire(self, before: datetime) -> int:
        """Let snapshots from before the instant go, and the files that they alone knew; returns how many files."""
        said = f"table => '{self._table}', older_than => {_instant(before)}, retain_last => 1"
        statement = f"{self._call}.expire_snapshots({said})"
        return int(self._committed(lambda: self._first(statement)))

    def erase(self, records: DataFrame) -> None:
        """Leave of the records (topic_id, partition, offset) nothing but where they stood: rejected, as erased."""
        records.createOrReplaceTempView("_erased")
        nothing = ("key", "value", "event_id", "type", "occurred_at", "fields", "notes")
        same = " AND ".join(f"log.`{name}` = e.`{name}`" for name in ("topic_id", "partition", "offset"))
        statement = (
            f"MERGE INTO {self._log.name} AS log USING _erased AS e ON {same} WHEN MATCHED THEN UPDATE SET "
            f"{', '.join(f'log.`{name}` = NULL' for name in nothing)}, reject_reason = 'erased', verdict = 'rejected'"
        )
        try:
            self._committed(lambda: self._first(statement, 0))
        finally:
            self._log.spark.catalog.dropTempView("_erased")

    def other_refs(self) -> list[str]:
        """The branches and tags beside main, which keep what they name."""
        rows = self._log.spark.sql(f"SELECT name FROM {self._log.name}.refs WHERE name != 'main' ORDER BY name")
        return [row.name for row in rows.collect()]

    def _first(self, statement: str, otherwise: int = 0) -> int:
        row = self._log.spark.sql(statement).first()
        return int(row[0]) if row and row[0] is not None else otherwise

    def _committed(self, work: Callable[[], Answer]) -> Answer:
        """What the work, which commits, returns; done again at once where another commit was first, or has let go the
        snapshot that it read. Raises NotYet where one always was."""
        said = ""
        for _ in range(TRIES):
            try:
                return work()
            except (Py4JJavaError, PySparkException) as error:
                if not is_gone(error) and not any(name in str(error) for name in REFUSED):
                    raise
                said = cause_of(error)
        raise NotYet(f"{self._log.name}: {TRIES} times others committed first: run again later ({said})")


def remove_orphans(spark: SparkSession, name: str) -> int:
    """Remove files of the table that no snapshot knows and that are older than three days, since of a commit that is
    under way no snapshot knows; returns how many."""
    catalog, _, table = name.partition(".")
    # Listed by Iceberg's own access to the files: to Hadoop, object stores may have another name (s3a), or none.
    statement = f"CALL {catalog}.system.remove_orphan_files(table => '{table}', prefix_listing => true)"
    # Tried again, for it reads what a batch may let go at that moment.
    return retried(lambda: len(spark.sql(statement).collect()))


def _instant(at: datetime) -> str:
    return f"TIMESTAMP '{at:%F %T.%f}'"
