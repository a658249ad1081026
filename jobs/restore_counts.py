"""The Restorator: increments of finished ingest windows compared with what the event log says, and repaired.

    stitch submit restore_counts [--config conf/stitch.toml] [--from INSTANT] [--to INSTANT] [--apply] [--json] [--limit
    50]

--from, --to  the ingest windows to look at, [from, to) (default: from the published cutoff to the last window that is
over)
--apply       write the right values; the streaming job may run meanwhile, and it may be applied again: no lock
--json        print the report as JSON
--limit       how many differences to print (all are counted, and repaired)

Exit status: 0 where nothing differs (any more), 3 where something does, any other where it
could not be told (docs/commands.md).
A repaired row is written later than what is stored and than anything a streaming job writes for that window: it is
final.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames.differences import differing
from jobs.process import figures
from jobs.process.errors import BadOption, run
from jobs.process.options import checked_edge, parse_instant, passed_edge
from jobs.process.spark import session
from jobs.proof.completeness import check_complete, check_ingest_window, needed_since
from jobs.sinks.cassandra import upsert_by_member
from jobs.totals.counting import compared_increments
from jobs.totals.definitions import counted_live, written_live
from stitch.buckets import micros
from stitch.cutoff import window_start
from stitch.errors import ExitStatus
from stitch.figures import WRITTEN
from stitch.settings import Settings, load_settings
from stitch.write_time import LATEST

JOB = "restore_counts"


def differences(spark: SparkSession, settings: Settings, since: datetime, until: datetime) -> DataFrame:
    """The rows whose count is not the log's: (INCREMENT…, stored, expected, write_time)."""
    return compared_increments(spark, settings, since, until).where(differing())


def repaired(differences: DataFrame, now: datetime) -> DataFrame:
    """Differences → the rows to write (stitch.write_time.of_repair); one that should not be there counts 0."""
    beaten = F.least(F.coalesce(F.col("write_time"), F.lit(0)), F.lit(LATEST - 1))
    later = F.greatest(F.lit(micros(now)), beaten + 1)
    return differences.select(
        "counter", "key", "member", F.to_date("ingest_window").alias("ingest_date"), "ingest_window", "bucket",
        F.coalesce("expected", F.lit(0)).alias("count"), later.alias("write_time"),
    )  # fmt: skip


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


def checked_range(
    settings: Settings, since: datetime | None, until: datetime | None, now: datetime
) -> tuple[datetime, datetime]:
    """The ingest windows to look at. Raises BadOption for a range that is not over, cut, or expired, and JobError for
    windows of another length than the increments'."""
    check_ingest_window(settings)
    window = settings.streaming.ingest_window
    oldest = window_start(now - settings.realtime.retention, window) + window
    if since is None:
        since = max(needed_since(settings) or oldest, oldest)
    until = checked_edge(settings, until, now, "--to") if until else passed_edge(settings, now)
    since = checked_edge(settings, since, now, "--from")
    if since < oldest:
        raise BadOption(f"--from {since:%FT%TZ}: increments before {oldest:%FT%TZ} expire (realtime.retention)")
    return since, until


def reported(found: DataFrame, since: datetime, until: datetime, limit: int) -> dict[str, Any]:
    """The differences as a plain report: how many, of which counters, and the first `limit` of them."""
    summary = found.groupBy("counter").agg(
        F.count(F.lit(1)).alias("rows"),
        F.sum(F.coalesce("expected", F.lit(0)) - F.coalesce("stored", F.lit(0))).alias("lacking"),
    )
    counters = {row.counter: {"rows": row.rows, "lacking": row.lacking} for row in summary.collect()}
    first = found.orderBy("counter", "key", "member", "ingest_window", "bucket").limit(limit)
    text = [F.date_format(name, "yyyy-MM-dd'T'HH:mm:ss'Z'").alias(name) for name in ("ingest_window", "bucket")]
    shown = [row.asDict() for row in first.select("counter", "key", "member", *text, "stored", "expected").collect()]
    return {
        "from": f"{since:%FT%TZ}",
        "to": f"{until:%FT%TZ}",
        "rows": sum(found["rows"] for found in counters.values()),
        "counters": counters,
        "differences": shown,
    }


def printed(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"{JOB}: ingest windows {report['from']} to {report['to']}: {report['rows']} rows differ from the log"]
    for row in report["differences"]:
        of = f"{row['counter']} {row['key']}" + (f"/{row['member']}" if row["member"] is not None else "")
        stored = "no row" if row["stored"] is None else row["stored"]
        expected = "no row" if row["expected"] is None else row["expected"]
        lines.append(f"  {of} bucket {row['bucket']} window {row['ingest_window']}: stored {stored}, log {expected}")
    if report["rows"] > len(report["differences"]):
        lines.append(f"  … and {report['rows'] - len(report['differences'])} more")
    lines += [
        f"  {name}: {said['rows']} rows, {said['lacking']:+d} to come" for name, said in report["counters"].items()
    ]
    if "repaired" in report:
        lines.append(f"{JOB}: {report['repaired']} rows repaired, {report['left']} left")
    elif report["rows"]:
        lines.append("--apply repairs them")
    return "\n".join(lines)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option(
    "--from", "since", callback=parse_instant, show_default="the published cutoff", help="the first ingest window"
)
@click.option(
    "--to", "until", callback=parse_instant, show_default="the last edge that passed", help="the end of the last"
)
@click.option("--apply", is_flag=True, help="write the right values")
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON")
@click.option("--limit", default=50, show_default=True, help="how many differences to print")
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
