"""Whether the log, or the increments, hold every record before a cutoff: proven by what the topic holds
behind them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.lake.log import Log
from jobs.process.errors import JobError, NotYet
from jobs.proof.contiguity import Checked, find_gaps, read_checked, unchecked, untold, write_checked
from jobs.sinks.cassandra import connected
from jobs.sources.event_log import read_offsets
from jobs.sources.readable import behind
from jobs.sources.stored import Progress, published, read_changes, read_offsets_counted, read_progress
from jobs.sources.topic import topic_id
from stitch import retention
from stitch.cutoff import Behind, Missing, Place, aligned, missing_before
from stitch.definitions import name_of, names_of
from stitch.runs import earliest_cutoff
from stitch.settings import Settings

STREAMING_JOB = "streaming_counts"
A_RUN = timedelta(hours=1)  # how long a run may take from its start to its last read of increments


def check_complete(spark: SparkSession, settings: Settings, cutoff: datetime) -> None:
    """Raises JobError for a cutoff that the log cannot be proven complete before."""
    missing = missing_offsets(spark, settings, cutoff) if settings.log.kafka else {}
    if missing:
        raise not_yet(missing)(
            f"the event log {settings.lake.events} is not complete before {cutoff:%FT%TZ}:\n{told(missing)}\n"
            f"{way_out(missing, 'archive_events')}"
        )
    if settings.log.kafka:
        check_contiguous(spark, settings)


def check_contiguous(spark: SparkSession, settings: Settings) -> None:
    """Raises JobError where the log lacks records between those that were checked before and its last ones, of any
    topic."""
    for view in settings.topics_read.values():
        check_contiguous_topic(spark, view)


def check_contiguous_topic(spark: SparkSession, settings: Settings) -> None:
    """check_contiguous of the topic of the settings (Settings.by_topic)."""
    log, topic = Log(spark, settings), topic_id(settings.kafka)
    _, at = log.position(topic)
    checked = {  # of a log that was rolled back, what is read again is to be checked again
        of: one._replace(upto=min(one.upto, at.get(of[1], 0))) if of[0] == topic else one
        for of, one in read_checked(log).items()
    }
    offsets = read_offsets(spark, settings, topic).where(unchecked(checked))
    rows = offsets.groupBy("partition").agg(F.min("offset"), F.max("offset"), F.count(F.lit(1))).collect()
    ends = {partition: last + 1 for partition, _, last, _ in rows}
    found = {}
    if any(records != last + 1 - first for _, first, last, records in rows):  # a look into each gap costs a sort
        found = {one.partition: one for one in find_gaps(spark, {topic: settings}, offsets, checked)}
    for one in found.values():
        if one.unknown:
            print(f"stitch: {untold(one)}", flush=True)
    if lacking := {partition: one.lacking for partition, one in found.items() if one.lacking}:
        facts = "\n".join(
            f"  partition {partition}: {records} records, offsets {first} to {last}"
            for partition, (records, first, last) in lacking.items()
        )
        accepting = [
            f"--accept-loss {settings.kafka.topic}/{partition}:{first}-{last}"
            for partition, (_, first, last) in lacking.items()
        ]
        raise JobError(
            f"the event log {log.name} lacks records that the topic {settings.kafka.topic!r} holds:\n{facts}\n"
            f"Roll the table back to a snapshot that has them, and archive_events reads on from there; or accept the "
            f"loss: stitch submit archive_events --available-now {' '.join(accepting)}"
        )
    for partition, end in ends.items():
        before = checked.get((topic, partition), Checked())
        unreadable = found[partition].unreadable if partition in found else 0
        checked[topic, partition] = Checked(end, before.unreadable + unreadable)
    write_checked(log, checked)


def check_counted(settings: Settings, cutoff: datetime) -> None:
    """Raises JobError for a cutoff that the increments cannot be proven complete before."""
    missing = uncounted_offsets(settings, cutoff)
    if missing:
        raise not_yet(missing)(
            f"the increments are not complete before {cutoff:%FT%TZ}:\n{told(missing)}\n"
            f"{way_out(missing, STREAMING_JOB)}"
        )


def missing_offsets(spark: SparkSession, settings: Settings, cutoff: datetime) -> dict[Place, Missing]:
    """The partitions of which the log may lack records appended before the cutoff."""
    return missing_before(behind_log(spark, settings), cutoff + settings.log.grace)


def uncounted_offsets(settings: Settings, cutoff: datetime) -> dict[Place, Missing]:
    """The partitions of which the increments may lack records appended before the cutoff."""
    return missing_before(behind_increments(settings), cutoff + settings.log.grace)


def behind_log(spark: SparkSession, settings: Settings) -> dict[Place, Behind]:
    """(topic, partition) → what the topic holds behind the position of the log."""
    log = Log(spark, settings)
    found: dict[Place, Behind] = {}
    for name, view in settings.topics_read.items():
        topic = topic_id(view.kafka)
        _, at = log.position(topic)
        found |= {(name, p): one for p, one in behind(view.kafka, log.behind_losses(topic, at)).items()}
    return found


def behind_increments(settings: Settings) -> dict[Place, Behind]:
    """(topic, partition) → what the topic holds behind the increments."""
    with connected(settings.realtime, "realtime") as cassandra:
        offsets = {
            name: read_offsets_counted(cassandra, STREAMING_JOB, name if settings.topics else None)
            for name in settings.topics_read
        }
    return {
        (name, p): one
        for name, view in settings.topics_read.items()
        for p, one in behind(view.kafka, offsets[name]).items()
    }


def needed_since(settings: Settings) -> datetime | None:
    """From which cutoff on readers need increments; None where nothing is published."""
    names = names_of(counter.name for counter in settings.counters)
    with connected(settings.batch, "batch") as cassandra:
        known = published(cassandra)
    return earliest_cutoff([stored for stored in known if name_of(stored) in names], known)


def check_ingest_window(settings: Settings) -> Progress | None:
    """Raises JobError where the increments are of ingest windows of another length than the settings say; returns how
    far they are."""
    with connected(settings.realtime, "realtime") as cassandra:
        progress = read_progress(cassandra, STREAMING_JOB)
    if progress and progress.ingest_window not in (None, settings.streaming.ingest_window):
        raise other_window(settings, progress.ingest_window)
    return progress


def other_window(settings: Settings, stored: timedelta) -> JobError:
    """The error for increments that are of ingest windows of another length."""
    return JobError(
        f"the increments in {settings.realtime.keyspace} are of ingest windows of {stored}, and "
        f"streaming.ingest_window is {settings.streaming.ingest_window}: windows of both lengths would overlap, and a "
        "cutoff cut some in two. Set it back; or set another realtime.keyspace and streaming.checkpoint, and start "
        "streaming_counts --from-cutoff beside the old one (docs/reliability.md says when to change over)"
    )


def check_aligned(settings: Settings, cutoff: datetime) -> None:
    """Raises JobError where the published cutoff cuts an ingest window in two, as after a change of its length."""
    if not aligned(cutoff, settings.streaming.ingest_window):
        raise JobError(
            f"the published cutoff {cutoff:%FT%TZ} is not the edge of an ingest window of "
            f"{settings.streaming.ingest_window} (streaming.ingest_window): publish one at a full hour with the "
            "settings of before, by `batch_totals --cutoff`, then change it"
        )


def held_since(settings: Settings, now: datetime) -> datetime:
    """Since when no increment has expired, nor does while a run reads them: as the tables say, for a raise in the
    settings may not be applied yet."""
    with connected(settings.realtime, "realtime") as cassandra:
        tables = cassandra.cluster.metadata.keyspaces[settings.realtime.keyspace].tables
        expiries = [tables[name].options["default_time_to_live"] for name in ("increments", "member_increments")]
        kept = min(settings.realtime.retention, *(timedelta(seconds=seconds) for seconds in expiries if seconds))
        return retention.held_since(now + min(A_RUN, kept / 10), kept, read_changes(cassandra))


def lost_hours(log: Log, since: datetime | None, until: datetime) -> list[str]:
    """One sentence for each loss whose records may have been appended in [since, until): totals lack them
    permanently."""
    found, names = [], log.topics()
    for loss in log.losses():
        after, before = loss["appended_after"], loss["appended_before"]
        if (after and datetime.fromisoformat(after) >= until) or (
            before and since and datetime.fromisoformat(before) < since
        ):
            continue
        last = "an unknown one" if loss["last"] is None else loss["last"]
        found.append(
            f"the log lacks records of the topic {names.get(loss['topic_id'], loss['topic_id'])}, partition "
            f"{loss['partition']}, offsets {loss['first']} to {last}: ingest windows from {after or 'the beginning'} "
            f"to {before or 'an unknown instant'} may count too little"
        )
    return found


def told(missing: Mapping[Place, Missing]) -> str:
    """A line for each partition: what is missing, from where."""
    return "\n".join(f"  {topic}, partition {p}: {_told(one)}" for (topic, p), one in missing.items())


def _told(missing: Missing) -> str:
    since = f", appended {missing.since:%FT%TZ}" if missing.since else ""
    return {
        "unread": f"held up to offset {missing.have}; records from offset {missing.first}{since} are missing",
        "open": f"waits for the transaction that is open since offset {missing.first}{since}",
        "removed": f"held up to offset {missing.have}; the broker has removed what was behind",
        "ahead": f"held up to offset {missing.have}; the broker's partition ends at {missing.first}",
    }[missing.why]


def not_yet(missing: Mapping[Place, Missing]) -> type[JobError]:
    """The error: whether waiting is enough, or a person must look."""
    return NotYet if {one.why for one in missing.values()} <= {"unread", "open"} else JobError


def way_out(missing: Mapping[Place, Missing], job: str) -> str:
    """What to do about it."""
    why = {one.why for one in missing.values()}
    if why == {"open"}:
        return (
            "Records of an open transaction may count yet. Run again when its producer has committed or aborted it; "
            "the broker aborts it after the producer's transaction.timeout.ms"
        )
    if why & {"removed", "ahead"}:
        return f"Start {job}: it says what is lost, and how to go on"
    return f"Let {job} catch up (`stitch submit {job} --available-now`), then run again"
