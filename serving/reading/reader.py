"""The reader's use cases: a question in, what is found out.

First the published cutoffs, then totals and increments of both layers side by side: the order that stitch.merge
explains. Whatever is asked for at once, many keys or a range and the one it is compared with, is one view of the
cutoffs.
"""

from __future__ import annotations

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
    OutOfTime,
    Pending,
    Ran,
    TooManyRows,
    Unavailable,
)
from serving.reading.budget import Asked, too_many_rows
from serving.reading.charts import chart_of
from serving.reading.counting import Counting
from serving.reading.found import Chart, Series, Top, Totals, check_some, held, is_partial, series_of, totals_of
from serving.reading.queries import ChartQuery, CorrectionsQuery, KeysQuery, SeriesQuery, TopQuery, TotalsQuery
from serving.reading.ranking import top_of
from serving.reading.slices import apart, as_point, as_range, beginning, compared_points
from serving.reading.view import Down, LastPublished, View, answer, deferred, look, together
from stitch.buckets import ALL, Range
from stitch.counters import Counter
from stitch.definitions import served, stored_names
from stitch.settings import Settings

T = TypeVar("T")
Counted = TotalsQuery | SeriesQuery | TopQuery | ChartQuery


class Reader:
    def __init__(self, settings: Settings, layers: Layers, now: Callable[[], datetime]) -> None:
        self._settings, self._layers, self._now = settings, layers, now
        self._last = LastPublished(stored_names(settings))

    def totals(self, query: TotalsQuery) -> tuple[Totals, View]:
        """Counts of all time or a range, in the order asked."""
        span = query.span
        asked = [as_point(span.range) if span.range else ALL]

        def ask(view: View) -> Totals:
            comparison = view.compared(span, query.counters)
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
            comparison = view.compared(query.span, query.counters)
            groups = [query.points, *facing, *compared_points(comparison)]
            asked = Asked(len(query.keys), as_range(query.points), query.granularity)
            found = Counting(self._settings, view, query).points(groups, asked)
            check_some(view, query, [point.counts for mine in found for point in mine[0]])
            return [series_of(view, query, mine, len(facing), comparison) for mine in found]

        return self._answer(query, ask)

    def _all_time(self, view: View, query: SeriesQuery) -> list[Series]:
        """From the first point in which one of the keys counted to the last, now or ahead of it, of as many as may be
        answered; what came before is one number."""
        counting = Counting(self._settings, view, query)
        counted = counting.between()
        first, last = (counted.start, max(view.now, counted.end)) if counted else (view.now, view.now)
        points = query.points_since(first, last, self._settings.serving.max_points)
        asked = Asked(len(query.keys), as_range(points), query.granularity)
        shown = [mine for (mine,) in counting.points([points], asked)]
        check_some(view, query, [point.counts for mine in shown for point in mine])
        same = zip(*shown, strict=True)  # of each point, that of each key; a count that is not known may be one
        counts = [[1 if n is None else n for point in of for n in point.counts.values()] for of in same]
        start = beginning(counts, first >= points[0].start)
        shown = [mine[start:] for mine in shown]
        if first >= points[start].start:
            return [Series(mine, is_partial(view, mine), held=held(view, query)) for mine in shown]
        before = [as_point(Range(first, points[start].start))]
        return [
            Series(mine, is_partial(view, [*mine, earlier]), before=earlier, held=held(view, query))
            for mine, ((earlier,),) in zip(shown, counting.points([before], asked), strict=True)
        ]

    def top(self, query: TopQuery) -> tuple[Top, View]:
        """The members that counted most. `others` holds the rest, events without a member among them."""
        return self._answer(query, lambda view: top_of(self._settings, view, query))

    def chart(self, query: ChartQuery) -> tuple[Chart, View]:
        """The keys that counted most, or rose most."""
        return self._answer(query, lambda view: chart_of(self._settings, view, query))

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
        deadline = self._deadline()
        layers = self._layers.within(deadline)
        while True:
            try:
                view = self._remember(self._look(layers, tuple(sorted(failures))), deadline)
                return view, failures | layers.circuits()  # cutoffs may be kept of one that is away
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

    def _answer(self, query: Counted, ask: Callable[[View], T]) -> tuple[T, View]:
        deadline = self._deadline()
        layers = self._layers.within(deadline)
        try:
            found, view = answer(layers, self._last, query.layer, self._now(), self._retention(), ask)
        except TooManyRows as error:
            several = isinstance(query, TotalsQuery) or (isinstance(query, SeriesQuery) and query.many)
            alone = "limit" if isinstance(query, ChartQuery) else "key"
            raise too_many_rows(error, "keys" if several else alone) from error
        return found, self._remember(view, deadline)

    def _look(self, layers: Layers, missing: tuple[LayerName, ...]) -> View:
        return look(layers, self._last, "merged", missing, self._now(), self._retention())

    def _deadline(self) -> Deadline:
        """That of a request that begins now."""
        return Deadline.after(self._settings.serving.timeout.total_seconds())

    def _remember(self, view: View, deadline: Deadline) -> View:
        """What is published, for when the batch layer cannot say it."""
        self._last = view.last
        return replace(view, fresh_until=deadline.fresh_until)

    def _retention(self) -> timedelta:
        return self._settings.realtime.retention

    def _stored(self, counter: Counter) -> str:
        """Under which name its rows are found in the batch layer; raises Unavailable."""
        said = self._of_batch_alone(lambda layers: layers.cutoffs())
        if lost := self._last.lost(["realtime"], said, None):
            raise Unavailable("; ".join(map(str, lost)))
        return (self._last.stored | served(said))[counter.name]

    def _of_batch_alone(self, send: Callable[[Layers], Pending[T]]) -> T:
        layers = self._layers.within(self._deadline())
        try:
            (found,) = together(deferred(lambda: send(layers)))
        except Down as down:
            raise Unavailable(str(down)) from down
        except TooManyRows as error:
            raise too_many_rows(error, "start") from error
        return found
