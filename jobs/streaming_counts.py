"""Topics → increments: counts every event into Cassandra within seconds, exactly.

    stitch submit streaming_counts --help

foreachBatch is at-least-once; the rows it writes are absolute per ingest window and carry a write timestamp that grows
with what is behind them, so a batch that is replayed changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming import StreamingQuery

from jobs.frames.events import accepted, decode, observed
from jobs.frames.increments import increments, streamed
from jobs.process import figures
from jobs.process.errors import run
from jobs.process.spark import session
from jobs.proof.completeness import STREAMING_JOB as JOB
from jobs.sinks.cassandra import connected, upsert_by_member
from jobs.sinks.lag import LagReport
from jobs.sources.checkpoint import Checkpoint, Span
from jobs.sources.topic import check_topics
from jobs.streaming.continuity import begin
from jobs.streaming.figures import note_progress
from jobs.streaming.queries import Stop, counted_through, end_offsets, keep_running, print_progress
from jobs.streaming.starting import Starts
from jobs.totals.definitions import counted_live
from stitch.combining import combining
from stitch.settings import Settings, load_settings


def rows_of(
    records: DataFrame, settings: Settings, span: Span | None = None, since: datetime | None = None
) -> DataFrame:
    """Records → increments: one row per ingest window and bucket. span: of these windows alone, at once; since: of a
    stream that has not read all of what is before, where a row of a late record alone could overwrite the whole one."""
    alike = None if settings.streaming.deduplicate else combining(settings, settings.counters)
    decoded = observed(decode(records, settings, ["timestamp"], alike), settings)
    events = accepted(decoded)  # timestamp, event_id, type, occurred_at, fields, and times of those that count alike
    if span:
        timed = events.where((F.col("timestamp") >= span.since) & (F.col("timestamp") < span.until))
    else:
        timed = events.withWatermark("timestamp", f"{int(settings.streaming.watermark.total_seconds())} seconds")
        timed = timed.where(F.col("timestamp") >= since) if since else timed  # behind it, which tells of the oldest
    placed = streamed(timed, settings)  # ingest_window, event_id, type, occurred_at, fields
    return increments(placed, settings.counters)  # counter, key, member, ingest_window, bucket, count, write_time


def write_increments(rows: DataFrame, settings: Settings) -> None:
    """One micro-batch's rows into the two tables; cached, for a batch DataFrame used twice is computed twice."""
    rows.persist()
    try:
        upsert_by_member(rows, settings.realtime, "increments")
    finally:
        rows.unpersist()


def count_topic(
    settings: Settings, available_now: bool, stop: Stop, from_cutoff: bool = False, accept_data_loss: bool = False
) -> None:
    """Run the job until the end of the topic (`available_now`) or until asked to stop."""
    check_topics(settings)
    with (
        connected(settings.realtime, "realtime") as cassandra,
        session(JOB, settings) as spark,
        LagReport(settings.kafka, JOB) as lag,
    ):
        checkpoint = Checkpoint(spark, settings.streaming.checkpoint)
        counting = counted_live(settings, checkpoint.counters())
        beginning = begin(cassandra, checkpoint, counting, from_cutoff, accept_data_loss)

        def count(records: DataFrame, span: Span) -> None:
            write_increments(rows_of(records, counting, span), settings)

        starts = Starts(settings, counting, checkpoint, cassandra, beginning, count, accept_data_loss, stop)
        pace: dict[str, Any] = {"processingTime": f"{settings.streaming.trigger.total_seconds()} seconds"}

        def start() -> StreamingQuery:
            records, since = starts.next()
            return (
                rows_of(records, counting, since=since)
                .writeStream.queryName(JOB)
                .outputMode("update")
                .option("checkpointLocation", settings.streaming.checkpoint)
                .foreachBatch(lambda batch, _: write_increments(batch, settings))
                .trigger(**({"availableNow": True} if available_now else pace))
                .start()
            )

        def report(progress: dict[str, Any]) -> None:
            offsets, through = end_offsets(progress), counted_through(progress)
            print_progress(JOB, progress)
            note_progress(progress, through)
            starts.recounts.note(progress)
            starts.publish(through, offsets)
            lag.report(offsets)

        print(f"{JOB} counts {', '.join(settings.topics_read)} into {settings.realtime.keyspace}", flush=True)
        keep_running(start, stop, report, settings.streaming.retry_for, starts.recounts.again, starts.recounts.due)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--available-now", is_flag=True, help="stop at the end of the topics (else run until SIGTERM)")
@click.option("--from-cutoff", is_flag=True, help="move the checkpoint away and read again from the published cutoff")
@click.option("--accept-data-loss", is_flag=True, help="go on after records that the broker removed")
def main(config: str | None, available_now: bool, from_cutoff: bool, accept_data_loss: bool) -> None:
    """Topics → increments."""
    settings = load_settings(config)
    figures.begin(JOB, settings.metrics, settings.metrics.streaming_port, runs_on=not available_now)
    count_topic(settings, available_now, Stop.on_signals(), from_cutoff, accept_data_loss)


if __name__ == "__main__":
    run(main)
