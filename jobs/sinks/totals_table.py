"""The totals of published runs, a table of Apache Iceberg: what the next run adds to, and what loads a lost Cassandra.

A run has a branch of its own, in which it rewrites the days that its events touch; until it is published, nobody else
sees anything of it. Then main becomes the run's, and a tag keeps it for `--restore`: in one commit. Whoever writes here
has the lease on the totals (jobs.lease).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.errors import BadOption
from jobs.lake import create_table, iceberg_table
from stitch.cutoff import Published
from stitch.lake import TOTALS, create_totals
from stitch.runs import How, Run, of_tag, tag
from stitch.settings import Settings

SCHEMA = ", ".join(f"{name} {kind}" for name, kind in TOTALS.items())
MOST_DAYS = 1000  # more are not named one by one: the whole table is read
_HOW = "stitch.run."  # and a run's tag: the property that says how it counted
_PUBLISHED = "stitch.published"  # the property that names the tag of what is published
_BRANCH, _ERASING = "run_", "erasing"


class TotalsTable:
    """The table of the settings."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self.name = spark, settings.lake.totals
        self._catalog, self._keep = settings.lake.catalog, settings.lake.keep_runs

    def exists(self) -> bool:
        """Whether a run has begun it."""
        return bool(self._spark.catalog.tableExists(self.name))

    def kept(self) -> list[Published]:
        """The published runs whose totals are kept, in the order in which they ran."""
        found = [of_tag(name) for name in (self._refs() if self.exists() else [])]
        return sorted((at for at in found if at), key=lambda at: at.write_time)

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
        return F.expr(f"{self._catalog}.system.days(bucket) IN ({said})") if days else F.lit(False)

    def begin(self, run: Run, how: How) -> None:
        """Give the run a branch, which begins as the totals that it starts from. Those of tries that did not publish
        go: a guard that refuses each night would fill the disk."""
        create_table(self._spark, self.name, create_totals(self.name))
        if self._table().currentSnapshot() is None:
            self._table().newFastAppend().commit()
        refs, kept = self._refs(), self.kept()
        changes = (transaction := self._table().newTransaction()).manageSnapshots()
        for name in refs:
            if name.startswith(_BRANCH):
                changes.removeBranch(name)
        changes.createBranch(_branch(run.done), refs[tag(run.base) if run.base in kept else "main"])
        changes.commit()
        self._note(transaction, {_HOW + tag(run.done): how.text()}, [*kept, run.done])
        transaction.commitTransaction()

    def written(self, run: Run) -> DataFrame:
        """What the run's branch holds so far (SCHEMA)."""
        return self._spark.read.option("branch", _branch(run.done)).table(self.name)

    def rewrite(self, run: Run, rows: DataFrame) -> None:
        """Put the rows (SCHEMA) in the branch, in place of all that have their counters, granularities and days."""
        self._writer(run, rows).overwritePartitions()

    def recount(self, run: Run, rows: DataFrame, counters: Collection[str]) -> None:
        """Put the rows (SCHEMA) of the counters in the branch, in place of all that it has of them."""
        self._writer(run, rows).overwrite(F.col("counter").isin(sorted(counters)))

    def keep(self, at: Published) -> None:
        """The run is published: main becomes its branch, a tag keeps it, and the oldest tag goes, with its files."""
        refs = self._refs()
        snapshot = refs.get(_branch(at))
        if snapshot is None:  # this run stood still, and another that began meanwhile publishes after it
            return
        gone = [old for old in self.kept() if old != at]
        kept = [gone.pop() for _ in range(min(len(gone), self._keep - 1))] + [at]
        changes = (transaction := self._table().newTransaction()).manageSnapshots()
        # A run of this name may have published before, and a lost cluster have forgotten it.
        (changes.replaceTag if tag(at) in refs else changes.createTag)(tag(at), snapshot)
        changes.setCurrentSnapshot(snapshot).removeBranch(_branch(at))
        for old in gone:
            changes.removeTag(tag(old))
        changes.commit()
        self._note(transaction, {_PUBLISHED: tag(at)}, kept)
        transaction.commitTransaction()
        self._expire()

    def settle(self, at: Published | None) -> None:
        """Keep the published run, where it died before it could."""
        if at and self.exists() and _branch(at) in self._refs():
            self.keep(at)

    def erase(self, as_key: Collection[str], as_member: Collection[str], value: str) -> int:
        """Remove the rows that have the value as key of the counters `as_key`, or as member of `as_member`, from all
        that is kept, and from every file; returns how many there were."""
        if not self.exists():
            return 0
        of_value = " OR ".join(
            f"({column} = :value AND counter IN ({', '.join(map(repr, sorted(counters)))}))"
            for column, counters in (("key", as_key), ("member", as_member))
            if counters
        )
        found = 0
        for name, snapshot in self._refs().items():
            if of_tag(name) or name.startswith(_BRANCH):
                found += self._erase_from(name, snapshot, of_value, value)
        self._expire()
        return found

    def _erase_from(self, name: str, snapshot: int, of_value: str, value: str) -> int:
        self._spark.read.option("snapshot-id", snapshot).table(self.name).createOrReplaceTempView("_kept")
        count = self._spark.sql(f"SELECT count(*) FROM _kept WHERE {of_value}", args={"value": value})
        if not (found := int(count.collect()[0][0])):
            return 0
        refs, changes = self._refs(), self._table().manageSnapshots()
        if _ERASING in refs:  # of a job that was killed
            changes.removeBranch(_ERASING)
        changes.createBranch(_ERASING, snapshot).commit()
        self._spark.sql(f"DELETE FROM {self.name}.branch_{_ERASING} WHERE {of_value}", args={"value": value})
        erased = self._refs()[_ERASING]
        changes = self._table().manageSnapshots().removeBranch(_ERASING)
        (changes.replaceBranch if name.startswith(_BRANCH) else changes.replaceTag)(name, erased)
        if refs.get("main") == snapshot:
            changes.setCurrentSnapshot(erased)
        changes.commit()
        return found

    def _expire(self) -> None:
        """Let go of what no branch and no tag names. Each is named: by age, Iceberg would keep files that a later
        snapshot has removed. And without Spark's procedure, which lists all files by jobs: the driver reads only the
        manifests of what goes."""
        named, expiry = {*self._refs().values()}, (table := self._table()).expireSnapshots()
        for snapshot in table.snapshots():
            if snapshot.snapshotId() not in named:
                expiry.expireSnapshotId(snapshot.snapshotId())
        expiry.commit()

    def _note(self, transaction: Any, said: Mapping[str, str], runs: Collection[Published]) -> None:
        """Write properties; how other runs than those counted needs no longer be known."""
        properties = transaction.updateProperties()
        for name, value in said.items():
            properties.set(name, value)
        known = {_HOW + tag(at) for at in runs} | {*said}
        for name in self._properties():
            if name.startswith(_HOW) and name not in known:
                properties.remove(name)
        properties.commit()

    def _writer(self, run: Run, rows: DataFrame) -> Any:
        return rows.select(*TOTALS).writeTo(f"{self.name}.branch_{_branch(run.done)}")

    def _properties(self) -> dict[str, str]:
        return dict(self._table().properties()) if self.exists() else {}

    def _refs(self) -> dict[str, int]:
        """Branch or tag → the snapshot that it names."""
        return {name: ref.snapshotId() for name, ref in self._table().refs().items()}

    def _table(self) -> Any:
        return iceberg_table(self._spark, self.name)


def _branch(at: Published) -> str:
    return f"{_BRANCH}{at.write_time}"
