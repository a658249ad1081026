"""Whether the log, or the increments, hold every record before a cutoff: proven by offsets, not hoped."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import SparkSession

from jobs.errors import NotYet
from jobs.sinks.cassandra import connected
from jobs.sources.event_log import archived_offsets
from jobs.sources.segments import losses
from jobs.sources.stored import read_progress
from jobs.sources.topic import offsets_at, topic_id
from stitch.cutoff import incomplete_partitions
from stitch.settings import Settings

STREAMING_JOB = "streaming_counts"


def check_complete(spark: SparkSession, settings: Settings, cutoff: datetime) -> None:
    """Raises NotYet for a cutoff that the log cannot prove complete, by the offsets the topic had then."""
    missing = missing_offsets(spark, settings, cutoff) if settings.log.origin == "archive" else {}
    if missing:
        raise NotYet(
            f"the event log {settings.log.path} is not complete before {cutoff:%FT%TZ} ({_told(missing)} offsets): let archive_events "
            "catch up (`stitch submit archive_events --available-now`), then run again"
        )


def check_counted(settings: Settings, cutoff: datetime) -> None:
    """Raises NotYet for a cutoff that the increments cannot prove complete."""
    missing = uncounted_offsets(settings, cutoff)
    if missing:
        raise NotYet(
            f"the increments are not complete before {cutoff:%FT%TZ} ({_told(missing)} offsets): let streaming_counts catch up, "
            "then run again"
        )


def missing_offsets(spark: SparkSession, settings: Settings, cutoff: datetime) -> dict[int, tuple[int, int]]:
    """The partitions that the log does not hold up to the cutoff: partition → (have, need)."""
    held = archived_offsets(spark, settings.log, topic_id(settings.kafka))
    for loss in losses(settings.log):  # what was accepted as lost is not waited for
        if loss["last"] is not None and held.get(loss["partition"], 0) == loss["first"]:
            held[loss["partition"]] = loss["last"] + 1
    return incomplete_partitions(offsets_at(settings.kafka, cutoff), held)


def uncounted_offsets(settings: Settings, cutoff: datetime) -> dict[int, tuple[int, int]]:
    """The partitions that the increments do not hold up to the cutoff: partition → (have, need)."""
    with connected(settings.realtime, "realtime") as cassandra:
        progress = read_progress(cassandra, STREAMING_JOB)
    return incomplete_partitions(offsets_at(settings.kafka, cutoff), progress.offsets if progress else {})


def lost_hours(settings: Settings, since: datetime | None, until: datetime) -> list[str]:
    """One sentence for each loss whose records may have been appended in [since, until): totals lack them for good."""
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


def _told(missing: dict[int, tuple[int, int]]) -> str:
    return ", ".join(f"partition {p}: {have} of {need}" for p, (have, need) in sorted(missing.items()))
