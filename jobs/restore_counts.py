"""The Restorator: increments of finished ingest windows compared with what the event log says, and repaired.

    stitch submit restore_counts --help

The streaming job may run meanwhile, and repairs may be applied again: there is no lock. A repaired row is written later
than what is stored and than anything a streaming job writes for that window: it is final. Exit status: 0 where nothing
differs (any more), 3 where something does, any other where it could not be told (docs/commands.md).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from jobs.audit.differences import checked_range, differences, printed, repaired, reported
from jobs.process import figures
from jobs.process.errors import run
from jobs.process.options import parse_instant
from jobs.process.spark import session
from jobs.proof.completeness import check_complete, check_ingest_window
from jobs.sinks.cassandra import upsert_by_member
from jobs.totals.definitions import counted_live, written_live
from stitch.errors import ExitStatus
from stitch.figures import WRITTEN
from stitch.settings import Settings, load_settings

JOB = "restore_counts"


def restore_counts(
    settings: Settings, since: datetime | None, until: datetime | None, apply: bool, limit: int, now: datetime
) -> dict[str, Any]:
    """Compare, and repair where asked; the report (see --json). Raises JobError where it cannot be told."""
    since, until = checked_range(settings, since, until, now)
    settings = written_live(counted_live(settings), check_ingest_window(settings))
    with session(JOB, settings) as spark:
        check_complete(spark, settings, until)
        found = differences(spark, settings, since, until).persist()
        try:
            report = reported(found, since, until, limit)
            if apply and report["rows"]:
                upsert_by_member(repaired(found, now), settings.realtime, "increments")
                left = differences(spark, settings, since, until).count()
                report |= {"repaired": report["rows"] - left, "left": left}
                figures.put(WRITTEN, report["rows"])
        finally:
            found.unpersist()
    return report


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option(
    "--from",
    "since",
    callback=parse_instant,
    show_default="the published cutoff",
    help="the first ingest window to look at",
)
@click.option(
    "--to",
    "until",
    callback=parse_instant,
    show_default="the last edge that passed",
    help="the end of the last ingest window",
)
@click.option("--apply", is_flag=True, help="write the right values")
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON")
@click.option(
    "--limit", default=50, show_default=True, help="how many differences to print; all are counted, and repaired"
)
def main(
    config: str | None, since: datetime | None, until: datetime | None, apply: bool, as_json: bool, limit: int
) -> None:
    """Increments against the event log."""
    settings = load_settings(config)
    figures.begin(JOB, settings.metrics)
    report = restore_counts(settings, since, until, apply, limit, datetime.now(UTC))
    print(json.dumps(report) if as_json else printed(report), flush=True)
    if report.get("left", report["rows"]):
        raise click.exceptions.Exit(ExitStatus.WRONG)


if __name__ == "__main__":
    run(main)
