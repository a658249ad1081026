"""The Spark session of a job: what correctness needs is set here, what may be tuned stands in conf/spark-defaults.conf.

Each layer is a cluster of its own to the connector, named "realtime" and "batch" as in the settings: a job that reads
one and writes the other says which by the option `cluster`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from stitch.sections import CassandraSettings
from stitch.settings import Settings

# Options of sources that no plan may show: a client's key and user go to Spark's Kafka source by value.
_REDACTED = r"(?i)url|secret|password|token|jaas|ssl[.]keystore[.]key"
_PROPAGATE_EMPTY = "org.apache.spark.sql.execution.adaptive.AQEPropagateEmptyRelation"


@contextmanager
def session(job: str, settings: Settings) -> Iterator[SparkSession]:
    """The job's session. One that was there before (a notebook's, a test run's) is used and left running."""
    lent = SparkSession.getActiveSession()
    spark = lent or SparkSession.builder.appName(f"stitch {job}").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set("spark.sql.ansi.enabled", "false")
    spark.conf.set("spark.sql.redaction.options.regex", _REDACTED)
    # It would take an empty stage out of the plan together with the figures observed in it, and who asks for them waits for ever.
    spark.conf.set("spark.sql.adaptive.optimizer.excludedRules", _PROPAGATE_EMPTY)
    # The check forbids a sum behind a deduplication in update mode for the sake of operators that emit rows late; a
    # deduplication emits each first event at once, or drops it.
    spark.conf.set("spark.sql.streaming.unsupportedOperationCheck", str(not settings.streaming.deduplicate).lower())
    for cluster, layer in (("realtime", settings.realtime), ("batch", settings.batch)):
        _point(spark, cluster, layer)
    try:
        yield spark
    finally:
        if lent is None:
            spark.stop()


def _point(spark: SparkSession, cluster: str, layer: CassandraSettings) -> None:
    connection = {"host": ",".join(layer.hosts), "port": str(layer.port), "localDC": layer.datacenter}
    for name, value in connection.items():
        spark.conf.set(f"{cluster}/spark.cassandra.connection.{name}", value)
    if layer.username:
        spark.conf.set(f"{cluster}/spark.cassandra.auth.username", layer.username)
        spark.conf.set(
            f"{cluster}/spark.cassandra.auth.password", layer.password.get_secret_value() if layer.password else ""
        )
