"""The ledger: which runs made totals, and how far each came (the table `runs` of the batch keyspace).

A run is noted before its first row is loaded, one of the batch also before it counts, and becomes published in one
logged batch with the readers' cutoffs. So whoever runs next, on whatever machine, knows whether rows of a run that died
may be in the tables. Every try is a run of its own, with a write timestamp that none before it had; its states are
written with that and the few µs that put them in order, so no clock decides which of them is the last.
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
from stitch.runs import Noted, Run, State, position_as_said, position_of

SUBJECT = "totals"  # the partition: all runs that write the same tables
_INSERT = (
    "INSERT INTO runs (subject, write_time, cutoff, revision, kind, state, recount, definitions, position, reason, "
    "figures, noted_at, noted_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) USING TIMESTAMP %s"
)


def this_process() -> str:
    """Host and process, for people."""
    return f"{socket.gethostname()}, pid {os.getpid()}"


def noted_runs(cassandra: Session, since: Published | None = None, last: int = 2**31 - 1) -> list[Noted]:
    """The runs from that one on (None: all), the newest (by write timestamp) first; no more than `last` of them."""
    rows = cassandra.execute(
        "SELECT cutoff, revision, kind, state, recount, definitions, position, reason, figures, noted_at, noted_by "
        "FROM runs WHERE subject = %s AND write_time >= %s ORDER BY write_time DESC LIMIT %s",
        (SUBJECT, since.write_time if since else 0, last),
    )
    return [
        Noted(
            Published(row.cutoff.replace(tzinfo=UTC), row.revision), row.kind, State(row.state),
            frozenset(row.recount or ()), dict(row.definitions or {}), position_of(row.position or {}), row.reason,
            dict(row.figures or {}),
            row.noted_at.replace(tzinfo=UTC), row.noted_by,
        )
        for row in rows
    ]  # fmt: skip


def statement(
    run: Run,
    state: State,
    reason: str = "",
    definitions: Mapping[str, str] | None = None,
    figures: Mapping[str, int] | None = None,
) -> tuple[str, Any]:
    """(CQL, its values) that note the state of the run."""
    at = run.done
    return _INSERT, (
        SUBJECT, at.write_time, at.cutoff, at.revision, run.kind, state.value, set(run.recount),
        dict(definitions or {}), position_as_said(run.upto), reason, dict(figures or {}), datetime.now(UTC),
        this_process(), at.write_time + list(State).index(state),
    )  # fmt: skip


def note(cassandra: Session, run: Run, state: State, reason: str = "") -> None:
    """Note how far the run has come."""
    cassandra.execute(*statement(run, state, reason), timeout=60, execution_profile=WRITE)
