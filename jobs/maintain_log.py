"""Keep the event log small to read: few large files, and no longer than it is wanted. Nightly, while all else runs.

    stitch submit maintain_log [--config conf/stitch.toml]

It removes days older than `log.retention`, joins small files of a day, lets snapshots older than `lake.history` go,
and removes files that no snapshot knows (of tasks that failed, three days old at least), of the totals' table as well.
Counts do not change. Safe to kill, and to run again.
"""

from __future__ import annotations

from datetime import UTC, datetime

import click

from jobs.lake.figures import note_table
from jobs.lake.log import Log
from jobs.process import figures
from jobs.process.errors import run
from jobs.process.spark import session
from jobs.sinks.maintenance import Maintenance, remove_orphans
from jobs.sinks.totals_table import TotalsTable
from stitch.buckets import EPOCH
from stitch.settings import Settings, load_settings

JOB = "maintain_log"


def maintain(settings: Settings, now: datetime) -> dict[str, int]:
    """Do all of it; returns what was done, by name. Raises NotYet where others change the same files all the time."""
    with session(JOB, settings) as spark:
        log, totals = Log(spark, settings), TotalsTable(spark, settings)
        log.rows()
        table = Maintenance(log)
        done = {"files_before": table.files()}
        if settings.log.retention:
            oldest = now - min(settings.log.retention, now - EPOCH)
            table.remove_before(oldest, [source.name for source in settings.sources])
        done["rewritten"] = table.compact()
        log.note_positions()
        done["expired"] = table.expire(now - settings.lake.history)
        done["orphans"] = remove_orphans(spark, log.name)
        note_table(spark, log.name)
        if totals.exists():
            done["orphans"] += remove_orphans(spark, totals.name)
            note_table(spark, totals.name)
        return {**done, "files": table.files()}


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
def main(config: str | None) -> None:
    """Event log of few, large files."""
    settings = load_settings(config)
    figures.begin(JOB, settings.metrics)
    done = maintain(settings, datetime.now(UTC))
    print(f"{JOB} " + " ".join(f"{name}={value}" for name, value in done.items()), flush=True)


if __name__ == "__main__":
    run(main)
