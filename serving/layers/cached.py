"""The layers with a memory: rows are kept for as long as they may be, and a read that is under way is joined, not
repeated.

How long a row is kept follows what can change it. Totals change only when a batch run publishes, so they are kept under
the published run that was seen when they were asked for: the next run asks under another name. Everything else
(cutoffs, increments, progress) is kept for `serving.cache`. Either is exact by the rule of stitch.merge, as of at most
so long ago: a published cutoff older than the totals is harmless, since rows written since carry their own. That a read
has no rows is kept for `serving.cache` alone, or whoever asks for keys that are not there would fill the memory.

Totals stay when their time is over, until others need the room: while the batch layer is away, totals that were read
under a published run are exact with all increments since its cutoff, by the same rule (`recalled_totals`). That a slice
has no rows stays only where another of the key had some.

Whatever is asked of a key meanwhile rests on the same rows, so the answers of a process agree: the hours of a day with
the day, a series with its total. Deadline.fresh_until tells whoever keeps an answer for how long that holds.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from serving.layers.interface import (
    ChartOf,
    Deadline,
    IncrementsSince,
    Layers,
    MembersOf,
    Pending,
    Recalled,
    Through,
    TotalsRange,
)
from serving.layers.memory import Memory
from serving.layers.row_cache import RowCache
from stitch.definitions import Publication
from stitch.merge import Increment, Ranking, Total
from stitch.settings import Settings

K = TypeVar("K")
V = TypeVar("V")


class Slices:
    """Slices of totals put together from those that are kept: a range that ends now is never asked for twice.

    max_future: how far ahead of its broker timestamp an event may be; so no run has rows further than that behind its
    cutoff, and slices are read as far as that, for what is asked for later.
    """

    SECONDS = 1.0  # for which the list of what is kept stands at least; while the layer is away nothing is added

    def __init__(self, kept: RowCache[TotalsRange, dict[datetime, Total]], max_future: timedelta) -> None:
        self._kept, self._max_future = kept, max_future
        self._lock = threading.Lock()
        self._listed_at, self._listed = -math.inf, -1
        self._by_partition: dict[tuple[Any, ...], list[TotalsRange]] = {}

    def widened(self, read: TotalsRange) -> TotalsRange:
        """A read that goes on behind its run's cutoff goes on as far as the run can have rows."""
        if read.at is None or read.last <= read.at.cutoff:
            return read
        return replace(read, last=max(read.last, read.at.cutoff + self._max_future))

    def recalled(self, read: TotalsRange) -> Recalled:
        """The rows of the read that are kept."""
        if (whole := self._kept.recalled(self.widened(read))) is not None:
            return Recalled(whole)
        found = Recalled({})
        reached, last = read.first, read.last
        if read.at is not None:
            last = min(last, read.at.cutoff + self._max_future)
        for other in self._of(read):
            if reached < last and other.first < last and reached < other.last:
                if (rows := self._kept.recalled(other)) is None:
                    continue
                if reached < other.first:
                    found.lacking.append(replace(read, first=reached, last=other.first))
                found.rows.update((start, total) for start, total in rows.items() if read.first <= start < read.last)
                reached = other.last
        if reached < last:
            found.lacking.append(replace(read, first=reached, last=last))
        return found

    def _of(self, read: TotalsRange) -> list[TotalsRange]:
        """The kept slices of the read's partition under its run, by where they begin."""
        with self._lock:
            if self._listed != self._kept.added and time.monotonic() - self._listed_at > self.SECONDS:
                self._listed = self._kept.added
                listed: dict[tuple[Any, ...], list[TotalsRange]] = {}
                for one in self._kept.reads():
                    listed.setdefault(_partition(one), []).append(one)
                for slices in listed.values():
                    slices.sort(key=lambda one: one.first)
                self._by_partition, self._listed_at = listed, time.monotonic()
            return self._by_partition.get(_partition(read), [])


class CachedLayers(Through):
    """Another's layers, remembered. Keys and corrections are asked for seldom and go through."""

    def __init__(self, layers: Layers, settings: Settings, memory: Memory) -> None:
        super().__init__(layers)
        serving = settings.serving
        self._timeout = join = serving.timeout.total_seconds()
        self._deadline: Deadline | None = None
        brief, long = serving.cache.total_seconds(), serving.cache_closed.total_seconds()

        def of_run(read: TotalsRange | MembersOf | ChartOf, rows: Any) -> float:
            return long if read.at and rows else brief  # before the first run has published, its rows come one by one

        def briefly(_: Any, __: Any) -> float:
            return brief

        recall = settings.realtime.retention.total_seconds()  # increments since the run are not held for longer
        self._cutoffs: RowCache[str, dict[str, Publication]] = RowCache("cutoffs", memory, briefly, join)
        self._through: RowCache[str, Any] = RowCache("progress", memory, briefly, join)
        self._totals: RowCache[TotalsRange, dict[datetime, Total]] = RowCache("totals", memory, of_run, join, recall)
        self._members: RowCache[MembersOf, dict[str, Total]] = RowCache("member_totals", memory, of_run, join, recall)
        self._ranked: RowCache[MembersOf, Ranking | None] = RowCache("ranked_members", memory, of_run, join, recall)
        self._charts: RowCache[ChartOf, Ranking | None] = RowCache("ranked_keys", memory, of_run, join)
        self._slices = Slices(self._totals, settings.events.max_future)
        self._live: RowCache[IncrementsSince, list[Increment]] = RowCache("increments", memory, briefly, join)
        self._live_members: RowCache[IncrementsSince, list[Increment]] = RowCache(
            "member_increments", memory, briefly, join
        )

    def within(self, deadline: Deadline) -> Layers:
        bound = copy.copy(self)
        bound._layers, bound._deadline = self._layers.within(deadline), deadline
        return bound

    def cutoffs(self) -> Pending[dict[str, Publication]]:
        return _only(self._cutoffs.many(["all"], lambda _: _listed(self._layers.cutoffs()), self._until()))

    def realtime_through(self) -> Pending[datetime | None]:
        def send(_: Sequence[str]) -> Pending[list[Any]]:
            return _listed(_listed(self._layers.realtime_through()))

        through = _only(self._through.many(["progress"], send, self._until()))
        return lambda: through()[0]

    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        widened = [self._slices.widened(read) for read in reads]
        return self._totals.many(widened, self._layers.totals, self._until())

    def member_totals(self, reads: Sequence[MembersOf]) -> Pending[list[dict[str, Total]]]:
        return self._members.many(reads, self._layers.member_totals, self._until())

    def ranked(self, reads: Sequence[MembersOf]) -> Pending[list[Ranking | None]]:
        return self._ranked.many(reads, self._layers.ranked, self._until())

    def charts(self, reads: Sequence[ChartOf]) -> Pending[list[Ranking | None]]:
        return self._charts.many(reads, self._layers.charts, self._until())

    def recalled_totals(self, reads: Sequence[TotalsRange]) -> list[Recalled]:
        found = [self._slices.recalled(read) for read in reads]
        lacking = {at: self._slices.widened(reads[at]) for at, one in enumerate(found) if one.lacking}
        for at, one in zip(lacking, self._layers.recalled_totals(list(lacking.values())), strict=True):
            if not one.lacking:
                found[at] = one
        return found

    def recalled_members(self, reads: Sequence[MembersOf]) -> list[dict[str, Total] | None]:
        return _recalled(reads, self._members.recalled, self._layers.recalled_members)

    def recalled_ranked(self, reads: Sequence[MembersOf]) -> list[Ranking | None]:
        return _recalled(reads, self._ranked.recalled, self._layers.recalled_ranked)

    def increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._live.many(reads, self._layers.increments, self._until())

    def member_increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._live_members.many(reads, self._layers.member_increments, self._until())

    def _until(self) -> Deadline:
        return self._deadline or Deadline.after(self._timeout)


def _recalled(
    reads: Sequence[K], mine: Callable[[K], V | None], of_others: Callable[[Sequence[K]], list[V | None]]
) -> list[V | None]:
    found = [mine(read) for read in reads]
    lacking = [at for at, rows in enumerate(found) if rows is None]
    for at, rows in zip(lacking, of_others([reads[at] for at in lacking]), strict=True):
        found[at] = rows
    return found


def _partition(read: TotalsRange) -> tuple[Any, ...]:
    return read.counter, read.key, read.granularity, read.at


def _listed(pending: Pending[V]) -> Pending[list[V]]:
    return lambda: [pending()]


def _only(pending: Pending[list[V]]) -> Pending[V]:
    return lambda: pending()[0]
