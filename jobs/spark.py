"""The Spark session of a job: what correctness needs is set here, what may be tuned stands in conf/spark-defaults.conf."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from stitch.settings import CassandraSettings


@contextmanager
def session(job: str, layer: CassandraSettings | None = None) -> Iterator[SparkSession]:
    """The job's session, its connector pointing at `layer` (a job writes to one layer only).

    A session that was there before (a notebook's, a test run's) is used and left running.
    """
    lent = SparkSession.getActiveSession()
    spark = lent or SparkSession.builder.appName(f"stitch {job}").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set("spark.sql.ansi.enabled", "false")
    if layer:
        spark.conf.set("spark.cassandra.connection.host", ",".join(layer.hosts))
        spark.conf.set("spark.cassandra.connection.port", str(layer.port))
        spark.conf.set("spark.cassandra.connection.localDC", layer.datacenter)
        if layer.username:
            spark.conf.set("spark.cassandra.auth.username", layer.username)
            spark.conf.set("spark.cassandra.auth.password", layer.password or "")
    try:
        yield spark
    finally:
        if lent is None:
            spark.stop()
