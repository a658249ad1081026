"""The steps of a rollup: which totals to add to, and the increments that are added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.frames.totals import totals
from jobs.ledger.runs import noted_runs
from jobs.process.errors import JobError
from jobs.proof.completeness import held_since
from jobs.sources.stored import latest_write, published, read_increments, read_totals
from jobs.totals.counting import add
from jobs.totals.work import Work
from stitch.cutoff import Published
from stitch.definitions import Publication, names_of, replacing, served
from stitch.runs import How, Run, half_loaded, newest, plan, tag
from stitch.settings import Settings


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
