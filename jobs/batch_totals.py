"""Event log → totals, then publish the cutoff: exact, and exact for readers at every moment of the load.

    stitch submit batch_totals [--config conf/stitch.toml] [--cutoff 2026-11-23T00:00:00Z] [--full]
    spark-submit --properties-file conf/spark-defaults.conf jobs/batch_totals.py --config conf/stitch.toml

--config  the settings (else STITCH_CONFIG, else conf/stitch.toml)
--cutoff  count every event appended before this instant, an ingest window's edge (default: the last edge that passed)
--full    recount the whole log in place of adding the new ingest windows to the previous totals

Each row carries its own cutoff, so a reader merges a half-finished load exactly and a run that died is simply run
again. Only after all rows are in are the counters' cutoffs published.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import click
from cassandra.cluster import Session
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from jobs import failpoints
from jobs.errors import JobError, run
from jobs.frames.contributions import contributions
from jobs.frames.events import DECODED, DECODER, decode, fields_type
from jobs.frames.totals import added, deduplicated, replaced, totals
from jobs.sinks.cassandra import connected, upsert
from jobs.sinks.snapshots import folder, read_snapshot, write_snapshot
from jobs.sources.event_log import archived_offsets, read_decoded, read_log
from jobs.sources.published import published
from jobs.sources.topic import offsets_at
from jobs.spark import session
from stitch.cutoff import Published, incomplete_partitions, window_start
from stitch.settings import Settings, load_settings

JOB = "batch_totals"


@dataclass(frozen=True)
class Run:
    """One run: from which published totals (None: from nothing) to which cutoff."""

    base: Published | None
    target: Published
    full: bool


def plan(settings: Settings, cassandra: Session, cutoff: datetime, full: bool) -> Run | None:
    """Which totals to start from; None where the cutoff is published already. Raises JobError for one that went back."""
    known = published(cassandra)
    mine = {known.get(counter.name) for counter in settings.counters}
    newest = max((at for at in mine if at), default=None)
    base = mine.pop() if len(mine) == 1 else None  # all counters published together, or none to add to
    if newest and cutoff < newest.cutoff:
        raise JobError(
            f"the cutoff {cutoff:%FT%TZ} is before the published one, {newest.cutoff:%FT%TZ}: totals do not go back"
        )
    if base and base.cutoff == cutoff and not full:
        return None
    full = full or base is None or not folder(settings.log.snapshots, base).is_dir()
    revision = newest.revision + 1 if newest and newest.cutoff == cutoff else 0
    return Run(base if not full else newest, Published(cutoff, revision), full)


def check_complete(spark: SparkSession, settings: Settings, cutoff: datetime) -> None:
    """Refuse a cutoff that the log cannot prove complete, by the offsets the topic had then."""
    if settings.log.origin != "archive":
        return
    missing = incomplete_partitions(offsets_at(settings.kafka, cutoff), archived_offsets(spark, settings.log))
    if missing:
        facts = ", ".join(f"partition {p}: {have} of {need}" for p, (have, need) in sorted(missing.items()))
        raise JobError(
            f"the event log {settings.log.path} is not complete before {cutoff:%FT%TZ} ({facts} offsets): let archive_events "
            "catch up (`stitch submit archive_events --available-now`), then run again"
        )


def count_log(spark: SparkSession, settings: Settings, plan: Run) -> tuple[DataFrame, Callable[[], dict[str, int]]]:
    """The totals at the run's cutoff (the snapshot's schema), and what was read, to be asked after they were written.

    The figures are observed while the totals are computed: a pass of their own would parse the log again.
    """
    since = None if plan.full or plan.base is None else plan.base.cutoff
    seen_since = since - settings.log.lookback if since else None
    new = F.lit(True) if since is None else F.coalesce(F.col("timestamp") >= F.lit(since), F.lit(True))
    read, kept = Observation("read"), Observation("kept")
    decoded = read_events(spark, settings, seen_since, plan.target.cutoff).observe(
        read,
        F.count(F.when(new, 1)).alias("records"),
        F.count(F.when(new, F.col("reject_reason"))).alias("rejected"),
    )
    # The earliest of each event_id: one that came before `since` is counted already.
    first = deduplicated(decoded).where(new).observe(kept, F.count(F.lit(1)).alias("events"))
    delta = totals(contributions(first, settings.counters), settings.counters)
    previous = read_snapshot(spark, settings.log.snapshots, plan.base)
    rows = replaced(previous, delta) if plan.full else added(previous, delta)

    def facts() -> dict[str, int]:
        records, rejected, events = (read.get["records"], read.get["rejected"], kept.get["events"])
        return {"records": records, "rejected": rejected, "duplicates": records - rejected - events, "events": events}

    return rows, facts


def read_events(spark: SparkSession, settings: Settings, since: datetime | None, until: datetime) -> DataFrame:
    """The log decoded (DECODED): as the archive did where the decoder is the same, else anew from the payloads."""
    decoder = settings.decoder(DECODER)
    anew = decode(read_log(spark, settings.log, since, until, decoder), settings).select(*DECODED)
    if settings.log.origin != "archive":
        return anew
    known = read_decoded(spark, settings.log, since, until, decoder, fields_type(settings)).select(*DECODED)
    return known.unionByName(anew)


def load(rows: DataFrame, settings: Settings, at: Published) -> int:
    """Upsert the changed rows with the cutoff they hold and as their write timestamp; returns how many."""
    cutoff_us = int(at.cutoff.timestamp() * 1_000_000)
    changed = rows.where("changed").select(
        "counter", "key", "member", "granularity", "bucket", "count",
        F.lit(at.cutoff).alias("cutoff"),
        F.lit(cutoff_us + at.revision).alias("write_time"),
    )  # fmt: skip
    if failpoints.armed("half_loaded"):
        changed = changed.where(F.pmod(F.xxhash64("counter", "key", "granularity", "bucket", "member"), F.lit(2)) == 0)
    upsert(changed.where(F.col("member").isNull()).drop("member"), settings.batch, "totals")
    upsert(changed.where(F.col("member").isNotNull()), settings.batch, "member_totals")
    failpoints.die("half_loaded")
    return changed.count()


def publish(cassandra: Session, settings: Settings, at: Published) -> None:
    """Publish the cutoff of every counter: from now on readers need no increment of an earlier ingest window."""
    statement = "INSERT INTO cutoffs (counter, cutoff, revision) VALUES (%s, %s, %s)"
    for counter in settings.counters:
        cassandra.execute(statement, (counter.name, at.cutoff, at.revision))


def total_log(settings: Settings, cutoff: datetime | None, full: bool, now: datetime) -> None:
    """The whole run: check, count, keep, load, publish."""
    started = time.monotonic()
    passed = window_start(now - settings.log.grace, settings.streaming.ingest_window)
    cutoff = cutoff or passed
    if cutoff != window_start(cutoff, settings.streaming.ingest_window) or cutoff > passed:
        raise JobError(
            f"--cutoff {cutoff:%FT%TZ}: must be the edge of an ingest window ({settings.streaming.ingest_window}) "
            f"that has passed by {settings.log.grace}; the last is {passed:%FT%TZ}"
        )
    with connected(settings.batch, "batch") as cassandra:
        planned = plan(settings, cassandra, cutoff, full)
        if planned is None:
            print(f"{JOB} nothing to do: {cutoff:%FT%TZ} is published")
            return
        with session(JOB, settings.batch) as spark:
            check_complete(spark, settings, cutoff)
            rows, facts = count_log(spark, settings, planned)
            counting = time.monotonic()
            snapshot = write_snapshot(rows, settings.log.snapshots, planned.target)
            counted = time.monotonic() - counting
            written = load(snapshot, settings, planned.target)
        publish(cassandra, settings, planned.target)
    summary = {
        **facts(),
        "rows_written": written,
        "count_seconds": round(counted, 1),
        "seconds": round(time.monotonic() - started, 1),
    }
    kind = "full" if planned.full else "incremental"
    print(
        f"{JOB} published cutoff={cutoff:%FT%TZ} run={kind} " + " ".join(f"{k}={v}" for k, v in summary.items()),
        flush=True,
    )


def parse_instant(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """An ISO-8601 instant, UTC where it names no zone."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise JobError(f"--cutoff {text!r} is not an ISO-8601 instant such as 2026-11-23T00:00:00Z") from None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--cutoff", callback=parse_instant, default=None, help="count every event appended before this instant")
@click.option("--full", is_flag=True, help="recount the whole log")
def main(config: str | None, cutoff: datetime | None, full: bool) -> None:
    """Event log → totals."""
    total_log(load_settings(config), cutoff, full, datetime.now(UTC))


if __name__ == "__main__":
    run(lambda: main(standalone_mode=False))
