"""The totals at a cutoff as a Parquet snapshot beside the log: what the next run adds to, and what reloads a lost
cluster.

A snapshot is written under a temporary name and renamed when whole, so one that can be read is complete. Whoever writes
here has the lease on the totals (jobs.lease).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from jobs.errors import BadOption
from stitch.cutoff import Published
from stitch.runs import folder

SCHEMA = (
    "counter string, key string, member string, granularity string, bucket timestamp, count bigint, changed boolean"
)
_NAME = re.compile(r"^cutoff=(\d{8}T\d{6}Z)-r(\d+)$")
_MARK = "_PUBLISHED"  # Spark does not read files that begin so


def holds(snapshots: str, at: Published) -> bool:
    """Whether the snapshot of that run can be read."""
    return folder(snapshots, at).is_dir()


def read_snapshot(spark: SparkSession, snapshots: str, at: Published | None) -> DataFrame:
    """The totals at a cutoff (SCHEMA); no rows where there is none."""
    if at is None or not holds(snapshots, at):
        return spark.createDataFrame([], SCHEMA)
    return spark.read.schema(SCHEMA).parquet(str(folder(snapshots, at)))


def write_snapshot(rows: DataFrame, snapshots: str, at: Published, base: Published | None) -> DataFrame:
    """Write the rows (SCHEMA) as the snapshot of that run and read them back. Those of tries that did not publish go,
    save the one that the run starts from: a guard that refuses each night would fill the disk."""
    _keep_only(snapshots, [*kept(snapshots), base])
    target = folder(snapshots, at)
    unfinished = target.with_name(f".{target.name}.unfinished")
    rows.write.mode("overwrite").parquet(str(unfinished))
    if target.exists():  # of a run that published, and that a lost cluster has forgotten
        shutil.rmtree(target)
    unfinished.rename(target)
    return read_snapshot(rows.sparkSession, snapshots, at)


def rewrite_snapshot(rows: DataFrame, snapshots: str, at: Published) -> None:
    """Put rows that were read from a snapshot in its place. The old one goes only when the new one is whole."""
    target = folder(snapshots, at)
    fresh, old = (target.with_name(f".{target.name}.{part}") for part in ("fresh", "old"))
    rows.write.mode("overwrite").parquet(str(fresh))
    if Path(target, _MARK).exists():
        Path(fresh, _MARK).touch()
    target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old)


def keep_as(snapshots: str, at: Published, other: Published) -> None:
    """The snapshot of a run under the name of another, too: whole or not at all."""
    target = folder(snapshots, other)
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(folder(snapshots, at), unfinished)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)


def written(snapshots: str) -> list[Published]:
    """The snapshots that are whole, those of runs that never published among them; the oldest run first."""
    names = [_NAME.match(path.name) for path in Path(snapshots).glob("cutoff=*")]
    return sorted((_published(match) for match in names if match), key=lambda at: at.write_time)


def kept(snapshots: str) -> list[Published]:
    """The snapshots of runs that published, the oldest first."""
    return [at for at in written(snapshots) if Path(folder(snapshots, at), _MARK).exists()]


def mark_published(snapshots: str, at: Published) -> None:
    """Tell the snapshot of a run that published from one that was refused or died."""
    Path(folder(snapshots, at), _MARK).touch()


def named(name: str, snapshots: str) -> Published:
    """The kept snapshot of that name. Raises BadOption, naming those there are."""
    match = _NAME.match(name)
    if match and _published(match) in kept(snapshots):
        return _published(match)
    there = ", ".join(folder(snapshots, at).name for at in kept(snapshots)) or "none"
    raise BadOption(f"no snapshot {name!r} in {snapshots}; there are: {there}")


def forget(snapshots: str, keep: int, published: Published) -> None:
    """Remove all but the newest `keep` snapshots of runs that published; never the published one."""
    _keep_only(snapshots, [*kept(snapshots)[-keep:], published])
    for unfinished in Path(snapshots).glob(".cutoff=*"):  # of a run that was killed
        shutil.rmtree(unfinished)


def _keep_only(snapshots: str, wanted: Collection[Published | None]) -> None:
    for at in written(snapshots):
        if at not in wanted:
            shutil.rmtree(folder(snapshots, at))


def _published(match: re.Match[str]) -> Published:
    return Published(datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC), int(match[2]))
