"""Instants into buckets: half-open UTC intervals of a minute, a quarter of an hour, an hour, a day, a month, or all
time.

Every layer names buckets by these words and cuts them by these functions, so that counts add up: each bucket is
made of whole buckets of the next finer granularity. Instants without a zone are refused, never guessed at: an hour
counted in the wrong zone is wrong permanently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from stitch.counters import Counter

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ALL_END = datetime.max.replace(tzinfo=UTC)
FIXED = {
    "minute": timedelta(minutes=1),
    "quarter_hour": timedelta(minutes=15),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}
GRANULARITIES = ("minute", "quarter_hour", "hour", "day", "month", "all")  # finest first
_FINEST = {"1m": "minute", "15m": "quarter_hour", "1h": "hour"}


@dataclass(frozen=True)
class Range:
    """`[start, end)`."""

    start: datetime
    end: datetime


class Bucket(NamedTuple):
    """`[start, end)` of one granularity; `all` starts at the epoch, wherever its events are."""

    granularity: str
    start: datetime
    end: datetime

    def holds(self, instant: datetime) -> bool:
        """Whether the instant falls into the bucket; every instant falls into `all`, also those before 1970."""
        return self.granularity == "all" or self.start <= utc(instant) < self.end


class Slice(NamedTuple):
    """Neighbouring buckets of one granularity, from the one that starts at `start` to the one that ends at `end`."""

    granularity: str
    start: datetime
    end: datetime

    def holds(self, instant: datetime) -> bool:
        """Whether the instant falls into one of the buckets."""
        return self.granularity == "all" or self.start <= instant < self.end

    def within(self, bounds: Range) -> Slice | None:
        """The part of it whose buckets touch the bounds; None where there is none."""
        if self.granularity == "all":
            return self
        start = max(self.start, floor(bounds.start, self.granularity))
        end = min(self.end, ceil(bounds.end, self.granularity))
        return Slice(self.granularity, start, end) if start < end else None

    def buckets(self) -> int:
        """How many they are."""
        if self.granularity == "all":
            return 1
        if self.granularity == "month":
            return (self.end.year - self.start.year) * 12 + self.end.month - self.start.month
        return (self.end - self.start) // _length(self.granularity)


def utc(instant: datetime) -> datetime:
    """The same instant in UTC. Raises ValueError where it has no zone."""
    if instant.tzinfo is UTC:
        return instant
    if instant.tzinfo is None or instant.utcoffset() is None:
        raise ValueError(f"{instant.isoformat()} has no zone: instants must say theirs")
    return instant.astimezone(UTC)


def micros(instant: datetime) -> int:
    """Microseconds since 1970, as Cassandra's write timestamps are; exact, which a float of seconds would not be."""
    return (utc(instant) - EPOCH) // MICROSECOND


def floor(instant: datetime, granularity: str) -> datetime:
    """The start of the bucket that the instant falls into."""
    instant = utc(instant)
    if granularity == "all":
        return EPOCH
    if granularity == "month":
        return datetime(instant.year, instant.month, 1, tzinfo=UTC)
    length = _length(granularity)
    return instant - (instant - EPOCH) % length


def after(start: datetime, granularity: str) -> datetime:
    """The end of the bucket that starts at `start`: the start of the next one."""
    start = utc(start)
    if granularity == "all":
        return ALL_END
    if granularity == "month":
        return datetime(start.year + start.month // 12, start.month % 12 + 1, 1, tzinfo=UTC)
    return start + _length(granularity)


def ceil(instant: datetime, granularity: str) -> datetime:
    """The first bucket edge at or after the instant."""
    start = floor(instant, granularity)
    return start if start == utc(instant) else after(start, granularity)


def bucket_of(instant: datetime, granularity: str) -> Bucket:
    """The bucket that the instant falls into."""
    start = floor(instant, granularity)
    return Bucket(granularity, start, after(start, granularity))


ALL = bucket_of(EPOCH, "all")


def series(start: datetime, end: datetime, granularity: str) -> list[Bucket]:
    """Every bucket of a granularity that touches `[start, end)`, in order, empty ones too."""
    found = []
    at = floor(start, granularity)
    while at < utc(end):
        found.append(bucket_of(at, granularity))
        at = found[-1].end
    return found


def covering(start: datetime, end: datetime, kept: Sequence[str]) -> list[Bucket]:
    """The fewest buckets of the kept granularities (granularities_of) that cover exactly `[start, end)`.

    A year is 12 months, not 8,760 hours. `all` never takes part: it has no edge.
    """
    return [bucket for part in slices(start, end, kept) for bucket in bucketed(part)]


def slices(start: datetime, end: datetime, kept: Sequence[str]) -> list[Slice]:
    """The same, with neighbours of one granularity as one: in a few steps, however many buckets they are.

    The longest buckets that lie within the range are in its middle, and what is left before and behind them is made up
    of shorter ones. As each bucket is made of whole finer ones, no other choice needs fewer.
    """
    return _slices(utc(start), utc(end), [granularity for granularity in reversed(kept) if granularity != "all"])


def _slices(start: datetime, end: datetime, longest_first: Sequence[str]) -> list[Slice]:
    if start >= end:
        return []
    granularity, *finer = longest_first
    first, last = ceil(start, granularity), floor(end, granularity)
    if not finer:
        if (first, last) != (start, end):
            name, instant = ("start", start) if first != start else ("end", end)
            raise ValueError(f"{name} {instant.isoformat()} is not the edge of a bucket of {granularity!r}")
        return [Slice(granularity, start, end)]
    if first >= last:
        return _slices(start, end, finer)
    return [*_slices(start, first, finer), Slice(granularity, first, last), *_slices(last, end, finer)]


def bucketed(part: Slice) -> list[Bucket]:
    """Each bucket of the slice."""
    return [ALL] if part.granularity == "all" else series(part.start, part.end, part.granularity)


def finest_of(counter: Counter) -> str:
    """The granularity of the finest buckets that the counter keeps."""
    return _FINEST[counter.resolution]


def granularities_of(counter: Counter) -> tuple[str, ...]:
    """Every granularity the counter has totals of, finest first: its own, then hour, day, month and all."""
    finest = finest_of(counter)
    return tuple(dict.fromkeys((finest, "hour", "day", "month", "all")))


def _length(granularity: str) -> timedelta:
    if granularity not in FIXED:
        raise ValueError(f"{granularity!r} is no granularity: one of {', '.join(GRANULARITIES)}")
    return FIXED[granularity]
