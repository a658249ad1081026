"""Rows that are kept for a time, and reads that are under way: whoever needs one joins it, and does not repeat it."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from serving.layers.interface import Deadline, OutOfTime, Pending, TooManyRows
from serving.layers.memory import Memory
from serving.observe.metrics import CACHE_READS
from stitch.merge import Increment, Ranking

JOINED = 50  # reads: whoever asks for few does not wait for a flight of more, but has his own
RANK = 48  # bytes of a member of a ranking, but for its text
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
            for read in (asked := dict.fromkeys(reads)):
                under_way = self._flying.get(read)
                if (kept := self._memory.get(self._name, read)) is not None:
                    found[read] = kept.value
                    until = min(until, kept.until)
                elif under_way and len(under_way[0].reads) <= max(JOINED, 2 * len(asked)):
                    joined[read] = under_way
                elif (most := self._memory.get(self._too_many, read)) is not None:
                    too_many = most.value
                else:
                    self._flying.pop(read, None)  # which is not joined: the new one goes behind the others
                    self._flying[read] = joined[read] = (flight, len(mine))
                    mine.append(read)
            flight.reads.update(mine)
        for outcome, count in (("hit", len(found)), ("joined", len(joined) - len(mine)), ("miss", len(mine))):
            if count:
                CACHE_READS.labels(self._name, outcome).inc(count)
        deadline.given(until)
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
                    deadline.given(of.landed + self._seconds(read, found[read]))
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


def _whose(read: Any) -> tuple[Any, ...]:
    return getattr(read, "counter", None), getattr(read, "key", None)


def _bytes(read: Any, rows: Any) -> int:
    """What Python takes for the texts of a read and for its rows."""
    among = getattr(read, "among", None) or ()
    size = sum(sys.getsizeof(text) for text in (getattr(read, "key", ""), getattr(read, "counter", ""), *among))
    if isinstance(rows, Ranking):
        return size + sum(sys.getsizeof(name) for name in rows.members) + RANK * len(rows.members)
    if not isinstance(rows, dict | list):
        return size
    names = rows if isinstance(rows, dict) else (row.member for row in rows if isinstance(row, Increment))
    texts = sum(sys.getsizeof(name) for name in names if isinstance(name, str))
    return size + texts + ROW * len(rows)
