"""Whether the log, or the increments, hold every record before a cutoff: proven by what the topic holds
behind them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.contiguity import Checked, find_gaps, read_checked, unchecked, untold, write_checked
from jobs.errors import JobError, NotYet
from jobs.sinks.cassandra import connected
from jobs.sources.checkpoint import Checkpoint
from jobs.sources.event_log import archived_offsets, read_offsets
from jobs.sources.readable import behind
from jobs.sources.segments import checkpoint_of, losses, losses_file, segments
from jobs.sources.stored import read_changes, read_progress
from jobs.sources.topic import edges, topic_id
from stitch import retention
from stitch.cutoff import Behind, Missing, missing_before
from stitch.settings import Settings

STREAMING_JOB = "streaming_counts"
A_RUN = timedelta(hours=1)  # how long a run may take from its start to its last read of increments
LOSS = '{"partition": 0, "first": 100, "last": 119, "appended_after": null, "appended_before": null}'


def check_complete(spark: SparkSession, settings: Settings, cutoff: datetime) -> None:
    """Raises JobError for a cutoff that the log cannot be proven complete before."""
    missing = missing_offsets(spark, settings, cutoff) if settings.log.origin == "archive" else {}
    if missing:
        raise not_yet(missing)(
            f"the event log {settings.log.path} is not complete before {cutoff:%FT%TZ}:\n{told(missing)}\n"
            f"{way_out(missing, 'archive_events')}"
        )
    if settings.log.origin == "archive":
        check_contiguous(spark, settings)


def check_contiguous(spark: SparkSession, settings: Settings) -> None:
    """Raises JobError where the log lacks records between those that were checked before and its last ones."""
    topic, checked = topic_id(settings.kafka), read_checked(settings.log)
    offsets = read_offsets(spark, settings.log, topic).where(unchecked(checked))
    rows = offsets.groupBy("partition").agg(F.min("offset"), F.max("offset"), F.count(F.lit(1))).collect()
    ends = {partition: last + 1 for partition, _, last, _ in rows}
    found = {}
    if any(records != last + 1 - first for _, first, last, records in rows):  # a look into each gap costs a sort
        found = {one.partition: one for one in find_gaps(spark, settings, offsets, topic, checked)}
    for one in found.values():
        if one.unknown:
            print(f"stitch: {untold(one)}", flush=True)
    if lacking := {partition: one.lacking for partition, one in found.items() if one.lacking}:
        facts = "\n".join(
            f"  partition {partition}: {records} records, offsets {first} to {last}"
            for partition, (records, first, last) in lacking.items()
        )
        raise JobError(
            f"the event log {settings.log.path} lacks records that the topic {settings.kafka.topic!r} holds:\n{facts}\n"
            f"Copy the missing files of the log from a backup; or accept the loss: add a line such as {LOSS} to "
            f"{losses_file(settings.log)}"
        )
    for partition, end in ends.items():
        before = checked.get((topic, partition), Checked())
        unreadable = found[partition].unreadable if partition in found else 0
        checked[topic, partition] = Checked(end, before.unreadable + unreadable)
    write_checked(settings.log, checked)


def check_counted(settings: Settings, cutoff: datetime) -> None:
    """Raises JobError for a cutoff that the increments cannot be proven complete before."""
    missing = uncounted_offsets(settings, cutoff)
    if missing:
        raise not_yet(missing)(
            f"the increments are not complete before {cutoff:%FT%TZ}:\n{told(missing)}\n{way_out(missing, STREAMING_JOB)}"
        )


def missing_offsets(spark: SparkSession, settings: Settings, cutoff: datetime) -> dict[int, Missing]:
    """The partitions of which the log may lack records appended before the cutoff."""
    return missing_before(behind_log(spark, settings), cutoff + settings.log.grace)


def uncounted_offsets(settings: Settings, cutoff: datetime) -> dict[int, Missing]:
    """The partitions of which the increments may lack records appended before the cutoff."""
    return missing_before(behind_increments(settings), cutoff + settings.log.grace)


def behind_log(spark: SparkSession, settings: Settings) -> dict[int, Behind]:
    """partition → what the topic holds behind the last record in the log."""
    topic, brokers = topic_id(settings.kafka), edges(settings.kafka)
    at, read = archived_offsets(spark, settings.log, topic), archive_position(spark, settings, topic)
    for loss in losses(settings.log):  # what was accepted as lost is not waited for
        partition = loss["partition"]
        if loss["last"] is not None and loss["first"] in (at.get(partition, 0), read.get(partition)):
            at[partition] = loss["last"] + 1
    for partition, (low, high) in brokers.items():
        # Between the log's last record and what the broker holds, the archive has read on and found no record.
        if not low <= at.get(partition, 0) <= high and low <= read.get(partition, -1) <= high:
            at[partition] = read[partition]
    return behind(settings.kafka, at)


def behind_increments(settings: Settings) -> dict[int, Behind]:
    """partition → what the topic holds behind the increments."""
    with connected(settings.realtime, "realtime") as cassandra:
        progress = read_progress(cassandra, STREAMING_JOB)
    return behind(settings.kafka, progress.offsets if progress else {})


def held_since(settings: Settings, now: datetime) -> datetime:
    """Since when no increment has expired, nor does while a run reads them: as the tables say, for a raise in the
    settings may not be applied yet."""
    with connected(settings.realtime, "realtime") as cassandra:
        tables = cassandra.cluster.metadata.keyspaces[settings.realtime.keyspace].tables
        expiries = [tables[name].options["default_time_to_live"] for name in ("increments", "member_increments")]
        kept = min(settings.realtime.retention, *(timedelta(seconds=seconds) for seconds in expiries if seconds))
        return retention.held_since(now + min(A_RUN, kept / 10), kept, read_changes(cassandra))


def archive_position(spark: SparkSession, settings: Settings, topic: str) -> dict[int, int]:
    """partition → up to where the archive has read this topic, by the checkpoint of the log's last segment."""
    known = segments(settings.log)
    if not known or known[-1].topic_id != topic:
        return {}
    return Checkpoint(spark, checkpoint_of(settings.log, known[-1]), settings.kafka.topic).next_offsets()


def lost_hours(settings: Settings, since: datetime | None, until: datetime) -> list[str]:
    """One sentence for each loss whose records may have been appended in [since, until): totals lack them
    permanently."""
    found = []
    for loss in losses(settings.log):
        after, before = loss["appended_after"], loss["appended_before"]
        if (after and datetime.fromisoformat(after) >= until) or (
            before and since and datetime.fromisoformat(before) < since
        ):
            continue
        last = "an unknown one" if loss["last"] is None else loss["last"]
        found.append(
            f"the log lacks records of partition {loss['partition']}, offsets {loss['first']} to {last}: ingest windows from "
            f"{after or 'the beginning'} to {before or 'an unknown instant'} may count too little"
        )
    return found


def told(missing: Mapping[int, Missing]) -> str:
    """A line for each partition: what is missing, from where."""
    return "\n".join(f"  partition {partition}: {_told(one)}" for partition, one in missing.items())


def _told(missing: Missing) -> str:
    since = f", appended {missing.since:%FT%TZ}" if missing.since else ""
    return {
        "unread": f"held up to offset {missing.have}; records from offset {missing.first}{since} are missing",
        "open": f"waits for the transaction that is open since offset {missing.first}{since}",
        "removed": f"held up to offset {missing.have}; the broker has removed what was behind",
        "ahead": f"held up to offset {missing.have}; the broker's partition ends at {missing.first}",
    }[missing.why]


def not_yet(missing: Mapping[int, Missing]) -> type[JobError]:
    """The error: whether waiting is enough, or a person must look."""
    return NotYet if {one.why for one in missing.values()} <= {"unread", "open"} else JobError


def way_out(missing: Mapping[int, Missing], job: str) -> str:
    """What to do about it."""
    why = {one.why for one in missing.values()}
    if why == {"open"}:
        return (
            "Records of an open transaction may count yet. Run again when its producer has committed or aborted it; the broker "
            "aborts it after the producer's transaction.timeout.ms"
        )
    if why & {"removed", "ahead"}:
        return f"Start {job}: it says what is lost, and how to go on"
    return f"Let {job} catch up (`stitch submit {job} --available-now`), then run again"
