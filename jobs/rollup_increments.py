"""Increments → totals, where there is no event log: all-time counts stay one row, and increments may expire.

    stitch submit rollup_increments --help

The same cutoff rule as the batch's, so readers are exact at every moment and a run that died is simply run again. It
needs the real-time layer to have counted every record before the cutoff, which the offsets prove. Use this or
batch_totals on a keyspace, not both: nobody removes duplicates here.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from jobs.ledger.lease import leased
from jobs.ledger.runs import note
from jobs.process import figures
from jobs.process.errors import run
from jobs.process.options import checked_edge, parse_instant, passed_edge
from jobs.process.spark import session
from jobs.proof.completeness import check_counted, check_ingest_window
from jobs.sinks.cassandra import connected
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import publications
from jobs.totals.comparing import Compared
from jobs.totals.loading import load_and_publish, stored_totals
from jobs.totals.rollup import as_before, fold, plan_rollup, take_over
from jobs.totals.work import Work
from stitch.definitions import by_definition
from stitch.runs import SUBJECT, How, State
from stitch.settings import Settings, load_settings

JOB = "rollup_increments"


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
@click.option("--cutoff", callback=parse_instant, show_default="the last that is over",
              help="fold every ingest window before this edge")  # fmt: skip
def main(config: str | None, cutoff: datetime | None) -> None:
    """Increments → totals."""
    settings = load_settings(config)
    figures.begin(JOB, settings.metrics)
    roll_up(settings, cutoff, datetime.now(UTC))


if __name__ == "__main__":
    run(main)
