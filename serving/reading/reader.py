"""The reader's use cases: which rows answer a question, read in two rounds, merged by stitch.merge.

First the published cutoffs, then totals and increments of both layers side by side: the order that stitch.merge
explains. Whatever is asked for at once, many keys or a range and the one it is compared with, is one view of the
cutoffs.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
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
    TooManyRows,
    TotalsRange,
    Unavailable,
)
from serving.reading.budget import READS_OF_INCREMENTS, Asked, Cost, can_hold, check, too_many_rows
from serving.reading.queries import (
    CorrectionsQuery,
    KeysQuery,
    SeriesQuery,
    TopQuery,
    TotalsQuery,
)
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
    planned,
    ranked,
    source,
)
from serving.reading.view import Down, PointStatus, View, answer, deferred, look, together
from stitch import merge
from stitch.buckets import ALL, Bucket, Range, after, bucketed, finest_of, floor, granularities_of
from stitch.counters import Counter
from stitch.cutoff import ingest_dates
from stitch.definitions import served, stored_names
from stitch.settings import Settings

T = TypeVar("T")
Pair = tuple[Counter, str]  # counter, key


@dataclass(frozen=True)
class Point:
    bucket: Bucket
    counts: dict[str, int]
    source: merge.Source
    status: PointStatus
    complete: bool
    final: bool


@dataclass(frozen=True)
class Totals:
    """key → counter → count; `changes`: the same of (current, previous)."""

    counts: dict[str, dict[str, int]]
    changes: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """facing: what each point is compared with; before: all time before the first point, where that counted."""

    points: list[Point]
    facing: list[Point | None] = field(default_factory=list)
    before: Point | None = None
    changes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def total(self, counter: str) -> int:
        return sum(point.counts[counter] for point in self.points + ([self.before] if self.before else []))


class Reader:
    def __init__(self, settings: Settings, layers: Layers, now: Callable[[], datetime]) -> None:
        self._settings, self._layers, self._now = settings, layers, now
        self._own = stored_names(settings)  # a counter's name → under which its rows are found, as far as is known

    def totals(self, query: TotalsQuery) -> tuple[Totals, View]:
        """Counts of all time or a range, in the order asked."""
        span = query.span
        asked = [as_point(span.range) if span.range else ALL]
        pairs = [(counter, key) for key in query.keys for counter in query.counters]
        compared = compared_points(span.comparison)

        def ask(view: View) -> Totals:
            found = Totals({key: {} for key in query.keys}, {key: {} for key in query.keys} if compared else {})
            for (counter, key), (whole, *parts) in zip(
                pairs, self._count(view, pairs, [asked, *compared], Asked(len(query.keys), span.range)), strict=True
            ):
                found.counts[key][counter.name] = whole[0].count
                if compared:
                    found.changes[key][counter.name] = (parts[0][0].count, parts[1][0].count)
            return found

        return self._answer(query, ask)

    def series(self, query: SeriesQuery) -> tuple[list[Series], View]:
        """Of each key a point for every bucket of the range, 0 where nothing was counted."""
        pairs = [(counter, key) for key in query.keys for counter in query.counters]
        compared = compared_points(query.span.comparison)
        keys = len(query.keys) if len(query.keys) > 1 else None

        def ask(view: View) -> list[Series]:
            if query.points is None:
                return self._all_time(view, query, pairs)
            facing = apart(bucket for bucket in query.facing if bucket)
            asked = Asked(keys, as_range(query.points), query.granularity)
            counted = self._groups(view, query.counters, pairs, [query.points, *facing, *compared], asked)
            return [_series(query, mine, len(facing)) for mine in counted]

        return self._answer(query, ask)

    def _all_time(self, view: View, query: SeriesQuery, pairs: Sequence[Pair]) -> list[Series]:
        """From the first point in which one of the keys counted, of as many as may be answered; what came before is one
        number."""
        first = self._first(view, pairs) or view.now
        points = query.points_since(first, view.now, self._settings.serving.max_points)
        asked = Asked(len(query.keys) if query.many else None, as_range(points), query.granularity)
        shown = [mine for (mine,) in self._groups(view, query.counters, pairs, [points], asked)]
        start = beginning([[n for point in same for n in point.counts.values()] for same in zip(*shown, strict=True)])
        shown = [mine[start:] for mine in shown]
        if first >= points[start].start:
            return [Series(mine) for mine in shown]
        before = [as_point(Range(first, points[start].start))]
        counted = self._groups(view, query.counters, pairs, [before], asked)
        return [Series(mine, before=earlier) for mine, ((earlier,),) in zip(shown, counted, strict=True)]

    def top(self, query: TopQuery) -> tuple[Top, View]:
        """The members that counted most. `others` holds the rest, events without a member among them."""
        counter, key = query.counter, query.key
        span = query.span.range

        def ask(view: View) -> Top:
            view.check(counter, [as_point(span)] if span else [], members=True)
            kept = granularities_of(view.counted_as(counter))
            holds = can_hold(self._settings.events, view.now)
            points = [as_point(span) if span else ALL, *flat(compared_points(query.span.comparison))]
            plan, *compared = [fewest([point], kept, holds) for point in points]
            parts = list(dict.fromkeys(flat([plan.reads, *(other.reads for other in compared)])))
            buckets = list(dict.fromkeys(flat(bucketed(part) for part in parts)))
            check(Cost(len(parts) + len(buckets) + 2 * READS_OF_INCREMENTS, len(buckets)),
                  self._settings.serving, Asked(None, span))  # fmt: skip
            at, stored, since = view.at(counter), view.stored[counter.name], self._increments_of(view, counter, key)
            ranges = [TotalsRange(stored, key, *part, at) for part in parts]
            slices, held, live = together(
                self._of_batch(view, view.layers.totals, ranges),
                self._of_realtime(view, view.layers.increments, since),
                self._of_realtime(view, view.layers.member_increments, since),
            )
            totals = keyed(ranges, slices or [])
            # A bucket without a total has none by member: a range of years is not asked bucket by bucket.
            reads = [MembersOf(stored, key, b, at) for b in buckets if b.start in totals.get(b.granularity, ())]
            (rows,) = together(self._of_batch(view, view.layers.member_totals, reads))
            by_member = {read.bucket: found for read, found in zip(reads, rows or (), strict=False)}
            published = at.cutoff if at else None
            (count,) = merge.Rows(totals, flat(held), published, view.layer).counts(plan.parts)

            def tally(of: Plan) -> Tally[str]:
                mine, found = flat(bucketed(read) for read in of.reads), Tally[str]()
                gains = merge.by_bucket(mine, flat(live))
                for bucket in mine:
                    found.update(merge.members(bucket, by_member.get(bucket, {}), gains[bucket], published, view.layer))
                return found

            top = ranked(tally(plan), count.count, query)
            if not compared:
                return top
            current, previous = map(tally, compared)
            return replace(top, changes={name: (current[name], previous[name]) for name, _ in top.members})

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
                view = look(layers, self._own, "merged", tuple(sorted(failures)), self._now())
                return view, failures | layers.circuits()  # cutoffs may be remembered of a layer that is away
            except OutOfTime as late:  # of another request, which this one joined
                return look(layers, self._own, "merged", ("batch", "realtime"), self._now()), {
                    "batch": str(late), "realtime": str(late),
                }  # fmt: skip
            except Down as down:
                failures |= {failure.layer: failure.reason for failure in down.failures}

    def runs(self, last: int) -> list[Ran]:
        """The last runs of the batch, the newest first; none where the ledger cannot be read."""
        try:
            return self._of_batch_alone(lambda layers: layers.runs(last))
        except Unavailable:
            return []

    def _answer(self, query: Any, ask: Callable[[View], T]) -> tuple[T, View]:
        try:
            found, view = answer(self._bound(), self._own, query.layer, self._now(), ask)
        except TooManyRows as error:
            several = isinstance(query, TotalsQuery) or (isinstance(query, SeriesQuery) and query.many)
            raise too_many_rows(error, "keys" if several else "key") from error
        self._own = view.stored  # what readers get, for when the batch layer cannot say it
        return found, view

    def _bound(self) -> Layers:
        """The layers, with the deadline of a request that begins now."""
        return self._layers.within(Deadline.after(self._settings.serving.timeout.total_seconds()))

    def _stored(self, counter: Counter) -> str:
        """Under which name its rows are found in the batch layer; raises Unavailable."""
        return (self._own | served(self._of_batch_alone(lambda layers: layers.cutoffs())))[counter.name]

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
        self, view: View, pairs: Sequence[Pair], groups: list[list[Bucket]], asked: Asked
    ) -> list[list[list[merge.Count]]]:
        """pair → group → the count of each point, everything read at once. Points of one group do not overlap.

        Raises BadRequest where it would cost more than a request may.
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
        ranges = [
            [TotalsRange(view.stored[c.name], key, *read, view.at(c)) for read in reads[granularities[c.name]]]
            for c, key in pairs
        ]
        since = [self._increments_of(view, counter, key) for counter, key in pairs]
        slices, live = together(
            self._of_batch(view, view.layers.totals, flat(ranges)),
            self._of_realtime(view, view.layers.increments, flat(since)),
        )
        slices_left, live_left = iter(slices or ()), iter(live or ())
        counted = []
        for (counter, _), mine, my_since in zip(pairs, ranges, since, strict=True):
            totals = keyed(mine, [next(slices_left) for _ in mine]) if slices else {}
            increments = flat([next(live_left) for _ in my_since]) if live else []
            published = view.at(counter)
            found = merge.Rows(totals, increments, published.cutoff if published else None, view.layer)
            counted.append([found.counts(plan.parts) for plan in plans[granularities[counter.name]]])
        return counted

    def _groups(
        self,
        view: View,
        counters: Sequence[Counter],
        pairs: Sequence[Pair],
        groups: list[list[Bucket]],
        asked: Asked,
    ) -> list[list[list[Point]]]:
        """key → group → its points, everything read at once. `pairs`: all counters of the first key, of the next …"""
        counted = self._count(view, pairs, groups, asked)
        rows = [counted[at : at + len(counters)] for at in range(0, len(counted), len(counters))]
        return [
            [self._points(view, counters, group, [row[n] for row in mine]) for n, group in enumerate(groups)]
            for mine in rows
        ]

    def _points(
        self, view: View, counters: Sequence[Counter], buckets: Sequence[Bucket], rows: list[list[merge.Count]]
    ) -> list[Point]:
        cutoff, status = view.cutoff(counters), view.status(counters, self._settings.realtime.retention)
        points = []
        for at, bucket in enumerate(buckets):
            counts = {counter.name: row[at].count for counter, row in zip(counters, rows, strict=True)}
            over = bucket.end <= view.now
            final = over and cutoff is not None and bucket.end <= cutoff
            points.append(Point(bucket, counts, source(row[at].source for row in rows), status(bucket), over, final))
        return points

    def _first(self, view: View, pairs: Sequence[Pair]) -> datetime | None:
        """The start of the first finest bucket in which any of the pairs counted: found in the batch layer by the first
        month, and its first day."""
        since = flat([self._increments_of(view, counter, key) for counter, key in pairs])
        (live,) = together(self._of_realtime(view, view.layers.increments, since))
        bounds = can_hold(self._settings.events, view.now)
        first, within = None, Range(floor(bounds.start, "month"), bounds.end)
        for granularity in ("month", "day", None):
            reads = [
                TotalsRange(view.stored[c.name], key, granularity or finest_of(view.counted_as(c)), within.start,
                            within.end, view.at(c))
                for c, key in pairs
            ]  # fmt: skip
            (totals,) = together(self._of_batch(view, view.layers.totals, reads))
            starts = [start for rows in totals or () for start, total in rows.items() if total.count]
            if not starts:
                break
            first = min(starts)
            within = Range(first, after(first, granularity or "hour"))
        return min([*([first] if first else []), *(row.bucket for row in flat(live))], default=None)

    def _increments_of(self, view: View, counter: Counter, key: str) -> list[IncrementsSince]:
        """The partitions that may hold increments to add: from the published cutoff, else all that is retained."""
        published = view.at(counter) if view.layer == "merged" else None
        since = published.cutoff if published else None
        days = ingest_dates(since or view.now - self._settings.realtime.retention, view.now)
        return [IncrementsSince(view.stored[counter.name], key, day, since) for day in days]

    def _of_batch(self, view: View, read: Callable[[Any], Pending[T]], reads: list[Any]) -> Pending[T] | None:
        return deferred(lambda: read(reads)) if view.layer != "realtime" and reads else None

    def _of_realtime(self, view: View, read: Callable[[Any], Pending[T]], reads: list[Any]) -> Pending[T] | None:
        return deferred(lambda: read(reads)) if view.layer != "batch" and reads else None


def _series(query: SeriesQuery, groups: list[list[Point]], facing: int) -> Series:
    """One key's series, of its points, `facing` groups of what they are compared with, and both ranges as a whole."""
    faced = {point.bucket: point for group in groups[1 : 1 + facing] for point in group}
    changes = {}
    if query.span.comparison:
        (now,), (then,) = groups[-2:]
        changes = {name: (count, then.counts[name]) for name, count in now.counts.items()}
    return Series(groups[0], [faced[bucket] if bucket else None for bucket in query.facing], None, changes)
