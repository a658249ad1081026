"""The Spark session of a job: what correctness needs is set here, what may be tuned stands in conf/spark-defaults.conf."""

from __future__ import annotations

from pyspark.sql import SparkSession

from stitch.settings import CassandraSettings


def session(job: str, layer: CassandraSettings | None = None) -> SparkSession:
    """The job's session, its connector pointing at `layer` (a job writes to one layer only)."""
    builder = (
        SparkSession.builder.appName(f"stitch {job}")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", "false")
    )
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    if layer:
        spark.conf.set("spark.cassandra.connection.host", ",".join(layer.hosts))
        spark.conf.set("spark.cassandra.connection.port", str(layer.port))
        spark.conf.set("spark.cassandra.connection.localDC", layer.datacenter)
        if layer.username:
            spark.conf.set("spark.cassandra.auth.username", layer.username)
            spark.conf.set("spark.cassandra.auth.password", layer.password or "")
    return spark
