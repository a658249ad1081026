"""Counters that a run leaves as an earlier one published them: the guard refused them, or they were not asked for.

Their rows in the run's branch go back to what they were, their cutoff stays, and the table says of them what the next
run must know to go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cassandra.cluster import Session

from jobs.comparing import WHAT_TO_DO, RefusedByGuard, Verdict
from jobs.ledger import note
from jobs.sinks.totals_table import TotalsTable
from jobs.sources.stored import published
from stitch.guard import Refusal
from stitch.runs import COMPARED, How, Run, State, tag
from stitch.settings import Settings


def not_asked_for(planned: Run, only: str | None) -> dict[str, Refusal]:
    """Where one counter is to be counted, the others that the guard left behind: they stay there."""
    others = {name: held for name, held in planned.behind.items() if name != only} if only else {}
    return {name: Refusal("it was not asked for", held.compared or 0) for name, held in others.items()}


def leave(
    settings: Settings,
    cassandra: Session,
    table: TotalsTable,
    planned: Run,
    how: How,
    verdict: Verdict,
    left: Mapping[str, Refusal],
) -> How:
    """Leave the counters as they were; returns how totals are counted then. Raises RefusedByGuard where the others
    cannot be published without them, or have nothing new."""
    if not planned.can_leave(left, [counter.name for counter in settings.counters]):
        refused = verdict._replace(refused=dict(left)).text("nothing was loaded")
        figures = {COMPARED + name: refusal.compared for name, refusal in left.items()}
        note(cassandra, planned, State.REFUSED, refused, figures)
        raise RefusedByGuard(f"{refused}\n{WHAT_TO_DO}")
    known = published(cassandra)
    behind = {
        name: replace(held, by=tag(known[name]), compared=refusal.compared)
        for name, refusal in left.items()
        if (held := planned.base_of(name))
    }
    how = replace(how, behind=behind)
    table.leave(left, planned, how)
    return how


def told(settings: Settings, planned: Run, verdict: Verdict) -> str:
    """What a person is told of counters that were left behind: how they differ, and how long that may stay so."""
    since = min(held.cutoff for name in verdict.refused if (held := planned.base_of(name)))
    return (
        f"{verdict.text('left at the cutoff that was published before')}\nReaders need its increments since "
        f"{since:%FT%TZ}, which begin to expire at {since + settings.realtime.retention:%FT%TZ}. {WHAT_TO_DO}"
    )
