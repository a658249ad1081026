"""Layers in memory, for tests: a subclass of the real abstraction, filled with literal rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime

from serving.layers.interface import (
    ChartOf,
    Corrected,
    IncrementsSince,
    KeysFrom,
    LayerDown,
    LayerName,
    Layers,
    MembersOf,
    Pending,
    Ran,
    TotalsRange,
)
from stitch.buckets import EPOCH
from stitch.counters import Counter
from stitch.cutoff import Published
from stitch.definitions import Publication, name_of
from stitch.merge import Increment, Ranking, Total


class FakeLayers(Layers):
    """Rows as tuples; `down` names layers that do not answer; `after_cutoffs` happens between the two reads. Rows
    under the name of a counter alone are of any definition of it."""

    def __init__(self) -> None:
        self.published: dict[str, datetime] = {}
        self.definitions: dict[str, Counter] = {}  # of what is published
        self.total_rows: dict[tuple[str, str, str, datetime], Total] = {}
        self.member_total_rows: dict[tuple[str, str, str, datetime, str], Total] = {}
        self.ranked_rows: dict[tuple[str, str, str, datetime], Ranking] = {}
        self.ranked_with_it = True  # with what is published
        self.chart_rows: dict[tuple[str, str, datetime], Ranking | None] = {}
        self.charted_with_it = True
        self.increment_rows: list[tuple[str, str, Increment]] = []
        self.member_increment_rows: list[tuple[str, str, Increment]] = []
        self.correction_rows: list[tuple[str, Corrected]] = []
        self.run_rows: list[Ran] = []
        self.through: datetime | None = None
        self.reads = 0
        self.member_rows = 0  # that were read of member totals
        self.down: set[LayerName] = set()
        self.totals_fail = False
        self.after_cutoffs: Callable[[], None] = lambda: None

    def cutoffs(self) -> Pending[dict[str, Publication]]:
        self._check("batch")
        found = {
            counter: Publication(
                Published(cutoff, 0), self.definitions.get(counter), self.ranked_with_it, self.charted_with_it
            )
            for counter, cutoff in self.published.items()
        }
        self.after_cutoffs()
        return lambda: found

    def totals(self, reads: Sequence[TotalsRange]) -> Pending[list[dict[datetime, Total]]]:
        self._check("batch")
        self.reads += len(reads)
        if self.totals_fail:
            raise LayerDown("batch", "timed out")
        reads = [replace(read, counter=self._of(read.counter)) for read in reads]
        asked = {(read.counter, read.key, read.granularity) for read in reads}
        rows: dict[tuple[str, str, str], list[tuple[datetime, Total]]] = {}
        for row, total in self.total_rows.items():
            if row[:3] in asked:
                rows.setdefault(row[:3], []).append((row[3], total))
        found = [
            {
                bucket: total
                for bucket, total in rows.get((r.counter, r.key, r.granularity), ())
                if r.first <= bucket < r.last
            }
            for r in reads
        ]
        return lambda: found

    def member_totals(self, reads: Sequence[MembersOf]) -> Pending[list[dict[str, Total]]]:
        self._check("batch")
        self.reads += len(reads)
        reads = [replace(read, counter=self._of(read.counter)) for read in reads]
        rows: dict[tuple[str, str, str, datetime], dict[str, Total]] = {}
        for (*bucket, member), total in self.member_total_rows.items():
            rows.setdefault(tuple(bucket), {})[member] = total  # type: ignore[arg-type]
        found = [rows.get((r.counter, r.key, r.bucket.granularity, r.bucket.start), {}) for r in reads]
        for at, read in enumerate(reads):
            if read.among is not None:
                found[at] = {member: found[at][member] for member in read.among if member in found[at]}
        self.member_rows += sum(map(len, found))
        return lambda: found

    def ranked(self, reads: Sequence[MembersOf]) -> Pending[list[Ranking | None]]:
        self._check("batch")
        self.reads += len(reads)
        places = [(self._of(r.counter), r.key, r.bucket.granularity, r.bucket.start) for r in reads]
        found = [self.ranked_rows.get(place) for place in places]
        return lambda: found

    def charts(self, reads: Sequence[ChartOf]) -> Pending[list[Ranking | None]]:
        self._check("batch")
        self.reads += len(reads)
        places = [(self._of(r.counter), r.bucket.granularity, r.bucket.start) for r in reads]
        found = [self.chart_rows.get(place, Ranking([], [], EPOCH)) for place in places]
        return lambda: found

    def increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._since(self.increment_rows, reads)

    def member_increments(self, reads: Sequence[IncrementsSince]) -> Pending[list[list[Increment]]]:
        return self._since(self.member_increment_rows, reads)

    def realtime_through(self) -> Pending[datetime | None]:
        self._check("realtime")
        return lambda: self.through

    def keys(self, read: KeysFrom) -> Pending[list[str]]:
        self._check("batch")
        of = self._of(read.counter)
        found = sorted({row[1] for row in self.total_rows if row[0] == of and row[1].startswith(read.prefix)})
        return lambda: [key for key in found if read.after is None or key > read.after][: read.limit]

    def corrections(self, counter: str, first: date, last: date) -> Pending[list[Corrected]]:
        self._check("batch")
        return lambda: [row for of, row in self.correction_rows if of == self._of(counter) and first <= row.day < last]

    def runs(self, last: int) -> Pending[list[Ran]]:
        self._check("batch")
        return lambda: self.run_rows[:last]

    def _since(
        self, rows: list[tuple[str, str, Increment]], reads: Sequence[IncrementsSince]
    ) -> Pending[list[list[Increment]]]:
        self._check("realtime")
        self.reads += len(reads)
        reads = [replace(read, counter=self._of(read.counter)) for read in reads]
        found = [
            [
                row
                for counter, key, row in rows
                if (counter, key, row.ingest_window.date()) == (r.counter, r.key, r.ingest_date)
                and (r.since is None or row.ingest_window >= r.since)
            ]
            for r in reads
        ]
        return lambda: found

    def _of(self, stored: str) -> str:
        """The name that the rows have here."""
        rows = {row[0] for row in (*self.total_rows, *self.increment_rows)}
        return stored if stored in rows else name_of(stored)

    def _check(self, layer: LayerName) -> None:
        if layer in self.down:
            raise LayerDown(layer, "connection refused")
