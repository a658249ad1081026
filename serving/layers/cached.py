"""The layers with a memory: rows are kept for as long as they may be, and a read that is under way is joined, not
repeated.

How long a row is kept follows what can change it. Totals change only when a batch run publishes, so they are kept under
the published run that was seen when they were asked for: the next run asks under another name. Everything else
(cutoffs, increments, progress) is kept for `serving.cache`. Either is exact by the rule of stitch.merge, as of at most
so long ago: a published cutoff older than the totals is harmless, since rows written since carry their own.

Whatever is asked of a key meanwhile rests on the same rows, so the answers of a process agree: the hours of a day with
the day, a series with its total. FRESH_UNTIL tells whoever keeps an answer for how long that holds.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Generic, TypeVar

from cachetools import TLRUCache

from serving.layers.interface import IncrementsSince, Layers, MembersOf, Pending, Through, TotalsRange
from serving.observe.metrics import CACHE_READS
from stitch.definitions import Publication
from stitch.merge import Increment, Total
from stitch.settings import Settings

FRESH_UNTIL: ContextVar[float] = ContextVar(
    "FRESH_UNTIL"
)  # when the first of the rows used runs out, by time.monotonic()
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Flight(Generic[V]):
    """Reads that are sent together. Whoever needs one waits for all, once; others find what came."""

    def __init__(self, started: float) -> None:
        self.started = started
        self._lock = threading.Lock()
        self._lock.acquire()  # until it is sent: who joins it before that waits here
        self._pending: Pending[V] | None = None
        self._failure: Exception | None = None
        self._value: V | None = None
        self.landed = started

    def send(self, send: Callable[[], Pending[V]]) -> None:
        try:
            self._pending = send()
        except Exception as failure:
            self._failure = failure
        finally:
            self._lock.release()

    def value(self) -> V:
        """What came. Raises what went wrong, to everybody who waits for it."""
        with self._lock:
            if self._pending:
                pending, self._pending = self._pending, None
                try:
                    self._value = pending()
                    self.landed = time.monotonic()
                except Exception as failure:
                    self._failure = failure
        if self._failure:
            raise self._failure
        return self._value  # type: ignore[return-value]


class RowCache(Generic[K, V]):
    """read → rows, kept for `seconds(read)`, at most `most` rows in all; `join` bounds how old a flight may be
    joined."""

    def __init__(self, name: str, most: int, seconds: Callable[[K], float], join: float) -> None:
        self._name, self._join, self._seconds = name, join, seconds
        self._lock = threading.Lock()
        self._kept: TLRUCache[K, tuple[V, float]] = TLRUCache(  # with when they run out
            most, ttu=lambda _, kept, __: kept[1], timer=time.monotonic, getsizeof=lambda kept: _rows(kept[0])
        )
        self._flying: dict[K, tuple[Flight[list[V]], int]] = {}

    def many(self, reads: Sequence[K], send: Callable[[Sequence[K]], Pending[list[V]]]) -> Pending[list[V]]:
        """The rows of each read: kept ones, those of flights under way, and the others by `send`."""
        found: dict[K, V] = {}
        joined: dict[K, tuple[Flight[list[V]], int]] = {}
        mine: list[K] = []
        now, until = time.monotonic(), math.inf
        flight: Flight[list[V]] = Flight(now)
        with self._lock:
            for read in dict.fromkeys(reads):
                if (kept := self._kept.get(read)) is not None:
                    found[read] = kept[0]
                    until = min(until, kept[1])
                elif (under_way := self._flying.get(read)) and now - under_way[0].started < self._join:
                    joined[read] = under_way
                else:
                    self._flying[read] = joined[read] = (flight, len(mine))
                    mine.append(read)
        for outcome, count in (("hit", len(found)), ("joined", len(joined) - len(mine)), ("miss", len(mine))):
            if count:
                CACHE_READS.labels(self._name, outcome).inc(count)
        _fresh(until)
        if mine:
            flight.send(lambda: send(mine))

        def rows() -> list[V]:
            try:
                for read, (of, at) in joined.items():
                    found[read] = of.value()[at]
                    _fresh(of.landed + self._seconds(read))
            finally:
                self._land(joined, found)
            return [found[read] for read in reads]

        return rows if joined else lambda: [found[read] for read in reads]

    def _land(self, joined: dict[K, tuple[Flight[list[V]], int]], found: dict[K, V]) -> None:
        with self._lock:
            for read, under_way in joined.items():
                if self._flying.get(read) == under_way:  # not landed by another, nor given up
                    del self._flying[read]
                    if read in found and _rows(found[read]) <= self._kept.maxsize:
                        self._kept[read] = (found[read], under_way[0].landed + self._seconds(read))


class CachedLayers(Through):
    """Another's layers, remembered. Keys and corrections are asked for seldom and go through."""

    def __init__(self, layers: Layers, settings: Settings) -> None:
        super().__init__(layers)
        serving = settings.serving
        join, most = serving.timeout.total_seconds(), serving.cache_rows
        brief, long = serving.cache.total_seconds(), serving.cache_closed.total_seconds()

        def of_run(read: TotalsRange | MembersOf) -> float:
            return long if read.at else brief  # before the first run has published, its rows come one by one

        self._cutoffs: RowCache[str, dict[str, Publication]] = RowCache("cutoffs", most, lambda _: brief, join)
        self._through: RowCache[str, Any] = RowCache("progress", most, lambda _: brief, join)
        self._totals: RowCache[TotalsRange, dict[datetime, Total]] = RowCache("totals", most, of_run, join)
        self._members: RowCache[MembersOf, dict[str, Total]] = RowCache("member_totals", most, of_run, join)
        self._live: RowCache[IncrementsSince, list[Increment]] = RowCache("increments", most, lambda _: brief, join)
        self._live_members: RowCache[IncrementsSince, list[Increment]] = RowCache(
            "member_increments", most, lambda _: brief, join
        )

    def cutoffs(self) -> Pending[dict[str, Publication]]:
        return _only(self._cutoffs.many(["all"], lambda _: _listed(self._layers.cutoffs())))

    def realtime_through(self) -> Pending[datetime | None]:
        through = _only(self._through.many(["progress"], lambda _: _listed(_listed(self._layers.realtime_through()))))
        return lambda: through()[0]

    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        return self._totals.many(reads, self._layers.totals)

    def member_totals(self, reads: Sequence[MembersOf]) -> Pending[list[dict[str, Total]]]:
        return self._members.many(reads, self._layers.member_totals)

    def increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._live.many(reads, self._layers.increments)

    def member_increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._live_members.many(reads, self._layers.member_increments)


def _fresh(until: float) -> None:
    FRESH_UNTIL.set(min(FRESH_UNTIL.get(math.inf), until))


def _rows(value: Any) -> int:
    return len(value) + 1


def _listed(pending: Pending[V]) -> Pending[list[V]]:
    return lambda: [pending()]


def _only(pending: Pending[list[V]]) -> Pending[V]:
    return lambda: pending()[0]
