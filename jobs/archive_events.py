"""Topic → event log: every record, valid or not, exactly once, in Parquet by ingest date and hour.

    stitch submit archive_events [--config conf/stitch.toml] [--available-now] [--accept-data-loss]

--accept-data-loss  go on after records that the broker removed before they were archived, or with a topic that was
                    recreated; what is lost is noted beside the log, and the batch names the hours

The payload is kept untouched, so that any counter can be computed again over all history. Records that are no events
go beside the others, in verdict=rejected, with the reason; nothing is thrown away. Without its checkpoint the job goes
on in a new segment of the log, at the offsets behind the old one.
"""

from __future__ import annotations

from typing import Any

import click
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming import StreamingQuery

from jobs.continuity import check_offsets, recreated
from jobs.errors import run
from jobs.frames.events import DECODED, decode, observed
from jobs.queries import Stop, end_offsets, keep_running, print_progress
from jobs.sinks.lag import LagReport
from jobs.sources.checkpoint import Checkpoint
from jobs.sources.event_log import archived_offsets, last_appended
from jobs.sources.readable import first_stamped
from jobs.sources.segments import Segment, begin, checkpoint_of, note_loss, segments
from jobs.sources.topic import check_topic, edges, read_topic, topic_id
from jobs.spark import session
from stitch.cutoff import removed_offsets
from stitch.settings import Settings, load_settings

JOB = "archive_events"
RECORD = ["partition", "offset", "timestamp", "timestamp_type", "key", "value"]


def log_rows(decoded: DataFrame, decoder: str) -> DataFrame:
    """Decoded records → the log's columns; the last four name the folders.

    The payload is the truth; what it was decoded into stands beside it, under the decoder's name, to spare the batch
    from parsing it again while the decoder is the same.
    """
    return decoded.select(
        *DECODED,
        "timestamp_type",
        "key",
        "value",
        F.lit(decoder).alias("decoder"),
        F.when(F.col("reject_reason").isNull(), "accepted").otherwise("rejected").alias("verdict"),
        F.to_date("timestamp").alias("ingest_date"),
        F.hour("timestamp").alias("ingest_hour"),
    )


def current_segment(spark: SparkSession, settings: Settings, accept_data_loss: bool) -> tuple[Segment, Checkpoint]:
    """The segment to write on and its checkpoint: the last, as long as both fit the topic; else a new one."""
    topic, known = topic_id(settings.kafka), segments(settings.log)
    if known and known[-1].topic_id == topic:
        checkpoint = Checkpoint(spark, checkpoint_of(settings.log, known[-1]), settings.kafka.topic)
        if checkpoint.exists() or not known[-1].readable:
            return known[-1], checkpoint
        print(f"{JOB}: the checkpoint {checkpoint.path} is gone; the log goes on in a new segment", flush=True)
    elif known:
        if not accept_data_loss:
            raise recreated(JOB, settings, "Start once with --accept-data-loss: the log goes on in a new segment")
        ends = archived_offsets(spark, settings.log, known[-1].topic_id)
        note_loss(settings.log, {p: (at, None) for p, at in ends.items()}, last_appended(spark, settings.log), None)
    segment = begin(settings.log, topic)
    return segment, Checkpoint(spark, checkpoint_of(settings.log, segment), settings.kafka.topic)


def check_continuity(spark: SparkSession, settings: Settings, following: dict[int, int], accept: bool) -> None:
    """Raises JobError where records are gone that the log should hold; notes them where that is accepted."""
    held = edges(settings.kafka)
    check_offsets(JOB, settings, following, held, accept)
    lost = removed_offsets(following, {partition: low for partition, (low, _) in held.items()})
    for partition, (first, last) in lost.items():
        until = first_stamped(settings.kafka, {partition: last}, "read_committed")[partition].appended
        since = last_appended(spark, settings.log, partition)
        note_loss(settings.log, {partition: (first, last - 1)}, since, until)
        print(f"stitch: lost: partition {partition}, offsets {first} to {last - 1}, appended after {since} and before "
              f"{until}", flush=True)  # fmt: skip


def archive_topic(settings: Settings, available_now: bool, stop: Stop, accept_data_loss: bool = False) -> None:
    """Run the job until the end of the topic (`available_now`) or until asked to stop."""
    check_topic(settings.kafka)
    with session(JOB, settings) as spark, LagReport(settings.kafka, JOB) as lag:
        trigger: dict[str, Any] = (
            {"availableNow": True} if available_now
            else {"processingTime": f"{settings.log.trigger.total_seconds()} seconds"}
        )  # fmt: skip

        def start() -> StreamingQuery:
            check_topic(settings.kafka)
            segment, checkpoint = current_segment(spark, settings, accept_data_loss)
            # Without a checkpoint, behind what the log holds of this topic: nothing twice, nothing missing.
            starting = None if checkpoint.exists() else archived_offsets(spark, settings.log, segment.topic_id)
            check_continuity(spark, settings, checkpoint.next_offsets() or starting or {}, accept_data_loss)
            records = read_topic(spark, settings.kafka, settings.streaming, starting, accept_data_loss)
            return (
                log_rows(observed(decode(records, settings, RECORD)), settings.decoder)
                .writeStream.queryName(JOB)
                .format("parquet")
                .option("path", str(segment.path))
                .option("checkpointLocation", checkpoint.path)
                .partitionBy("decoder", "verdict", "ingest_date", "ingest_hour")
                .trigger(**trigger)
                .start()
            )

        def report(progress: dict[str, Any]) -> None:
            print_progress(JOB, progress)
            lag.report(end_offsets(progress, settings.kafka.topic))

        print(f"{JOB} writes {settings.kafka.topic} into {settings.log.path}", flush=True)
        keep_running(start, stop, report, settings.streaming.retry_for)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--available-now", is_flag=True, help="stop at the end of the topic")
@click.option("--accept-data-loss", is_flag=True, help="go on after records that the broker removed")
def main(config: str | None, available_now: bool, accept_data_loss: bool) -> None:
    """Topic → event log."""
    archive_topic(load_settings(config), available_now, Stop.on_signals(), accept_data_loss)


if __name__ == "__main__":
    run(main)
