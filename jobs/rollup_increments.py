"""Increments → totals, where there is no event log: all-time counts stay one row, and increments may expire.

    stitch submit rollup_increments [--config conf/stitch.toml] [--cutoff 2026-11-23T00:00:00Z]

--cutoff  fold every ingest window before this edge (default: the last that is over)

The same cutoff rule as the batch's, so readers are exact at every moment and a run that died is simply run again. It
needs the real-time layer to have counted every record before the cutoff, which the offsets prove. Use this or
batch_totals on a keyspace, not both: nobody removes duplicates here.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import click
from cassandra.cluster import Session
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.comparing import Compared
from jobs.completeness import check_counted, held_since
from jobs.errors import JobError, run
from jobs.frames.totals import added, totals
from jobs.lease import leased
from jobs.ledger import SUBJECT, noted_runs
from jobs.loading import load_and_publish
from jobs.options import checked_edge, parse_instant, passed_edge
from jobs.sinks.cassandra import connected
from jobs.sinks.snapshots import holds, read_snapshot, write_snapshot
from jobs.sources.stored import latest_write, published, read_increments
from jobs.spark import session
from stitch.runs import Run, folder, half_loaded, newest, plan
from stitch.settings import Settings, load_settings

JOB = "rollup_increments"


def plan_rollup(settings: Settings, cassandra: Session, cutoff: datetime, now: datetime) -> Run | None:
    """Which totals to add to; None where the cutoff is published. Raises JobError where increments are gone."""
    names, known = [counter.name for counter in settings.counters], published(cassandra)
    base = newest(names, known)
    if base and not holds(settings.log.snapshots, base):
        raise JobError(
            f"the snapshot {folder(settings.log.snapshots, base)} of the published totals is gone, and there is no log to "
            "count again: restore it from a copy"
        )
    if base and base.cutoff < (since := held_since(settings, now)):
        raise JobError(
            f"increments of the windows from the published cutoff {base.cutoff:%FT%TZ} to {since:%FT%TZ} have expired: "
            "totals would lack them. Run the rollup more often than realtime.retention, or raise that in time: rows "
            "keep the expiry they were written with"
        )
    runs = noted_runs(cassandra, base)
    run = plan(names, known, cutoff, True, died=half_loaded(runs, base), stored=latest_write(cassandra, runs))
    if run and (again := sorted(run.recount & known.keys())):
        raise JobError(
            f"the counters {', '.join(again)} were published before, and not by the last run: without a log their "
            "history cannot be counted again. Take them out of the settings, or give them other names"
        )
    return replace(run, kind="rollup") if run else None


def folded(spark: SparkSession, settings: Settings, run: Run) -> DataFrame:
    """The totals at the run's cutoff (snapshots.SCHEMA). A counter that is new has no totals, and all its
    increments."""
    since = run.base.cutoff if run.base and not run.recount else None
    live = read_increments(spark, settings, since, run.target.cutoff).withColumnRenamed("count", "amount")
    if run.base:
        new = F.col("counter").isin(sorted(run.recount)) | (F.col("ingest_window") >= F.lit(run.base.cutoff))
        live = live.where(new)
    previous = read_snapshot(spark, settings.log.snapshots, run.base)
    return added(previous.where(~F.col("counter").isin(sorted(run.recount))), totals(live, settings.counters))


def roll_up(settings: Settings, cutoff: datetime | None, now: datetime) -> None:
    """The whole run: plan, check, fold, keep, load, publish."""
    started = time.monotonic()
    cutoff = passed_edge(settings, now) if cutoff is None else checked_edge(settings, cutoff, now)
    with connected(settings.batch, "batch") as cassandra, leased(cassandra, SUBJECT) as lease:
        planned = plan_rollup(settings, cassandra, cutoff, now)
        if planned is None:
            print(f"{JOB} nothing to do: {cutoff:%FT%TZ} is published", flush=True)
            return
        check_counted(settings, cutoff)
        with session(JOB, settings) as spark:
            rows = write_snapshot(
                folded(spark, settings, planned), settings.log.snapshots, planned.target, planned.base
            )
            nothing = Compared([], "there is no log to compare with")
            written = load_and_publish(spark, cassandra, lease, settings, planned, rows, nothing)
    seconds = round(time.monotonic() - started, 1)
    print(f"{JOB} published cutoff={cutoff:%FT%TZ} rows_written={written} seconds={seconds}", flush=True)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--cutoff", callback=parse_instant, default=None, help="fold every ingest window before this edge")
def main(config: str | None, cutoff: datetime | None) -> None:
    """Increments → totals."""
    roll_up(load_settings(config), cutoff, datetime.now(UTC))


if __name__ == "__main__":
    run(main)
