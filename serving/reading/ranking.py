"""The members of a key that counted most: planned, read, judged whether it is whole, tallied, ranked."""

from __future__ import annotations

import heapq
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from serving.layers.interface import MembersOf, TotalsRange
from serving.reading.budget import READS_OF_INCREMENTS, Asked, Cost, can_hold, check
from serving.reading.found import Change, Top, lacks_a_layer, not_whole
from serving.reading.queries import TopQuery
from serving.reading.reads import Reads
from serving.reading.slices import Plan, as_point, compared_points, fewest, flat, keyed, touch
from serving.reading.told import Ranked, Told, after
from serving.reading.view import View, together
from stitch import merge
from stitch.buckets import ALL, Bucket, Slice, bucketed, granularities_of
from stitch.cutoff import Published
from stitch.merge import Increment, Total
from stitch.periods import Comparison
from stitch.settings import Settings


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
    """What was read. lacking: of the totals, what could not be; by_member: None where that could not be."""

    cutoff: datetime | None
    totals: Mapping[str, Mapping[datetime, Total]]
    lacking: list[TotalsRange]
    by_member: Mapping[Bucket, Mapping[str, Total] | None]
    increments: list[Increment]
    member_increments: list[Increment]


def top_of(settings: Settings, view: View, query: TopQuery) -> Top:
    """Raises BadRequest where it would cost more than a request may, and Unavailable where it is not whole and has to
    be."""
    planned = _plan(settings, view, query)
    rows = _read(view, query, planned)
    whole = _judge(view, query, planned, rows)
    unread = bool(rows.lacking) or None in rows.by_member.values()
    layer: merge.Layer = "realtime" if unread and not whole[0] else view.layer
    (count,) = merge.Rows(rows.totals, rows.increments, rows.cutoff, layer).counts(planned.parts[0].plan.parts)
    tally, *compared = [_tally(part, rows, layer) for part in planned.parts]
    top = ranked(tally, count.count, not all(whole) or lacks_a_layer(view), query)
    if not planned.comparison:
        return top
    known = not query.span.uncounted(planned.comparison) and (all(whole) or query.partial)
    current, previous = compared
    changes: dict[str, Change] = {
        name: (current[name], previous[name]) if known else (None, None) for name, _ in top.members
    }
    return replace(top, comparison=planned.comparison, changes=changes)


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
    cost = Cost(len(reads) + len(buckets) + 2 * READS_OF_INCREMENTS, len(buckets))
    check(cost, settings.serving, Asked(None, span), holds)
    return _Planned(parts, reads, buckets, comparison)


def _read(view: View, query: TopQuery, planned: _Planned) -> _Rows:
    """Totals and increments at once, then the totals by member of those buckets that have one."""
    counter, key, stored, reads = query.counter, query.key, view.stored(query.counter), Reads(view)

    def ranges_of(at: Published | None) -> list[TotalsRange]:
        return [TotalsRange(stored, key, *read, at) for read in planned.reads]

    at = reads.run(counter, ranges_of)
    ranges, since = ranges_of(at), reads.partitions(counter, key, reads.since(at, query.partial))
    slices, held, live = together(reads.totals(ranges), reads.increments(since), reads.member_increments(since))
    totals = keyed(ranges, slices or [])
    # A bucket without a total has none by member: a range of years is not asked bucket by bucket.
    buckets = [bucket for bucket in planned.buckets if bucket.start in totals.get(bucket.granularity, ())]
    (members,) = together(reads.members([MembersOf(stored, key, bucket, at) for bucket in buckets]))
    by_member = dict(zip(buckets, members or (), strict=False))
    lacking = flat(one.lacking for one in slices or ())
    return _Rows(at.cutoff if at else None, totals, lacking, by_member, flat(held), flat(live))


def _judge(view: View, query: TopQuery, planned: _Planned, rows: _Rows) -> list[bool]:
    """Of each point, whether everything that belongs to it is known. Raises Unavailable where what is asked has to be
    whole, and is not."""
    lacks = view.lacks(query.counter)

    def is_whole(part: _Part) -> bool:
        known = all(rows.by_member.get(bucket, {}) is not None for bucket in part.buckets)
        (count,) = found.counts(part.plan.parts)
        lacking = any(touch(one, read) for one in rows.lacking for read in part.plan.reads)
        return known and not lacks(part.point, count.count) and not lacking

    found = merge.Rows(rows.totals, rows.increments, rows.cutoff, view.layer)
    whole = [is_whole(part) for part in planned.parts]
    if not whole[0] and not query.partial:
        raise not_whole(view, [query.counter])
    return whole


def _tally(part: _Part, rows: _Rows, layer: merge.Layer) -> Tally[str]:
    """Member → count, over the buckets of the part."""
    found = Tally[str]()
    gains = merge.by_bucket(part.buckets, rows.member_increments)
    for bucket in part.buckets:
        found.update(merge.members(bucket, rows.by_member.get(bucket) or {}, gains[bucket], rows.cutoff, layer))
    return found


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
