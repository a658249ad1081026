"""The reader's use cases: which rows answer a question, read in two rounds, merged by stitch.merge.

First the published cutoffs, then totals and increments of both layers side by side: the order that stitch.merge
explains. When a layer does not answer, the question is asked again of the other one alone, and the answer says so.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from serving.form import Range
from serving.layers import IncrementsSince, LayerDown, LayerName, Layers, MembersOf, TotalsRange, Unavailable
from serving.params import SeriesQuery, TopQuery, TotalsQuery
from stitch import merge
from stitch.buckets import ALL, Bucket, covering, finest_of, series
from stitch.counters import Counter
from stitch.cutoff import ingest_dates
from stitch.merge import Increment, Layer, Total
from stitch.settings import Settings

T = TypeVar("T")
PARALLEL = 32


@dataclass(frozen=True)
class Meta:
    """What an answer rests on."""

    cutoff: datetime | None
    realtime_through: datetime | None
    generated_at: datetime
    missing: tuple[LayerName, ...] = ()


@dataclass(frozen=True)
class Point:
    bucket: Bucket
    counts: dict[str, int]
    source: merge.Source
    complete: bool
    final: bool


@dataclass(frozen=True)
class Top:
    members: list[tuple[str, int]]
    others: int
    total: int


@dataclass(frozen=True)
class View:
    """One consistent look at the layers: what is published, which layer answers."""

    layer: Layer
    published: dict[str, datetime]
    realtime_through: datetime | None
    now: datetime


class Reader:
    def __init__(self, settings: Settings, layers: Layers, now: Callable[[], datetime]) -> None:
        self._settings, self._layers, self._now = settings, layers, now
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="reader")

    def totals(self, query: TotalsQuery) -> tuple[dict[str, dict[str, int]], Meta]:
        """key → counter → count, in the order asked."""

        def ask(view: View) -> dict[str, dict[str, int]]:
            pairs = [(counter, key) for key in query.keys for counter in query.counters]
            counted = self._count(view, [(c, key, _buckets(c, query.range)) for c, key in pairs])
            found: dict[str, dict[str, int]] = {key: {} for key in query.keys}
            for (counter, key), counts in zip(pairs, counted, strict=True):
                found[key][counter.name] = sum(count.count for count in counts)
            return found

        return self._answer(query.layer, query.counters, ask)

    def series(self, query: SeriesQuery) -> tuple[list[Point], Meta]:
        """A point for every bucket of the range, 0 where nothing was counted."""
        buckets = series(query.range.start, query.range.end, query.granularity)

        def ask(view: View) -> list[Point]:
            counted = self._count(view, [(counter, query.key, buckets) for counter in query.counters])
            cutoff = _oldest(view, query.counters)
            points = []
            for at, bucket in enumerate(buckets):
                counts = {c.name: row[at].count for c, row in zip(query.counters, counted, strict=True)}
                sources = {row[at].source for row in counted}
                over = bucket.end <= view.now
                final = over and cutoff is not None and bucket.end <= cutoff
                points.append(Point(bucket, counts, sources.pop() if len(sources) == 1 else "mixed", over, final))
            return points

        return self._answer(query.layer, query.counters, ask)

    def top(self, query: TopQuery) -> tuple[Top, Meta]:
        """The members that counted most. `others` holds the rest, events without a member among them."""
        buckets = _buckets(query.counter, query.range)
        name, key = query.counter.name, query.key

        def ask(view: View) -> Top:
            ranges, since = _runs(name, key, buckets), self._increments_of(view, name, key)
            reads = [MembersOf(name, key, bucket) for bucket in buckets]
            slices, rows, held, live = self._together(
                self._of_batch(view, self._layers.totals, ranges),
                self._of_batch(view, self._layers.member_totals, reads),
                self._of_realtime(view, self._layers.increments, since),
                self._of_realtime(view, self._layers.member_increments, since),
            )
            counts = self._merged(view, query.counter, buckets, slices, held)
            published, gains = view.published.get(name), merge.by_bucket(buckets, _flat(live))
            tally: Tally[str] = Tally()
            for bucket, totals in zip(buckets, rows or [{} for _ in buckets], strict=True):
                tally.update(merge.members(bucket, totals, gains[bucket], published, view.layer))
            ranked = sorted(((m, n) for m, n in tally.items() if n), key=lambda pair: (-pair[1], pair[0]))
            shown, total = ranked[: query.limit], sum(count.count for count in counts)
            return Top(shown, total - sum(n for _, n in shown), total)

        return self._answer(query.layer, [query.counter], ask)

    def status(self) -> tuple[dict[str, Any], Meta]:
        """Which layers answer, and each counter's published cutoff. Never Unavailable."""
        view, failures = self._lenient_view()
        names: tuple[LayerName, ...] = ("batch", "realtime")
        layers = {name: {"up": name not in failures, "reason": failures.get(name)} for name in names}
        cutoffs = {counter.name: view.published.get(counter.name) for counter in self._settings.counters}
        return {"layers": layers, "cutoffs": cutoffs}, self._meta(view, self._settings.counters, tuple(failures))

    def _answer(self, layer: Layer, counters: Sequence[Counter], ask: Callable[[View], T]) -> tuple[T, Meta]:
        """Ask both layers, or the one left: each failure takes one away, so this ends."""
        down: dict[LayerName, LayerDown] = {}
        while True:
            try:
                view = self._view(layer, tuple(down))
                return ask(view), self._meta(view, counters, missing=tuple(down) if layer == "merged" else ())
            except LayerDown as failure:
                down[failure.layer] = failure
                if layer == failure.layer or len(down) == 2:
                    raise Unavailable("; ".join(str(one) for one in down.values())) from failure

    def _view(self, layer: Layer, missing: tuple[LayerName, ...]) -> View:
        """The published cutoffs, before anything else is read; from `layer` alone, or from what is not missing."""
        if layer == "merged" and missing:
            layer = "realtime" if "batch" in missing else "batch"
        cutoffs = None if "batch" in missing else self._pool.submit(self._layers.cutoffs)
        progress = None if "realtime" in missing else self._pool.submit(self._layers.realtime_through)
        published, through = self._together(cutoffs, progress)
        return View(layer, published or {}, through, self._now())

    def _lenient_view(self) -> tuple[View, dict[LayerName, str]]:
        failures: dict[LayerName, str] = {}
        while True:
            try:
                return self._view("merged", tuple(failures)), {**failures}
            except LayerDown as failure:
                failures[failure.layer] = failure.reason

    def _count(self, view: View, asked: list[tuple[Counter, str, list[Bucket]]]) -> list[list[merge.Count]]:
        """The counts of every (counter, key, buckets), read all at once."""
        ranges = [_runs(counter.name, key, buckets) for counter, key, buckets in asked]
        since = [self._increments_of(view, counter.name, key) for counter, key, _ in asked]
        slices, live = self._together(
            self._of_batch(view, self._layers.totals, _flat(ranges)),
            self._of_realtime(view, self._layers.increments, _flat(since)),
        )
        slices_left, live_left = iter(slices or ()), iter(live or ())
        return [
            self._merged(
                view, counter, buckets,
                [found for _, found in zip(ranges[i], slices_left, strict=False)] if slices else [],
                [found for _, found in zip(since[i], live_left, strict=False)] if live else [],
            )
            for i, (counter, _, buckets) in enumerate(asked)
        ]  # fmt: skip

    def _merged(
        self,
        view: View,
        counter: Counter,
        buckets: list[Bucket],
        slices: list[dict[datetime, Total]] | None,
        live: list[list[Increment]] | None,
    ) -> list[merge.Count]:
        """One key's counts. Slices follow the runs of buckets, so those of a granularity are kept apart by it."""
        totals: dict[tuple[str, datetime], Total] = {}
        for run, rows in zip(_runs(counter.name, "", buckets), slices or [], strict=False):
            totals |= {(run.granularity, start): total for start, total in rows.items()}
        return merge.counts(buckets, totals, _flat(live), view.published.get(counter.name), view.layer)

    def _increments_of(self, view: View, counter: str, key: str) -> list[IncrementsSince]:
        """The partitions that may hold increments to add: from the published cutoff, else all that is retained."""
        published = view.published.get(counter) if view.layer == "merged" else None
        since = published or view.now - self._settings.realtime.retention
        return [IncrementsSince(counter, key, day, published) for day in ingest_dates(since, view.now)]

    def _of_batch(self, view: View, read: Callable[[Any], T], reads: list[Any]) -> Future[T] | None:
        return self._pool.submit(read, reads) if view.layer != "realtime" and reads else None

    def _of_realtime(self, view: View, read: Callable[[Any], T], reads: list[Any]) -> Future[T] | None:
        return self._pool.submit(read, reads) if view.layer != "batch" and reads else None

    def _together(self, *futures: Future[Any] | None) -> list[Any]:
        return [future.result() if future else None for future in futures]

    def _meta(self, view: View, counters: Sequence[Counter], missing: tuple[LayerName, ...]) -> Meta:
        return Meta(_oldest(view, counters), view.realtime_through, view.now, tuple(sorted(missing)))


def _oldest(view: View, counters: Sequence[Counter]) -> datetime | None:
    """The oldest published cutoff over the counters; None where one has none."""
    found = [view.published.get(counter.name) for counter in counters]
    return None if None in found else min(found, default=None)  # type: ignore[type-var]


def _buckets(counter: Counter, asked: Range | None) -> list[Bucket]:
    return covering(asked.start, asked.end, finest_of(counter)) if asked else [ALL]


def _runs(counter: str, key: str, buckets: list[Bucket]) -> list[TotalsRange]:
    """Neighbouring buckets of one granularity are one read: a year of hours is one slice of one partition."""
    runs: list[TotalsRange] = []
    for b in buckets:
        if runs and (runs[-1].granularity, runs[-1].last) == (b.granularity, b.start):
            runs[-1] = TotalsRange(counter, key, b.granularity, runs[-1].first, b.end)
        else:
            runs.append(TotalsRange(counter, key, b.granularity, b.start, b.end))
    return runs


def _flat(lists: Sequence[list[T]] | None) -> list[T]:
    return [item for one in lists or () for item in one]
