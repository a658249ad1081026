"""The ledger: which runs made totals, and how far each came (the table `runs` of the batch keyspace).

A run is noted before its first row is loaded, one of the batch also before it counts, and becomes published in one
logged batch with the readers' cutoffs. So whoever runs next, on whatever machine, knows whether rows of a run that died
may be in the tables. Every try is a run of its own, with a write timestamp that none before it had; its states are
written with that and the few µs that put them in order, so no clock decides which of them is the last.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from cassandra.cluster import Session

from connections.cassandra import WRITE
from jobs.sinks.statements import Statement, upserting
from jobs.sources.runs import read_runs
from stitch.cutoff import Published
from stitch.runs import SUBJECT, Noted, Run, State, position_as_said


def this_process() -> str:
    """Host and process, for people."""
    return f"{socket.gethostname()}, pid {os.getpid()}"


def noted_runs(cassandra: Session, since: Published | None = None, last: int = 2**31 - 1) -> list[Noted]:
    """The runs from that one on (None: all), the newest (by write timestamp) first; no more than `last` of them."""
    return read_runs(cassandra, SUBJECT, since.write_time if since else 0, last)


def statement(
    run: Run,
    state: State,
    reason: str = "",
    counters: Collection[str] = (),
    figures: Mapping[str, int] | None = None,
) -> Statement:
    """(CQL, its values) that note the state of the run."""
    at = run.done
    row = {
        "subject": SUBJECT,
        "write_time": at.write_time,
        "cutoff": at.cutoff,
        "revision": at.revision,
        "kind": run.kind,
        "state": state.value,
        "recount": set(run.recount),
        "counters": set(counters),
        "position": position_as_said(run.upto),
        "reason": reason,
        "figures": dict(figures or {}),
        "noted_at": datetime.now(UTC),
        "noted_by": this_process(),
    }
    return upserting("runs", row, at.write_time + list(State).index(state))


def note(
    cassandra: Session, run: Run, state: State, reason: str = "", figures: Mapping[str, int] | None = None
) -> None:
    """Note how far the run has come."""
    cassandra.execute(*statement(run, state, reason, figures=figures), timeout=60, execution_profile=WRITE)
