"""The table `runs` read back: which runs made totals, and how far each came. Without Spark, for `stitch status` too."""

from __future__ import annotations

from datetime import UTC

from cassandra.cluster import Session

from stitch.cutoff import Published
from stitch.runs import Noted, State, position_of


def read_runs(cassandra: Session, subject: str, since: int, last: int) -> list[Noted]:
    """The runs of the subject with that write timestamp (µs) or a later one, the newest first; no more than `last`."""
    rows = cassandra.execute(
        "SELECT cutoff, revision, kind, state, recount, counters, position, reason, figures, noted_at, noted_by "
        "FROM runs WHERE subject = %s AND write_time >= %s ORDER BY write_time DESC LIMIT %s",
        (subject, since, last),
    )
    return [
        Noted(
            Published(row.cutoff.replace(tzinfo=UTC), row.revision), row.kind, State(row.state),
            frozenset(row.recount or ()), frozenset(row.counters or ()), position_of(row.position or {}), row.reason,
            dict(row.figures or {}),
            row.noted_at.replace(tzinfo=UTC), row.noted_by,
        )
        for row in rows
    ]  # fmt: skip
