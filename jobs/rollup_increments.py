"""Increments → totals, where there is no event log: all-time counts stay one row, and increments may expire.

    stitch submit rollup_increments [--config conf/stitch.toml] [--cutoff 2026-11-23T00:00:00Z]

--cutoff  fold every ingest window before this edge (default: the last that is over)

The same cutoff rule as the batch's, so readers are exact at every moment and a run that died is simply run again. It
needs the real-time layer to have counted every record before the cutoff, which the offsets prove. Use this or
batch_totals on a keyspace, not both: nobody removes duplicates here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import click
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.frames.totals import totals
from jobs.ledger.lease import leased
from jobs.ledger.runs import note, noted_runs
from jobs.process import figures
from jobs.process.errors import JobError, run
from jobs.process.options import checked_edge, parse_instant, passed_edge
from jobs.process.spark import session
from jobs.proof.completeness import check_counted, check_ingest_window, held_since
from jobs.sinks.cassandra import connected
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import latest_write, publications, published, read_increments, read_totals
from jobs.totals.comparing import Compared
from jobs.totals.counting import add
from jobs.totals.loading import load_and_publish, stored_totals
from jobs.totals.work import Work
from stitch.cutoff import Published
from stitch.definitions import Publication, by_definition, names_of, replacing, served
from stitch.runs import SUBJECT, How, Run, State, half_loaded, newest, plan, tag
from stitch.settings import Settings, load_settings

JOB = "rollup_increments"


def plan_rollup(work: Work, cutoff: datetime) -> Run | None:
    """Which totals to add to; None where the cutoff is published. Raises JobError where increments are gone, or a
    definition changed."""
    cassandra, table, names, known = work.cassandra, work.table, work.names, published(work.cassandra)
    if changed := replacing(work.settings, known):
        raise JobError(
            f"the definitions of the counters {', '.join(names_of(changed))} changed: without a log their history "
            "cannot be counted by the new ones. Set them back, or give the new counters other names"
        )
    base = newest(names, known)
    table.settle(base)
    if base and base.cutoff < (since := held_since(work.settings, work.now)):
        raise JobError(
            f"increments of the windows from the published cutoff {base.cutoff:%FT%TZ} to {since:%FT%TZ} have expired: "
            "totals would lack them. Run the rollup more often than realtime.retention, or raise that in time: rows "
            "keep the expiry they were written with"
        )
    runs = noted_runs(cassandra, base)
    if base is None and (kept := table.kept()):
        raise JobError(
            f"Cassandra has no published totals, and {table.name} has {tag(kept[-1])}: load them, by `stitch submit "
            "batch_totals --reload`"
        )
    if base and not table.holds(base) and half_loaded(runs, base):
        raise JobError(
            f"{table.name} does not have {tag(base)}, the published totals, and those in Cassandra have rows of a run "
            "that died since; there is no log to count again: restore the table from a backup, or go back to a run "
            f"that is kept ({', '.join(map(tag, table.kept())) or 'there is none'}) by batch_totals --restore"
        )
    run = plan(names, known, cutoff, True, died=half_loaded(runs, base), stored=latest_write(cassandra, runs))
    if run and (again := sorted(run.recount & known.keys())):
        raise JobError(
            f"the counters {', '.join(again)} were published before, and not by the last run: without a log their "
            "history cannot be counted again. Take them out of the settings, or give them other names"
        )
    return replace(run, kind="rollup") if run else None


def as_before(settings: Settings, known: Mapping[str, Publication]) -> dict[str, str]:
    """What an earlier version published under the plain name goes on under it, as long as the counter is the same."""
    now = served(known)
    return {counter.name: counter.name for counter in settings.counters
            if now.get(counter.name) == counter.name and known[counter.name].counter in (None, counter)}  # fmt: skip


def take_over(work: Work, base: Published) -> None:
    """Bring the published totals from Cassandra, which has them whole where no run has died since, into the table."""
    table, counters = work.table, frozenset(work.names)
    print(f"stitch: {table.name} does not have {tag(base)}: taken from Cassandra", flush=True)
    table.begin(Run(None, base, counters, "rollup"), How(counters))
    rows = read_totals(work.spark, work.settings).where(F.col("counter").isin(work.names))
    table.recount(rows.where("count is not null"), counters)
    table.keep(base)


def fold(work: Work, run: Run, died: DataFrame) -> None:
    """Bring the run's branch to its cutoff. A counter that is new has no totals, and all its increments."""
    since = run.base.cutoff if run.base and not run.recount else None
    live = read_increments(work.spark, work.settings, since, run.target.cutoff).withColumnRenamed("count", "amount")
    if run.base:
        new = F.col("counter").isin(sorted(run.recount)) | (F.col("ingest_window") >= F.lit(run.base.cutoff))
        live = live.where(new)
    if run.recount:  # what a run that died has left of them
        work.table.recount(work.table.written().where(F.lit(False)), run.recount)
    add(work.table, run, totals(live, work.settings.counters), died)


def roll_up(settings: Settings, cutoff: datetime | None, now: datetime) -> None:
    """The whole run: plan, check, fold, load, publish."""
    started = time.monotonic()
    cutoff = passed_edge(settings, now) if cutoff is None else checked_edge(settings, cutoff, now)
    with (
        connected(settings.batch, "batch") as cassandra,
        leased(cassandra, SUBJECT) as lease,
        session(JOB, settings) as spark,
    ):
        settings = by_definition(settings, as_before(settings, publications(cassandra)))
        work = Work(spark, settings, cassandra, lease, TotalsTable(spark, settings), now, started)
        planned = plan_rollup(work, cutoff)
        if planned is None:
            print(f"{JOB} nothing to do: {cutoff:%FT%TZ} is published", flush=True)
            return
        check_ingest_window(settings)
        check_counted(settings, cutoff)
        lease.check()
        if planned.base and not work.table.holds(planned.base):
            take_over(work, planned.base)
        stored, planned = stored_totals(spark, settings, planned)
        note(cassandra, planned, State.COUNTING)
        lease.check()
        how = How(frozenset(work.names))
        work.table.begin(planned, how)
        fold(work, planned, stored)
        stored.unpersist()
        nothing = Compared([], "there is no log to compare with")
        written = load_and_publish(work, planned, nothing, how)
    seconds = round(time.monotonic() - started, 1)
    print(f"{JOB} published cutoff={cutoff:%FT%TZ} rows_written={written} seconds={seconds}", flush=True)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option(
    "--cutoff",
    callback=parse_instant,
    show_default="the last that is over",
    help="fold every ingest window before this edge",
)
def main(config: str | None, cutoff: datetime | None) -> None:
    """Increments → totals."""
    settings = load_settings(config)
    figures.begin(JOB, settings.metrics)
    roll_up(settings, cutoff, datetime.now(UTC))


if __name__ == "__main__":
    run(main)
