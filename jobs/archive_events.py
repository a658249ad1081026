"""Topic → event log: every record, valid or not, exactly once, in a table of Apache Iceberg.

    stitch submit archive_events [--config conf/stitch.toml] [--available-now] [--accept-data-loss]
                                 [--accept-loss PARTITION:FIRST-LAST]

--accept-data-loss  go on after records that the broker removed before they were archived, or with a topic that was
                    recreated; what is lost is noted in the log, and the batch names the hours
--accept-loss       note that the log will never hold these offsets (inclusive), and go on

The payload is kept untouched, so that any counter can be computed again over all history. Records that are no events
are kept beside the others, as rejected, with the reason; nothing is thrown away.

There is no checkpoint to lose: the log itself says up to where it holds the topic. The job reads from there to the end,
waits for `log.trigger`, and looks again.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from itertools import count
from typing import Any

import click
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming import StreamingQuery

from jobs.continuity import check_offsets, recreated
from jobs.errors import run
from jobs.frames.events import DECODED, decode, observed
from jobs.lake import FIRST, Log
from jobs.queries import Stop, end_offsets, keep_running, print_progress
from jobs.sinks.event_log import append
from jobs.sinks.lag import LagReport
from jobs.sources.checkpoint import Checkpoint
from jobs.sources.event_log import last_appended
from jobs.sources.readable import first_stamped
from jobs.sources.topic import check_topic, edges, read_topic, topic_id
from jobs.spark import session
from stitch.cutoff import removed_offsets
from stitch.lake import field_types
from stitch.settings import Settings, load_settings

JOB = "archive_events"
RECORD = ["partition", "offset", "timestamp", "timestamp_type", "key", "value"]
_RANGE = re.compile(r"^(\d+):(\d+)-(\d+)$")


def log_rows(decoded: DataFrame, decoder: str, topic: str) -> DataFrame:
    """Decoded records → the log's columns (stitch.lake).

    The payload is the truth; what it was decoded into stands beside it, under the decoder's name, to spare the batch
    from parsing it again while the decoder is the same.
    """
    return decoded.select(
        F.lit(topic).alias("topic_id"),
        *DECODED,
        "timestamp_type",
        "key",
        "value",
        F.lit(decoder).alias("decoder"),
        F.when(F.col("reject_reason").isNull(), "accepted").otherwise("rejected").alias("verdict"),
    )


def current_topic(spark: SparkSession, log: Log, settings: Settings, accept_data_loss: bool) -> str:
    """The id of the topic, noted in the log with the offsets at which it begins when it is read for the first time."""
    name, topic = f"topic.{settings.kafka.topic}", topic_id(settings.kafka)
    before = log.note(name)
    if before == topic:
        return topic
    if before is not None:
        if not accept_data_loss:
            raise recreated(JOB, settings, "Start once with --accept-data-loss: the log goes on with the new topic")
        _, ends = log.position(before)
        log.note_loss({p: (at, None) for p, at in ends.items()}, last_appended(spark, settings), None)
    log.write_note(FIRST + topic, {partition: low for partition, (low, _) in edges(settings.kafka).items()})
    log.write_note(name, topic)
    return topic


def check_continuity(
    spark: SparkSession, log: Log, settings: Settings, following: dict[int, int], accept: bool
) -> None:
    """Raises JobError where records are gone that the log should hold; notes them where that is accepted."""
    held = edges(settings.kafka)
    check_offsets(JOB, settings, following, held, accept)
    lost = removed_offsets(following, {partition: low for partition, (low, _) in held.items()})
    for partition, (first, last) in lost.items():
        until = first_stamped(settings.kafka, {partition: last}, "read_committed")[partition].appended
        since = last_appended(spark, settings, partition)
        log.note_loss({partition: (first, last - 1)}, since, until)
        print(f"stitch: lost: partition {partition}, offsets {first} to {last - 1}, appended after {since} and before "
              f"{until}", flush=True)  # fmt: skip


def archive_topic(
    settings: Settings,
    available_now: bool,
    stop: Stop,
    accept_data_loss: bool = False,
    accept_loss: Sequence[tuple[int, int, int]] = (),
) -> None:
    """Run the job until the end of the topic (`available_now`) or until asked to stop."""
    check_topic(settings.kafka)
    with (
        session(JOB, settings) as spark,
        LagReport(settings.kafka, JOB) as lag,
        tempfile.TemporaryDirectory(prefix="stitch-archive-") as folder,  # a query must have a checkpoint
    ):
        log, numbers = Log(spark, settings), count()
        log.begin(field_types(settings.rules))
        for partition, first, last in accept_loss:
            log.note_loss({partition: (first, last)}, None, None)

        def start() -> StreamingQuery:
            check_topic(settings.kafka)
            topic = current_topic(spark, log, settings, accept_data_loss)
            _, held = log.position(topic)
            check_continuity(spark, log, settings, held, accept_data_loss)
            checkpoint = Checkpoint(spark, f"file://{folder}/{next(numbers)}", settings.kafka.topic)
            records = read_topic(spark, settings.kafka, settings.streaming, held, accept_data_loss)
            rows = log_rows(observed(decode(records, settings, RECORD)), settings.decoder, topic)
            return (
                rows.writeStream.queryName(JOB)
                .foreachBatch(lambda batch, number: append(log, batch, topic, checkpoint.planned_offsets(number)))
                .option("checkpointLocation", checkpoint.path)
                .trigger(availableNow=True)
                .start()
            )

        def report(progress: dict[str, Any]) -> None:
            print_progress(JOB, progress)
            lag.report(end_offsets(progress, settings.kafka.topic))

        print(f"{JOB} writes {settings.kafka.topic} into {log.name}", flush=True)
        again = None if available_now else settings.log.trigger
        keep_running(start, stop, report, settings.streaming.retry_for, again)


def parse_ranges(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[tuple[int, int, int]]:
    """`PARTITION:FIRST-LAST` → (partition, first, last)."""
    found = []
    for value in values:
        match = _RANGE.match(value)
        if not match or int(match[2]) > int(match[3]):
            raise click.BadParameter(f"{value!r}: write PARTITION:FIRST-LAST, both offsets included")
        found.append((int(match[1]), int(match[2]), int(match[3])))
    return found


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--available-now", is_flag=True, help="stop at the end of the topic")
@click.option("--accept-data-loss", is_flag=True, help="go on after records that the broker removed")
@click.option(
    "--accept-loss",
    multiple=True,
    callback=parse_ranges,
    metavar="PARTITION:FIRST-LAST",
    help="note that the log will never hold these offsets",
)
def main(
    config: str | None, available_now: bool, accept_data_loss: bool, accept_loss: Sequence[tuple[int, int, int]]
) -> None:
    """Topic → event log."""
    archive_topic(load_settings(config), available_now, Stop.on_signals(), accept_data_loss, accept_loss)


if __name__ == "__main__":
    run(main)
