"""A whole run of the batch, once it is planned: check, count, compare, load, publish."""

from __future__ import annotations

import time
from dataclasses import replace

from jobs.lake.log import Log
from jobs.ledger.runs import note
from jobs.proof.completeness import check_complete, lost_hours
from jobs.sources.stored import replaced
from jobs.totals.comparing import RefusedByGuard, compare, guard
from jobs.totals.counting import Facts, count_totals
from jobs.totals.figures import note_judged
from jobs.totals.leaving import decide, leave, told
from jobs.totals.loading import load_and_publish, stored_totals
from jobs.totals.planning import Ask, how_counted
from jobs.totals.work import Work
from stitch.definitions import names_of
from stitch.runs import NOTHING, Run, State

JOB = "batch_totals"


def count_and_publish(work: Work, planned: Run, ask: Ask) -> None:
    """Bring the totals to the run's cutoff, for readers too. Raises RefusedByGuard where counters changed too much:
    after the others were published, where that can be."""
    planned = complete(work, planned)
    stored, planned = stored_totals(work.spark, work.settings, planned)
    note(work.cassandra, planned, State.COUNTING)
    counting = time.monotonic()
    how = how_counted(work, planned)
    work.lease.check()
    work.table.begin(planned, how)
    counted = count_totals(work.table, work.settings, planned, stored)
    count_seconds = time.monotonic() - counting
    compared = compare(work.table, work.settings, planned, counted.days, stored, work.now)
    stored.unpersist()
    verdict = guard(compared, planned, work.settings, work.now)
    if verdict.said:
        print(verdict.said, flush=True)
    decision = decide(planned, verdict, ask.counter, ask.accept)
    note_judged(work.names, decision.left)  # with those of an earlier run that were not asked for now
    if decision.left:
        how = leave(work, planned, how, verdict, decision.left)
    # Without the totals of before nobody knows their rows: they wait for a run that has them.
    known = planned.base is not None and work.table.holds(planned.base)
    retired = replaced(work.cassandra) - set(work.asked_for) if known else frozenset[str]()
    written = load_and_publish(work, planned, compared, how, decision.reason, counted.facts, retired)
    done = described(planned, counted.facts, written, count_seconds, time.monotonic() - work.started)
    print(f"{JOB} {done}", flush=True)
    if decision.refused:
        raise RefusedByGuard(told(work.settings, planned, verdict._replace(refused=decision.refused)))


def complete(work: Work, planned: Run) -> Run:
    """The run with the position up to which it reads the log. Raises JobError where the log may lack records that were
    appended before the cutoff; says which are lost."""
    check_complete(work.spark, work.settings, planned.target.cutoff)
    log = Log(work.spark, work.settings)
    planned = replace(planned, upto=log.positions() or NOTHING)
    for loss in lost_hours(log, planned.base.cutoff if planned.base else None, planned.target.cutoff):
        print(f"stitch: {loss}", flush=True)
    return planned


def described(planned: Run, facts: Facts, written: int, count_seconds: float, seconds: float) -> str:
    """The run in a line, for whoever reads the log of the night."""
    again = ",".join(names_of(planned.recount)) if planned.kind != "full" else ""
    recounted = f" recounted={again}" if again else ""
    figures = {
        **facts,
        "rows_written": written,
        "count_seconds": round(count_seconds, 1),
        "seconds": round(seconds, 1),
    }
    said = " ".join(f"{name}={value}" for name, value in figures.items())
    return f"published cutoff={planned.target.cutoff:%FT%TZ} run={planned.kind}{recounted} {said}"
