"""Topics and other sources → event log: every record, valid or not, exactly once, in a table of Apache Iceberg.

    stitch submit archive_events [--config conf/stitch.toml] [--available-now] [--accept-data-loss]
                                 [--accept-loss [TOPIC/]PARTITION:FIRST-LAST] [--import-log FOLDER]
                                 [--accept-uncounted [TOPIC/]PARTITION:FIRST-LAST]

--accept-data-loss  go on after records that the broker removed before they were archived, or with a topic that was
                    recreated; what is lost is noted in the log, and the batch names the hours
--accept-loss       note that the log will never hold these offsets (inclusive), and go on
--accept-uncounted  note that it is right that these records of the log do not count: the audit asks for them no more;
                    TOPIC is a topic's name or the id that the audit prints, and both need it where there are several
--import-log        first bring in the log that a release before 0.2 wrote into this folder

The payload is kept untouched, so that any counter can be computed again over all history. Records that are no events
are kept beside the others, as rejected, with the reason; nothing is thrown away.

There is no checkpoint to lose: the log itself says up to where it holds each topic. The job reads one after the other
from there to its end, waits for `log.trigger`, and looks again. So it does with the files and tables of [[sources]],
which bring history of other origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

from jobs.archive.accepted import note_accepted, of_topics
from jobs.archive.importing import Sources, import_log
from jobs.archive.rounds import JOB, Turns, note_topics, rounds_of
from jobs.frames.log_rows import topic_rows
from jobs.lake.figures import note_table
from jobs.lake.log import Log
from jobs.process import figures
from jobs.process.errors import run
from jobs.process.options import Records, parse_records
from jobs.process.spark import session
from jobs.sinks.lag import LagReport
from jobs.sources.topic import check_topics, read_topics
from jobs.streaming.figures import note_progress, note_through
from jobs.streaming.queries import Stop, end_offsets, keep_running, print_progress
from stitch.lake import field_types
from stitch.settings import Settings, load_settings


def archive(
    settings: Settings,
    available_now: bool,
    stop: Stop,
    accept_data_loss: bool = False,
    accept_loss: Sequence[Records] = (),
    accept_uncounted: Sequence[Records] = (),
    old_log: str | None = None,
) -> None:
    """Run the job until all that is there is in the log (`available_now`) or until asked to stop."""
    losses, uncounted = of_topics(settings, accept_loss), of_topics(settings, accept_uncounted)
    if settings.log.kafka:
        check_topics(settings)
    with session(JOB, settings) as spark:
        log, again = Log(spark, settings), None if available_now else settings.log.trigger
        log.begin(field_types(settings.rules))
        note_topics(log, settings)
        if old_log:
            import_log(spark, log, settings, old_log)
        note_accepted(settings, log, losses, uncounted)
        topics = settings.topics_read if settings.log.kafka else ()
        names = ", ".join([*topics, *(source.name for source in settings.sources)])
        print(f"{JOB} writes {names} into {log.name}", flush=True)
        sources = Sources(spark, log, settings)
        if settings.log.kafka:
            with rounds_of(spark, log, settings, accept_data_loss) as rounds:
                archive_topics(spark, settings, Turns(rounds, again), sources, stop)
        else:
            sources.bring_until(stop, again)
        sources.raise_last()


def archive_topics(spark: SparkSession, settings: Settings, turns: Turns, sources: Sources, stop: Stop) -> None:
    """Each topic to its end, and the sources before them; until all had their turns, or until asked to stop."""
    began = datetime.now(UTC)
    with LagReport(settings.kafka, JOB) as lag:

        def start() -> StreamingQuery:
            nonlocal began
            if turns.begins:
                began = datetime.now(UTC)
                sources.bring()
            rounds = turns.current
            following = rounds.begin()  # partition → the first offset that the log lacks
            of_topic = {rounds.settings.kafka.topic: rounds.settings}
            records = read_topics(spark, of_topic, dict.fromkeys(of_topic, following), rounds.accept_data_loss)
            return (
                topic_rows(records, rounds.settings, rounds.topic)  # the log's columns: decoded, or rejected
                .writeStream.queryName(JOB)
                .foreachBatch(rounds.append)
                .option("checkpointLocation", rounds.checkpoint)
                .trigger(availableNow=True)
                .start()
            )

        def report(progress: dict[str, Any]) -> None:
            print_progress(JOB, progress)
            note_progress(progress)
            lag.report(end_offsets(progress))

        def turn() -> timedelta | None:
            after = turns.next()
            if turns.begins and not stop.asked:  # all came to their ends
                note_through(began)
                note_table(spark, settings.lake.events)
            return after

        keep_running(start, stop, report, settings.streaming.retry_for, turn)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--available-now", is_flag=True, help="stop at the end of the topic")
@click.option("--accept-data-loss", is_flag=True, help="go on after records that the broker removed")
@click.option(
    "--accept-loss",
    multiple=True,
    callback=parse_records,
    metavar="[TOPIC/]PARTITION:FIRST-LAST",
    help="note that the log will never hold these offsets",
)
@click.option(
    "--accept-uncounted",
    multiple=True,
    callback=parse_records,
    metavar="[TOPIC/]PARTITION:FIRST-LAST",
    help="note that these records do not count",
)
@click.option("--import-log", "old_log", type=click.Path(), default=None, help="first bring in a log from before 0.2")
def main(config: str | None, available_now: bool, **accepted: Any) -> None:
    """Topic → event log."""
    settings = load_settings(config)
    figures.begin(JOB, settings.metrics, settings.metrics.archive_port, runs_on=not available_now)
    archive(settings, available_now, Stop.on_signals(), **accepted)


if __name__ == "__main__":
    run(main)
