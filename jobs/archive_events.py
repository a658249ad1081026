"""Topics and other sources → event log: every record, valid or not, exactly once, in a table of Apache Iceberg.

    stitch submit archive_events --help

The payload is kept untouched, so that any counter can be computed again over all history. Records that are no events
are kept beside the others, as rejected, with the reason; nothing is thrown away.

There is no checkpoint to lose: the log itself says up to where it holds each topic. The job reads one after the other
from there to its end, waits for `log.trigger`, and looks again. So it does with the files and tables of [[sources]],
which bring history of other origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from jobs.archive.accepted import note_accepted, of_topics
from jobs.archive.importing import Sources, import_log
from jobs.archive.rounds import JOB, Turns, note_topics, rounds_of
from jobs.archive.topics import archive_topics
from jobs.lake.log import Log
from jobs.process import figures
from jobs.process.errors import run
from jobs.process.options import Records, records
from jobs.process.spark import session
from jobs.sources.topic import check_topics
from jobs.streaming.queries import Stop
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


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--available-now", is_flag=True, help="stop at the end of the topic")
@click.option(
    "--accept-data-loss",
    is_flag=True,
    help="go on after records that the broker removed, or with a topic that was recreated; what is lost is noted",
)
@records("--accept-loss", "note that the log will never hold these offsets, and go on (both included)")
@records("--accept-uncounted", "note that it is right that these records do not count; TOPIC may be the audit's id")
@click.option("--import-log", "old_log", type=click.Path(), default=None, help="first bring in a log from before 0.2")
def main(config: str | None, available_now: bool, **accepted: Any) -> None:
    """Topic → event log."""
    settings = load_settings(config)
    figures.begin(JOB, settings.metrics, settings.metrics.archive_port, runs_on=not available_now)
    archive(settings, available_now, Stop.on_signals(), **accepted)


if __name__ == "__main__":
    run(main)
