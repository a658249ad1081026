"""The table `cutoffs`: what is published of each definition of a counter."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from cassandra.cluster import Session
from cassandra.query import BatchStatement

from connections.cassandra import WRITE
from jobs.sinks.statements import Statement, upserting
from stitch.counters import Counter
from stitch.cutoff import Published
from stitch.definitions import as_text


def publish(
    cassandra: Session,
    at: Published,
    counters: Iterable[Counter],
    noted: Statement | None = None,
    retired: Iterable[str] = (),
    unranked: Collection[str] = (),
    uncharted: Collection[str] = (),
) -> None:
    """Publish the cutoff of the counters (by definition), all or none: from now on readers need no increment of an
    earlier window, and none of another definition.

    noted: the statement of the ledger that goes with it
    retired: stored names that were replaced before, and of which nothing is left now
    unranked: stored names of which the lists in ranked_members may be older than their totals; uncharted: the same of
              ranked_keys, where only counters with a chart have any
    """
    batch = BatchStatement()
    for counter in counters:
        ranked = None if counter.name in unranked else at.write_time
        charted = at.write_time if counter.chart and counter.name not in uncharted else None
        row = {"counter": counter.name, "cutoff": at.cutoff, "revision": at.revision, "definition": as_text(counter),
               "ranked": ranked, "charted": charted}  # fmt: skip
        batch.add(*upserting("cutoffs", row, at.write_time))
    for stored in retired:
        batch.add("DELETE FROM cutoffs USING TIMESTAMP %s WHERE counter = %s", (at.write_time, stored))
    if noted:
        batch.add(*noted)
    cassandra.execute(batch, timeout=60, execution_profile=WRITE)


def mark_lacking(cassandra: Session, counter: str, at: Published) -> None:
    """Note that lists in ranked_keys of the published counter are about to be erased, for the next run: `charted` says
    the same as before, but was written later than the publication. So that run writes later still."""
    statement = "UPDATE cutoffs USING TIMESTAMP %s SET charted = %s WHERE counter = %s"
    cassandra.execute(statement, (at.write_time + 1, at.write_time, counter), execution_profile=WRITE)
