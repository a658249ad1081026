"""Ingest windows and the cutoff: which part of the log a total holds, and which increments it still lacks.

An ingest window is the stretch of broker time that a record was appended in: a fact of the record, the same at every
replay. A cutoff is an exclusive bound on it and always a window's edge, so that no increment is half in a total.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple

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


class Reached(NamedTuple):
    """Where reading from a position ended: at the first record that the broker stamped, or at the partition's end.

    Neither: time was up among records stamped by producers, which are skipped.
    """

    offset: int
    appended: datetime | None
    at_end: bool = False


class Behind(NamedTuple):
    """What the topic holds at and behind a position, everything before which is held elsewhere.

    low, high:  the broker holds offsets in [low, high)
    committed:  what a reader of committed records reaches; None where the position is not in [low, high]
    undecided:  what stands where that reader had to stop: the first record of a transaction that is open
    """

    have: int
    low: int
    high: int
    committed: Reached | None = None
    undecided: Reached | None = None


class Missing(NamedTuple):
    """Why a partition is not complete before a bound: from the offset `first` on, records may be missing."""

    have: int
    first: int
    why: Literal["unread", "open", "removed", "ahead"]
    since: datetime | None = None


Place = tuple[str, int]  # topic, partition


def missing_before(behind: Mapping[Place, Behind], bound: datetime) -> dict[Place, Missing]:
    """The partitions that hold, or may yet hold, committed records stamped before the bound behind their position.

    Offsets that hold no record (markers of transactions, aborted records) are nothing that could be missing, so it is
    the next readable record that is asked, not the distance of two offsets. Only stamps of the broker count: in a
    partition they do not go back, but for what `log.grace` grants, which the bound includes. A record stamped by its
    producer says nothing of those behind it. Empty means complete.
    """
    found = {place: _missing(one, bound) for place, one in sorted(behind.items())}
    return {place: missing for place, missing in found.items() if missing}


def _missing(behind: Behind, bound: datetime) -> Missing | None:
    have, committed, undecided = behind.have, behind.committed, behind.undecided
    if have < behind.low:
        return Missing(have, have, "removed")
    if have > behind.high:
        return Missing(have, behind.high, "ahead")
    if committed is None or _before(committed, bound):
        return Missing(have, committed.offset if committed else have, "unread", committed and committed.appended)
    if committed.at_end and undecided is not None and _before(undecided, bound):
        return Missing(have, undecided.offset, "open", undecided.appended)
    return None


def _before(reached: Reached, bound: datetime) -> bool:
    return not reached.at_end and (reached.appended is None or reached.appended < bound)


def removed_offsets(following: Mapping[int, int], earliest: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """What a broker removed before it was read: partition → the half-open range of lost offsets.

    following[p]: the offset to be read next; earliest[p]: the first that the broker still holds.
    """
    return {p: (at, earliest[p]) for p, at in sorted(following.items()) if p in earliest and at < earliest[p]}
