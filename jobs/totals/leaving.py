"""Counters that a run leaves as an earlier one published them: the guard refused them, or they were not asked for.

Their rows in the run's branch go back to what they were, their cutoff stays, and the table says of them what the next
run must know to go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from jobs.ledger.runs import note
from jobs.sources.stored import published
from jobs.totals.comparing import WHAT_TO_DO, RefusedByGuard, Verdict
from jobs.totals.work import Work
from stitch.guard import Refusal
from stitch.runs import COMPARED, How, Run, State, tag
from stitch.settings import Settings


def not_asked_for(planned: Run, only: str | None) -> dict[str, Refusal]:
    """Where one counter is to be counted, the others that the guard left behind: they stay there."""
    others = {name: held for name, held in planned.behind.items() if name != only} if only else {}
    return {name: Refusal("it was not asked for", held.compared or 0) for name, held in others.items()}


class Decision(NamedTuple):
    """left: counters that stay as they were; refused: those of them that a person must look at; reason: for the
    ledger, what was accepted and what was left"""

    left: dict[str, Refusal]
    refused: dict[str, Refusal]
    reason: str


def decide(planned: Run, verdict: Verdict, only: str | None, accept: bool) -> Decision:
    """What becomes of the counters that the guard refuses. `only`: the one that was asked for; a person who accepts
    has looked at that one alone."""
    aside = not_asked_for(planned, only)
    judged = {name: one for name, one in verdict.refused.items() if name not in aside}
    accepted = {name: one for name, one in judged.items() if accept and only in (None, name)}
    refused = {name: one for name, one in judged.items() if name not in accepted}
    left = {**aside, **refused}
    said = [(accepted, "accepted"), (left, "left as it was")]
    reason = "\n".join(verdict._replace(refused=part).text(begin) for part, begin in said if part)
    return Decision(left, refused, reason or verdict.said)


def leave(work: Work, planned: Run, how: How, verdict: Verdict, left: Mapping[str, Refusal]) -> How:
    """Leave the counters as they were; returns how totals are counted then. Raises RefusedByGuard where the others
    cannot be published without them, or have nothing new."""
    if not planned.can_leave(left, work.names):
        refused = verdict._replace(refused=dict(left)).text("nothing was loaded")
        figures = {COMPARED + name: refusal.compared for name, refusal in left.items()}
        note(work.cassandra, planned, State.REFUSED, refused, figures)
        raise RefusedByGuard(f"{refused}\n{WHAT_TO_DO}")
    known = published(work.cassandra)
    behind = {
        name: replace(held, by=tag(known[name]), compared=refusal.compared)
        for name, refusal in left.items()
        if (held := planned.base_of(name))
    }
    how = replace(how, behind={**how.behind, **behind})
    work.table.leave(left, planned, how)
    return how


def told(settings: Settings, planned: Run, verdict: Verdict) -> str:
    """What a person is told of counters that were left behind: how they differ, and how long that may stay so."""
    since = min(held.cutoff for name in verdict.refused if (held := planned.base_of(name)))
    return (
        f"{verdict.text('left at the cutoff that was published before')}\nReaders need its increments since "
        f"{since:%FT%TZ}, which begin to expire at {since + settings.realtime.retention:%FT%TZ}. {WHAT_TO_DO}"
    )
