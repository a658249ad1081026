"""The reader's use cases: a question in, what is found out.

First the published cutoffs, then totals and increments of both layers side by side: the order that stitch.merge
explains. Whatever is asked for at once, many keys or a range and the one it is compared with, is one view of the
cutoffs.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from serving.layers.interface import (
    Corrected,
    Deadline,
    KeysFrom,
    LayerName,
    Layers,
    MembersOf,
    OutOfTime,
    Pending,
    Ran,
    TooManyRows,
    TotalsRange,
    Unavailable,
)
from serving.reading.budget import READS_OF_INCREMENTS, Asked, Cost, can_hold, check, too_many_rows
from serving.reading.counting import Counting
from serving.reading.found import (
    Change,
    Series,
    Totals,
    check_some,
    is_partial,
    lacks_a_layer,
    not_whole,
    series_of,
    totals_of,
)
from serving.reading.queries import CorrectionsQuery, KeysQuery, SeriesQuery, TopQuery, TotalsQuery
from serving.reading.reads import Reads
from serving.reading.slices import (
    Plan,
    Top,
    apart,
    as_point,
    as_range,
    beginning,
    compared_points,
    fewest,
    flat,
    keyed,
    ranked,
    touch,
)
from serving.reading.view import Down, LastPublished, View, answer, deferred, look, together
from stitch import merge
from stitch.buckets import ALL, Bucket, Range, bucketed, granularities_of
from stitch.counters import Counter
from stitch.cutoff import Published
from stitch.definitions import served, stored_names
from stitch.settings import Settings

T = TypeVar("T")


class Reader:
    def __init__(self, settings: Settings, layers: Layers, now: Callable[[], datetime]) -> None:
        self._settings, self._layers, self._now = settings, layers, now
        self._last = LastPublished(stored_names(settings))

    def totals(self, query: TotalsQuery) -> tuple[Totals, View]:
        """Counts of all time or a range, in the order asked."""
        span = query.span
        asked = [as_point(span.range) if span.range else ALL]

        def ask(view: View) -> Totals:
            comparison = span.compared(view.compared_until(query.counters), query.counters)
            groups = [asked, *compared_points(comparison)]
            counts = Counting(self._settings, view, query).counts(groups, Asked(len(query.keys), span.range))
            found = totals_of(view, query, counts, comparison)
            check_some(view, query, found.counts.values())
            return found

        return self._answer(query, ask)

    def series(self, query: SeriesQuery) -> tuple[list[Series], View]:
        """Of each key a point for every bucket of the range, 0 where nothing was counted."""

        def ask(view: View) -> list[Series]:
            if query.points is None:
                return self._all_time(view, query)
            facing = apart(bucket for bucket in query.facing if bucket)
            comparison = query.span.compared(view.compared_until(query.counters), query.counters)
            groups = [query.points, *facing, *compared_points(comparison)]
            asked = Asked(len(query.keys), as_range(query.points), query.granularity)
            found = Counting(self._settings, view, query).points(groups, asked)
            check_some(view, query, [point.counts for mine in found for point in mine[0]])
            return [series_of(view, query, mine, len(facing), comparison) for mine in found]

        return self._answer(query, ask)

    def _all_time(self, view: View, query: SeriesQuery) -> list[Series]:
        """From the first point in which one of the keys counted, of as many as may be answered; what came before is one
        number."""
        counting = Counting(self._settings, view, query)
        first = counting.first() or view.now
        points = query.points_since(first, view.now, self._settings.serving.max_points)
        asked = Asked(len(query.keys), as_range(points), query.granularity)
        shown = [mine for (mine,) in counting.points([points], asked)]
        check_some(view, query, [point.counts for mine in shown for point in mine])
        same = zip(*shown, strict=True)  # of each point, that of each key; a count that is not known may be one
        counts = [[1 if n is None else n for point in of for n in point.counts.values()] for of in same]
        start = beginning(counts)
        shown = [mine[start:] for mine in shown]
        if first >= points[start].start:
            return [Series(mine, is_partial(view, mine)) for mine in shown]
        before = [as_point(Range(first, points[start].start))]
        return [
            Series(mine, is_partial(view, [*mine, earlier]), before=earlier)
            for mine, ((earlier,),) in zip(shown, counting.points([before], asked), strict=True)
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
            stored, reads = view.stored(counter), Reads(view)

            def ranges_of(at: Published | None) -> list[TotalsRange]:
                return [TotalsRange(stored, key, *part, at) for part in parts]

            at = reads.run(counter, ranges_of)
            ranges, cutoff = ranges_of(at), at.cutoff if at else None
            since = reads.partitions(counter, key, reads.since(at, query.partial))
            slices, held, live = together(
                reads.totals(ranges),
                reads.increments(since),
                reads.member_increments(since),
            )
            totals = keyed(ranges, slices or [])
            # A bucket without a total has none by member: a range of years is not asked bucket by bucket.
            wanted = [MembersOf(stored, key, b, at) for b in buckets if b.start in totals.get(b.granularity, ())]
            (rows,) = together(reads.members(wanted))
            lacking = flat(one.lacking for one in slices or ())
            by_member = dict(zip((read.bucket for read in wanted), rows or (), strict=False))
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

    def concerns(self, view: View) -> list[str]:
        """What somebody should look after, in words that name no counter."""
        return view.concerns(self._settings.counters)

    def runs(self, last: int) -> list[Ran]:
        """The last runs of the batch, the newest first; none where the ledger cannot be read."""
        try:
            return self._of_batch_alone(lambda layers: layers.runs(last))
        except Unavailable:
            return []

    def _answer(self, query: TotalsQuery | SeriesQuery | TopQuery, ask: Callable[[View], T]) -> tuple[T, View]:
        try:
            found, view = answer(self._bound(), self._last, query.layer, self._now(), self._retention(), ask)
        except TooManyRows as error:
            several = isinstance(query, TotalsQuery) or (isinstance(query, SeriesQuery) and query.many)
            raise too_many_rows(error, "keys" if several else "key") from error
        return found, self._remember(view)

    def _look(self, layers: Layers, missing: tuple[LayerName, ...]) -> View:
        return look(layers, self._last, "merged", missing, self._now(), self._retention())

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
