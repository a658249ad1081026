"""The table of exclusions: the rules that say which events are not to be counted (stitch.exclusions), on the lake.

A run notes by which snapshot of it it counted. What the next run leaves out as that one did are the rules that stand in
that snapshot and are still in force, whoever added or took out some by SQL meanwhile. Whoever writes here has the lease
on the totals (jobs.ledger.lease).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames.events import field as of_event
from jobs.lake.log import create_table, iceberg_table
from jobs.process.errors import BadOption
from stitch.lake import EXCLUSIONS, create_exclusions
from stitch.settings import Settings

RULE = ["field", "value"]


class Exclusions:
    """The table of the settings."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self._fields, self.name = spark, settings.fields, settings.lake.exclusions

    def mark(self) -> tuple[int, int]:
        """(how many rules are in force, the snapshot that has them): what a run notes that counts with them; zeros
        where nobody ever kept one."""
        snapshot = self._snapshot()
        return (int(snapshot.summary()["total-records"]), snapshot.snapshotId()) if snapshot else (0, 0)

    def rules(self) -> DataFrame:
        """The rules in force: (field, value), not all distinct."""
        return self._spark.table(self.name).select(*RULE) if self._snapshot() else self._none()

    def known(self, snapshot: int) -> DataFrame:
        """The rules in force that were so at that snapshot, too: (field, value); none of one that is gone."""
        if not snapshot or not self._snapshot() or iceberg_table(self._spark, self.name).snapshot(snapshot) is None:
            return self._none()
        then = self._spark.read.option("snapshot-id", snapshot).table(self.name).select(*RULE)
        return then.intersect(self.rules())

    def keep(self, rules: DataFrame, now: datetime) -> int:
        """Put the rules (field, value, reason) in force; returns how many were not yet."""
        create_table(self._spark, self.name, create_exclusions(self.name))
        new = rules.dropDuplicates(RULE).join(self.rules(), RULE, "left_anti")
        rows = new.withColumn("kept_at", F.lit(now)).select(*EXCLUSIONS).persist()
        try:
            if count := rows.count():
                rows.writeTo(self.name).append()
            return count
        finally:
            rows.unpersist()

    def take_out(self, rules: DataFrame) -> int:
        """Take the rules (field, value, reason) out of force; returns how many were in it."""
        before, _ = self.mark()
        if not before:
            return 0
        left = self._spark.table(self.name).join(rules, RULE, "left_anti").select(*EXCLUSIONS)
        left.writeTo(self.name).overwrite(F.lit(True))
        return before - self.mark()[0]

    def named_by(self, records: DataFrame, rules: DataFrame) -> tuple[DataFrame, Column]:
        """Decoded records, with columns more, and the condition on them that one of the rules (field, value) names the
        record. Raises BadOption for a rule whose field the settings do not have."""
        named, condition = records, F.lit(False)
        for at, name in enumerate(sorted(row.field for row in rules.select("field").distinct().collect())):
            if name != "event_id" and name not in self._fields:
                raise BadOption(
                    f"{self.name} has rules for the field {name!r}, which the settings do not read: name it in "
                    f"events.paths, or take them out (DELETE FROM {self.name} WHERE field = '{name}')"
                )
            kind = self._fields[name][1] if name in self._fields else "string"
            values = rules.where(F.col("field") == name).select(as_type("value", kind).alias(f"_excluded_{at}"))
            listed = values.where(F.col(f"_excluded_{at}").isNotNull()).distinct()
            named = named.join(listed, of_event(name) == F.col(f"_excluded_{at}"), "left")
            condition |= F.col(f"_excluded_{at}").isNotNull()
        return named, condition

    def _none(self) -> DataFrame:
        return self._spark.createDataFrame([], "field string, value string")

    def _snapshot(self) -> Any:
        """The table's snapshot; None where there is no table, or nothing was ever kept in it."""
        if not self._spark.catalog.tableExists(self.name):
            return None
        return iceberg_table(self._spark, self.name).currentSnapshot()


def as_type(column: str, kind: str) -> Column:
    """The column of texts as values of a field of that type; null where a text is none. An int may be written as 30.0
    or 3e1, as in events."""
    if kind == "int":
        number = F.expr(f"try_cast({column} AS DECIMAL(38, 18))")
        return F.when(number == F.floor(number), number.cast("bigint"))
    return F.col(column) if kind == "string" else F.expr(f"try_cast({column} AS {kind})")
