"""The audit's looks at topic and log: settings, how far the jobs have come, and whether a record is missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pyspark.sql import SparkSession

from jobs.audit.cuts import Cut, find_cuts
from jobs.audit.findings import Finding
from jobs.frames.audits import stretches
from jobs.lake.log import Log
from jobs.process.errors import JobError, Unreachable
from jobs.process.options import passed_edge
from jobs.proof.completeness import behind_increments, behind_log, told
from jobs.proof.contiguity import Gaps, find_gaps, read_checked, untold
from jobs.sources.event_log import read_offsets
from jobs.sources.topic import check_topics, topic_ids
from stitch.cutoff import missing_before
from stitch.settings import Settings

STEPS_BACK = 24  # ingest windows in which to look for one that is complete
PATIENCE = timedelta(minutes=10)
NO_OFFSETS = "log.kafka is false: other sources have no offsets"


def topic_fit(settings: Settings) -> Finding:
    """The topic keeps what it is sent, under the broker's stamps: a setting that changed since the jobs began shows
    here."""
    if not settings.log.kafka:
        return Finding("topic", True, "log.kafka is false: there is none")
    try:
        check_topics(settings)
    except Unreachable:
        raise
    except JobError as error:
        said, *details = str(error).splitlines()
        return Finding("topic", False, said, details)
    return Finding(
        "topic", True, f"{', '.join(settings.topics_read)}: records stamped by the broker, none compacted away"
    )


def reached(spark: SparkSession, settings: Settings, now: datetime) -> tuple[datetime, Finding]:
    """The newest edge of an ingest window that log and increments have both come to: what is looked at ends there."""
    window, newest_edge = settings.streaming.ingest_window, passed_edge(settings, now)
    if not settings.log.kafka:
        return newest_edge, Finding("complete", True, NO_OFFSETS)
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
    """The log's records without one missing, between them or at the ends of a partition, or repeated. What is not there
    is asked of the broker; what it no longer holds was asked by the batch, when it did."""
    if not settings.log.kafka:
        return Finding("log: contiguous", True, NO_OFFSETS)
    log = Log(spark, settings)
    topics = {of: settings.by_topic[name] for name, of in topic_ids(settings).items()}
    offsets, checked = read_offsets(spark, settings).persist(), read_checked(log)
    try:
        rows = stretches(offsets).collect()  # one for each partition
        has_gaps = any(row.distinct != row.last + 1 - row.first for row in rows)
        found = find_gaps(spark, topics, offsets, checked) if has_gaps else []
        cuts: list[str] = []
        for of, view in topics.items():
            held = {row.partition: row for row in rows if row.topic_id == of}
            cuts += _told_cuts(of, find_cuts(spark, view, offsets, of, held, checked))
    finally:
        offsets.unpersist()
    twice = [
        f"partition {row.partition}, topic {row.topic_id}: {row.records - row.distinct} records are there more than "
        f"once, the first at offset {row.twice}"
        for row in rows
        if row.twice is not None
    ]
    said = f"{sum(row.records for row in rows)} records of {len(rows)} partitions, by offset"
    if unreadable := sum(one.unreadable for one in found):
        said += f", {unreadable} offsets without a record (transactions, or what compaction removed)"
    if accepted := len(log.losses()):
        said += f", {accepted} losses accepted"
    details = [*_told_gaps(found), *cuts, *twice]
    return Finding("log: contiguous", not details, said, details)


def _told_gaps(found: Sequence[Gaps]) -> list[str]:
    details = []
    for one in found:
        where = f"partition {one.partition}, topic {one.topic_id}"
        if one.lacking:
            records, first, last = one.lacking
            details.append(f"{where}: {records} records missing that the topic holds, offsets {first} to {last}")
        if one.unknown:
            details.append(f"{where}: {untold(one)}")
        if one.new and not one.lacking:
            details.append(f"{where}: {one.new} offsets missing that were in the log when a batch checked it")
    return details


def _told_cuts(topic: str, cuts: Sequence[Cut]) -> list[str]:
    details = []
    for cut in cuts:
        where = f"partition {cut.partition}, topic {topic}"
        if cut.lacking:
            records, first, last = cut.lacking
            details.append(
                f"{where}: {records} records missing at an end of the log that the topic holds, offsets {first} to "
                f"{last}"
            )
        if cut.gone:
            details.append(f"{where}: the last {cut.gone} offsets missing that a batch found in the log")
        if cut.compacted:
            details.append(
                f"{where}: at least {cut.compacted} records of the topic were removed (cleanup.policy=compact)"
            )
    return details
