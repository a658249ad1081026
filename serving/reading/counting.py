"""The counts of many keys, counters and points for one view: planned, read at once, and merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from serving.layers.interface import IncrementsSince, Recalled, TotalsRange
from serving.reading.budget import READS_OF_INCREMENTS, Asked, Cost, can_hold, check
from serving.reading.found import Point, not_whole, points_of
from serving.reading.queries import SeriesQuery, TotalsQuery
from serving.reading.reads import Reads
from serving.reading.slices import Plan, counted, flat, keyed, planned
from serving.reading.view import View, together
from stitch import merge
from stitch.buckets import FIXED, Bucket, Range, Slice, after, ceil, finest_of, floor, granularities_of
from stitch.counters import Counter
from stitch.cutoff import Published
from stitch.merge import Increment
from stitch.settings import Settings

T = TypeVar("T")
READS_OF_BETWEEN = 4  # of totals, as _check_between has them
Groups = Sequence[list[Bucket]]  # of points; those of one group do not overlap


@dataclass(frozen=True)
class _Plans:
    """Of counters that keep the same buckets: the plan of each group of points, what is read for all of them, and how
    many buckets that may hold."""

    of_groups: list[Plan]
    reads: list[Slice]
    buckets: int


@dataclass(frozen=True)
class _Wanted:
    """What is read for one counter of one key: totals under a run, and increments."""

    counter: Counter
    plans: list[Plan]
    at: Published | None
    ranges: list[TotalsRange]
    since: list[IncrementsSince]


class Counting:
    """What a query's counters of its keys come to, as one view knows it."""

    def __init__(self, settings: Settings, view: View, query: TotalsQuery | SeriesQuery) -> None:
        self._settings, self._view, self._query, self._reads = settings, view, query, Reads(view)
        self._pairs = [(counter, key) for key in query.keys for counter in query.counters]
        self._can_hold = can_hold(settings.events, view.now)

    def counts(self, groups: Groups, asked: Asked) -> list[list[list[list[merge.Count]]]]:
        """key → counter → group → the count of each point, everything read at once.

        Raises BadRequest where it would cost more than a request may. Where counts may be partial, that of a point that
        is not whole is what the increments alone hold.
        """
        points = flat(groups)
        for counter in self._query.counters:
            self._view.check(counter, points)
        plans = self._plans(groups)
        check(self._cost(plans), self._settings.serving, asked, self._can_hold)
        wanted = [self._wanted(counter, key, plans[counter.name]) for counter, key in self._pairs]
        ranges, since = [one.ranges for one in wanted], [one.since for one in wanted]
        slices, live = together(self._reads.totals(flat(ranges)), self._reads.increments(flat(since)))
        parts = zip(wanted, _dealt(slices, ranges), _dealt(live, since), strict=True)
        found = iter([self._merged(one, groups, *rows) for one, *rows in parts])
        return [[next(found) for _ in self._query.counters] for _ in self._query.keys]

    def cost(self, groups: Groups) -> Cost:
        """What their counts take of the layers."""
        return self._cost(self._plans(groups))

    def points(self, groups: Groups, asked: Asked) -> list[list[list[Point]]]:
        """key → group → its points."""
        return [
            [points_of(self._view, self._query, group, points) for group, points in zip(groups, of_groups, strict=True)]
            for of_groups in (zip(*of_key, strict=True) for of_key in self.counts(groups, asked))
        ]

    def between(self) -> Range | None:
        """From the first finest bucket in which any of the pairs counted to the last, which is looked for from now on
        alone. In the batch layer the first is found by the first month, and its first day; the last to the hour.

        Raises BadRequest where it would cost more than a request may."""
        partial, within = self._query.partial, Range(floor(self._can_hold.start, "month"), self._can_hold.end)
        ahead = Range(floor(self._view.now, "hour"), self._can_hold.end)

        def months(counter: Counter, key: str) -> Callable[[Published | None], list[TotalsRange]]:
            return lambda at: [self._range(counter, key, "month", within, at)]

        of = [((c, key), self._reads.run(c, months(c, key))) for c, key in self._pairs]
        since = flat(self._reads.partitions(*pair, self._reads.since(at, partial)) for pair, at in of)
        self._check_between(within, ahead, len(since))
        (live,) = together(self._reads.increments(since))
        counted = [row.bucket for row in flat(live)]
        hours = self._starts([self._range(*pair, "hour", ahead, at) for pair, at in of])
        counted += [after(hour, "hour") - datetime.resolution for hour in hours]
        for granularity in ("month", "day", None):
            starts = self._starts([self._range(*pair, granularity, within, at) for pair, at in of])
            if not starts:
                break
            first = min(starts)
            within = Range(first, after(first, granularity or "hour"))
        else:
            counted.append(first)
        return Range(min(counted), max(counted)) if counted else None

    def _check_between(self, within: Range, ahead: Range, partitions: int) -> None:
        """The months, a month's days, the finest buckets of a day, and the hours ahead of now."""
        parts = (("month", within), ("hour", ahead))
        either = sum(Slice(length, part.start, ceil(part.end, length)).buckets() for length, part in parts)
        of_day = {c.name: FIXED["day"] // FIXED[finest_of(self._view.counted_as(c))] for c in self._query.counters}
        rows = [either + 31 + of_day[counter.name] for counter, _ in self._pairs]
        cost = Cost(len(rows) * READS_OF_BETWEEN + partitions, sum(rows))
        check(cost, self._settings.serving, Asked(len(self._query.keys), None), self._can_hold)

    def _starts(self, reads: list[TotalsRange]) -> list[datetime]:
        """The starts of the buckets that have totals, even of 0. Raises Unavailable where not all are known and all
        have to be."""
        (totals,) = together(self._reads.totals(reads))
        if any(one.lacking for one in totals or ()) and not self._query.partial:
            raise not_whole(self._view, self._query.counters)
        return flat(list(one.rows) for one in totals or ())

    def _range(
        self, counter: Counter, key: str, granularity: str | None, within: Range, at: Published | None
    ) -> TotalsRange:
        """granularity: None for the finest that the counter keeps"""
        stored, kept = self._view.stored(counter), granularity or finest_of(self._view.counted_as(counter))
        return TotalsRange(stored, key, kept, within.start, within.end, at)

    def _plans(self, groups: Groups) -> dict[str, _Plans]:
        """By counter."""
        kept = {counter.name: granularities_of(self._view.counted_as(counter)) for counter in self._query.counters}
        plans: dict[Sequence[str], _Plans] = {}
        for granularities in set(kept.values()):
            of_groups = [planned(group, granularities, self._can_hold) for group in groups]
            reads = list(dict.fromkeys(read for plan in of_groups for read in plan.reads))
            plans[granularities] = _Plans(of_groups, reads, sum(read.buckets() for read in reads))
        return {name: plans[granularities] for name, granularities in kept.items()}

    def _cost(self, plans: dict[str, _Plans]) -> Cost:
        mine = [plans[counter.name] for counter, _ in self._pairs]
        return Cost(sum(len(one.reads) + READS_OF_INCREMENTS for one in mine), sum(one.buckets for one in mine))

    def _wanted(self, counter: Counter, key: str, plans: _Plans) -> _Wanted:
        stored = self._view.stored(counter)

        def ranges_of(at: Published | None) -> list[TotalsRange]:
            return [TotalsRange(stored, key, *read, at) for read in plans.reads]

        at = self._reads.run(counter, ranges_of)
        since = self._reads.since(at, self._query.partial)
        return _Wanted(counter, plans.of_groups, at, ranges_of(at), self._reads.partitions(counter, key, since))

    def _merged(
        self, one: _Wanted, groups: Groups, slices: Sequence[Recalled], live: Sequence[Sequence[Increment]]
    ) -> list[list[merge.Count]]:
        """group → the count of each point."""
        increments, unread = flat(live), flat(part.lacking for part in slices)
        cutoff, lacks = one.at.cutoff if one.at else None, self._view.lacks(one.counter)
        rows = merge.Rows(keyed(one.ranges, slices), increments, cutoff, self._view.layer)
        live_alone = merge.Rows({}, increments, None, "realtime")
        return [
            counted(group, plan.parts, rows, live_alone, unread, lacks)
            for group, plan in zip(groups, one.plans, strict=True)
        ]


def _dealt(found: Sequence[T] | None, lots: Iterable[Sequence[object]]) -> list[list[T]]:
    """What was read at once, dealt out to the lots of reads that it was read for; nothing where nothing was read."""
    left = iter(found or ())
    return [[next(left) for _ in lot] if found else [] for lot in lots]
