"""Event log → totals, then publish the cutoff: exact, and exact for readers at every moment of the load.

    stitch submit batch_totals [--config conf/stitch.toml] [--cutoff 2026-11-23T00:00:00Z] [--full [--counter plays]]

--config   the settings (else STITCH_CONFIG, else conf/stitch.toml)
--cutoff   count every event appended before this instant, an ingest window's edge (default: the last edge that passed)
--full     recount the whole log in place of adding the new ingest windows to the previous totals; it overwrites
           whatever is stored, rows that were damaged, added or deleted by hand too
--counter  with --full: this counter (default cutoff: the published one); the others stay as they are, save those whose
           definition changed
--exclude  a file of events not to count (JSON lines, see stitch.exclusions), kept from now on; with --full also in
           history
--include  a file of such rules that are to hold no longer; with --full also in history
--accept   publish even where readers will see counts change by more than batch.max_difference, or nothing can be
           compared
--restore  load the totals of another run that is kept, by its name (cutoff=…)
--reload   load the published totals again, into a Cassandra that has lost them, or rows of them
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import click
from cassandra.cluster import Session
from pyspark.sql import SparkSession

from jobs.comparing import RefusedByGuard, compare, guard
from jobs.completeness import check_complete, lost_hours
from jobs.counting import Facts, count_totals
from jobs.definitions import without_waiting
from jobs.errors import run
from jobs.exclusions import Exclusions
from jobs.lake import Log
from jobs.lease import Lease, leased
from jobs.leaving import leave, not_asked_for, told
from jobs.ledger import note
from jobs.loading import load_and_publish, stored_totals
from jobs.options import parse_instant
from jobs.planning import Ask, check_ask, how_counted, plan_run
from jobs.restoring import restore
from jobs.sinks.cassandra import connected
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.rules import read_rules
from jobs.sources.stored import replaced
from jobs.spark import session
from stitch.definitions import by_definition, name_of, names_of
from stitch.runs import NOTHING, SUBJECT, Run, State, tag
from stitch.settings import Settings, load_settings

JOB = "batch_totals"


def total_log(settings: Settings, ask: Ask, now: datetime) -> None:
    """What the command line asks for, by whoever has the lease on the totals."""
    started = time.monotonic()
    check_ask(settings, ask)
    settings = by_definition(settings)
    ask = replace(ask, counter=next((c.name for c in settings.counters if name_of(c.name) == ask.counter), None))
    with (
        connected(settings.batch, "batch") as cassandra,
        leased(cassandra, SUBJECT) as lease,
        session(JOB, settings) as spark,
    ):
        table = TotalsTable(spark, settings)
        exclusions = Exclusions(spark, settings)
        change_exclusions(spark, settings, lease, exclusions, ask, now)
        if ask.restore or ask.reload:
            kept, written = restore(spark, settings, cassandra, lease, table, ask, now)
            print(f"{JOB} loaded {tag(kept)}: published cutoff={kept.cutoff:%FT%TZ} rows_written={written}", flush=True)
            return
        settings, waiting = without_waiting(settings, cassandra)
        if settings.counters and (planned := plan_run(settings, cassandra, table, exclusions, ask, now)):
            count_and_publish(spark, settings, cassandra, lease, table, planned, ask, now, started)
        elif not waiting:
            print(f"{JOB} nothing to do: the cutoff is published", flush=True)
        if waiting:
            raise waiting


def change_exclusions(
    spark: SparkSession, settings: Settings, lease: Lease, exclusions: Exclusions, ask: Ask, now: datetime
) -> None:
    """Put the rules of --exclude in force, and take those of --include out."""
    if ask.exclude:
        with read_rules(spark, settings, ask.exclude) as rules:
            lease.check()
            print(f"{JOB} keeps {exclusions.keep(rules, now)} new exclusions in {exclusions.name}", flush=True)
    if ask.include:
        with read_rules(spark, settings, ask.include) as rules:
            lease.check()
            print(f"{JOB} took {exclusions.take_out(rules)} exclusions out of {exclusions.name}", flush=True)


def count_and_publish(
    spark: SparkSession,
    settings: Settings,
    cassandra: Session,
    lease: Lease,
    table: TotalsTable,
    planned: Run,
    ask: Ask,
    now: datetime,
    started: float,
) -> None:
    """The whole run: check, count, compare, load, publish."""
    check_complete(spark, settings, planned.target.cutoff)
    log = Log(spark, settings)
    planned = replace(planned, upto=log.positions() or NOTHING)
    for loss in lost_hours(log, planned.base.cutoff if planned.base else None, planned.target.cutoff):
        print(f"stitch: {loss}", flush=True)
    stored, planned = stored_totals(spark, settings, planned)
    note(cassandra, planned, State.COUNTING)
    counting = time.monotonic()
    how = how_counted(settings, Exclusions(spark, settings), planned)
    lease.check()
    table.begin(planned, how)
    counted = count_totals(table, settings, planned, stored)
    seconds = time.monotonic() - counting
    compared = compare(table, settings, planned, counted.days, stored, now)
    stored.unpersist()
    verdict = guard(compared, planned, settings, now)
    if verdict.said:
        print(verdict.said, flush=True)
    aside = not_asked_for(planned, ask.counter)
    judged = {name: one for name, one in verdict.refused.items() if name not in aside}
    # With --counter a person has looked at that one alone.
    accepted = {name: one for name, one in judged.items() if ask.accept and ask.counter in (None, name)}
    refused = {name: one for name, one in judged.items() if name not in accepted}
    left = {**aside, **refused}
    if left:
        how = leave(settings, cassandra, table, planned, how, verdict, left)
    reason = "\n".join(
        [*([verdict._replace(refused=accepted).text("accepted")] if accepted else []),
         *([verdict._replace(refused=left).text("left as it was")] if left else [])]
    ) or verdict.said  # fmt: skip
    written = load_and_publish(
        spark,
        cassandra,
        lease,
        settings,
        planned,
        table,
        compared,
        how,
        reason,
        counted.facts,
        replaced(cassandra, settings),
    )
    summarize(planned, counted.facts, written, seconds, time.monotonic() - started)
    if refused:
        raise RefusedByGuard(told(settings, planned, verdict._replace(refused=refused)))


def summarize(planned: Run, facts: Facts, written: int, count_seconds: float, seconds: float) -> None:
    """One line for whoever reads the log of the night."""
    again = ",".join(names_of(planned.recount)) if planned.kind != "full" else ""
    recounted = f" recounted={again}" if again else ""
    figures = {
        **facts,
        "rows_written": written,
        "count_seconds": round(count_seconds, 1),
        "seconds": round(seconds, 1),
    }
    said = " ".join(f"{name}={value}" for name, value in figures.items())
    print(f"{JOB} published cutoff={planned.target.cutoff:%FT%TZ} run={planned.kind}{recounted} {said}", flush=True)


@click.command()
@click.option("--config", type=click.Path(), default=None, help="the settings file")
@click.option("--cutoff", callback=parse_instant, default=None, help="count every event appended before this instant")
@click.option("--full", is_flag=True, help="recount the whole log")
@click.option("--counter", default=None, help="with --full: only this counter")
@click.option("--exclude", default=None, help="a file of events not to count, kept from now on")
@click.option("--include", default=None, help="a file of such rules that are to hold no longer")
@click.option("--accept", is_flag=True, help="publish even a large difference")
@click.option("--restore", default=None, help="load the totals of another run that is kept")
@click.option("--reload", is_flag=True, help="load the published totals again")
def main(config: str | None, **asked: str | bool | datetime | None) -> None:
    """Event log → totals."""
    total_log(load_settings(config), Ask(**asked), datetime.now(UTC))  # type: ignore[arg-type]


if __name__ == "__main__":
    run(main)
