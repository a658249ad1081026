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
the day, a series with its total. FRESH_UNTIL tells whoever keeps an answer for how long that holds.
"""

from __future__ import annotations

import copy
import math
import sys
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from serving.layers.interface import (
    Deadline,
    IncrementsSince,
    Layers,
    MembersOf,
    OutOfTime,
    Pending,
    Recalled,
    Through,
    TooManyRows,
    TotalsRange,
)
from serving.layers.memory import Memory
from serving.observe.metrics import CACHE_READS
from stitch.definitions import Publication
from stitch.merge import Increment, Total
from stitch.settings import Settings

FRESH_UNTIL: ContextVar[float] = ContextVar(
    "FRESH_UNTIL"
)  # when the first of the rows used runs out, by time.monotonic()
ROW = 240  # bytes of a row of totals or increments, but for a member's text
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Flight(Generic[V]):
    """`reads` that are sent together. Whoever needs one waits for all, once; others find what came."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.reads: set[Any] = set()
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

    def value(self, deadline: Deadline) -> V:
        """What came. Raises what went wrong, to everybody who waits for it, and OutOfTime at the deadline."""
        if not self._lock.acquire(timeout=deadline.left()):
            raise OutOfTime(deadline.seconds)
        try:
            if self._pending:
                pending, self._pending = self._pending, None
                try:
                    self._value = pending()
                    self.landed = time.monotonic()
                except Exception as failure:
                    self._failure = failure
        finally:
            self._lock.release()
        if self._failure:
            raise self._failure
        return self._value  # type: ignore[return-value]


class RowCache(Generic[K, V]):
    """read → rows, kept for `seconds(read, rows)`; `join` bounds how old a flight may be joined. That there
    are too many rows is kept as long as they would be: to find it out again costs as much as the most that is allowed.
    `recall`: for how many seconds more rows can be recalled.
    """

    def __init__(
        self, name: str, memory: Memory, seconds: Callable[[K, V], float], join: float, recall: float = 0
    ) -> None:
        self._name, self._memory, self._join, self._seconds, self._recall = name, memory, join, seconds, recall
        self._too_many, self._known = f"{name}: too many", f"{name}: keys that have some"
        self._lock = threading.Lock()
        self._flying: dict[K, tuple[Flight[list[V]], int]] = {}  # the oldest first
        self.added = 0  # how often rows were

    def recalled(self, read: K) -> V | None:
        """The rows that are kept, however old."""
        kept = self._memory.recall(self._name, read)
        return kept.value if kept else None

    def reads(self) -> list[K]:
        """All whose rows are kept."""
        return self._memory.keys(self._name)

    def many(
        self, reads: Sequence[K], send: Callable[[Sequence[K]], Pending[list[V]]], deadline: Deadline
    ) -> Pending[list[V]]:
        """The rows of each read: kept ones, those of flights under way, and the others by `send`."""
        found: dict[K, V] = {}
        joined: dict[K, tuple[Flight[list[V]], int]] = {}
        mine: list[K] = []
        too_many: int | None = None
        now, until = time.monotonic(), math.inf
        flight: Flight[list[V]] = Flight(now)
        with self._lock:
            self._give_up(now - self._join)
            for read in dict.fromkeys(reads):
                if (kept := self._memory.get(self._name, read)) is not None:
                    found[read] = kept.value
                    until = min(until, kept.until)
                elif under_way := self._flying.get(read):
                    joined[read] = under_way
                elif (most := self._memory.get(self._too_many, read)) is not None:
                    too_many = most.value
                else:
                    self._flying[read] = joined[read] = (flight, len(mine))
                    mine.append(read)
        flight.reads.update(mine)
        for outcome, count in (("hit", len(found)), ("joined", len(joined) - len(mine)), ("miss", len(mine))):
            if count:
                CACHE_READS.labels(self._name, outcome).inc(count)
        _fresh(until)
        if mine:
            flight.send(lambda: send(mine))

        def rows() -> list[V]:
            if too_many is not None:
                raise TooManyRows(too_many)
            again: list[K] = []
            try:
                for read, (of, at) in joined.items():
                    try:
                        found[read] = of.value(deadline)[at]
                    except (OutOfTime, TooManyRows) as failure:
                        if isinstance(failure, TooManyRows) and of.reads == {read}:
                            self._keep(self._too_many, read, failure.most, of.landed)  # the failure holds its frames
                        if of is flight or of.reads <= joined.keys() or not deadline.left():
                            raise
                        again.append(read)  # what else was asked for there was too much
                        continue
                    _fresh(of.landed + self._seconds(read, found[read]))
            finally:
                self._land(joined, found)
            if again:
                found.update(zip(again, send(again)(), strict=True))
            return [found[read] for read in reads]

        return rows if joined or too_many is not None else lambda: [found[read] for read in reads]

    def _land(self, joined: dict[K, tuple[Flight[list[V]], int]], found: dict[K, V]) -> None:
        landed = []
        with self._lock:
            for read, under_way in joined.items():
                if self._flying.get(read) == under_way:  # not landed by another, nor given up
                    del self._flying[read]
                    if read in found:
                        landed.append((read, under_way[0].landed))
        for read, at in landed:
            if self._recall and found[read]:
                self._memory.keep(self._known, _whose(read), True, at + self._recall, _bytes(read, None))
        for read, at in landed:
            known = self._recall and self._memory.get(self._known, _whose(read))
            self._keep(self._name, read, found[read], at, self._recall if known else 0)
            self.added += 1

    def _keep(self, name: str, read: K, value: Any, landed: float, recall: float = 0) -> None:
        self._memory.keep(name, read, value, landed + self._seconds(read, value), _bytes(read, value), recall)

    def _give_up(self, before: float) -> None:
        """Nobody waits any more for flights that began before then: whoever sent them was refused meanwhile."""
        while self._flying:
            read, (flight, _) = next(iter(self._flying.items()))
            if flight.started > before:
                return
            del self._flying[read]


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

        def of_run(read: TotalsRange | MembersOf, rows: Any) -> float:
            return long if read.at and rows else brief  # before the first run has published, its rows come one by one

        def briefly(_: Any, __: Any) -> float:
            return brief

        recall = settings.realtime.retention.total_seconds()  # increments since the run are not held for longer
        self._cutoffs: RowCache[str, dict[str, Publication]] = RowCache("cutoffs", memory, briefly, join)
        self._through: RowCache[str, Any] = RowCache("progress", memory, briefly, join)
        self._totals: RowCache[TotalsRange, dict[datetime, Total]] = RowCache("totals", memory, of_run, join, recall)
        self._members: RowCache[MembersOf, dict[str, Total]] = RowCache("member_totals", memory, of_run, join, recall)
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

    def recalled_totals(self, reads: Sequence[TotalsRange]) -> list[Recalled]:
        found = [self._slices.recalled(read) for read in reads]
        lacking = {at: self._slices.widened(reads[at]) for at, one in enumerate(found) if one.lacking}
        for at, one in zip(lacking, self._layers.recalled_totals(list(lacking.values())), strict=True):
            if not one.lacking:
                found[at] = one
        return found

    def recalled_members(self, reads: Sequence[MembersOf]) -> list[dict[str, Total] | None]:
        found = [self._members.recalled(read) for read in reads]
        lacking = [at for at, rows in enumerate(found) if rows is None]
        for at, rows in zip(lacking, self._layers.recalled_members([reads[at] for at in lacking]), strict=True):
            found[at] = rows
        return found

    def increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._live.many(reads, self._layers.increments, self._until())

    def member_increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._live_members.many(reads, self._layers.member_increments, self._until())

    def _until(self) -> Deadline:
        return self._deadline or Deadline.after(self._timeout)


def _fresh(until: float) -> None:
    FRESH_UNTIL.set(min(FRESH_UNTIL.get(math.inf), until))


def _whose(read: Any) -> tuple[Any, ...]:
    return getattr(read, "counter", None), getattr(read, "key", None)


def _partition(read: TotalsRange) -> tuple[Any, ...]:
    return read.counter, read.key, read.granularity, read.at


def _bytes(read: Any, rows: Any) -> int:
    """What Python takes for the texts of a read and for its rows."""
    size = sum(sys.getsizeof(text) for text in (getattr(read, "key", ""), getattr(read, "counter", "")))
    if not isinstance(rows, dict | list):
        return size
    names = rows if isinstance(rows, dict) else (row.member for row in rows if isinstance(row, Increment))
    texts = sum(sys.getsizeof(name) for name in names if isinstance(name, str))
    return size + texts + ROW * len(rows)


def _listed(pending: Pending[V]) -> Pending[list[V]]:
    return lambda: [pending()]


def _only(pending: Pending[list[V]]) -> Pending[V]:
    return lambda: pending()[0]
