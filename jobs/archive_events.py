"""Topic and other sources → event log: every record, valid or not, exactly once, in a table of Apache Iceberg.

    stitch submit archive_events [--config conf/stitch.toml] [--available-now] [--accept-data-loss]
                                 [--accept-loss PARTITION:FIRST-LAST] [--import-log FOLDER]
                                 [--accept-uncounted [TOPIC_ID/]PARTITION:FIRST-LAST]

--accept-data-loss  go on after records that the broker removed before they were archived, or with a topic that was
                    recreated; what is lost is noted in the log, and the batch names the hours
--accept-loss       note that the log will never hold these offsets (inclusive), and go on
--accept-uncounted  note that it is right that these records of the log do not count: the audit asks for them no more
--import-log        first bring in the log that a release before 0.2 wrote into this folder

The payload is kept untouched, so that any counter can be computed again over all history. Records that are no events
are kept beside the others, as rejected, with the reason; nothing is thrown away.

There is no checkpoint to lose: the log itself says up to where it holds the topic. The job reads from there to the end,
waits for `log.trigger`, and looks again. So it does with the files and tables of [[sources]], which bring history of
other origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

from jobs.archiving import JOB, Rounds, rounds_of
from jobs.errors import run
from jobs.frames.log_rows import topic_rows
from jobs.importing import Sources, import_log
from jobs.lake import Log
from jobs.options import parse_ranges, parse_records
from jobs.queries import Stop, end_offsets, keep_running, print_progress
from jobs.sinks.lag import LagReport
from jobs.sources.topic import check_topic, read_topic, topic_id
from jobs.spark import session
from stitch.lake import field_types
from stitch.settings import Settings, load_settings


def archive(
    settings: Settings,
    available_now: bool,
    stop: Stop,
    accept_data_loss: bool = False,
    accept_loss: Sequence[tuple[int, int, int]] = (),
    accept_uncounted: Sequence[tuple[str | None, int, int, int]] = (),
    old_log: str | None = None,
) -> None:
    """Run the job until all that is there is in the log (`available_now`) or until asked to stop."""
    if settings.log.kafka:
        check_topic(settings.kafka)
    with session(JOB, settings) as spark:
        log, again = Log(spark, settings), None if available_now else settings.log.trigger
        log.begin(field_types(settings.rules))
        if old_log:
            import_log(spark, log, settings, old_log)
        for partition, first, last in accept_loss:
            log.note_loss(topic_id(settings.kafka), {partition: (first, last)}, None, None)
        for topic, partition, first, last in accept_uncounted:
            log.note_uncounted(topic or topic_id(settings.kafka), partition, first, last)
        topics = [settings.kafka.topic] if settings.log.kafka else []
        names = ", ".join([*topics, *(source.name for source in settings.sources)])
        print(f"{JOB} writes {names} into {log.name}", flush=True)
        sources = Sources(spark, log, settings)
        if settings.log.kafka:
            with rounds_of(spark, log, settings, accept_data_loss) as rounds:
                archive_topic(spark, settings, rounds, sources, stop, again)
        else:
            sources.bring_until(stop, again)
        sources.raise_last()


def archive_topic(
    spark: SparkSession, settings: Settings, rounds: Rounds, sources: Sources, stop: Stop, again: timedelta | None
) -> None:
    """The topic to its end, and the sources before it; again after so long (None: once), until asked to stop."""
    with LagReport(settings.kafka, JOB) as lag:

        def start() -> StreamingQuery:
            sources.bring()
            following = rounds.begin()  # partition → the first offset that the log lacks
            records = read_topic(spark, settings.kafka, settings.streaming, following, rounds.accept_data_loss)
            return (
                topic_rows(records, settings, rounds.topic)  # the log's columns: decoded, or with a reject_reason
                .writeStream.queryName(JOB)
                .foreachBatch(rounds.append)
                .option("checkpointLocation", rounds.checkpoint)
                .trigger(availableNow=True)
                .start()
            )

        def report(progress: dict[str, Any]) -> None:
            print_progress(JOB, progress)
            lag.report(end_offsets(progress, settings.kafka.topic))

        keep_running(start, stop, report, settings.streaming.retry_for, again)


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
@click.option(
    "--accept-uncounted",
    multiple=True,
    callback=parse_records,
    metavar="[TOPIC_ID/]PARTITION:FIRST-LAST",
    help="note that these records do not count",
)
@click.option("--import-log", "old_log", type=click.Path(), default=None, help="first bring in a log from before 0.2")
def main(config: str | None, available_now: bool, **accepted: Any) -> None:
    """Topic → event log."""
    archive(load_settings(config), available_now, Stop.on_signals(), **accepted)


if __name__ == "__main__":
    run(main)
