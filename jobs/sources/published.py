"""What the batch layer has published: each counter's cutoff and revision."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from cassandra.cluster import Session


class Published(NamedTuple):
    """Everything appended before `cutoff` is in the totals; `revision` counts the runs at the same cutoff."""

    cutoff: datetime
    revision: int


def published(cassandra: Session) -> dict[str, Published]:
    """counter → what is published of it."""
    rows = cassandra.execute("SELECT counter, cutoff, revision FROM cutoffs")
    return {row.counter: Published(row.cutoff.replace(tzinfo=UTC), row.revision) for row in rows}
