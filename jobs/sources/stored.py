"""What the layers hold, read back as tables: by a scan, for only a scan finds rows that should not be there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cassandra.cluster import Session
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stitch.cutoff import Published
from stitch.definitions import Publication, from_text, served
from stitch.runs import Noted
from stitch.settings import Settings
from stitch.tables import progress_row, table


class Progress(NamedTuple):
    """How far the streaming job has come, for people; of which length all ingest windows of the increments are (None:
    an earlier version did not say); `counters`: what it counts."""

    realtime_through: datetime | None
    ingest_window: timedelta | None
    counters: frozenset[str] = frozenset()


def publications(cassandra: Session) -> dict[str, Publication]:
    """stored name → what is published under it; also what another definition of the counter has replaced since."""
    rows = cassandra.execute("SELECT counter, cutoff, revision, definition, ranked, charted FROM cutoffs")
    found = {}
    for row in rows:
        at = Published(row.cutoff.replace(tzinfo=UTC), row.revision)
        right = row.ranked == at.write_time, row.charted == at.write_time
        found[row.counter] = Publication(at, from_text(row.definition), *right)
    return found


def published(cassandra: Session) -> dict[str, Published]:
    """stored name → what is published under it, of the definitions that readers get."""
    found = publications(cassandra)
    return {name: found[name].at for name in served(found).values()}


def replaced(cassandra: Session) -> set[str]:
    """The stored names that were published, and in place of which readers get another definition."""
    found = publications(cassandra)
    return found.keys() - set(served(found).values())


def unranked(cassandra: Session) -> set[str]:
    """The stored names that a version published which makes no lists of members: those that are there may be older than
    the totals, so readers do without them."""
    return {name for name, one in publications(cassandra).items() if not one.ranked}


def uncharted(cassandra: Session) -> set[str]:
    """The stored names that were published without lists of keys, by such a version or such settings."""
    return {name for name, one in publications(cassandra).items() if not one.charted}


def lacking_charts(cassandra: Session) -> set[str]:
    """The stored names of which an erasure took lists of keys since they were published (cutoffs.mark_lacking)."""
    rows = cassandra.execute("SELECT counter, charted, WRITETIME(charted) AS written FROM cutoffs")
    return {row.counter for row in rows if row.charted is not None and row.written > row.charted}


def latest_write(cassandra: Session, runs: Sequence[Noted]) -> int | None:
    """The latest write timestamp (µs) in the table of cutoffs, whoever wrote it, and of the runs; None where there are
    none."""
    rows = cassandra.execute("SELECT WRITETIME(cutoff), WRITETIME(revision), WRITETIME(charted) FROM cutoffs")
    stamps = [stamp for row in rows for stamp in row if stamp is not None]
    return max([*stamps, *(run.at.write_time for run in runs)], default=None)


def read_changes(cassandra: Session) -> dict[str, datetime]:
    """Change of a keyspace's tables → when it was made."""
    rows = cassandra.execute("SELECT change, made_at FROM schema_changes")
    return {row.change: row.made_at.replace(tzinfo=UTC) for row in rows if row.made_at}


def read_progress(cassandra: Session, job: str) -> Progress | None:
    """The streaming job's progress; None before its first micro-batch."""
    columns = "realtime_through, ingest_window, counters"
    row = cassandra.execute(f"SELECT {columns} FROM progress WHERE job = %s", (job,)).one()
    if row is None:
        return None
    through = row.realtime_through.replace(tzinfo=UTC) if row.realtime_through else None
    window = timedelta(seconds=row.ingest_window) if row.ingest_window else None
    return Progress(through, window, frozenset(row.counters or ()))


def read_offsets_counted(cassandra: Session, job: str, topic: str | None) -> dict[int, int]:
    """Partition → the first offset of the topic (None: of the only one) that the streaming job has not counted."""
    row = cassandra.execute("SELECT offsets FROM progress WHERE job = %s", (progress_row(job, topic),)).one()
    return dict((row and row.offsets) or {})


def read_increments(
    spark: SparkSession, settings: Settings, since: datetime | None, until: datetime, of_all: bool = False
) -> DataFrame:
    """The increments of the settings' counters (of_all: of others too), of ingest windows in [since, until): (counter,
    key, member, ingest_window, bucket, count, write_time)."""
    columns = ["counter", "key", "ingest_window", "bucket", "count", F.expr("writetime(count)").alias("write_time")]
    keys = _table(spark, "realtime", settings.realtime.keyspace, "increments").select(
        *columns, F.lit(None).cast("string").alias("member")
    )
    members = _table(spark, "realtime", settings.realtime.keyspace, "member_increments").select(*columns, "member")
    known = F.lit(of_all) | F.col("counter").isin([counter.name for counter in settings.counters])
    within = known & (F.col("ingest_window") < F.lit(until))
    if since:
        within &= F.col("ingest_window") >= F.lit(since)
    return keys.unionByName(members).where(within)


def read_totals(spark: SparkSession, settings: Settings) -> DataFrame:
    """The totals: (counter, key, member, granularity, bucket, count, cutoff, expires, write_time); a row written by
    hand may lack count or cutoff; one of a definition that was replaced expires."""
    written = F.greatest(F.expr("writetime(count)"), F.expr("writetime(cutoff)"))  # of the two that is not null
    expires = F.expr("ttl(count)").isNotNull().alias("expires")
    columns = ["counter", "key", "granularity", "bucket", "count", "cutoff", expires, written.alias("write_time")]
    keys = _table(spark, "batch", settings.batch.keyspace, "totals").select(
        *columns, F.lit(None).cast("string").alias("member")
    )
    members = _table(spark, "batch", settings.batch.keyspace, "member_totals").select(*columns, "member")
    return keys.unionByName(members)


def read_lists(spark: SparkSession, settings: Settings, name: str) -> DataFrame:
    """The lists of what counted most, in the table of that name: (its columns, write_time); a row written by hand may
    lack any that are not of its key."""
    key = table(name).key
    values = [column.name for column in table(name).columns if column.name not in key]
    # Each asked for once: the connector has no two columns of one name.
    written = [F.expr(f"writetime({value})").alias(f"{value}_written") for value in values]
    lists = _table(spark, "batch", settings.batch.keyspace, name).select(*key, *values, *written)
    # The connector reads a list that is null as an empty one, which says something else.
    held = [F.when(F.col(f"{value}_written").isNotNull(), F.col(value)).alias(value) for value in values]
    stamps = [F.coalesce(F.col(f"{value}_written"), F.lit(0)) for value in values]
    return lists.select(*key, *held, F.greatest(*stamps).alias("write_time"))


def _table(spark: SparkSession, cluster: str, keyspace: str, name: str) -> DataFrame:
    reader = spark.read.format("org.apache.spark.sql.cassandra")
    return reader.options(cluster=cluster, keyspace=keyspace, table=name).load()
