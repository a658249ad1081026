"""Event log → totals, then publish the cutoff: exact, and exact for readers at every moment of the load.

    stitch submit batch_totals [--config conf/stitch.toml] [--cutoff 2026-11-23T00:00:00Z] [--full [--counter plays]]

--config   the settings (else STITCH_CONFIG, else conf/stitch.toml)
--cutoff   count every event appended before this instant, an ingest window's edge (default: the last edge that passed)
--full     recount the whole log in place of adding the new ingest windows to the previous totals; it overwrites
           whatever is stored, rows that were damaged or added by hand too
--counter  with --full: this counter (default cutoff: the published one); the others stay as they are, save those whose
           definition changed
--exclude  a file of events not to count (JSON lines, see stitch.exclusions), kept from now on; with --full also in
           history
--accept   publish even where readers will see counts change by more than batch.max_difference, or nothing can be
           compared
--restore  restore the totals of a kept snapshot, by the name of its folder
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import click
from cassandra.cluster import Session

from jobs import failpoints
from jobs.comparing import RefusedByGuard, compare, guard
from jobs.completeness import check_complete, held_since, lost_hours
from jobs.counting import Facts, count_totals, standing
from jobs.errors import BadOption, run
from jobs.frames.totals import ROW, replaced
from jobs.lake import Log
from jobs.lease import Lease, leased
from jobs.ledger import SUBJECT, note, noted_runs, statement
from jobs.loading import finish, load, load_and_publish, publish, stored_totals
from jobs.options import checked_edge, parse_instant, passed_edge
from jobs.sinks.cassandra import connected
from jobs.sinks.snapshots import holds, keep_as, named, read_snapshot, write_snapshot
from jobs.sources.stored import latest_write, published
from jobs.spark import session
from stitch.exclusions import keep, mark
from stitch.exclusions import known as known_exclusions
from stitch.runs import NOTHING, Run, State, going_back, half_loaded, loaded, newest, plan, publication, restoring
from stitch.settings import Settings, load_settings

JOB = "batch_totals"
EXCLUSIONS = ("exclusions", "exclusions_digest")  # the figures of the ledger: with which a run counted


@dataclass(frozen=True)
class Ask:
    """What the command line asks for."""

    cutoff: datetime | None = None
    full: bool = False
    counter: str | None = None
    exclude: str | None = None
    accept: bool = False
    restore: str | None = None


def total_log(settings: Settings, ask: Ask, now: datetime) -> None:
    """The whole run: plan, check, count, keep, compare, load, publish."""
    started = time.monotonic()
    check_ask(settings, ask)
    if ask.exclude:
        added = keep(ask.exclude, settings.log.exclusions, settings.fields)
        print(f"{JOB} keeps {added} new exclusions in {settings.log.exclusions}", flush=True)
    with connected(settings.batch, "batch") as cassandra, leased(cassandra, SUBJECT) as lease:
        if ask.restore:
            restore(settings, cassandra, lease, ask.restore, now)
            return
        planned = plan_run(settings, cassandra, ask, now)
        if planned is None:
            print(f"{JOB} nothing to do: the cutoff is published", flush=True)
            return
        with session(JOB, settings) as spark:
            check_complete(spark, settings, planned.target.cutoff)
            planned = replace(planned, upto=Log(spark, settings).positions() or NOTHING)
            for loss in lost_hours(
                Log(spark, settings), planned.base.cutoff if planned.base else None, planned.target.cutoff
            ):
                print(f"stitch: {loss}", flush=True)
            stored, planned = stored_totals(spark, settings, planned)
            note(cassandra, planned, State.COUNTING)
            excluding = dict(zip(EXCLUSIONS, mark(settings.log.exclusions), strict=True))
            totals = count_totals(spark, settings, planned, stored)
            counting = time.monotonic()
            lease.check()
            snapshot = write_snapshot(totals.rows, settings.log.snapshots, planned.target, planned.base)
            counted = time.monotonic() - counting
            failpoints.die("before_load")
            compared = compare(spark, settings, planned, snapshot, stored, now)
            stored.unpersist()
            try:
                accepted = guard(compared, planned, settings, ask.accept)
            except RefusedByGuard as refused:
                note(cassandra, planned, State.REFUSED, str(refused))
                raise
            facts = totals.facts()
            noted = {**facts, **excluding}
            written = load_and_publish(spark, cassandra, lease, settings, planned, snapshot, compared, accepted, noted)
    summarize(planned, facts, written, counted, time.monotonic() - started)


def check_ask(settings: Settings, ask: Ask) -> None:
    """Raises BadOption for options that do not fit together."""
    names = [counter.name for counter in settings.counters]
    if ask.counter and not ask.full:
        raise BadOption("--counter: belongs to --full; other runs take all counters to the cutoff")
    if ask.counter and ask.counter not in names:
        raise BadOption(f"--counter {ask.counter!r}: the settings have no such counter; there are {', '.join(names)}")
    if ask.restore and (ask.full or ask.cutoff or ask.exclude):
        raise BadOption("--restore: restores a kept snapshot; it takes no --full, --cutoff or --exclude")


def plan_run(settings: Settings, cassandra: Session, ask: Ask, now: datetime) -> Run | None:
    """Which totals to start from, and to which cutoff; None where that is published already."""
    names = [counter.name for counter in settings.counters]
    known = published(cassandra)
    base = newest(names, known)
    cutoff = ask.cutoff or (base.cutoff if ask.counter and base else None)
    cutoff = passed_edge(settings, now) if cutoff is None else checked_edge(settings, cutoff, now)
    held = base is None or holds(settings.log.snapshots, base)
    runs = noted_runs(cassandra, base)
    died, stored, before = half_loaded(runs, base), latest_write(cassandra, runs), publication(runs, base)
    then = before.definitions if before else {}
    redefined = frozenset(name for name, said in settings.definitions.items() if then.get(name, said) != said)
    planned = plan(names, known, cutoff, held, ask.full, ask.counter, died, stored, redefined)
    for name in sorted(redefined):
        print(f"stitch: counter {name}: its definition changed, so it is counted again from the whole log", flush=True)
    if planned is None or before is None:
        return planned
    number, digest = (before.figures.get(name, 0) for name in EXCLUSIONS)
    excluding = known_exclusions(settings.log.exclusions, number, digest)
    return replace(planned, excluding=excluding, after=before.position)


def restore(settings: Settings, cassandra: Session, lease: Lease, name: str, now: datetime) -> None:
    """Bring a snapshot back, or forward again (stitch.runs.going_back says which counters publish before the load)."""
    kept = named(name, settings.log.snapshots)
    if settings.log.kafka and kept.cutoff < held_since(settings, now):
        raise BadOption(f"--restore {name}: increments since its cutoff have expired, so counts would drop; use --full")
    names, runs = [counter.name for counter in settings.counters], noted_runs(cassandra)
    known = {name: at for name, at in published(cassandra).items() if name in names}
    died, then = half_loaded(runs, newest(names, known)), publication(runs, kept)
    back = restoring(names, known, kept.cutoff, died, latest_write(cassandra, runs))
    with session(JOB, settings) as spark:
        stored, back = stored_totals(spark, settings, back)
        current = read_snapshot(spark, settings.log.snapshots, back.base).select(*ROW).unionByName(stored.select(*ROW))
        rows = replaced(current, read_snapshot(spark, settings.log.snapshots, kept), standing(stored, back))
        snapshot = write_snapshot(rows, settings.log.snapshots, back.target, back.base)
        stored.unpersist()
        note(cassandra, back, State.LOADING)
        lease.check()
        if first := going_back(known, back.target):
            publish(cassandra, back, first)
            no_longer = settings.serving.timeout + settings.serving.cache
            time.sleep(no_longer.total_seconds())  # than that goes a request on with the cutoff it read before
        written = load(snapshot, settings, back)
        done = loaded(back)
        keep_as(settings.log.snapshots, back.target, done.target)  # before it is published: the next run starts from it
        # The next run counts those again that the snapshot lacks, or of which nobody knows how it counted them.
        definitions = {counter: then.definitions.get(counter, "unknown") if then else "unknown" for counter in names}
        figures = {name: then.figures.get(name, 0) for name in EXCLUSIONS} if then else {}
        back = replace(back, upto=then.position if then else {})
        figures["rows_written"] = written
        lease.check()
        publish(cassandra, done, names, statement(back, State.PUBLISHED, name, definitions, figures))
    finish(settings, done)
    print(f"{JOB} restored {name}: published cutoff={kept.cutoff:%FT%TZ} rows_written={written}", flush=True)


def summarize(planned: Run, facts: Facts, written: int, count_seconds: float, seconds: float) -> None:
    """One line for whoever reads the log of the night."""
    recounted = f" recounted={','.join(sorted(planned.recount))}" if planned.recount and planned.kind != "full" else ""
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
@click.option("--accept", is_flag=True, help="publish even a large difference")
@click.option("--restore", default=None, help="restore the totals of a kept snapshot")
def main(config: str | None, **asked: str | bool | datetime | None) -> None:
    """Event log → totals."""
    total_log(load_settings(config), Ask(**asked), datetime.now(UTC))  # type: ignore[arg-type]


if __name__ == "__main__":
    run(main)
