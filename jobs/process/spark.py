"""The Spark session of a job: what correctness needs is set here, what may be tuned stands in conf/spark-defaults.conf.

Each layer is a cluster of its own to the connector, named "realtime" and "batch" as in the settings: a job that reads
one and writes the other says which by the option `cluster`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from connections.cassandra import VERIFY_HOSTNAME, connector_options
from connections.tls import Stores, stores
from jobs.process.errors import BadOption, JobError
from jobs.process.schemes import check_scheme, tell_of_one_disk
from stitch.clusters import CassandraSettings
from stitch.settings import Settings
from stitch.values import scheme_of

SSL = "spark.cassandra.connection.ssl"
# Options of sources that no plan may show: a client's key and user go to Spark's Kafka source by value.
_REDACTED = r"(?i)url|secret|password|token|jaas|ssl[.]keystore[.]key"
_BY_HADOOP = frozenset({"hadoop", "hive", "jdbc"})  # catalogs that, unless io-impl is said, reach files by Hadoop
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
    # Instants before 1900 are written as they are and not refused: what a record says must not end the archive.
    spark.conf.set("spark.sql.parquet.int96RebaseModeInWrite", "CORRECTED")
    spark.conf.set("spark.sql.parquet.int96RebaseModeInRead", "CORRECTED")
    spark.conf.set("spark.sql.parquet.datetimeRebaseModeInWrite", "CORRECTED")
    spark.conf.set("spark.sql.parquet.datetimeRebaseModeInRead", "CORRECTED")
    # It would take an empty stage out of the plan together with the figures observed in it, and who asks for them waits
    # for ever.
    spark.conf.set("spark.sql.adaptive.optimizer.excludedRules", _PROPAGATE_EMPTY)
    # The check forbids a sum behind a deduplication in update mode for the sake of operators that emit rows late; a
    # deduplication emits each first event at once, or drops it.
    spark.conf.set("spark.sql.streaming.unsupportedOperationCheck", str(not settings.streaming.deduplicate).lower())
    try:
        _verify_hostnames(spark, settings)
        _catalog(spark, settings)
        with ExitStack() as stack:
            for cluster, layer in (("realtime", settings.realtime), ("batch", settings.batch)):
                stack.enter_context(_pointed(spark, cluster, layer))
            yield spark
    finally:
        if lent is None:
            spark.stop()


@contextmanager
def _pointed(spark: SparkSession, cluster: str, layer: CassandraSettings) -> Iterator[None]:
    """The connector's `cluster` is the layer's while this lasts. Set in the running session: no command line shows
    it."""
    with ExitStack() as stack:
        made = stack.enter_context(stores(layer.tls, f"{cluster}.tls")) if layer.tls else None
        options = connector_options(layer, made)
        if made and not spark.sparkContext.master.startswith("local"):
            _tell_of_stores(cluster, made, layer)
        for name, value in options.items():
            spark.conf.set(f"{cluster}/{name}", value)
        try:
            yield
        finally:  # a session that was lent goes on
            for name in options:
                spark.conf.unset(f"{cluster}/{name}")


def _catalog(spark: SparkSession, settings: Settings) -> None:
    """The catalog of the lake: as Spark's configuration has it, else a file of SQLite beside the tables. Raises
    BadOption for a warehouse that no file can be beside, that Hadoop cannot reach, or that
    would be on the disk of a driver's container."""
    lake, prefix = settings.lake, f"spark.sql.catalog.{settings.lake.catalog}"
    if spark.conf.get(prefix, None) is not None:
        if spark.conf.get(f"{prefix}.type", "") in _BY_HADOOP and not spark.conf.get(f"{prefix}.io-impl", ""):
            check_scheme(spark, f"{prefix}.warehouse", spark.conf.get(f"{prefix}.warehouse", ""))
        return
    if scheme_of(lake.warehouse):
        raise BadOption(
            f"lake.warehouse={lake.warehouse}: the catalog that needs no server is a file on this machine. Say in "
            f"Spark's configuration which catalog has the tables ({prefix}, {prefix}.type, …: docs/storage.md)"
        )
    if deploy_mode(spark) == "cluster":
        raise BadOption(
            "in cluster deploy mode the catalog that needs no server would be a file on the disk of whatever machine "
            "the driver runs on, and gone with it. Say in Spark's configuration which catalog has the tables "
            f"({prefix}, {prefix}.type, …: docs/storage.md)"
        )
    Path(lake.warehouse).mkdir(parents=True, exist_ok=True)
    tell_of_one_disk(spark, "lake.warehouse", lake.warehouse)
    options = {
        "": "org.apache.iceberg.spark.SparkCatalog",
        ".type": "jdbc",
        # Jobs commit beside each other: one waits for the other's lock.
        ".uri": f"jdbc:sqlite:{lake.warehouse}/catalog.db?busy_timeout=30000&journal_mode=WAL",
        ".jdbc.schema-version": "V1",
        ".warehouse": lake.warehouse,
        ".cache-enabled": "false",  # what another job committed is seen at once
    }
    for name, value in options.items():
        spark.conf.set(f"{prefix}{name}", value)


def deploy_mode(spark: SparkSession) -> str:
    """Where the driver runs: `client`, or `cluster` for a container of the cluster's."""
    conf = spark.sparkContext.getConf()
    if conf.get("spark.kubernetes.submitInDriver", "false") == "true":  # in its pod, Spark says that it is a client
        return "cluster"
    return str(conf.get("spark.submit.deployMode", "client"))


def _verify_hostnames(spark: SparkSession, settings: Settings) -> None:
    """Raises JobError where the layers differ in it: the connector takes one for all of a JVM."""
    said = {layer.tls.verify_hostname for layer in (settings.realtime, settings.batch) if layer.tls}
    if len(said) > 1:
        raise JobError(
            "realtime.tls.verify_hostname and batch.tls.verify_hostname differ, and the Spark connector takes one for "
            "both: set them alike"
        )
    for verify in said:
        spark._jvm.java.lang.System.setProperty(VERIFY_HOSTNAME, str(verify).lower())


def _tell_of_stores(cluster: str, made: Stores, layer: CassandraSettings) -> None:
    options = [
        option
        for option, path in ((f"{SSL}.trustStore.path", made.trust), (f"{SSL}.keyStore.path", made.key))
        if path and option not in layer.connector
    ]
    if options:
        print(
            f"stitch: executors on other machines do not have the stores made of [{cluster}.tls]: "
            f"name some that are on all machines in [{cluster}.connector]: {', '.join(options)}",
            flush=True,
        )
