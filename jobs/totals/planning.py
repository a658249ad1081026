"""What a batch is asked for, and which run that is: its base, its cutoff, and what it recounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from jobs.lake.exclusions import Exclusions
from jobs.ledger.runs import noted_runs
from jobs.process.errors import BadOption, JobError, Unreachable
from jobs.process.options import checked_edge, passed_edge
from jobs.proof.completeness import check_aligned, check_ingest_window, other_window
from jobs.sinks.cassandra import NoLayer
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import latest_write, published
from jobs.totals.work import Work
from stitch.buckets import micros
from stitch.cutoff import Published
from stitch.definitions import name_of, names_of, replacing
from stitch.runs import (
    Held,
    How,
    Noted,
    Run,
    half_loaded,
    latest_cutoff,
    newest,
    plan,
    publication,
    refused_since,
    tag,
)
from stitch.settings import Settings

EXCLUSIONS = ("exclusions", "exclusions_snapshot")  # the figures of the ledger: how many, and with which a run counted


@dataclass(frozen=True)
class Ask:
    """What the command line asks for."""

    cutoff: datetime | None = None
    full: bool = False
    counter: str | None = None
    exclude: str | None = None
    include: str | None = None
    accept: bool = False
    restore: str | None = None
    reload: bool = False


def check_ask(settings: Settings, ask: Ask) -> None:
    """Raises BadOption for options that do not fit together."""
    names = [counter.name for counter in settings.counters]
    if ask.counter and not ask.full:
        raise BadOption("--counter: belongs to --full; other runs take all counters to the cutoff")
    if ask.counter and ask.counter not in names:
        raise BadOption(f"--counter {ask.counter!r}: the settings have no such counter; there are {', '.join(names)}")
    if ask.restore and ask.reload:
        raise BadOption("--reload: loads the published totals; --restore names others. Give one of the two")
    for option, given in (("--restore", ask.restore), ("--reload", ask.reload)):
        if given and (ask.full or ask.cutoff or ask.exclude or ask.include):
            raise BadOption(
                f"{option}: loads totals that are kept; it takes no --full, --cutoff, --exclude or --include"
            )


def plan_run(work: Work, ask: Ask) -> Run | None:
    """Which totals to start from, and to which cutoff; None where that is published already."""
    settings, cassandra, table, now = work.settings, work.cassandra, work.table, work.now
    names, stored_as = work.names, published(cassandra)
    redefined = replacing(settings, stored_as)
    known = stored_as | {name: stored_as[before] for name, before in redefined.items()}
    base = newest(names, known)
    table.settle(base)
    for at in {known[name] for name in names if name in known} if settings.log.kafka else ():
        check_aligned(settings, at.cutoff)
    cutoff = ask.cutoff or (latest_cutoff(names, known) if ask.counter else None)
    cutoff = passed_edge(settings, now) if cutoff is None else checked_edge(settings, cutoff, now)
    held = base is None or table.holds(base)
    if base is None and (kept := table.kept()):
        print(f"stitch: Cassandra has no published totals. {table.name} has {tag(kept[-1])}, which `batch_totals "
              "--reload` would load. Counting the whole log", flush=True)  # fmt: skip
    if base and not held:
        print(f"stitch: {table.name} does not have {tag(base)}, so all is counted from the whole log", flush=True)
    behind = left_behind(table, base, known) if base and held else {}
    runs = noted_runs(cassandra, base)
    died, before = half_loaded(runs, base), publication(runs, base)
    stored = latest_write(cassandra, runs)
    if ask.full:
        stored = no_earlier_than(now, stored)
    planned = plan(names, known, cutoff, held, ask.full, ask.counter, died, stored, frozenset(redefined), behind)
    for name, other in sorted(redefined.items()):
        print(f"stitch: counter {name_of(name)}: its definition changed: it is counted from the whole log as {name}, "
              f"and readers get {other} until that is published", flush=True)  # fmt: skip
    check_window(settings, before)
    if planned is None or before is None:
        return planned
    check_exclusions(Exclusions(work.spark, settings), before)
    return replace(planned, held=what_it_holds(before), refused=refused_since(runs, base))


def left_behind(table: TotalsTable, base: Published, known: Mapping[str, Published]) -> dict[str, Held]:
    """The counters that the newest run left as an earlier one had published them, which is published still."""
    behind = table.how(base).behind.items()
    return {name: held for name, held in behind if name in known and tag(known[name]) == held.by}


def what_it_holds(run: Noted) -> Held:
    """What the totals hold that the run published."""
    return Held(run.at.cutoff, run.position, run.figures.get(EXCLUSIONS[1], 0))


def check_window(settings: Settings, before: Noted | None) -> None:
    """Raises JobError for another length of ingest windows than that of the increments; where these are unavailable,
    than that of the run that published."""
    if not settings.log.kafka:
        return
    try:
        check_ingest_window(settings)
    except (Unreachable, NoLayer):
        then = before.figures.get("ingest_window") if before else None
        if then and timedelta(seconds=then) != settings.streaming.ingest_window:
            raise other_window(settings, timedelta(seconds=then)) from None


def no_earlier_than(now: datetime, stored: int | None) -> int:
    """What a run that mends must overwrite: of rows that were deleted by hand Cassandra says nothing but that it has
    none, and keeps them deleted against all writes with an earlier timestamp."""
    return max(stored or 0, micros(now))


def check_exclusions(exclusions: Exclusions, before: Noted) -> None:
    """Raises JobError where published totals leave out events by rules, and there is no table of them: it was lost, or
    they are in the file of an earlier version."""
    number = before.figures.get(EXCLUSIONS[0], 0)
    if number and exclusions.mark() == (0, 0):
        raise JobError(
            f"the published totals leave out events by {number} exclusions, and {exclusions.name} has none: run once "
            "with --exclude FILE (the file that log.exclusions of an earlier version named)"
        )


def how_counted(work: Work, run: Run) -> How:
    """How the run counts, for those after it."""
    figures = dict(zip(EXCLUSIONS, Exclusions(work.spark, work.settings).mark(), strict=True))
    figures["ingest_window"] = int(work.settings.streaming.ingest_window.total_seconds())
    return How(frozenset(work.names), run.upto, figures, kept_while_waiting(work, run))


def kept_while_waiting(work: Work, run: Run) -> dict[str, Held]:
    """What the totals hold of definitions whose successors wait: readers get them, and the run leaves them as they
    are. So a run by the settings of before goes on from there; not after one that died, which may have loaded rows of
    them."""
    known, base = published(work.cassandra), run.base
    waiting = {*names_of(work.asked_for)} - {*names_of(work.names)}
    if base is None or run.died or not waiting:
        return {}
    before = left_behind(work.table, base, known)
    of_base = {name: replace(held, by=tag(base)) for name, at in known.items()
               if at == base and (held := run.base_of(name))}  # fmt: skip
    return {name: held for name, held in (of_base | before).items() if name_of(name) in waiting}
