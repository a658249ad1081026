"""What set-up runs once, for the JVM to keep the classes that it loads (stitch.class_archive): a little of all that
jobs do, on a table and a stream of its own. Kafka and Cassandra are asked where nobody answers, for their clients."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames.log_rows import topic_rows
from jobs.lake.log import Log
from jobs.process.spark import session
from jobs.sinks.event_log import append
from stitch.lake import KAFKA_RECORD, field_types
from stitch.settings import Settings

NOBODY = 9  # the port "discard" of this machine
EVENT = b'{"event_id": "%d", "type": "play", "occurred_at": "2026-01-01T00:00:00Z", "track_id": "t1"}'


def main(folder: Path) -> None:
    """Load what jobs load. Everything is written below `folder`."""
    settings = Settings.model_validate(
        {
            "counters": [{"name": "plays", "key": "track_id", "weights": {"play": 1}}],
            "lake": {"catalog": "classes", "warehouse": str(folder / "lake")},
            "realtime": {"port": NOBODY},
            "batch": {"port": NOBODY},
        }
    )
    with session("classes", settings) as spark:
        write_log(spark, settings)
        compare(spark.table(settings.lake.events))
        stream(spark, folder)
        ask_nobody(spark)


def write_log(spark: SparkSession, settings: Settings) -> None:
    log = Log(spark, settings)
    log.begin(field_types(settings.rules))
    for offset in range(2):
        rows = [(0, offset, datetime(2026, 1, 1, tzinfo=UTC), 1, None, bytearray(EVENT % offset))]
        append(log, topic_rows(spark.createDataFrame(rows, KAFKA_RECORD), settings, "topic"), "topic", {0: offset + 1})


def compare(rows: DataFrame) -> None:
    counts = rows.groupBy("topic_id").agg(F.count("*").alias("count"))
    counts.join(counts.withColumnRenamed("count", "other"), "topic_id", "full_outer").orderBy("count").collect()


def stream(spark: SparkSession, folder: Path) -> None:
    def keep(batch: DataFrame, _: int) -> None:
        batch.persist()
        batch.write.mode("overwrite").parquet(str(folder / "counts"))
        batch.unpersist()

    spark.range(4, numPartitions=2).selectExpr("id", "now() AS at").write.parquet(str(folder / "rows"))
    files = spark.readStream.schema("id LONG, at TIMESTAMP").option("maxFilesPerTrigger", 1)
    rows = files.parquet(str(folder / "rows"))
    counts = rows.withWatermark("at", "1 minute").groupBy(F.window("at", "1 hour"), "id").count()
    writer = counts.writeStream.outputMode("update").option("checkpointLocation", str(folder / "checkpoint"))
    writer.foreachBatch(keep).trigger(availableNow=True).start().awaitTermination()


def ask_nobody(spark: SparkSession) -> None:
    wait = "kafka.default.api.timeout.ms", "kafka.request.timeout.ms"
    kafka: dict[str, Any] = {"kafka.bootstrap.servers": f"127.0.0.1:{NOBODY}", "subscribe": "none"}
    kafka |= dict.fromkeys(wait, "300") | {"fetchOffset.numRetries": "1"}
    cassandra = {"keyspace": "none", "table": "none", "cluster": "batch"}
    for source, options in (("kafka", kafka), ("org.apache.spark.sql.cassandra", cassandra)):
        with suppress(Py4JJavaError, PySparkException):
            spark.read.format(source).options(**options).load().collect()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
