"""From points to the buckets that are read for them, and from the rows back to counts. Pure.

A point is any range; the layers keep buckets. Neighbouring buckets of one granularity are one slice of one partition.
"""

from __future__ import annotations

import heapq
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from serving.layers.interface import TotalsRange
from serving.reading.queries import TopQuery, cursor
from stitch import merge
from stitch.buckets import ALL, Bucket, Range, bucket_of, covering
from stitch.merge import Increment, Total
from stitch.periods import Comparison

T = TypeVar("T")


@dataclass(frozen=True)
class Top:
    members: list[tuple[str, int]]
    others: int
    total: int
    next: str | None


def ranked(tally: Tally[str], total: int, query: TopQuery) -> Top:
    """A page of members by count, then by name; `others` is what comes after it."""
    rows = [(-count, member) for member, count in tally.items() if count]
    shown_before = 0
    if query.after:
        edge = (-query.after[0], query.after[1])
        shown_before = sum(-count for count, member in rows if (count, member) <= edge)
        rows = [row for row in rows if row > edge]
    page = [(member, -count) for count, member in heapq.nsmallest(query.limit, rows)]
    shown = sum(count for _, count in page)
    more = cursor(page[-1][1], page[-1][0]) if len(rows) > len(page) else None
    return Top(page, total - shown_before - shown, total, more)


def as_point(asked: Range) -> Bucket:
    return Bucket("range", asked.start, asked.end)


def compared_points(comparison: Comparison | None) -> list[list[Bucket]]:
    """The current and the earlier range as groups of one point each; none without a comparison."""
    return [[as_point(comparison.current)], [as_point(comparison.previous)]] if comparison else []


def parts_of(points: Sequence[Bucket], kept: Sequence[str]) -> list[list[Bucket]]:
    """The kept buckets that make up each point."""
    return [[p] if p is ALL or _is_kept(p, kept) else covering(p.start, p.end, kept) for p in points]


def _is_kept(point: Bucket, kept: Sequence[str]) -> bool:
    """Whether the point is a kept bucket itself: of UTC most are."""
    return point.granularity in kept and bucket_of(point.start, point.granularity) == point


def summed(
    parts: list[list[Bucket]],
    totals: dict[tuple[str, datetime], Total],
    increments: list[Increment],
    cutoff: datetime | None,
    layer: merge.Layer,
) -> list[merge.Count]:
    """The count of each point: its parts' counts together."""
    counts = iter(merge.counts(flat(parts), totals, increments, cutoff, layer))
    counted = []
    for buckets in parts:
        found = [next(counts) for _ in buckets]
        whole = (
            found[0] if len(found) == 1 else merge.Count(sum(c.count for c in found), source(c.source for c in found))
        )
        counted.append(whole)
    return counted


def source(sources: Iterable[merge.Source]) -> merge.Source:
    found = set(sources)
    return found.pop() if len(found) == 1 else "mixed"


def runs(buckets: Sequence[Bucket]) -> list[tuple[str, datetime, datetime]]:
    """Neighbouring buckets of one granularity are one read: a year of hours is one slice of one partition."""
    found: list[tuple[str, datetime, datetime]] = []
    for b in buckets:
        if found and (found[-1][0], found[-1][2]) == (b.granularity, b.start):
            found[-1] = (b.granularity, found[-1][1], b.end)
        else:
            found.append((b.granularity, b.start, b.end))
    return found


def keyed(ranges: Sequence[TotalsRange], slices: Sequence[dict[datetime, Total]]) -> dict[tuple[str, datetime], Total]:
    return {
        (read.granularity, start): total
        for read, rows in zip(ranges, slices, strict=False)
        for start, total in rows.items()
    }


def flat(lists: Iterable[Sequence[T]] | None) -> list[T]:
    return [item for one in lists or () for item in one]
