"""Upserts into Cassandra, each row with a write timestamp of its own, so that the best-informed writer wins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from cassandra.cluster import Session
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from connections import cassandra
from connections.refusals import NoAnswer, Refused
from jobs.process.errors import JobError, Unreachable
from stitch.clusters import CassandraSettings, RealtimeSettings
from stitch.tables import LayerName, lacking

WRITE_TIME = "write_time"


def upsert(rows: DataFrame, layer: CassandraSettings, table: str, expire: timedelta | None = None) -> None:
    """Write the rows (the table's columns and `write_time`, µs), which expire after so long (None: as the table says).
    Idempotent: the same rows again change nothing."""
    cluster = "realtime" if isinstance(layer, RealtimeSettings) else "batch"
    (
        rows.write.format("org.apache.spark.sql.cassandra")
        .options(cluster=cluster, keyspace=layer.keyspace, table=table, writetime=WRITE_TIME)
        .options(**{"ttl": int(expire.total_seconds())} if expire else {})
        .mode("append")
        .save()
    )


def upsert_by_member(rows: DataFrame, layer: CassandraSettings, table: str, expire: timedelta | None = None) -> None:
    """Write rows of keys (a null member) into the table, and rows of members into its twin `member_…`."""
    upsert(rows.where(F.col("member").isNull()).drop("member"), layer, table, expire)
    upsert(rows.where(F.col("member").isNotNull()), layer, f"member_{table}", expire)


def forget_connections(spark: SparkSession) -> None:
    """Close the connector's idle connections: one whose cluster went away may wait for ever to read the schema
    again."""
    spark._jvm.com.datastax.spark.connector.cql.CassandraConnector.evictCache()


class NoLayer(JobError):
    """The layer's cluster refuses, or has not the layer's keyspace: trying again is of no use."""


@contextmanager
def connected(layer: CassandraSettings, name: LayerName) -> Iterator[Session]:
    """A driver session on the layer's keyspace. Raises Unreachable, NoLayer or JobError, with the way out."""
    with ExitStack() as stack:
        try:
            session = stack.enter_context(cassandra.connected(layer, name))
            cassandra.check_keyspace(session, layer, name)
        except NoAnswer as error:
            raise Unreachable(str(error)) from None
        except Refused as error:
            raise NoLayer(str(error)) from None
        tables = session.cluster.metadata.keyspaces[layer.keyspace].tables
        missing = lacking(name, {table: set(found.columns) for table, found in tables.items()})
        if missing:
            raise JobError(
                f"the keyspace {layer.keyspace!r} of the {name} layer lacks {', '.join(missing)}: "
                "`stitch schema apply` adds what is missing"
            )
        session.set_keyspace(layer.keyspace)
        yield session
