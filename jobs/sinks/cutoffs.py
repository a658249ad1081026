"""The table `cutoffs`: what is published of each counter."""

from __future__ import annotations

from collections.abc import Iterable

from cassandra.cluster import Session
from cassandra.query import BatchStatement

from connections.cassandra import WRITE
from jobs.sinks.statements import Statement, upserting
from stitch.cutoff import Published


def publish(cassandra: Session, at: Published, counters: Iterable[str], noted: Statement | None = None) -> None:
    """Publish the cutoff of the counters, all or none: from now on readers need no increment of an earlier window.

    noted: the statement of the ledger that goes with it
    """
    batch = BatchStatement()
    for counter in counters:
        batch.add(
            *upserting("cutoffs", {"counter": counter, "cutoff": at.cutoff, "revision": at.revision}, at.write_time)
        )
    if noted:
        batch.add(*noted)
    cassandra.execute(batch, timeout=60, execution_profile=WRITE)
