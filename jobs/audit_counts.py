"""Are the counts right, and how do you know? Everything that can be proven of log, totals and increments, on one page.

    stitch audit [--sample 0.1] [--json]           (stitch submit audit_counts, the same)

--sample  recount this share of the keys (default: 1, all of them)
--json    print the findings as JSON

It reads and never writes, while everything runs. Exit status: 0 where all is right, 3 where something is not; any other
where it could not be told (README.md).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.completeness import behind_increments, behind_log, check_ingest_window, told
from jobs.contiguity import find_gaps, read_checked, untold
from jobs.counting import compared_increments, first_events, judged, read_events
from jobs.errors import JobError, NotYet, Unreachable, run
from jobs.frames.audits import conserved, stretches, unequal_zooms
from jobs.frames.contributions import contributions
from jobs.frames.differences import compared, differing
from jobs.frames.increments import not_before
from jobs.frames.totals import totals
from jobs.lake import Log
from jobs.ledger import noted_runs
from jobs.options import passed_edge
from jobs.sinks.cassandra import connected
from jobs.sources.event_log import read_offsets
from jobs.sources.readable import stamps
from jobs.sources.stored import published, read_totals
from jobs.sources.topic import check_topic, edges, topic_id
from jobs.spark import session
from stitch.cutoff import missing_before, window_start
from stitch.errors import ExitStatus
from stitch.runs import Position, newest, publication
from stitch.settings import Settings, load_settings

JOB = "audit_counts"
SHOWN = 10
MOST_READ = 1_000_000  # records that the audit reads from the topic to count them
STEPS_BACK = 24  # ingest windows in which to look for one that is complete
PATIENCE = timedelta(minutes=10)
TOTAL = ["counter", "key", "member", "granularity", "bucket"]


@dataclass
class Finding:
    """One thing that was looked at: whether it is right, in a sentence, and what is wrong with it."""

    about: str
    right: bool
    said: str
    details: list[str] = field(default_factory=list)


def audit(settings: Settings, sample: float, now: datetime) -> dict[str, Any]:
    """Look at everything; the report (see --json)."""
    with connected(settings.batch, "batch") as cassandra, session(JOB, settings) as spark:
        if settings.log.kafka:
            check_ingest_window(settings)
        names = [counter.name for counter in settings.counters]
        before = published(cassandra)
        known = {name: before[name] for name in names if name in before}
        base = newest(names, before)
        cutoff = base.cutoff if base else None
        edge, behind = reached(spark, settings, now)
        findings = [topic_fit(settings), behind, contiguity(spark, settings), conservation(spark, settings, edge)]
        for at in sorted(set(known.values()), reverse=True):  # more than one where the guard left counters behind
            of_run = [name for name in known if known[name] == at]
            published_by = publication(noted_runs(cassandra, at), at)
            position = published_by.position if published_by else {}
            findings.append(recount(spark, settings, of_run, at.cutoff, position, sample))
        if cutoff:
            findings.append(zooms(spark, settings, cutoff))
        if settings.log.kafka:
            findings.append(live_window(spark, settings, {name: at.cutoff for name, at in known.items()}, edge))
        if published(cassandra) != before:
            raise NotYet("a batch published while the audit read: run it again")
    return {"at": f"{now:%FT%TZ}", "cutoff": f"{cutoff:%FT%TZ}" if cutoff else None, "sample": sample,
            "right": all(finding.right for finding in findings), "findings": [asdict(one) for one in findings]}  # fmt: skip


def topic_fit(settings: Settings) -> Finding:
    """The topic keeps what it is sent, under the broker's stamps: a setting that changed since the jobs began shows
    here."""
    if not settings.log.kafka:
        return Finding("topic", True, "log.kafka is false: there is none")
    try:
        check_topic(settings.kafka)
    except Unreachable:
        raise
    except JobError as error:
        said, *details = str(error).splitlines()
        return Finding("topic", False, said, details)
    return Finding("topic", True, f"{settings.kafka.topic}: records stamped by the broker, none compacted away")


def reached(spark: SparkSession, settings: Settings, now: datetime) -> tuple[datetime, Finding]:
    """The newest edge of an ingest window that log and increments have both come to: what is looked at ends there."""
    window, newest_edge = settings.streaming.ingest_window, passed_edge(settings, now)
    if not settings.log.kafka:
        return newest_edge, Finding("complete", True, "log.kafka is false: other sources have no offsets")
    behind = {"log": behind_log(spark, settings), "increments": behind_increments(settings)}
    first_missing: list[str] = []
    for steps in range(STEPS_BACK):
        edge = newest_edge - steps * window
        details = [
            f"{part} before {edge:%FT%TZ}: {line.strip()}"
            for part, partitions in behind.items()
            for line in told(missing_before(partitions, edge + settings.log.grace)).splitlines()
        ]
        first_missing = first_missing or details
        if not details:
            break
    fresh = not details and now - edge <= max(2 * window, PATIENCE)
    said = f"log and increments hold every record that the topic had at {edge:%FT%TZ}"
    return edge, Finding(
        "complete", fresh, said if not details else f"not even at {edge:%FT%TZ}", [] if fresh else first_missing
    )


def contiguity(spark: SparkSession, settings: Settings) -> Finding:
    """The log's records without one missing between them, or repeated. Gaps in the offsets are asked of the broker;
    those that it no longer holds were asked by the batch, when it did."""
    if not settings.log.kafka:
        return Finding("log: contiguous", True, "log.kafka is false: other sources have no offsets")
    log = Log(spark, settings)
    offsets, checked = read_offsets(spark, settings).persist(), read_checked(log)
    try:
        rows = stretches(offsets).collect()
        found = {}
        if any(row.distinct != row.last + 1 - row.first for row in rows):
            found = {
                (one.topic_id, one.partition): one
                for one in find_gaps(spark, settings, offsets, topic_id(settings.kafka), checked)
            }
    finally:
        offsets.unpersist()
    details = []
    for (topic, partition), one in found.items():
        where = f"partition {partition}, topic {topic}"
        if one.lacking:
            records, first, last = one.lacking
            details.append(f"{where}: {records} records missing that the topic holds, offsets {first} to {last}")
        if one.unknown:
            details.append(f"{where}: {untold(one)}")
        if one.new and not one.lacking:
            details.append(f"{where}: {one.new} offsets missing that were in the log when a batch checked it")
    twice = sum(row.records - row.distinct for row in rows)
    details += [f"{twice} records are there more than once"] if twice else []
    said = f"{sum(row.records for row in rows)} records of {len(rows)} partitions, by offset"
    if unreadable := sum(one.unreadable for one in found.values()):
        said += f", {unreadable} offsets without a record (transactions, or what compaction removed)"
    if accepted := len(log.losses()):
        said += f", {accepted} losses accepted"
    return Finding("log: contiguous", not details, said, details)


def conservation(spark: SparkSession, settings: Settings, edge: datetime) -> Finding:
    """Appended = counted + duplicates + rejected + excluded, per ingest window. What was appended is asked of the
    broker, for the last windows, and of the log's offsets; the rest is told by content."""
    events = read_events(spark, settings, None, edge, of_topic=settings.log.kafka)
    records = judged(spark, events, settings)
    rows = conserved(records, settings.streaming.ingest_window, settings.events.identity).collect()
    details, right = [], True
    brokers: dict[datetime, int] = {}
    if settings.log.kafka:
        try:
            brokers = appended_by_window(settings, rows, edge)
        except Unreachable as error:
            details.append(f"the log alone was asked what was appended: {error}")
    for row in rows:
        window = row.ingest_window.replace(tzinfo=UTC)
        found = row.counted + row.duplicates + row.rejected + row.excluded
        appended = brokers.get(window, row.appended)
        fine = row.appended == found == appended
        right &= fine
        details.append(
            f"{window:%FT%TZ}: {appended} appended = {row.counted} counted + {row.duplicates} "
            f"duplicates + {row.rejected} rejected + {row.excluded} excluded" + ("" if fine else "  IS WRONG")
        )
    sums = {
        name: sum(row[name] for row in rows) for name in ("appended", "counted", "duplicates", "rejected", "excluded")
    }
    said = (
        "{appended} appended = {counted} counted + {duplicates} duplicates + {rejected} rejected + {excluded} excluded"
    )
    return Finding("conservation", right, f"{said.format(**sums)}, in {len(rows)} ingest windows", details)


def appended_by_window(settings: Settings, rows: Sequence[Row], edge: datetime) -> dict[datetime, int]:
    """Ingest window → how many records the topic has of it: by reading them, for offsets count markers too.

    rows: the log's windows (frames.audits.conserved). The last of them are asked that the broker holds whole; at most
    SHOWN, and MOST_READ records.
    """
    earliest = {partition: low for partition, (low, _) in edges(settings.kafka).items()}
    asked: set[datetime] = set()
    to_read = 0
    for row in rows[: -SHOWN - 1 : -1]:
        to_read += row.appended
        removed = any(first < earliest.get(partition, first) for partition, first in row.first.items())
        if to_read > MOST_READ or removed:
            break
        asked.add(row.ingest_window.replace(tzinfo=UTC))
    if not asked:
        return {}
    found = Counter(
        window_start(at, settings.streaming.ingest_window) for at in stamps(settings.kafka, min(asked), edge)
    )
    return {window: found[window] for window in asked}


def recount(
    spark: SparkSession, settings: Settings, names: list[str], cutoff: datetime, upto: Position, sample: float
) -> Finding:
    """The totals equal to a fresh count of the log up to the cutoff, as far as it was read; rows that a running load
    wrote are left out."""
    if settings.log.retention:
        return Finding("totals: recount", True, "not made: log.retention is set, and totals count what is gone, too")
    counters = [counter for counter in settings.counters if counter.name in names]
    fresh = totals(contributions(first_events(spark, settings, cutoff, upto), counters), counters)
    stored = read_totals(spark, settings).where(F.col("counter").isin(names))
    rows = compared(stored.where(_sampled(sample)), fresh.where(_sampled(sample)), TOTAL, "cutoff")
    rows = rows.where(F.coalesce(F.col("cutoff") <= F.lit(cutoff), F.lit(True))).persist()
    try:
        wrong, looked = rows.where(differing()), rows.count()
        count, details = wrong.count(), _examples(wrong, "bucket")
    finally:
        rows.unpersist()
    share = "" if sample >= 1 else f" ({sample:.0%} of the keys)"
    of_some = "" if len(names) == len(settings.counters) else f" ({', '.join(names)})"
    return Finding(
        "totals: recount",
        count == 0,
        f"{count} of {looked} rows{share} differ from the log at {cutoff:%FT%TZ}{of_some}",
        details,
    )


def zooms(spark: SparkSession, settings: Settings, cutoff: datetime) -> Finding:
    """All-time = Σ months = Σ days = Σ hours (= Σ finer), of every key and member."""
    stored = read_totals(spark, settings).where(F.col("counter").isin([counter.name for counter in settings.counters]))
    wrong = unequal_zooms(stored, settings.counters, cutoff)
    details = [f"{row.counter} {row.key} {row.member or ''}: {row.sums}" for row in wrong.limit(SHOWN).collect()]
    return Finding(
        "totals: zoom", not details, "months = Σ days = Σ hours = all-time, of every key and member", details
    )


def live_window(spark: SparkSession, settings: Settings, cutoffs: Mapping[str, datetime], edge: datetime) -> Finding:
    """The increments since their counter's cutoff equal to what the log says, for the windows that are over."""
    since = min(cutoffs.values(), default=edge - settings.realtime.retention)
    newest_cutoff = max(cutoffs.values(), default=None)  # of counters that are new
    rows = compared_increments(spark, settings, since, edge).where(not_before(cutoffs, newest_cutoff)).persist()
    try:
        wrong, looked = rows.where(differing()), rows.count()
        count, details = wrong.count(), _examples(wrong, "ingest_window")
    finally:
        rows.unpersist()
    said = f"{count} of {looked} rows of the windows {since:%FT%TZ} to {edge:%FT%TZ} differ from the log"
    return Finding("increments: log", count == 0, said, details + (["restore_counts repairs them"] if count else []))


def _examples(wrong: DataFrame, when: str) -> list[str]:
    return [
        f"{row.counter} {row.key} {row.member or ''} {row[when]:%FT%TZ}: stored {row.stored}, log {row.expected}"
        for row in wrong.limit(SHOWN).collect()
    ]


def _sampled(share: float) -> Column:
    return F.pmod(F.xxhash64("key"), F.lit(10_000)) < F.lit(round(share * 10_000))


def printed(report: dict[str, Any]) -> str:
    """The report for people: one page."""
    lines = [f"stitch audit {report['at']}, published cutoff {report['cutoff'] or 'none'}"]
    for finding in report["findings"]:
        lines.append(f"{'ok   ' if finding['right'] else 'WRONG'} {finding['about']:<16} {finding['said']}")
        details = finding["details"]
        lines += [f"        {detail}" for detail in details[-SHOWN:]]
        lines += [f"        ({len(details) - SHOWN} earlier)"] if len(details) > SHOWN else []
    lines.append("the counts are right" if report["right"] else "the counts are NOT right")
    return "\n".join(lines)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--sample", type=click.FloatRange(0.0001, 1), default=1.0, help="recount this share of the keys")
@click.option("--json", "as_json", is_flag=True, help="print the findings as JSON")
def main(config: str | None, sample: float, as_json: bool) -> None:
    """Log, totals and increments against each other."""
    report = audit(load_settings(config), sample, datetime.now(UTC))
    print(json.dumps(report) if as_json else printed(report), flush=True)
    if not report["right"]:
        raise click.exceptions.Exit(ExitStatus.WRONG)


if __name__ == "__main__":
    run(main)
