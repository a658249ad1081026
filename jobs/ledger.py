"""The ledger: which runs made totals, and how far each came (the table `runs` of the batch keyspace).

A run is noted before it counts and before its first row is loaded, and becomes published in one logged batch with the
readers' cutoffs. So whoever runs next, on whatever machine, knows whether rows of a run that died may be in the tables.
Every try is a run of its own, with a write timestamp that no other has; its states are written with that and the few µs
that put them in order, so no clock decides which of them is the last.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cassandra.cluster import Session

from connections.cassandra import WRITE
from stitch.cutoff import Published
from stitch.runs import Noted, Run, State, loaded

SUBJECT = "totals"  # the partition: all runs that write the same tables
_INSERT = (
    "INSERT INTO runs (subject, write_time, cutoff, revision, kind, state, recount, reason, figures, noted_at, noted_by) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) USING TIMESTAMP %s"
)


def noted_runs(cassandra: Session, last: int = 100) -> list[Noted]:
    """The last runs, the newest (by write timestamp) first."""
    rows = cassandra.execute(
        "SELECT cutoff, revision, kind, state, recount, reason, figures, noted_at, noted_by FROM runs WHERE subject = %s "
        "ORDER BY write_time DESC LIMIT %s",
        (SUBJECT, last),
    )
    return [
        Noted(
            Published(row.cutoff.replace(tzinfo=UTC), row.revision), row.kind, State(row.state),
            frozenset(row.recount or ()), row.reason, dict(row.figures or {}), row.noted_at.replace(tzinfo=UTC), row.noted_by,
        )
        for row in rows
    ]  # fmt: skip


def statement(run: Run, state: State, reason: str = "", figures: Mapping[str, int] | None = None) -> tuple[str, Any]:
    """(CQL, its values) that note the state of the run."""
    at = (loaded(run) if run.kind == "restore" else run).target
    stamp = at.write_time + list(State).index(state)
    values = (
        at.write_time,
        at.cutoff,
        at.revision,
        run.kind,
        state.value,
        set(run.recount),
        reason,
        dict(figures or {}),
    )
    return _INSERT, (SUBJECT, *values, datetime.now(UTC), f"{socket.gethostname()}, pid {os.getpid()}", stamp)


def note(cassandra: Session, run: Run, state: State, reason: str = "") -> None:
    """Note how far the run has come."""
    cassandra.execute(*statement(run, state, reason), timeout=60, execution_profile=WRITE)
