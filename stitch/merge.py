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

The real-time layer keeps a counter's finest buckets only. The live part of an hour, a day, a month or of all time
is the sum of the finest increments that fall into it, so coarse counts are always the sum of the fine ones.

`layer="batch"` is the totals alone; `layer="realtime"` is every increment still held, whatever the cutoff.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from stitch.buckets import Bucket

Layer = Literal["merged", "batch", "realtime"]
Source = Literal["batch", "realtime", "mixed"]


@dataclass(frozen=True)
class Increment:
    """What one ingest window contributed to one finest bucket (of one member)."""

    bucket: datetime
    ingest_window: datetime
    count: int
    member: str | None = None


@dataclass(frozen=True)
class Total:
    """A count and the cutoff it is exact for."""

    count: int
    cutoff: datetime


@dataclass(frozen=True)
class Count:
    """A merged count, and which layers it came from."""

    count: int
    source: Source


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
    cutoffs = [cutoff for cutoff in (total and total.cutoff, published) if cutoff]
    cutoff = max(cutoffs) if cutoffs else None
    live = [i.count for i in increments if bucket.holds(i.bucket) and (not cutoff or i.ingest_window >= cutoff)]
    return Count((total.count if total else 0) + sum(live), _source(total, live, published))


def counts(
    buckets: Sequence[Bucket],
    totals: Mapping[tuple[str, datetime], Total],
    increments: Iterable[Increment],
    published: datetime | None,
    layer: Layer = "merged",
) -> list[Count]:
    """The counts of buckets that do not overlap, in their order; one without any row counts 0.

    `totals` are by (granularity, bucket start), since a range is covered by buckets of several granularities.
    """
    fallen = by_bucket(buckets, increments)
    return [count(b, totals.get((b.granularity, b.start)), fallen[b], published, layer) for b in buckets]


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
    return {m: count(bucket, totals.get(m), live.get(m, []), published, layer).count for m in {*totals, *live}}


def _source(total: Total | None, live: list[int], published: datetime | None) -> Source:
    """Where a count came from. One without any row is the batch's word once it has published: it saw nothing."""
    if live:
        return "mixed" if total else "realtime"
    return "batch" if total or published else "realtime"
