"""Event log → totals, then publish the cutoff: exact, and exact for readers at every moment of the load.

stitch submit batch_totals --help
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import click

from jobs.lake.exclusions import Exclusions
from jobs.ledger.lease import leased
from jobs.process import figures
from jobs.process.errors import run
from jobs.process.options import parse_instant
from jobs.process.spark import session
from jobs.sinks.cassandra import connected
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.rules import read_rules
from jobs.totals.definitions import without_waiting
from jobs.totals.planning import Ask, check_ask, plan_run
from jobs.totals.publishing import JOB, count_and_publish
from jobs.totals.restoring import restore
from jobs.totals.work import Work
from stitch.definitions import by_definition, stored_names
from stitch.runs import SUBJECT, tag
from stitch.settings import Settings, load_settings


def total_log(settings: Settings, ask: Ask, now: datetime) -> None:
    """What the command line asks for, by whoever has the lease on the totals."""
    started = time.monotonic()
    check_ask(settings, ask)
    stored = stored_names(settings)
    settings, ask = by_definition(settings), replace(ask, counter=stored.get(ask.counter or ""))
    with (
        connected(settings.batch, "batch") as cassandra,
        leased(cassandra, SUBJECT) as lease,
        session(JOB, settings) as spark,
    ):
        work = Work(spark, settings, cassandra, lease, TotalsTable(spark, settings), now, started)
        change_exclusions(work, ask)
        ready, waiting = without_waiting(settings, cassandra, now, ask.accept)
        if waiting and (ask.restore or ask.counter):  # another run would come first
            raise waiting
        if ask.restore or ask.reload:
            kept, written = restore(work, ask)
            print(f"{JOB} loaded {tag(kept)}: published cutoff={kept.cutoff:%FT%TZ} rows_written={written}", flush=True)
            return
        work = work._replace(settings=ready, asked_for=stored.values())
        if ready.counters and (planned := plan_run(work, ask)):
            count_and_publish(work, planned, ask)
        elif not waiting:
            print(f"{JOB} nothing to do: the cutoff is published", flush=True)
        if waiting:
            raise waiting


def change_exclusions(work: Work, ask: Ask) -> None:
    """Put the rules of --exclude in force, and take those of --include out."""
    exclusions = Exclusions(work.spark, work.settings)
    if ask.exclude:
        with read_rules(work.spark, work.settings, ask.exclude) as rules:
            work.lease.check()
            print(f"{JOB} keeps {exclusions.keep(rules, work.now)} new exclusions in {exclusions.name}", flush=True)
    if ask.include:
        with read_rules(work.spark, work.settings, ask.include) as rules:
            work.lease.check()
            print(f"{JOB} took {exclusions.take_out(rules)} exclusions out of {exclusions.name}", flush=True)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option(
    "--cutoff",
    callback=parse_instant,
    show_default="the last edge that passed",
    help="count every event appended before this instant, an ingest window's edge",
)
@click.option(
    "--full",
    is_flag=True,
    help="recount the whole log, in place of adding the new ingest windows to the previous totals; it overwrites "
    "whatever is stored, rows that were damaged, added or deleted by hand too",
)
@click.option(
    "--counter",
    default=None,
    help="with --full: this counter, up to the published cutoff where no other is given; the others stay as they are, "
    "save those whose definition changed",
)
@click.option(
    "--exclude",
    default=None,
    help="a file of events not to count (JSON lines), kept from now on; with --full also in history",
)
@click.option(
    "--include", default=None, help="a file of such rules that are to hold no longer; with --full also in history"
)
@click.option(
    "--accept",
    is_flag=True,
    help="publish even where counts change by more than batch.max_difference, or nothing can be compared",
)
@click.option("--restore", default=None, help="load the totals of another run that is kept, by its name (cutoff=…)")
@click.option(
    "--reload", is_flag=True, help="load the published totals again, into a Cassandra that has lost them, or rows"
)
def main(config: str | None, **asked: str | bool | datetime | None) -> None:
    """Event log → totals."""
    settings = load_settings(config)
    figures.begin(JOB, settings.metrics)
    total_log(settings, Ask(**asked), datetime.now(UTC))  # type: ignore[arg-type]


if __name__ == "__main__":
    run(main)
