"""What one view reads of the layers: under which run, from which partitions, and from memory where the batch layer is
missing.

Each read is sent at once and answers with a function that waits; None where there is nothing to read, or the layer is
not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from serving.layers.interface import ChartOf, IncrementsSince, MembersOf, Pending, Recalled, TotalsRange
from serving.reading.view import FIRST, View, deferred
from stitch.counters import Counter
from stitch.cutoff import Published, ingest_dates
from stitch.merge import Increment, Ranking, Total

T = TypeVar("T")


class Reads:
    def __init__(self, view: View) -> None:
        self._view = view

    def run(self, counter: Counter, ranges_of: Callable[[Published | None], list[TotalsRange]]) -> Published | None:
        """Under which run totals are read: the published one, or where the batch layer is missing, the one before,
        if its totals are remembered and not those of the last one, which published a moment ago."""

        def lacks(at: Published | None) -> bool:
            return any(one.lacking for one in self._recalled(ranges_of(at)))

        at, before = self._view.at(counter), self._view.before(counter)
        return before if self._without_batch and before and lacks(at) and not lacks(before) else at

    def since(self, at: Published | None, partial: bool) -> datetime | None:
        """From when on increments are read: since the run's cutoff, or all that are retained (None) where those are
        what is left of counts that need not be whole."""
        return at.cutoff if at and not (partial and self._without_batch) else None

    def partitions(self, counter: Counter, key: str, since: datetime | None) -> list[IncrementsSince]:
        """Those that may hold increments to add: since a cutoff, else all that is retained."""
        view = self._view
        since = since if view.layer == "merged" else None
        until = max(view.now, view.realtime_through or view.now, since or view.now)  # clocks of readers may be behind
        days = ingest_dates(max(since or FIRST, view.now - view.retention), until)
        return [IncrementsSince(view.stored(counter), key, day, since) for day in days]

    def totals(self, reads: list[TotalsRange]) -> Pending[list[Recalled]] | None:
        """The totals; where the batch layer is missing, as far as they are remembered."""
        if self._view.layer == "realtime" or not reads:
            return None
        if self._without_batch:
            recalled = self._recalled(reads)
            return lambda: recalled
        sent = deferred(lambda: self._view.layers.totals(reads))
        return lambda: [Recalled(rows) for rows in sent()]

    def members(self, reads: list[MembersOf]) -> Pending[Sequence[dict[str, Total] | None]] | None:
        """The totals by member; where the batch layer is missing, None for those that are not remembered."""
        if self._view.layer == "realtime" or not reads:
            return None
        if self._without_batch:
            recalled = self._view.layers.recalled_members(reads)
            return lambda: recalled
        return deferred(lambda: self._view.layers.member_totals(reads))

    def ranked(self, counter: Counter, reads: list[MembersOf]) -> Pending[list[Ranking | None]] | None:
        """The members that counted most; where the batch layer is missing, of those that are remembered."""
        if self._view.layer == "realtime" or not reads:
            return None
        if self._without_batch:
            recalled = self._view.layers.recalled_ranked(reads)
            return lambda: recalled
        return deferred(lambda: self._view.layers.ranked(reads)) if self._view.ranked(counter) else None

    def charts(self, reads: list[ChartOf]) -> Pending[list[Ranking | None]]:
        """The keys that counted most. Asked for where the batch layer is there, and has charts with what it
        published."""
        return deferred(lambda: self._view.layers.charts(reads))

    def increments(self, reads: list[IncrementsSince]) -> Pending[list[list[Increment]]] | None:
        return self._of_realtime(self._view.layers.increments, reads)

    def member_increments(self, reads: list[IncrementsSince]) -> Pending[list[list[Increment]]] | None:
        return self._of_realtime(self._view.layers.member_increments, reads)

    def _of_realtime(self, read: Callable[[Any], Pending[T]], reads: list[Any]) -> Pending[T] | None:
        return deferred(lambda: read(reads)) if self._view.layer != "batch" and reads else None

    @property
    def _without_batch(self) -> bool:
        return "batch" in self._view.missing

    def _recalled(self, reads: list[TotalsRange]) -> list[Recalled]:
        """What is remembered. Of a counter of which nothing was published there is nothing to remember: all of it is in
        the increments."""
        known = self._view.last.by_name is not None
        found = iter(self._view.layers.recalled_totals([read for read in reads if read.at or not known]))
        return [next(found) if read.at or not known else Recalled({}) for read in reads]
