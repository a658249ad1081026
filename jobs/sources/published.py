"""What the batch layer has published: each counter's cutoff and revision."""

from __future__ import annotations

from datetime import UTC

from cassandra.cluster import Session

from stitch.cutoff import Published


def published(cassandra: Session) -> dict[str, Published]:
    """counter → what is published of it."""
    rows = cassandra.execute("SELECT counter, cutoff, revision FROM cutoffs")
    return {row.counter: Published(row.cutoff.replace(tzinfo=UTC), row.revision) for row in rows}
