"""Topic → increments: counts every event into Cassandra within seconds, exactly.

    stitch submit streaming_counts [--config conf/stitch.toml] [--available-now]
    spark-submit --properties-file conf/spark-defaults.conf jobs/streaming_counts.py --config conf/stitch.toml

--config         the settings (else STITCH_CONFIG, else conf/stitch.toml)
--available-now  stop at the end of the topic (else run until SIGTERM, which lets the running micro-batch end)

foreachBatch is at-least-once; the rows it writes are absolute per ingest window and carry a write timestamp that grows
with the events behind them, so a batch that is replayed changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
from cassandra.cluster import Session
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.errors import run
from jobs.frames.contributions import contributions
from jobs.frames.events import accepted, decode
from jobs.frames.increments import increments
from jobs.queries import Stop, at_the_end, print_progress, watch
from jobs.sinks.cassandra import connected, upsert
from jobs.sources.topic import check_topic, read_topic
from jobs.spark import session
from stitch.settings import Settings, load_settings

JOB = "streaming_counts"


def write_increments(rows: DataFrame, settings: Settings) -> None:
    """One micro-batch's rows into the two tables; cached, for a batch DataFrame used twice is computed twice."""
    rows.persist()
    try:
        upsert(rows.where(F.col("member").isNull()).drop("member"), settings.realtime, "increments")
        upsert(rows.where(F.col("member").isNotNull()), settings.realtime, "member_increments")
    finally:
        rows.unpersist()


def publish_progress(cassandra: Session, progress: dict[str, Any]) -> None:
    """Tell readers how far the increments have come: the trigger's instant at the topic's end, else the newest record's."""
    through = progress["timestamp"] if at_the_end(progress) else progress.get("eventTime", {}).get("max")
    if through:
        cassandra.execute(
            "INSERT INTO progress (job, realtime_through) VALUES (%s, %s)", (JOB, datetime.fromisoformat(through))
        )


def count_topic(settings: Settings, available_now: bool, stop: Stop) -> None:
    """Run the job until the end of the topic (`available_now`) or until asked to stop."""
    check_topic(settings.kafka)
    with connected(settings.realtime, "realtime") as cassandra, session(JOB, settings.realtime) as spark:
        records = read_topic(spark, settings.kafka, settings.streaming)  # partition, offset, timestamp, key, value
        events = accepted(decode(records, settings))  # timestamp, event_id, type, occurred_at, fields…
        weighed = contributions(events, settings.counters)  # timestamp, counter, key, member, bucket, amount
        rows = increments(weighed, settings.streaming.ingest_window, settings.streaming.watermark)

        trigger: dict[str, Any] = (
            {"availableNow": True} if available_now
            else {"processingTime": f"{settings.streaming.trigger.total_seconds()} seconds"}
        )  # fmt: skip
        query = (
            rows.writeStream.queryName(JOB)
            .outputMode("update")
            .option("checkpointLocation", settings.streaming.checkpoint)
            .foreachBatch(lambda batch, _: write_increments(batch, settings))
            .trigger(**trigger)
            .start()
        )
        print(f"{JOB} counts {settings.kafka.topic} into {settings.realtime.keyspace}", flush=True)

        def report(progress: dict[str, Any]) -> None:
            print_progress(JOB, progress)
            publish_progress(cassandra, progress)

        watch(query, stop, report)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--available-now", is_flag=True, help="stop at the end of the topic")
def main(config: str | None, available_now: bool) -> None:
    """Topic → increments."""
    count_topic(load_settings(config), available_now, Stop.on_signals())


if __name__ == "__main__":
    run(lambda: main(standalone_mode=False))
