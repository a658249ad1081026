"""The reader's use cases: which rows answer a question, read in two rounds, merged by stitch.merge.

First the published cutoffs, then totals and increments of both layers side by side: the order that stitch.merge
explains. Whatever is asked for at once, many keys or a range and the one it is compared with, is one view of the
cutoffs.
"""

from __future__ import annotations

import functools
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from serving.layers.interface import (
    Corrected,
    Deadline,
    IncrementsSince,
    KeysFrom,
    LayerName,
    Layers,
    MembersOf,
    OutOfTime,
    Pending,
    Ran,
    Recalled,
    TooManyRows,
    TotalsRange,
    Unavailable,
)
from serving.reading.budget import READS_OF_INCREMENTS, Asked, Cost, can_hold, check, too_many_rows
from serving.reading.found import (
    Change,
    Point,
    Series,
    Totals,
    check_some,
    is_partial,
    lacks_a_layer,
    not_whole,
    points_of,
    series_of,
    totals_of,
)
from serving.reading.queries import CorrectionsQuery, KeysQuery, SeriesQuery, TopQuery, TotalsQuery
from serving.reading.slices import (
    Plan,
    Top,
    apart,
    as_point,
    as_range,
    beginning,
    compared_points,
    counted,
    fewest,
    flat,
    keyed,
    planned,
    ranked,
    touch,
)
from serving.reading.view import FIRST, Down, LastPublished, View, answer, deferred, look, together
from stitch import merge
from stitch.buckets import ALL, Bucket, Range, after, bucketed, finest_of, floor, granularities_of
from stitch.counters import Counter
from stitch.cutoff import Published, ingest_dates
from stitch.definitions import served, stored_names
from stitch.merge import Total
from stitch.settings import Settings

T = TypeVar("T")
Pair = tuple[Counter, str]  # counter, key


class Reader:
    def __init__(self, settings: Settings, layers: Layers, now: Callable[[], datetime]) -> None:
        self._settings, self._layers, self._now = settings, layers, now
        self._last = LastPublished(stored_names(settings))

    def totals(self, query: TotalsQuery) -> tuple[Totals, View]:
        """Counts of all time or a range, in the order asked."""
        span = query.span
        asked = [as_point(span.range) if span.range else ALL]
        pairs = [(counter, key) for key in query.keys for counter in query.counters]

        def ask(view: View) -> Totals:
            comparison = span.compared(view.compared_until(query.counters), query.counters)
            groups = [asked, *compared_points(comparison)]
            rows = self._count(view, pairs, groups, Asked(len(query.keys), span.range), query.partial)
            several = len(query.counters)
            counts = [rows[at : at + several] for at in range(0, len(rows), several)]
            found = totals_of(view, query, counts, comparison)
            check_some(view, query, found.counts.values())
            return found

        return self._answer(query, ask)

    def series(self, query: SeriesQuery) -> tuple[list[Series], View]:
        """Of each key a point for every bucket of the range, 0 where nothing was counted."""
        pairs = [(counter, key) for key in query.keys for counter in query.counters]
        keys = len(query.keys) if len(query.keys) > 1 else None

        def ask(view: View) -> list[Series]:
            if query.points is None:
                return self._all_time(view, query, pairs)
            facing = apart(bucket for bucket in query.facing if bucket)
            comparison = query.span.compared(view.compared_until(query.counters), query.counters)
            asked = Asked(keys, as_range(query.points), query.granularity)
            groups = [query.points, *facing, *compared_points(comparison)]
            counted = self._groups(view, query, pairs, groups, asked)
            check_some(view, query, [point.counts for mine in counted for point in mine[0]])
            return [series_of(view, query, mine, len(facing), comparison) for mine in counted]

        return self._answer(query, ask)

    def _all_time(self, view: View, query: SeriesQuery, pairs: Sequence[Pair]) -> list[Series]:
        """From the first point in which one of the keys counted, of as many as may be answered; what came before is one
        number."""
        first = self._first(view, pairs, query.partial) or view.now
        points = query.points_since(first, view.now, self._settings.serving.max_points)
        asked = Asked(len(query.keys) if query.many else None, as_range(points), query.granularity)
        shown = [mine for (mine,) in self._groups(view, query, pairs, [points], asked)]
        check_some(view, query, [point.counts for mine in shown for point in mine])
        same = zip(*shown, strict=True)  # of each point, that of each key; a count that is not known may be one
        counts = [[1 if n is None else n for point in of for n in point.counts.values()] for of in same]
        start = beginning(counts)
        shown = [mine[start:] for mine in shown]
        if first >= points[start].start:
            return [Series(mine, is_partial(view, mine)) for mine in shown]
        before = [as_point(Range(first, points[start].start))]
        counted = self._groups(view, query, pairs, [before], asked)
        return [
            Series(mine, is_partial(view, [*mine, earlier]), before=earlier)
            for mine, ((earlier,),) in zip(shown, counted, strict=True)
        ]

    def top(self, query: TopQuery) -> tuple[Top, View]:
        """The members that counted most. `others` holds the rest, events without a member among them."""
        counter, key = query.counter, query.key
        span = query.span.range

        def ask(view: View) -> Top:
            view.check(counter, [as_point(span)] if span else [], members=True)
            kept = granularities_of(view.counted_as(counter))
            holds = can_hold(self._settings.events, view.now)
            comparison = query.span.compared(view.compared_until([counter]), [counter])
            points = [as_point(span) if span else ALL, *flat(compared_points(comparison))]
            plan, *compared = [fewest([point], kept, holds) for point in points]
            parts = list(dict.fromkeys(flat([plan.reads, *(other.reads for other in compared)])))
            buckets = list(dict.fromkeys(flat(bucketed(part) for part in parts)))
            check(Cost(len(parts) + len(buckets) + 2 * READS_OF_INCREMENTS, len(buckets)),
                  self._settings.serving, Asked(None, span))  # fmt: skip
            stored = view.stored(counter)

            def ranges_of(at: Published | None) -> list[TotalsRange]:
                return [TotalsRange(stored, key, *part, at) for part in parts]

            at = self._run(view, counter, ranges_of)
            ranges, cutoff = ranges_of(at), at.cutoff if at else None
            everything = "batch" in view.missing and query.partial
            since = self._increments_of(view, counter, key, None if everything else cutoff)
            slices, held, live = together(
                self._of_batch(view, ranges),
                self._of_realtime(view, view.layers.increments, since),
                self._of_realtime(view, view.layers.member_increments, since),
            )
            totals = keyed(ranges, slices or [])
            # A bucket without a total has none by member: a range of years is not asked bucket by bucket.
            reads = [MembersOf(stored, key, b, at) for b in buckets if b.start in totals.get(b.granularity, ())]
            (rows,) = together(self._members_of_batch(view, reads))
            lacking = flat(one.lacking for one in slices or ())
            by_member = dict(zip((read.bucket for read in reads), rows or (), strict=False))
            lacks = view.lacks(counter)

            def is_whole(point: Bucket, of: Plan) -> bool:
                mine = flat(bucketed(part) for part in of.reads)
                known = all(by_member.get(bucket, {}) is not None for bucket in mine)
                return known and not lacks(point) and not any(touch(one, part) for one in lacking for part in of.reads)

            whole = [is_whole(point, of) for point, of in zip(points, [plan, *compared], strict=True)]
            if not whole[0] and not query.partial:
                raise not_whole(view, [counter])
            unread = bool(lacking) or None in (rows or ())
            layer: merge.Layer = "realtime" if unread and not whole[0] else view.layer
            (count,) = merge.Rows(totals, flat(held), cutoff, layer).counts(plan.parts)

            def tally(of: Plan) -> Tally[str]:
                mine, found = flat(bucketed(read) for read in of.reads), Tally[str]()
                gains = merge.by_bucket(mine, flat(live))
                for bucket in mine:
                    found.update(merge.members(bucket, by_member.get(bucket) or {}, gains[bucket], cutoff, layer))
                return found

            top = ranked(tally(plan), count.count, not all(whole) or lacks_a_layer(view), query)
            if not comparison:
                return top
            known = not query.span.uncounted(comparison) and (all(whole) or query.partial)
            current, previous = map(tally, compared)
            changes: dict[str, Change] = {
                name: (current[name], previous[name]) if known else (None, None) for name, _ in top.members
            }
            return replace(top, comparison=comparison, changes=changes)

        return self._answer(query, ask)

    def keys(self, query: KeysQuery) -> tuple[list[str], str | None]:
        """Keys of the counter, and where to go on; raises Unavailable."""
        read = KeysFrom(self._stored(query.counter), query.prefix, query.after, query.limit + 1)
        found = self._of_batch_alone(lambda layers: layers.keys(read))
        return found[: query.limit], found[query.limit - 1] if len(found) > query.limit else None

    def corrections(self, query: CorrectionsQuery) -> list[Corrected]:
        """What runs changed of the days in the range; raises Unavailable."""
        first, last = query.range.start.date(), query.range.end.date()
        stored = self._stored(query.counter)
        return self._of_batch_alone(lambda layers: layers.corrections(stored, first, last))

    def status(self) -> tuple[View, dict[LayerName, str]]:
        """What is published, and why a layer does not answer. Never Unavailable."""
        failures: dict[LayerName, str] = {}
        layers = self._bound()
        while True:
            try:
                view = self._look(layers, tuple(sorted(failures)))
                return self._remember(view), failures | layers.circuits()  # cutoffs may be kept of one that is away
            except OutOfTime as late:  # of another request, which this one joined
                return self._look(layers, ("batch", "realtime")), {"batch": str(late), "realtime": str(late)}
            except Down as down:
                failures |= {failure.layer: failure.reason for failure in down.failures}

    def _look(self, layers: Layers, missing: tuple[LayerName, ...]) -> View:
        return look(layers, self._last, "merged", missing, self._now(), self._retention())

    def concerns(self, view: View) -> list[str]:
        """What somebody should look after, in words that name no counter."""
        return view.concerns(self._settings.counters)

    def runs(self, last: int) -> list[Ran]:
        """The last runs of the batch, the newest first; none where the ledger cannot be read."""
        try:
            return self._of_batch_alone(lambda layers: layers.runs(last))
        except Unavailable:
            return []

    def _answer(self, query: Any, ask: Callable[[View], T]) -> tuple[T, View]:
        try:
            found, view = answer(self._bound(), self._last, query.layer, self._now(), self._retention(), ask)
        except TooManyRows as error:
            several = isinstance(query, TotalsQuery) or (isinstance(query, SeriesQuery) and query.many)
            raise too_many_rows(error, "keys" if several else "key") from error
        return found, self._remember(view)

    def _bound(self) -> Layers:
        """The layers, with the deadline of a request that begins now."""
        return self._layers.within(Deadline.after(self._settings.serving.timeout.total_seconds()))

    def _remember(self, view: View) -> View:
        """What is published, for when the batch layer cannot say it."""
        self._last = view.last
        return view

    def _retention(self) -> timedelta:
        return self._settings.realtime.retention

    def _stored(self, counter: Counter) -> str:
        """Under which name its rows are found in the batch layer; raises Unavailable."""
        return (self._last.stored | served(self._of_batch_alone(lambda layers: layers.cutoffs())))[counter.name]

    def _of_batch_alone(self, send: Callable[[Layers], Pending[T]]) -> T:
        layers = self._bound()
        try:
            (found,) = together(deferred(lambda: send(layers)))
        except Down as down:
            raise Unavailable(str(down)) from down
        except TooManyRows as error:
            raise too_many_rows(error, "start") from error
        return found

    def _count(
        self, view: View, pairs: Sequence[Pair], groups: list[list[Bucket]], asked: Asked, partial: bool
    ) -> list[list[list[merge.Count]]]:
        """pair → group → the count of each point, everything read at once. Points of one group do not overlap.

        Raises BadRequest where it would cost more than a request may. `partial`: of points that are not whole, the
        count is what the increments alone hold.
        """
        points, holds = flat(groups), can_hold(self._settings.events, view.now)
        for counter in {counter.name: counter for counter, _ in pairs}.values():
            view.check(counter, points)
        granularities = {c.name: granularities_of(view.counted_as(c)) for c, _ in pairs}
        plans = {kept: [planned(group, kept, holds) for group in groups] for kept in set(granularities.values())}
        reads = {kept: list(dict.fromkeys(read for plan in plans[kept] for read in plan.reads)) for kept in plans}
        rows = {kept: sum(read.buckets() for read in reads[kept]) for kept in plans}
        cost = Cost(
            sum(len(reads[granularities[counter.name]]) + READS_OF_INCREMENTS for counter, _ in pairs),
            sum(rows[granularities[counter.name]] for counter, _ in pairs),
        )
        check(cost, self._settings.serving, asked)

        def ranges_of(counter: Counter, key: str, at: Published | None) -> list[TotalsRange]:
            stored = view.stored(counter)
            return [TotalsRange(stored, key, *read, at) for read in reads[granularities[counter.name]]]

        ats = [self._run(view, c, functools.partial(ranges_of, c, key)) for c, key in pairs]
        ranges = [ranges_of(c, key, at) for (c, key), at in zip(pairs, ats, strict=True)]
        everything = partial and "batch" in view.missing
        cutoffs = [at.cutoff if at else None for at in ats]
        since = [
            self._increments_of(view, c, key, None if everything else cutoff)
            for (c, key), cutoff in zip(pairs, cutoffs, strict=True)
        ]
        slices, live = together(
            self._of_batch(view, flat(ranges)), self._of_realtime(view, view.layers.increments, flat(since))
        )
        slices_left, live_left = iter(slices or ()), iter(live or ())
        found = []
        for (counter, _), cutoff, mine, my_since in zip(pairs, cutoffs, ranges, since, strict=True):
            my_slices = [next(slices_left) for _ in mine] if slices else []
            increments = flat([next(live_left) for _ in my_since]) if live else []
            unread = flat(one.lacking for one in my_slices)
            rows_of = merge.Rows(keyed(mine, my_slices), increments, cutoff, view.layer)
            live_of = merge.Rows({}, increments, None, "realtime")
            found.append(
                [
                    counted(group, plan.parts, rows_of, live_of, unread, view.lacks(counter))
                    for group, plan in zip(groups, plans[granularities[counter.name]], strict=True)
                ]
            )
        return found

    def _groups(
        self, view: View, query: SeriesQuery, pairs: Sequence[Pair], groups: list[list[Bucket]], asked: Asked
    ) -> list[list[list[Point]]]:
        """key → group → its points, everything read at once. `pairs`: all counters of one key, then of the next."""
        counted = self._count(view, pairs, groups, asked, query.partial)
        several = len(query.counters)
        rows = [counted[at : at + several] for at in range(0, len(counted), several)]
        return [
            [points_of(view, query, group, [row[n] for row in mine]) for n, group in enumerate(groups)] for mine in rows
        ]

    def _first(self, view: View, pairs: Sequence[Pair], partial: bool) -> datetime | None:
        """The start of the first finest bucket in which any of the pairs counted: found in the batch layer by the first
        month, and its first day."""
        since = flat([self._increments_of(view, c, key, None if partial else view.cutoff(c)) for c, key in pairs])
        (live,) = together(self._of_realtime(view, view.layers.increments, since))
        bounds = can_hold(self._settings.events, view.now)
        first, within = None, Range(floor(bounds.start, "month"), bounds.end)
        for granularity in ("month", "day", None):
            reads = [
                TotalsRange(view.stored(c), key, granularity or finest_of(view.counted_as(c)), within.start,
                            within.end, view.at(c))
                for c, key in pairs
            ]  # fmt: skip
            (totals,) = together(self._of_batch(view, reads))
            if any(one.lacking for one in totals or ()) and not partial:
                raise not_whole(view, [counter for counter, _ in pairs])
            starts = [start for one in totals or () for start, total in one.rows.items() if total.count]
            if not starts:
                break
            first = min(starts)
            within = Range(first, after(first, granularity or "hour"))
        return min([*([first] if first else []), *(row.bucket for row in flat(live))], default=None)

    def _increments_of(self, view: View, counter: Counter, key: str, since: datetime | None) -> list[IncrementsSince]:
        """The partitions that may hold increments to add: since a cutoff, else all that is retained."""
        since = since if view.layer == "merged" else None
        until = max(view.now, view.realtime_through or view.now, since or view.now)  # clocks of readers may be behind
        days = ingest_dates(max(since or FIRST, view.now - self._retention()), until)
        return [IncrementsSince(view.stored(counter), key, day, since) for day in days]

    def _run(
        self, view: View, counter: Counter, ranges_of: Callable[[Published | None], list[TotalsRange]]
    ) -> Published | None:
        """Under which run totals are read: the published one, or where the batch layer is missing, the one before,
        if its totals are remembered and not those of the last one, which published a moment ago."""

        def lacks(at: Published | None) -> bool:
            return any(one.lacking for one in self._recalled(view, ranges_of(at)))

        at, before = view.at(counter), view.before(counter)
        return before if "batch" in view.missing and before and lacks(at) and not lacks(before) else at

    def _of_batch(self, view: View, reads: list[TotalsRange]) -> Pending[list[Recalled]] | None:
        """The totals; where the batch layer is missing, as far as they are remembered."""
        if view.layer == "realtime" or not reads:
            return None
        if "batch" in view.missing:
            recalled = self._recalled(view, reads)
            return lambda: recalled
        sent = deferred(lambda: view.layers.totals(reads))
        return lambda: [Recalled(rows) for rows in sent()]

    def _recalled(self, view: View, reads: list[TotalsRange]) -> list[Recalled]:
        """What is remembered. Of a counter of which nothing was published there is nothing to remember: all of it is in
        the increments."""
        known = view.last.by_name is not None
        found = iter(view.layers.recalled_totals([read for read in reads if read.at or not known]))
        return [next(found) if read.at or not known else Recalled({}) for read in reads]

    def _members_of_batch(
        self, view: View, reads: list[MembersOf]
    ) -> Pending[Sequence[dict[str, Total] | None]] | None:
        if view.layer == "realtime" or not reads:
            return None
        if "batch" in view.missing:
            recalled = view.layers.recalled_members(reads)
            return lambda: recalled
        return deferred(lambda: view.layers.member_totals(reads))

    def _of_realtime(self, view: View, read: Callable[[Any], Pending[T]], reads: list[Any]) -> Pending[T] | None:
        return deferred(lambda: read(reads)) if view.layer != "batch" and reads else None
