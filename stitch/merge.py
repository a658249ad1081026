"""One count from both layers: the whole rule of the reader is in this file.

The batch layer has totals, each a count with its own cutoff: it holds every event that the broker appended before the
cutoff, and none after. The real-time layer has increments, each the whole contribution of one ingest window to one
bucket. So the events of a bucket fall into two heaps that never overlap, and

    count(bucket) = total.count + Σ increments of the bucket with ingest_window ≥ max(total.cutoff, published cutoff)

    without a totals row:         Σ increments of the bucket with ingest_window ≥ published cutoff
    with nothing published yet:   the published cutoff is taken as the beginning of time

Why the later of the two cutoffs:
- A run writes only the rows that had new events. A row it left alone keeps its older cutoff, and as nothing in
  between counted towards it, it is as good as one written at the published cutoff; so is a row that is not there.
- A run half way through its load has written some rows with a cutoff newer than the published one. They already
  hold the newest increments, so they take their own. Hence no switch, no lock, and no dip or double count while a
  load runs, after it died, or when it runs again.

In which order to read: the published cutoff FIRST, then the totals; the increments at any time after the cutoff.
A cutoff read after the totals may be newer than they are: a run that published in between has moved events out of
the increments that count and into totals which were read too early, so these events would be in neither heap. An
older cutoff than the totals is harmless, because then the rows written since carry their own, newer one.

`count` says this of one bucket, and `Rows.counts` of points that are made up of thousands.

The real-time layer keeps a counter's finest buckets only. The live part of an hour, a day, a month or of all time
is the sum of the finest increments that fall into it, so coarse counts are always the sum of the fine ones.

`layer="batch"` is the totals alone; `layer="realtime"` is every increment still held, whatever the cutoff.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from operator import itemgetter
from typing import Literal

from stitch.buckets import Bucket, Slice, floor

Layer = Literal["merged", "batch", "realtime"]
Source = Literal["batch", "realtime", "mixed"]


@dataclass(frozen=True, slots=True)  # there are many of them
class Increment:
    """What one ingest window contributed to one finest bucket (of one member)."""

    bucket: datetime
    ingest_window: datetime
    count: int
    member: str | None = None


@dataclass(frozen=True, slots=True)  # there are many of them
class Total:
    """A count and the cutoff it is exact for."""

    count: int
    cutoff: datetime


@dataclass(frozen=True, slots=True)
class Ranking:
    """The members of a bucket that counted most, up to the cutoff: by count, then by name. One that is not among them
    comes after the last of them. Or the same of the keys of a counter."""

    members: Sequence[str]
    counts: Sequence[int]
    cutoff: datetime

    def __bool__(self) -> bool:
        """Whether it names any."""
        return bool(self.members)


@dataclass(frozen=True)
class Count:
    """A merged count, and which layers it came from. whole: False where rows that belong to it could not be read."""

    count: int
    source: Source
    whole: bool = True


def count(
    bucket: Bucket,
    total: Total | None,
    increments: Iterable[Increment],
    published: datetime | None,
    layer: Layer = "merged",
) -> Count:
    """The count of one bucket, by the rule above. Increments of other buckets may be among those given."""
    if layer == "batch":
        return Count(total.count if total else 0, "batch")
    if layer == "realtime":
        total, published = None, None
    cutoff = _later(total.cutoff if total else None, published)
    live = [i.count for i in increments if bucket.holds(i.bucket) and (not cutoff or i.ingest_window >= cutoff)]
    return Count((total.count if total else 0) + sum(live), _source(total is not None, bool(live), published))


class Rows:
    """The rows of one counter and key, from which the counts of any points are taken.

    The totals of a slice are the difference of two running sums, and each increment is looked at once: the time follows
    the rows that there are, and not the buckets that there might be.
    """

    def __init__(
        self,
        totals: Mapping[str, Mapping[datetime, Total]],
        increments: Sequence[Increment],
        published: datetime | None,
        layer: Layer = "merged",
    ) -> None:
        """`totals` are by granularity, then bucket start."""
        if layer == "realtime":
            totals, published = {}, None
        self._totals = {granularity: _Running(found, published) for granularity, found in totals.items() if found}
        self._increments = increments if layer != "batch" else ()
        self._published, self._layer = published, layer

    def counts(self, points: Sequence[Sequence[Slice]]) -> list[Count]:
        """The count of each point, which is all buckets of its slices; no two slices overlap. A point without any row
        counts 0."""
        live = self._live(points)
        counted = []
        for at, parts in enumerate(points):
            found = [self._totals[part.granularity].of(part) for part in parts if part.granularity in self._totals]
            sum_, rows = sum(total for total, _ in found), any(rows for _, rows in found)
            source = "batch" if self._layer == "batch" else _source(rows, at in live, self._published)
            counted.append(Count(sum_ + live.get(at, 0), source))
        return counted

    def _live(self, points: Sequence[Sequence[Slice]]) -> dict[int, int]:
        """The place of a point → the increments of it that no total holds; of those points that have any."""
        if not self._increments:
            return {}
        ordered = sorted((part.start, at, part) for at, parts in enumerate(points) for part in parts)
        edges = [start for start, _, _ in ordered]
        found: dict[int, int] = {}
        for increment in self._increments:
            place = max(bisect_right(edges, increment.bucket) - 1, 0)  # 0: `all` holds also what is before its start
            if not ordered or not ordered[place][2].holds(increment.bucket):
                continue
            _, at, part = ordered[place]
            totals = self._totals.get(part.granularity)
            cutoff = totals.cutoff(floor(increment.bucket, part.granularity)) if totals else self._published
            if cutoff is None or increment.ingest_window >= cutoff:
                found[at] = found.get(at, 0) + increment.count
        return found


class _Running:
    """Totals of one granularity and their running sum."""

    def __init__(self, totals: Mapping[datetime, Total], published: datetime | None) -> None:
        ordered = sorted(totals.items(), key=itemgetter(0))
        self._starts = [start for start, _ in ordered]
        self._sums = [0, *accumulate(total.count for _, total in ordered)]
        self._totals, self._published = totals, published

    def of(self, part: Slice) -> tuple[int, int]:
        """What the slice's totals come to, and how many there are."""
        first, last = bisect_left(self._starts, part.start), bisect_left(self._starts, part.end)
        return self._sums[last] - self._sums[first], last - first

    def cutoff(self, start: datetime) -> datetime | None:
        """From which ingest window on increments of the bucket are in no total: each row has its own."""
        total = self._totals.get(start)
        return _later(total.cutoff if total else None, self._published)


def by_bucket(buckets: Sequence[Bucket], increments: Iterable[Increment]) -> dict[Bucket, list[Increment]]:
    """The increments that fall into each of the buckets; by bisection, since a series may have 10,000 of them."""
    ordered = sorted(buckets, key=lambda bucket: bucket.start)
    edges = [bucket.start for bucket in ordered]
    fallen: dict[Bucket, list[Increment]] = {bucket: [] for bucket in buckets}
    for increment in increments:
        at = max(bisect_right(edges, increment.bucket) - 1, 0)  # 0: `all` holds also what is before its start
        if ordered and ordered[at].holds(increment.bucket):
            fallen[ordered[at]].append(increment)
    return fallen


def members(
    bucket: Bucket,
    totals: Mapping[str, Total],
    increments: Iterable[Increment],
    published: datetime | None,
    layer: Layer = "merged",
) -> dict[str, int]:
    """Each member's count of one bucket: the rule above, row by row, since each member's row has its own cutoff."""
    live: dict[str, list[Increment]] = {}
    for increment in increments:
        if increment.member is not None and bucket.holds(increment.bucket):
            live.setdefault(increment.member, []).append(increment)
    found = {member: total.count for member, total in totals.items()} if layer != "realtime" else {}
    for member, increments_of in live.items():
        found[member] = count(bucket, totals.get(member), increments_of, published, layer).count
    return found


def gains(
    increments: Iterable[Increment], cutoff: datetime, published: datetime | None, layer: Layer = "merged"
) -> dict[str, int]:
    """What members gained since totals of one cutoff: the same rule, of increments of the bucket that these count."""
    since = max(cutoff, published) if published else cutoff
    found: dict[str, int] = {}
    for increment in increments if layer != "batch" else ():
        if increment.member is not None and increment.ingest_window >= since:
            found[increment.member] = found.get(increment.member, 0) + increment.count
    return found


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one and other else one or other


def _source(counted: bool, live: bool, published: datetime | None) -> Source:
    """Where a count came from. One without any row is the batch's word once it has published: it saw nothing."""
    if live:
        return "mixed" if counted else "realtime"
    return "batch" if counted or published else "realtime"
