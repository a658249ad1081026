"""Layers in memory, for tests: a subclass of the real abstraction, filled with literal rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from serving.layers import IncrementsSince, LayerDown, LayerName, Layers, MembersOf, TotalsRange
from stitch.merge import Increment, Total


class FakeLayers(Layers):
    """Rows as tuples; `down` names layers that do not answer; `after_cutoffs` happens between the two reads."""

    def __init__(self) -> None:
        self.published: dict[str, datetime] = {}
        self.total_rows: dict[tuple[str, str, str, datetime], Total] = {}
        self.member_total_rows: dict[tuple[str, str, str, datetime, str], Total] = {}
        self.increment_rows: list[tuple[str, str, Increment]] = []
        self.member_increment_rows: list[tuple[str, str, Increment]] = []
        self.through: datetime | None = None
        self.down: set[LayerName] = set()
        self.totals_fail = False
        self.after_cutoffs: Callable[[], None] = lambda: None

    def cutoffs(self) -> dict[str, datetime]:
        self._check("batch")
        found = dict(self.published)
        self.after_cutoffs()
        return found

    def totals(self, reads: Sequence[TotalsRange]) -> list[dict[datetime, Total]]:
        self._check("batch")
        if self.totals_fail:
            raise LayerDown("batch", "timed out")
        return [
            {
                bucket: total
                for (counter, key, granularity, bucket), total in self.total_rows.items()
                if (counter, key, granularity) == (r.counter, r.key, r.granularity) and r.first <= bucket < r.last
            }
            for r in reads
        ]

    def member_totals(self, reads: Sequence[MembersOf]) -> list[dict[str, Total]]:
        self._check("batch")
        return [
            {
                row[4]: total
                for row, total in self.member_total_rows.items()
                if row[:4] == (r.counter, r.key, r.bucket.granularity, r.bucket.start)
            }
            for r in reads
        ]

    def increments(self, reads: Sequence[IncrementsSince]) -> list[list[Increment]]:
        return self._since(self.increment_rows, reads)

    def member_increments(self, reads: Sequence[IncrementsSince]) -> list[list[Increment]]:
        return self._since(self.member_increment_rows, reads)

    def realtime_through(self) -> datetime | None:
        self._check("realtime")
        return self.through

    def _since(self, rows: list[tuple[str, str, Increment]], reads: Sequence[IncrementsSince]) -> list[list[Increment]]:
        self._check("realtime")
        return [
            [
                row
                for counter, key, row in rows
                if (counter, key, row.ingest_window.date()) == (r.counter, r.key, r.ingest_date)
                and (r.since is None or row.ingest_window >= r.since)
            ]
            for r in reads
        ]

    def _check(self, layer: LayerName) -> None:
        if layer in self.down:
            raise LayerDown(layer, "connection refused")
