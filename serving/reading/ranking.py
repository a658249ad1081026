"""The members of a key that counted most: planned, read, decided by lists or read on, judged whether it is whole,
ranked."""

from __future__ import annotations

import heapq
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from serving.layers.interface import MembersOf, Pending, TotalsRange
from serving.reading.budget import READS_OF_INCREMENTS, Asked, Cost, can_hold, check
from serving.reading.found import Change, Top, lacks_a_layer, not_whole
from serving.reading.queries import TopQuery
from serving.reading.read_members import ReadMembers
from serving.reading.reads import Reads
from serving.reading.slices import Plan, as_point, compared_points, fewest, flat, keyed, touch
from serving.reading.told import Ranked, Told, after
from serving.reading.view import View, together
from stitch import merge
from stitch.buckets import ALL, Bucket, Slice, bucketed, granularities_of
from stitch.cutoff import Published
from stitch.merge import Increment, Ranking, Total
from stitch.periods import Comparison
from stitch.settings import Settings

LISTS_AT_ONCE = 20  # of more buckets, only those are asked for lists that have a total


@dataclass(frozen=True)
class _Part:
    """A point, the plan of it, and the buckets of the plan."""

    point: Bucket
    plan: Plan
    buckets: list[Bucket]


@dataclass(frozen=True)
class _Planned:
    """parts: what is asked, and both ranges that are compared; reads: of all of them, each slice once, and their
    buckets."""

    parts: list[_Part]
    reads: list[Slice]
    buckets: list[Bucket]
    comparison: Comparison | None


@dataclass(frozen=True)
class _Rows:
    """What was read. lacking: of the totals, what could not be."""

    cutoff: datetime | None
    totals: Mapping[str, Mapping[datetime, Total]]
    lacking: list[TotalsRange]
    increments: list[Increment]
    members: ReadMembers

    def counts(self, layer: merge.Layer) -> merge.Rows:
        return merge.Rows(self.totals, self.increments, self.cutoff, layer)


def top_of(settings: Settings, view: View, query: TopQuery) -> Top:
    """Raises BadRequest where it would cost more than a request may, and Unavailable where it is not whole and has to
    be."""
    planned = _plan(settings, view, query)
    rows = _read(view, query, planned)
    asked, *compared = planned.parts
    tally = rows.members.leaders(asked.buckets, query.limit, query.after)
    whole = _is_whole(view, query, asked, rows)
    if not whole and not query.partial:
        raise not_whole(view, [query.counter])
    alone = not whole and (rows.lacking or rows.members.unread)
    layer: merge.Layer = "realtime" if alone else view.layer
    (count,) = rows.counts(layer).counts(asked.plan.parts)
    if alone:
        rows.members.forget()
        tally = rows.members.tally(asked.buckets)
    top = ranked(tally, count.count, not whole or lacks_a_layer(view), query)
    return _compared(view, query, top, planned.comparison, compared, rows, whole) if planned.comparison else top


def _plan(settings: Settings, view: View, query: TopQuery) -> _Planned:
    counter, span = query.counter, query.span.range
    kept, holds = granularities_of(view.counted_as(counter)), can_hold(settings.events, view.now)
    comparison = view.compared(query.span, [counter])
    points = [as_point(span) if span else ALL, *flat(compared_points(comparison))]
    view.check(counter, points, members=True)
    plans = [fewest([point], kept, holds) for point in points]
    parts = [_Part(point, plan, _buckets(plan.reads)) for point, plan in zip(points, plans, strict=True)]
    reads = list(dict.fromkeys(flat(plan.reads for plan in plans)))
    buckets = list(dict.fromkeys(flat(part.buckets for part in parts)))
    cost = Cost(len(reads) + 2 * len(buckets) + 2 * READS_OF_INCREMENTS, len(buckets))
    check(cost, settings.serving, Asked(None, span), holds)
    return _Planned(parts, reads, buckets, comparison)


def _read(view: View, query: TopQuery, planned: _Planned) -> _Rows:
    """Totals, increments and lists of members at once; then all members of those buckets that have no list."""
    counter, key, stored, reads = query.counter, query.key, view.stored(query.counter), Reads(view)

    def ranges_of(at: Published | None) -> list[TotalsRange]:
        return [TotalsRange(stored, key, *read, at) for read in planned.reads]

    at = reads.run(counter, ranges_of)
    ranges, since = ranges_of(at), reads.partitions(counter, key, reads.since(at, query.partial))

    def lists_of(buckets: list[Bucket]) -> Pending[list[Ranking | None]] | None:
        return reads.ranked(counter, [MembersOf(stored, key, bucket, at) for bucket in buckets])

    early = planned.buckets if len(planned.buckets) <= LISTS_AT_ONCE else []
    slices, held, live, lists = together(
        reads.totals(ranges), reads.increments(since), reads.member_increments(since), lists_of(early)
    )
    totals = keyed(ranges, slices or [])
    # A bucket without a total has none by member: a range of years is not asked bucket by bucket.
    buckets = [bucket for bucket in planned.buckets if bucket.start in totals.get(bucket.granularity, ())]
    if not early:
        (lists,) = together(lists_of(buckets))
    rankings = dict(zip(early or buckets, lists or (), strict=False))
    cutoff = at.cutoff if at else None
    members = ReadMembers(reads, MembersOf(stored, key, ALL, at), cutoff, view.layer)
    for part in planned.parts:
        members.gained(merge.by_bucket(part.buckets, flat(live)))
    members.begin(buckets, rankings)
    return _Rows(cutoff, totals, flat(one.lacking for one in slices or ()), flat(held), members)


def _is_whole(view: View, query: TopQuery, part: _Part, rows: _Rows) -> bool:
    """Whether everything that belongs to the point is known."""
    (count,) = rows.counts(view.layer).counts(part.plan.parts)
    unread = any(touch(one, read) for one in rows.lacking for read in part.plan.reads)
    unread = unread or not rows.members.unread.isdisjoint(part.buckets)
    return not unread and not view.lacks(query.counter)(part.point, count.count)


def _compared(
    view: View, query: TopQuery, top: Top, comparison: Comparison, parts: Sequence[_Part], rows: _Rows, whole: bool
) -> Top:
    """How the members of the page changed, who are asked for by name where they are not known."""
    names = [name for name, _ in top.members]
    rows.members.read_named(list(dict.fromkeys(flat(part.buckets for part in parts))), names)
    current, previous = [rows.members.counts(part.buckets, names) for part in parts]
    whole = all([whole, *(_is_whole(view, query, part, rows) for part in parts)])
    known = not query.span.uncounted(comparison) and (whole or query.partial)
    changes: dict[str, Change] = {name: (current[name], previous[name]) if known else (None, None) for name in names}
    return replace(top, comparison=comparison, changes=changes, partial=not whole or lacks_a_layer(view))


def ranked(tally: Tally[str], total: int, partial: bool, query: TopQuery) -> Top:
    """A page of members by count, then by name: the first of those who were not told. `others` is what comes after."""
    counted = [(-count, member) for member, count in tally.items() if count]
    told, before, rows = query.after, list[Ranked](), counted
    if told != Told():
        before, rows = [], []
        for row in counted:
            (before if told.has(row) else rows).append(row)
    page = heapq.nsmallest(query.limit, rows)
    left = sum(-count for count, _ in rows) - sum(-count for count, _ in page)
    unnamed = total - sum(-count for count, _ in counted)  # of events without a member
    more = after(told, before, page, query.key).cursor() if len(rows) > len(page) else None
    return Top([(member, -count) for count, member in page], unnamed + left, total, partial, more)


def _buckets(reads: Sequence[Slice]) -> list[Bucket]:
    """The buckets of slices, each once."""
    return list(dict.fromkeys(flat(bucketed(read) for read in reads)))
