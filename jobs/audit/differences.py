"""What is stored of increments beside what the log says: which ingest windows, which rows differ, and as a report."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.frames.differences import differing
from jobs.process.errors import BadOption
from jobs.process.options import checked_edge, passed_edge
from jobs.proof.completeness import check_ingest_window, needed_since
from jobs.totals.counting import compared_increments
from stitch.buckets import micros
from stitch.cutoff import window_start
from stitch.settings import Settings
from stitch.write_time import LATEST


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
    span = f"ingest windows {report['from']} to {report['to']}"
    lines = [f"restore_counts: {span}: {report['rows']} rows differ from the log"]
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
        lines.append(f"restore_counts: {report['repaired']} rows repaired, {report['left']} left")
    elif report["rows"]:
        lines.append("--apply repairs them")
    return "\n".join(lines)
