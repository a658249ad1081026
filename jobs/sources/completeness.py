"""Whether the event log holds every record before a cutoff: proven by offsets, not hoped."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import SparkSession

from jobs.errors import JobError
from jobs.sources.event_log import archived_offsets
from jobs.sources.segments import losses
from jobs.sources.topic import offsets_at, topic_id
from stitch.cutoff import incomplete_partitions
from stitch.settings import Settings


def check_complete(spark: SparkSession, settings: Settings, cutoff: datetime) -> None:
    """Raises JobError for a cutoff that the log cannot prove complete, by the offsets the topic had then."""
    if settings.log.origin != "archive":
        return
    topic = topic_id(settings.kafka)
    missing = incomplete_partitions(offsets_at(settings.kafka, cutoff), archived_offsets(spark, settings.log, topic))
    if missing:
        facts = ", ".join(f"partition {p}: {have} of {need}" for p, (have, need) in sorted(missing.items()))
        raise JobError(
            f"the event log {settings.log.path} is not complete before {cutoff:%FT%TZ} ({facts} offsets): let archive_events "
            "catch up (`stitch submit archive_events --available-now`), then run again"
        )


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
