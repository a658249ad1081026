"""The totals of published runs, a table of Apache Iceberg: what the next run adds to, and what loads a lost Cassandra.

A run has a branch of its own, in which it rewrites the days that its events touch; until it is published, nobody else
sees anything of it. Then main becomes the run's, and a tag keeps it for `--restore`: in one commit. Whoever writes here
has the lease on the totals (jobs.ledger.lease); one that lost it without knowing finds its branch gone, and ends.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lake.log import create_table, iceberg_table
from jobs.process.errors import BadOption, JobError, NotYet
from stitch.cutoff import Published
from stitch.lake import TOTALS, TOTALS_KEY, create_totals
from stitch.runs import How, Run, of_tag, tag
from stitch.settings import Settings
from stitch.tables import quoted

SCHEMA = ", ".join(f"{name} {kind}" for name, kind in TOTALS.items())
MOST_DAYS = 1000  # more are not named one by one: all are read
_HOW = "stitch.run."  # and a run's tag, or branch: the property that says how it counted
_PUBLISHED = "stitch.published"  # the property that names the tag of what is published
_KEYSPACE = "stitch.keyspace"  # the property that names the keyspace of Cassandra that has these totals
_BRANCH, _ERASING = "run_", "erasing"


class TotalsTable:
    """The table of the settings."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self._lake, self._keyspace = spark, settings.lake, settings.batch.keyspace
        self.name = settings.lake.totals
        self._branch, self._head = "", 0  # of this process's run, and the snapshot that it has come to

    def exists(self) -> bool:
        """Whether a run has begun it."""
        return bool(self._spark.catalog.tableExists(self.name))

    def kept(self) -> list[Published]:
        """The published runs whose totals are kept, in the order in which they were."""
        if not self.exists():
            return []
        table = self._table()
        found = [(table.snapshot(snapshot).sequenceNumber(), of_tag(name)) for name, snapshot in self._refs().items()]
        return [at for _, at in sorted((order, at) for order, at in found if at)]

    def holds(self, at: Published) -> bool:
        """Whether the totals of that run can be read."""
        return at in self.kept()

    def named(self, name: str | None) -> Published:
        """The kept run of that name, or (None) the published one. Raises BadOption, naming those there are."""
        kept = self.kept()
        wanted = self._properties().get(_PUBLISHED) if name is None and kept else name
        at = of_tag(wanted or "")
        if at is None or at not in kept:
            there = ", ".join(map(tag, kept)) or "none"
            raise BadOption(f"no totals {wanted or '(published)'} in {self.name}; there are: {there}")
        return at

    def how(self, at: Published) -> How:
        """How the totals of the kept run were counted."""
        said = self._properties().get(_HOW + tag(at))
        return How.of(said) if said else How()

    def read(self, at: Published | None) -> DataFrame:
        """The totals of a kept run (SCHEMA); no rows where they are not kept."""
        if at is None or not self.holds(at):
            return self._spark.createDataFrame([], SCHEMA)
        return self._spark.read.option("tag", tag(at)).table(self.name)

    def of_days(self, days: Collection[date]) -> Column:
        """The condition on rows whose bucket begins on one of the days; Iceberg opens no other file. Of very many days:
        on all rows."""
        if len(days) > MOST_DAYS:
            return F.lit(True)
        said = ", ".join(f"DATE '{day.isoformat()}'" for day in sorted(days))
        return F.expr(f"{self._lake.catalog}.system.days(bucket) IN ({said})") if days else F.lit(False)

    def begin(self, run: Run, how: How) -> None:
        """Give the run a branch, which begins as the totals that it starts from. Those of tries that did not publish
        go, with their files: a guard that refuses each night would fill the disk. Raises JobError for a table with the
        totals of another keyspace."""
        create_table(self._spark, self.name, create_totals(self.name))
        if self._table().currentSnapshot() is None:
            self._table().newFastAppend().commit()
        if (other := self._properties().get(_KEYSPACE, self._keyspace)) != self._keyspace:
            raise JobError(
                f"{self.name} has the totals of the keyspace {other!r}, not of {self._keyspace!r}: set another "
                "lake.namespace. Where the keyspace was renamed: "
                f"ALTER TABLE {self.name} UNSET TBLPROPERTIES ('{_KEYSPACE}')"
            )
        refs, kept = self._refs(), self.kept()
        self._branch = f"{_prefix(run.done)}{uuid.uuid4().hex[:8]}"
        self._head = refs[tag(run.base) if run.base in kept else "main"]
        changes = (transaction := self._table().newTransaction()).manageSnapshots()
        for name in refs:
            if name.startswith(_BRANCH):
                changes.removeBranch(name)
        changes.createBranch(self._branch, self._head).commit()
        self._note(transaction, {_HOW + self._branch: how.text(), _KEYSPACE: self._keyspace}, map(tag, kept))
        transaction.commitTransaction()
        self._expire()

    def written(self) -> DataFrame:
        """What the branch of this process's run holds so far (SCHEMA)."""
        return self._spark.read.option("branch", self._branch).table(self.name)

    def rewrite(self, rows: DataFrame) -> None:
        """Put the rows (SCHEMA) in the branch, in place of all that have their granularities and days. Raises NotYet
        where another run has begun."""
        self._write(rows, lambda writer: writer.overwritePartitions())

    def recount(self, rows: DataFrame, counters: Collection[str]) -> None:
        """Put the rows (SCHEMA) of the counters in the branch, in place of all that it has of them. Raises NotYet where
        another run has begun."""
        others = self.written().where(~F.col("counter").isin(sorted(counters)))
        self._write(rows.select(*TOTALS).unionByName(others), lambda writer: writer.overwrite(F.lit(True)))

    def leave(self, counters: Collection[str], run: Run, how: How) -> None:
        """Bring the counters in the run's branch back to the totals that it starts from; `how` it is counted then."""
        of_them, stamp = F.col("counter").isin(sorted(counters)), run.target.write_time
        self._delete(counters, f" AND write_time = {stamp}")
        there = self.written().where(of_them).select(*[F.col(name).alias(f"_{name}") for name in TOTALS_KEY])
        same = reduce(Column.__and__, [F.col(name).eqNullSafe(F.col(f"_{name}")) for name in TOTALS_KEY])
        lacking = self.read(run.base).where(of_them).join(there, same, "left_anti")
        self._write(lacking, lambda writer: writer.append())
        transaction = self._table().newTransaction()
        self._note(transaction, {_HOW + self._branch: how.text()}, map(tag, self.kept()))
        transaction.commitTransaction()

    def forget(self, counters: Collection[str]) -> None:
        """Remove the counters from the run's branch; in kept runs they stay as long as those."""
        if counters:
            self._delete(counters)

    def drop(self) -> None:
        """Remove the branch of this process's run, which is part of one that is published later."""
        self._table().manageSnapshots().removeBranch(self._branch).commit()

    def keep(self, at: Published) -> None:
        """The run is published: main becomes its branch, a tag keeps it, and the oldest tag goes, with its files."""
        refs = self._refs()
        branches = [name for name in refs if name.startswith(_prefix(at))]
        if len(branches) != 1:  # this run stood still, and another that began meanwhile publishes after it
            return
        (branch,), older = branches, [old for old in self.kept() if old != at]
        kept = [older.pop() for _ in range(min(len(older), self._lake.keep_runs - 1))]
        changes = (transaction := self._table().newTransaction()).manageSnapshots()
        # A run of this name may have published before, and a lost cluster have forgotten it.
        (changes.replaceTag if tag(at) in refs else changes.createTag)(tag(at), refs[branch])
        changes.setCurrentSnapshot(refs[branch]).removeBranch(branch)
        for old in older:
            changes.removeTag(tag(old))
        changes.commit()
        how = self._properties().get(_HOW + branch, How().text())
        self._note(transaction, {_PUBLISHED: tag(at), _HOW + tag(at): how}, map(tag, kept))
        transaction.commitTransaction()
        self._expire()

    def settle(self, at: Published | None) -> None:
        """Keep the published run, where it died before it could."""
        if at and self.exists():
            self.keep(at)

    def erase(self, of_value: str, value: str) -> int:
        """Remove the rows of the value (of_value: the condition in SQL, with :value) from every branch and tag, and
        from every file; returns how many there were."""
        if not self.exists():
            return 0
        if _ERASING in self._refs():  # of a job that was killed
            self._table().manageSnapshots().removeBranch(_ERASING).commit()
        names: dict[int, list[str]] = {}
        for name, snapshot in self._refs().items():
            names.setdefault(snapshot, []).append(name)
        order = sorted(names, key=lambda snapshot: self._table().snapshot(snapshot).sequenceNumber())
        found = sum(self._erase_from(snapshot, names[snapshot], of_value, value) for snapshot in order)
        self._expire()
        return found

    def _erase_from(self, snapshot: int, names: Collection[str], of_value: str, value: str) -> int:
        rows = self._spark.read.option("snapshot-id", snapshot).table(self.name)
        said, args = f"SELECT count(*) FROM {{rows}} WHERE {of_value}", {"value": value}
        if not (found := int(self._spark.sql(said, args=args, rows=rows).collect()[0][0])):
            return 0
        self._table().manageSnapshots().createBranch(_ERASING, snapshot).commit()
        self._spark.sql(f"DELETE FROM {self.name}.branch_{_ERASING} WHERE {of_value}", args=args)
        table, erased = self._table(), self._refs()[_ERASING]
        changes = table.manageSnapshots().removeBranch(_ERASING)
        for name in names:
            (changes.replaceBranch if table.refs().get(name).isBranch() else changes.replaceTag)(name, erased)
        changes.commit()
        return found

    def _delete(self, counters: Collection[str], also: str = "") -> None:
        named = ", ".join(map(quoted, sorted(counters)))
        branch = f"{self.name}.branch_{self._branch}"
        self._commit(lambda: self._spark.sql(f"DELETE FROM {branch} WHERE counter IN ({named}){also}"))

    def _write(self, rows: DataFrame, put: Callable[[Any], None]) -> None:
        self._commit(lambda: put(rows.select(*TOTALS).writeTo(f"{self.name}.branch_{self._branch}")))

    def _commit(self, write: Callable[[], Any]) -> None:
        """Write to the branch, if it is as this process left it. One that is removed meanwhile is recreated by Iceberg,
        from main: then what was written is on top of something else."""
        head = self._refs().get(self._branch)
        mine = head == self._head
        if mine:
            write()
            head = self._refs().get(self._branch)  # as before where there was nothing to write
            mine = head is not None and self._head in (head, self._table().snapshot(head).parentId())
        if head is None or not mine:
            raise NotYet(f"another run writes {self.name} at this moment: let it end")
        self._head = head

    def _expire(self) -> None:
        """Let go of what no branch and no tag names, by its id: by age, Iceberg would keep files that a snapshot which
        is kept has replaced. In the driver, from the manifests: Spark's procedure starts jobs to list the same."""
        named, expiry = {*self._refs().values()}, (table := self._table()).expireSnapshots()
        for snapshot in table.snapshots():
            if snapshot.snapshotId() not in named:
                expiry.expireSnapshotId(snapshot.snapshotId())
        expiry.commit()

    def _note(self, transaction: Any, said: Mapping[str, str], kept: Iterable[str]) -> None:
        """Write properties; how other runs than those counted needs no longer be known."""
        properties, known = transaction.updateProperties(), {*said, *(_HOW + name for name in kept)}
        for name, value in said.items():
            properties.set(name, value)
        for name in self._properties():
            if name.startswith(_HOW) and name not in known:
                properties.remove(name)
        properties.commit()

    def _properties(self) -> dict[str, str]:
        return dict(self._table().properties()) if self.exists() else {}

    def _refs(self) -> dict[str, int]:
        """Branch or tag → the snapshot that it names."""
        return {name: ref.snapshotId() for name, ref in self._table().refs().items()}

    def _table(self) -> Any:
        return iceberg_table(self._spark, self.name)


def _prefix(at: Published) -> str:
    """How the names of branches of that run begin."""
    return f"{_BRANCH}{at.write_time}_"
