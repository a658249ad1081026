"""Topic and other sources → event log: every record, valid or not, exactly once, in a table of Apache Iceberg.

    stitch submit archive_events [--config conf/stitch.toml] [--available-now] [--accept-data-loss]
                                 [--accept-loss PARTITION:FIRST-LAST] [--import-log FOLDER]

--accept-data-loss  go on after records that the broker removed before they were archived, or with a topic that was
                    recreated; what is lost is noted in the log, and the batch names the hours
--accept-loss       note that the log will never hold these offsets (inclusive), and go on
--import-log        first bring in the log that a release before 0.2 wrote into this folder

The payload is kept untouched, so that any counter can be computed again over all history. Records that are no events
are kept beside the others, as rejected, with the reason; nothing is thrown away.

There is no checkpoint to lose: the log itself says up to where it holds the topic. The job reads from there to the end,
waits for `log.trigger`, and looks again. So it does with the files of [[sources]], which bring history of other origin.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from jobs.archiving import JOB, Sources, check_continuity, current_topic, import_log, topic_rows
from jobs.errors import run
from jobs.lake import Log, close_catalog
from jobs.queries import Stop, end_offsets, keep_running, print_progress
from jobs.sinks.event_log import append
from jobs.sinks.lag import LagReport
from jobs.sources.checkpoint import Checkpoint
from jobs.sources.topic import check_topic, read_topic, topic_id
from jobs.spark import session
from stitch.lake import field_types
from stitch.settings import Settings, load_settings

_RANGE = re.compile(r"^(\d+):(\d+)-(\d+)$")


def archive(
    settings: Settings,
    available_now: bool,
    stop: Stop,
    accept_data_loss: bool = False,
    accept_loss: Sequence[tuple[int, int, int]] = (),
    old_log: str | None = None,
) -> None:
    """Run the job until all that is there is in the log (`available_now`) or until asked to stop."""
    if settings.log.kafka:
        check_topic(settings.kafka)
    with session(JOB, settings) as spark:
        log = Log(spark, settings)
        log.begin(field_types(settings.rules))
        if old_log:
            import_log(spark, log, settings, old_log)
        for partition, first, last in accept_loss:
            log.note_loss(topic_id(settings.kafka), {partition: (first, last)}, None, None)
        print(f"{JOB} writes {', '.join(origins(settings))} into {log.name}", flush=True)
        again = None if available_now else settings.log.trigger
        if settings.log.kafka:
            archive_topic(spark, log, settings, stop, again, accept_data_loss)
            return
        stop.listen()
        sources = Sources(spark, log, settings)
        while not stop.asked:
            sources.bring()
            if again is None:
                break
            stop.wait(again.total_seconds())
        sources.raise_last()


def archive_topic(
    spark: SparkSession, log: Log, settings: Settings, stop: Stop, again: timedelta | None, accept_data_loss: bool
) -> None:
    """The topic to its end, and the sources before it; again after so long, until asked to stop."""
    with (
        LagReport(settings.kafka, JOB) as lag,
        tempfile.TemporaryDirectory(prefix="stitch-archive-") as folder,  # a query must have a checkpoint
    ):
        sources, sessions = Sources(spark, log, settings), list[SparkSession]()
        accept = accept_data_loss  # what is gone now, not what goes later
        checkpoint = Checkpoint(spark, f"file://{folder}/checkpoint", settings.kafka.topic)

        def let_go() -> None:
            while sessions:
                close_catalog(sessions.pop(), settings.lake.catalog)

        def start() -> StreamingQuery:
            nonlocal accept
            let_go()
            sources.bring()
            check_topic(settings.kafka)
            topic = current_topic(spark, log, settings, accept)
            _, read = log.position(topic)
            following = log.behind_losses(topic, read)
            check_continuity(spark, log, settings, topic, following, accept)

            def add(batch: DataFrame, number: int) -> None:
                ends = checkpoint.planned_offsets(number)
                append(log, batch, topic, ends, read)
                read.update(ends)
                sessions[:] = [batch.sparkSession]

            shutil.rmtree(f"{folder}/checkpoint", ignore_errors=True)
            records = read_topic(spark, settings.kafka, settings.streaming, following, accept)
            query = (
                topic_rows(records, settings, topic)
                .writeStream.queryName(JOB)
                .foreachBatch(add)
                .option("checkpointLocation", checkpoint.path)
                .trigger(availableNow=True)
                .start()
            )
            accept = False
            return query

        def report(progress: dict[str, Any]) -> None:
            print_progress(JOB, progress)
            lag.report(end_offsets(progress, settings.kafka.topic))

        try:
            keep_running(start, stop, report, settings.streaming.retry_for, again)
        finally:
            let_go()
        sources.raise_last()


def origins(settings: Settings) -> list[str]:
    """The names of all that goes into the log."""
    return [*([settings.kafka.topic] if settings.log.kafka else []), *(source.name for source in settings.sources)]


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
@click.option("--import-log", "old_log", type=click.Path(), default=None, help="first bring in a log from before 0.2")
def main(
    config: str | None,
    available_now: bool,
    accept_data_loss: bool,
    accept_loss: Sequence[tuple[int, int, int]],
    old_log: str | None,
) -> None:
    """Topic → event log."""
    archive(load_settings(config), available_now, Stop.on_signals(), accept_data_loss, accept_loss, old_log)


if __name__ == "__main__":
    run(main)
