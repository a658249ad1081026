"""Topic → increments: counts every event into Cassandra within seconds, exactly.

    stitch submit streaming_counts [--config conf/stitch.toml] [--available-now] [--from-cutoff]

--config            the settings (else STITCH_CONFIG, else conf/stitch.toml)
--available-now     stop at the end of the topic (else run until SIGTERM, which lets the running micro-batch end)
--from-cutoff       move the checkpoint away and read again from the published cutoff: what is read twice counts once
--accept-data-loss  go on after records that the broker removed before they were read

foreachBatch is at-least-once; the rows it writes are absolute per ingest window and carry a write timestamp that grows
with what is behind them, so a batch that is replayed changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
from cassandra import DriverException, RequestExecutionException
from cassandra.cluster import NoHostAvailable, Session
from pyspark.sql import DataFrame
from pyspark.sql.streaming import StreamingQuery

from connections.cassandra import WRITE
from jobs import failpoints
from jobs.completeness import check_aligned, check_ingest_window
from jobs.continuity import check_note, check_offsets, noted, outdated, without_effect
from jobs.errors import run
from jobs.frames.events import accepted, decode, observed
from jobs.frames.increments import increments, streamed
from jobs.queries import Stop, at_the_end, end_offsets, keep_running, print_progress
from jobs.schemes import tell_of_one_disk
from jobs.sinks.cassandra import connected, forget_connections, upsert_by_member
from jobs.sinks.lag import LagReport
from jobs.sources.checkpoint import Checkpoint
from jobs.sources.stored import published
from jobs.sources.topic import check_topic, edges, offsets_at, read_topic, topic_id
from jobs.spark import session
from stitch.runs import newest
from stitch.settings import Settings, load_settings

JOB = "streaming_counts"


def write_increments(rows: DataFrame, settings: Settings) -> None:
    """One micro-batch's rows into the two tables; cached, for a batch DataFrame used twice is computed twice."""
    rows.persist()
    try:
        if failpoints.armed("half_written"):
            upsert_by_member(rows.where("member is null"), settings.realtime, "increments")
            failpoints.die("half_written")
        upsert_by_member(failpoints.fail_once("task_failed", rows, after=500), settings.realtime, "increments")
        failpoints.die("written")
    finally:
        rows.unpersist()


def publish_progress(cassandra: Session, progress: dict[str, Any], topic: str) -> None:
    """Tell how far the increments have come: the offsets behind them, and for people an instant (the trigger's at the
    topic's end, else the newest record's). One that is not told is told with the next batch."""
    through = progress["timestamp"] if at_the_end(progress) else progress.get("eventTime", {}).get("max")
    if not through:
        return
    values = (JOB, datetime.fromisoformat(through), end_offsets(progress, topic))
    try:
        cassandra.execute(
            "INSERT INTO progress (job, realtime_through, offsets) VALUES (%s, %s, %s)",
            values,
            timeout=5,
            execution_profile=WRITE,
        )
    except (DriverException, RequestExecutionException, NoHostAvailable) as error:
        print(f"stitch: progress not published: {error}", flush=True)


def go_back(cassandra: Session, offsets: dict[int, int]) -> None:
    """Tell, before it is read again, that what is behind the offsets is not counted yet as it is to be counted now: a
    rollup would publish a new counter without it."""
    statement = "INSERT INTO progress (job, offsets) VALUES (%s, %s)"
    cassandra.execute(statement, (JOB, offsets), timeout=5, execution_profile=WRITE)


def claim_window(cassandra: Session, settings: Settings) -> None:
    """Note, before the first increment is written, of which ingest windows all are. Raises JobError where there are
    such of another length, whoever wrote them."""
    check_ingest_window(settings)
    statement = "INSERT INTO progress (job, ingest_window) VALUES (%s, %s)"
    seconds = int(settings.streaming.ingest_window.total_seconds())
    cassandra.execute(statement, (JOB, seconds), timeout=5, execution_profile=WRITE)


def published_offsets(settings: Settings) -> dict[int, int] | None:
    """partition → the first offset behind the published cutoff, an ingest window's edge; None where nothing is
    published."""
    with connected(settings.batch, "batch") as cassandra:
        base = newest([counter.name for counter in settings.counters], published(cassandra))
    if base is None:
        return None
    check_aligned(settings, base)
    return offsets_at(settings.kafka, base.cutoff)


def rows_of(records: DataFrame, settings: Settings) -> DataFrame:
    """Records → increments: one row per ingest window and bucket."""
    decoded = observed(decode(records, settings, ["timestamp"]))
    events = accepted(decoded)  # timestamp, event_id, type, occurred_at, fields
    timed = events.withWatermark("timestamp", f"{int(settings.streaming.watermark.total_seconds())} seconds")
    placed = streamed(timed, settings)  # ingest_window, event_id, type, occurred_at, fields
    return increments(placed, settings.counters)  # counter, key, member, ingest_window, bucket, count, write_time


def count_topic(
    settings: Settings, available_now: bool, stop: Stop, from_cutoff: bool = False, accept_data_loss: bool = False
) -> None:
    """Run the job until the end of the topic (`available_now`) or until asked to stop."""
    check_topic(settings.kafka)
    with (
        connected(settings.realtime, "realtime") as cassandra,
        session(JOB, settings) as spark,
        LagReport(settings.kafka, JOB) as lag,
    ):
        claim_window(cassandra, settings)
        checkpoint = Checkpoint(spark, settings.streaming.checkpoint, settings.kafka.topic)
        tell_of_one_disk(spark, "streaming.checkpoint", checkpoint.path)
        again = from_cutoff or is_outdated(checkpoint, settings, accept_data_loss)
        starting = published_offsets(settings) if again else None
        if again:
            go_back(cassandra, starting or {})
        if again and checkpoint.exists():
            print(f"{JOB} moved the checkpoint to {checkpoint.move_away(datetime.now(UTC))}", flush=True)
        for notice in without_effect(checkpoint.path, checkpoint.kept_settings()):
            print(f"stitch: {notice}", flush=True)

        trigger: dict[str, Any] = (
            {"availableNow": True} if available_now
            else {"processingTime": f"{settings.streaming.trigger.total_seconds()} seconds"}
        )  # fmt: skip

        def start() -> StreamingQuery:
            forget_connections(spark)
            check_topic(settings.kafka)
            check_continuity(checkpoint, settings, starting, accept_data_loss)
            records = read_topic(spark, settings.kafka, settings.streaming, starting, accept_data_loss)
            return (
                rows_of(records, settings)
                .writeStream.queryName(JOB)
                .outputMode("update")
                .option("checkpointLocation", settings.streaming.checkpoint)
                .foreachBatch(lambda batch, _: write_increments(batch, settings))
                .trigger(**trigger)
                .start()
            )

        def report(progress: dict[str, Any]) -> None:
            print_progress(JOB, progress)
            publish_progress(cassandra, progress, settings.kafka.topic)
            lag.report(end_offsets(progress, settings.kafka.topic))

        print(f"{JOB} counts {settings.kafka.topic} into {settings.realtime.keyspace}", flush=True)
        keep_running(start, stop, report, settings.streaming.retry_for)


def is_outdated(checkpoint: Checkpoint, settings: Settings, accept_data_loss: bool) -> bool:
    """Whether the job must read again from the published cutoff, for what it counts now the checkpoint did not; says
    why. Raises JobError as check_continuity, which sees no gap behind a checkpoint that was moved away."""
    now, before = noted(settings, topic_id(settings.kafka)), checkpoint.note() if checkpoint.exists() else None
    why = outdated(before, now) if before else None
    if before is None or why is None:
        return False
    for notice in check_note(settings, before, now):
        print(f"stitch: {notice}", flush=True)
    check_offsets(JOB, settings, checkpoint.next_offsets(), edges(settings.kafka), accept_data_loss)
    print(f"{JOB} reads again from the published cutoff (what is read twice counts once): {why}", flush=True)
    return True


def check_continuity(
    checkpoint: Checkpoint, settings: Settings, starting: dict[int, int] | None, accept_data_loss: bool
) -> None:
    """Raises JobError where counting on would not be exact; notes for the next start what is counted now."""
    now, before = noted(settings, topic_id(settings.kafka)), checkpoint.note()
    following = checkpoint.next_offsets() or starting or {}
    if checkpoint.exists() and before:
        for notice in check_note(settings, before, now):
            print(f"stitch: {notice}", flush=True)
    check_offsets(JOB, settings, following, edges(settings.kafka), accept_data_loss)
    checkpoint.write_note(now)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--available-now", is_flag=True, help="stop at the end of the topic")
@click.option("--from-cutoff", is_flag=True, help="move the checkpoint away and start at the published cutoff")
@click.option("--accept-data-loss", is_flag=True, help="go on after records that the broker removed")
def main(config: str | None, available_now: bool, from_cutoff: bool, accept_data_loss: bool) -> None:
    """Topic → increments."""
    count_topic(load_settings(config), available_now, Stop.on_signals(), from_cutoff, accept_data_loss)


if __name__ == "__main__":
    run(main)
