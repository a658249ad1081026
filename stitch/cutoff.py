"""Ingest windows and the cutoff: which part of the log a total holds, and which increments it still lacks.

An ingest window is the stretch of broker time that a record was appended in: a fact of the record, the same at every
replay. A cutoff is an exclusive bound on it and always a window's edge, so that no increment is half in a total.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import NamedTuple

from stitch.buckets import EPOCH, micros, utc


class Published(NamedTuple):
    """Everything appended before `cutoff` is in the totals; `revision` tells runs at the same cutoff apart."""

    cutoff: datetime
    revision: int

    @property
    def write_time(self) -> int:
        """The write timestamp (µs) of all that this run writes: totals, corrections, keys, the cutoff itself."""
        return micros(self.cutoff) + self.revision


def next_run(cutoff: datetime, overwrites: int | None) -> Published:
    """The run to a cutoff whose totals overwrite those of that write timestamp, wherever its own cutoff is."""
    return Published(cutoff, max(0, overwrites + 1 - micros(cutoff)) if overwrites is not None else 0)


def window_start(instant: datetime, ingest_window: timedelta) -> datetime:
    """The start of the ingest window that a record appended at the instant belongs to."""
    instant = utc(instant)
    return instant - (instant - EPOCH) % ingest_window


def aligned(cutoff: datetime, ingest_window: timedelta) -> bool:
    """Whether the cutoff is the edge of an ingest window; any other would cut an increment in two."""
    return window_start(cutoff, ingest_window) == utc(cutoff)


def ingest_dates(since: datetime, until: datetime) -> list[date]:
    """The UTC dates whose increment partitions hold the ingest windows of `[since, until]`, both days included."""
    first, last = utc(since).date(), utc(until).date()
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def incomplete_partitions(
    topic_offsets_at_end: Mapping[int, int], log_offsets: Mapping[int, int]
) -> dict[int, tuple[int, int]]:
    """The partitions of the topic that the log does not yet hold up to a cutoff: partition → (have, need).

    topic_offsets_at_end[p]: the first offset appended at or after the cutoff: the log must hold every one below it.
    log_offsets[p]: the highest offset archived without a gap, plus one; a partition not archived at all has 0.
    Empty means complete: proven by offsets, since a quiet partition and a lagging archive look alike in time.
    """
    have = {partition: log_offsets.get(partition, 0) for partition in topic_offsets_at_end}
    return {p: (have[p], need) for p, need in sorted(topic_offsets_at_end.items()) if have[p] < need}


def removed_offsets(following: Mapping[int, int], earliest: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """What a broker removed before it was read: partition → the half-open range of lost offsets.

    following[p]: the offset to be read next; earliest[p]: the first that the broker still holds.
    """
    return {p: (at, earliest[p]) for p, at in sorted(following.items()) if p in earliest and at < earliest[p]}
