"""The audit's looks at the log's records: each of them counted, or somewhere by name; and what of them does not count
though it is an event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.audit.findings import SHOWN, Finding
from jobs.frames.audits import KINDS, by_window, conserved, unbalanced
from jobs.frames.events import decode
from jobs.lake.log import Log
from jobs.process.errors import Unreachable
from jobs.proof.contiguity import ended, lost_among
from jobs.sources.event_log import by_its_decoder, log_records
from jobs.sources.readable import stamps
from jobs.sources.topic import edges, topic_ids
from jobs.totals.counting import judged, read_events
from stitch.cutoff import window_start
from stitch.decoding import CREATE_TIME, TOPIC
from stitch.settings import Settings

MOST_READ = 1_000_000  # records that the audit reads from the topic to count them
BALANCE = (
    "{appended} appended = {counted} counted + {duplicates} duplicates + {rejected} rejected + {excluded} excluded"
)
ACCEPT = "archive_events --available-now --accept-uncounted TOPIC/PARTITION:FIRST-LAST"


def rejected(spark: SparkSession, settings: Settings, now: datetime) -> Finding:
    """Of the rejected records none holds an event: their payloads are decoded again, as if the broker had stamped them.
    Those that `archive_events --accept-uncounted` names are left out."""
    log, by_producer = Log(spark, settings), F.coalesce(F.col("timestamp_type") == CREATE_TIME, F.lit(False))
    # What another decoder rejected, the batch decodes again itself.
    stands = by_its_decoder(settings) | by_producer
    rows = log_records(spark, settings).where(F.col("reject_reason").isNotNull() & stands & ~_among(log.uncounted()))
    again = rows.select(
        *([TOPIC] if settings.topics else []),
        "topic_id", "partition", "offset", "value", by_producer.alias("by_producer"),
        # A producer's clock may say anything, and an event be rejected for being far from it.
        F.when(by_producer, F.lit(now)).otherwise(F.col("timestamp")).alias("timestamp"),
        F.when(by_producer, F.lit(1)).otherwise(F.col("timestamp_type")).alias("timestamp_type"),
    )  # fmt: skip
    found = decode(again, settings, ["topic_id", "partition", "offset", "by_producer"])
    of_partition = found.groupBy("topic_id", "partition", "by_producer").agg(
        F.count(F.lit(1)).alias("looked"),
        F.count(F.when(F.col("reject_reason").isNull(), 1)).alias("events"),
        *[how(F.when(F.col("reject_reason").isNull(), F.col("offset"))).alias(name)
          for name, how in (("first", F.min), ("last", F.max))],
    )  # fmt: skip
    parts = of_partition.orderBy("topic_id", "partition", "by_producer").collect()  # two for each partition at most
    details = [
        f"partition {row.partition}, topic {row.topic_id}: {row.events} events not counted, "
        + (
            "since their producer stamped them"
            if row.by_producer
            else "rejected though they are events by the settings"
        )
        + f", offsets {row.first} to {row.last}"
        for row in parts
        if row.events
    ]
    said = f"{sum(row.events for row in parts)} of {sum(row.looked for row in parts)} rejected records hold an event"
    way_out = f"send them again to count them, and take them out here: {ACCEPT}"
    return Finding("log: rejected", not details, said, details + ([way_out] if details else []))


def conservation(spark: SparkSession, settings: Settings, edge: datetime) -> list[Finding]:
    """Appended = counted + duplicates + rejected + excluded, per ingest window; and duplicates that say the same as the
    event that counts."""
    events = read_events(spark, settings, None, edge, of_topic=settings.log.kafka, also=["topic_id"])
    window = settings.streaming.ingest_window
    records, log = judged(spark, events, settings), Log(spark, settings)
    losses = ended(log.losses())
    parts = conserved(records, window, settings.identity, _among(losses), _among(log.uncounted())).persist()
    try:
        return [balance(settings, by_window(parts), edge, losses), identities(parts, settings.events.identity)]
    finally:
        parts.unpersist()


def balance(settings: Settings, windows: DataFrame, edge: datetime, losses: Sequence[Mapping[str, Any]]) -> Finding:
    """What was appended is asked of the broker, for the last windows (frames.audits.by_window), and of the log's
    offsets; the rest is told by content. The driver gets the sums, the last windows and the first wrong ones.

    losses: what was accepted as lost (Log.losses)
    """
    sums = windows.agg(
        *[F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in KINDS],
        F.count(F.lit(1)).alias("windows"),
        F.count(F.when(unbalanced(), 1)).alias("wrong"),
    ).collect()[0]
    last = windows.orderBy(F.desc("ingest_window")).limit(SHOWN).collect()
    wrong = windows.where(unbalanced()).orderBy("ingest_window").limit(SHOWN).collect()
    brokers: dict[datetime, int] = {}
    unasked: list[str] = []
    if settings.log.kafka:
        try:
            brokers = appended_by_window(settings, last, edge, losses)
        except Unreachable as error:
            unasked = [f"the log alone was asked what was appended: {error}"]
    rows = dict.fromkeys(brokers, dict.fromkeys([*KINDS, "accepted"], 0)) | {
        _start(row): row.asDict() for row in [*wrong, *last]
    }
    lines: dict[bool, list[str]] = {False: [], True: []}
    number = sums.wrong
    for at, row in sorted(rows.items()):
        found = sum(row[name] for name in KINDS[1:])
        appended = brokers[at] + row["accepted"] if at in brokers else row["appended"]
        fine = appended == row["appended"] == found
        number += not fine and row["appended"] == found  # only the broker knows
        lines[fine].append(
            f"{at:%FT%TZ}: {BALANCE.format(**row | {'appended': appended})}{'' if fine else '  IS WRONG'}"
        )
    said = f"{BALANCE.format(**sums.asDict())}, in {sums.windows} ingest windows" + (
        f", {number} wrong" if number else ""
    )
    return Finding("conservation", not number, said, [*lines[False], *lines[True], *unasked])


def appended_by_window(
    settings: Settings, rows: Sequence[Row], edge: datetime, losses: Sequence[Mapping[str, Any]]
) -> dict[datetime, int]:
    """Ingest window → how many records the topics have of it, those left out whose loss was accepted: by reading
    them, for offsets count markers too.

    rows: the log's last windows (frames.audits.by_window), the newest first. Those are asked that the broker holds
    whole, and windows behind the first of them of which the log has nothing; at most MOST_READ records.
    """
    topics = {of: settings.by_topic[name] for name, of in topic_ids(settings).items()}
    earliest = {(of, p): low for of, view in topics.items() for p, (low, _) in edges(view.kafka).items()}
    since: datetime | None = None
    to_read = 0
    for row in rows:
        to_read += row.appended
        whole = all(p.first >= earliest.get((p.topic_id, p.partition), p.first + 1) for p in row.parts)
        if to_read > MOST_READ or not whole:
            break
        since = _start(row)
    if since is None:
        return {}
    window = settings.streaming.ingest_window
    found = Counter(
        window_start(at, window)
        for of, view in topics.items()
        for partition, offset, at in stamps(view.kafka, since, edge)
        if not any(
            (loss["topic_id"], loss["partition"]) == (of, partition) and loss["first"] <= offset <= loss["last"]
            for loss in losses
        )
    )
    return {_start(row): 0 for row in rows if _start(row) >= since} | found


def identities(parts: DataFrame, identity: Sequence[str]) -> Finding:
    """Of events with one identity the first counts. Where a later one says otherwise, they were two events, and one is
    not counted. Those that `archive_events --accept-uncounted` names are left out."""
    sums = parts.agg(F.sum("duplicates").alias("duplicates"), F.sum("differing").alias("differing")).collect()[0]
    wrong = parts.where(F.col("differing") > 0).orderBy("ingest_window", "topic_id", "partition").limit(SHOWN)
    named = ", ".join(identity)
    details = [
        f"{_start(row):%FT%TZ}, partition {row.partition}, topic {row.topic_id}: {row.differing} events not counted, "
        f"whose {named} an earlier event has that says otherwise, offsets {row.differing_first} to "
        f"{row.differing_last}, such as {row.differing_as!r}"
        for row in wrong.collect()
    ]
    way_out = f"set events.identity to what tells them apart, or take them out here: {ACCEPT}"
    said = f"{sums.differing or 0} of {sums.duplicates or 0} duplicates differ from the event that counts"
    return Finding("log: identity", not details, said, details + ([way_out] if details else []))


def _among(noted: Sequence[Mapping[str, Any]]) -> Column:
    """The condition on records (topic_id, partition, offset) that they are among those that were noted."""
    return lost_among(noted, F.col("offset"), F.col("offset")) > 0


def _start(row: Row) -> datetime:
    at: datetime = row.ingest_window
    return at.replace(tzinfo=UTC)
