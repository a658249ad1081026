"""From points to the slices that are read for them, and from their rows to counts. Pure.

A point is any range; the layers keep buckets. Neighbouring buckets of one granularity are one slice of one partition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

from serving.layers.interface import Recalled, TotalsRange
from stitch import merge
from stitch.buckets import ALL, GRANULARITIES, Bucket, Range, Slice, bucket_of, slices
from stitch.merge import Total
from stitch.periods import Comparison

T = TypeVar("T")
ROWS_OF_A_READ = 50  # that take as long as a read of its own does, in the driver


def as_point(asked: Range) -> Bucket:
    return Bucket("range", asked.start, asked.end)


def as_range(points: Sequence[Bucket]) -> Range | None:
    """From the first point to the last; None without any."""
    return Range(points[0].start, points[-1].end) if points else None


def compared_points(comparison: Comparison | None) -> list[list[Bucket]]:
    """The current and the earlier range as groups of one point each; none without a comparison."""
    return [[as_point(comparison.current)], [as_point(comparison.previous)]] if comparison else []


def apart(buckets: Iterable[Bucket]) -> list[list[Bucket]]:
    """Buckets in as few groups as keep those apart that overlap."""
    groups: list[list[Bucket]] = []
    for bucket in sorted(buckets, key=lambda bucket: bucket.start):
        group = next((one for one in groups if one[-1].end <= bucket.start), None)
        if group:
            group.append(bucket)
        else:
            groups.append([bucket])
    return groups


def beginning(rows: Sequence[Sequence[int]], from_first: bool) -> int:
    """At which point all time begins, of each point its counts: at the first that counted, which is the first of them
    `from_first`, even where what was counted there cancels out.

    Or at a later one: a few old events, one in a hundred at most, that are followed by more empty time than all that
    came since are odd, and would leave a chart of nothing else.
    """
    counted = [n for n, row in enumerate(rows) if any(row) or (from_first and n == 0)]
    whole = [sum(map(abs, column)) for column in zip(*rows, strict=True)]
    before, start = [0] * len(whole), counted[0] if counted else len(rows) - 1
    for last, following in pairwise(counted):
        before = [count + abs(more) for count, more in zip(before, rows[last], strict=True)]
        few = all(100 * count <= all_of_them for count, all_of_them in zip(before, whole, strict=True))
        if few and following - last > len(rows) - following:
            start = following
    return start


@dataclass(frozen=True)
class Plan:
    """parts: the slices that each point is the sum of; reads: what is read for them."""

    parts: list[list[Slice]]
    reads: list[Slice]

    @property
    def buckets(self) -> int:
        """How many rows there may be to read."""
        return sum(read.buckets() for read in self.reads)


def fewest(points: Sequence[Bucket], kept: Sequence[str], can_hold: Range) -> Plan:
    """The points, which follow one another, of as few buckets as can be. Nothing is read outside of `can_hold`."""
    parts = [_parts(point, kept) for point in points]
    return Plan(parts, _within(_joined(flat(parts)), can_hold))


def planned(points: Sequence[Bucket], kept: Sequence[str], can_hold: Range) -> Plan:
    """The same, or by one slice of the finest buckets that are needed, where that is less work than many reads."""
    plan = fewest(points, kept, can_hold)
    if len(plan.reads) < 2:
        return plan
    finest = min((part.granularity for part in flat(plan.parts)), key=GRANULARITIES.index)
    parts = [[Slice(finest, point.start, point.end)] for point in points]
    one = Plan(parts, _within([Slice(finest, points[0].start, points[-1].end)], can_hold))
    return min(plan, one, key=lambda plan: len(plan.reads) * ROWS_OF_A_READ + plan.buckets)


def _parts(point: Bucket, kept: Sequence[str]) -> list[Slice]:
    """The fewest slices of kept buckets that make up the point. Of UTC, most points are a kept bucket themselves."""
    if point is ALL or (point.granularity in kept and bucket_of(point.start, point.granularity) == point):
        return [Slice(point.granularity, point.start, point.end)]
    return slices(point.start, point.end, kept)


def _joined(parts: Iterable[Slice]) -> list[Slice]:
    """Neighbours of one granularity are one read: a year of hours is one slice of one partition."""
    found: list[Slice] = []
    for part in parts:
        if found and (found[-1].granularity, found[-1].end) == (part.granularity, part.start):
            found[-1] = found[-1]._replace(end=part.end)
        else:
            found.append(part)
    return found


def _within(reads: Iterable[Slice], can_hold: Range) -> list[Slice]:
    return [part for part in (read.within(can_hold) for read in reads) if part]


def counted(
    points: Sequence[Bucket],
    parts: Sequence[Sequence[Slice]],
    rows: merge.Rows,
    live: merge.Rows,
    unread: Sequence[TotalsRange],
    lacks: Callable[[Bucket, int], bool],
) -> list[merge.Count]:
    """The count of each point by the rows. By those that are `live` alone where totals are unread; there, and where the
    point `lacks` something else, it is not whole."""
    counts = rows.counts(parts)
    if unread:
        cold = [any(touch(read, part) for part in of for read in unread) for of in parts]
        left = live.counts(parts)
        counts = [replace(left[at], whole=False) if cold[at] else count for at, count in enumerate(counts)]
    found = zip(points, counts, strict=True)
    return [replace(count, whole=False) if lacks(point, count.count) else count for point, count in found]


def touch(read: TotalsRange, part: Slice) -> bool:
    return read.granularity == part.granularity and read.first < part.end and part.start < read.last


def keyed(ranges: Sequence[TotalsRange], found: Sequence[Recalled]) -> dict[str, dict[datetime, Total]]:
    """granularity → bucket start → total."""
    totals: dict[str, dict[datetime, Total]] = {}
    for read, one in zip(ranges, found, strict=False):
        totals.setdefault(read.granularity, {}).update(one.rows)
    return totals


def flat(lists: Iterable[Sequence[T]] | None) -> list[T]:
    return [item for one in lists or () for item in one]
