"""What can be asked of the reader, once it is understood. Pure: it knows neither Flask nor Cassandra."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stitch.buckets import FIXED, Bucket, Range
from stitch.counters import Counter
from stitch.merge import Layer
from stitch.periods import Comparison
from stitch.zones import Calendar

TOLD = 20  # mistakes: who makes more of them has made one mistake often
LONGEST = {**FIXED, "week": timedelta(days=7), "month": timedelta(days=28)}


@dataclass(frozen=True)
class Mistake:
    """One thing wrong with a request, and where."""

    parameter: str
    detail: str


class BadRequest(Exception):
    """The request cannot be understood; it carries the first mistakes in it, and not one alone.

    unknown: the counters it names that are not there, or not for whoever asks
    """

    def __init__(self, mistakes: Sequence[Mistake], unknown: Sequence[str] = ()) -> None:
        self.mistakes, self.unknown, more = list(mistakes[:TOLD]), list(unknown), len(mistakes) - TOLD
        told = [f"{mistake.parameter}: {mistake.detail}" for mistake in self.mistakes]
        super().__init__("; ".join([*told, f"and {more} more"] if more > 0 else told))


@dataclass(frozen=True)
class Span:
    """When: a range, or None for all time; and the zone it is seen in."""

    range: Range | None
    calendar: Calendar
    period: str | None = None
    comparison: Comparison | None = None
    compare: str | None = None
    match_weekday: bool = False

    @property
    def end(self) -> datetime | None:
        return self.range.end if self.range else None


@dataclass(frozen=True)
class TotalsQuery:
    counters: list[Counter]
    keys: list[str]
    span: Span
    layer: Layer
    format: str


@dataclass(frozen=True)
class SeriesQuery:
    """`points` are None for all time: they begin with the first count, which is not known yet. `many`: keys are
    answered as a list, else the one key alone."""

    counters: list[Counter]
    keys: list[str]
    granularity: str
    span: Span
    points: list[Bucket] | None
    earlier: list[Bucket]
    cumulative: bool
    fill: str
    layer: Layer
    format: str
    many: bool = False

    def points_from(self, first: datetime, now: datetime, most: int) -> list[Bucket]:
        """The points of all time. Raises BadRequest where they are too many."""
        calendar = self.span.calendar
        length, start = LONGEST[self.granularity], calendar.floor(first, self.granularity)
        if (now - start) // length * len(self.counters) * len(self.keys) > most:
            raise BadRequest([Mistake("granularity", f"more than {most} points in all time; ask for a coarser one")])
        return calendar.series(start, calendar.after(calendar.floor(now, self.granularity), self.granularity),
                               self.granularity)  # fmt: skip


@dataclass(frozen=True)
class TopQuery:
    counter: Counter
    key: str
    span: Span
    limit: int
    after: tuple[int, str] | None
    layer: Layer
    format: str


@dataclass(frozen=True)
class KeysQuery:
    counter: Counter
    prefix: str
    after: str | None
    limit: int
    format: str


@dataclass(frozen=True)
class CorrectionsQuery:
    counter: Counter
    range: Range
    format: str


def cursor(count: int, member: str) -> str:
    """Where a page of members ended, for `after`; opaque, so that nobody builds on what is in it."""
    return base64.urlsafe_b64encode(json.dumps([count, member]).encode()).decode().rstrip("=")
