"""What can be asked of the reader, once it is understood. Pure: it knows neither Flask nor Cassandra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from serving.reading.told import Told
from stitch.buckets import EPOCH, FIXED, GRANULARITIES, Bucket, Range, finest_of
from stitch.counters import Counter
from stitch.merge import Layer
from stitch.periods import Comparison
from stitch.zones import Calendar, UnsplitError

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
    more:    how many mistakes there are beside these
    """

    def __init__(self, mistakes: Sequence[Mistake], unknown: Sequence[str] = (), more: int = 0) -> None:
        self.mistakes, self.unknown, more = list(mistakes[:TOLD]), list(unknown), more + max(0, len(mistakes) - TOLD)
        told = [f"{mistake.parameter}: {mistake.detail}" for mistake in self.mistakes]
        super().__init__("; ".join([*told, f"and {more} more"] if more > 0 else told))


@dataclass(frozen=True)
class Span:
    """When: a range, or None for all time; and the zone it is seen in.

    changes: when the same request asks for another range; None for never
    """

    range: Range | None
    calendar: Calendar
    period: str | None = None
    comparison: Comparison | None = None
    compare: str | None = None
    match_weekday: bool = False
    changes: datetime | None = None

    @property
    def end(self) -> datetime | None:
        return self.range.end if self.range else None

    def compared(self, until: datetime, finest: str, counters: Sequence[Counter]) -> Comparison | None:
        """The comparison, cut where counts are not known yet: a part of one range against the whole of another would
        be told as a drop. Raises BadRequest.

        finest: of what buckets counts are published, which may be others than the settings'
        """
        if not self.comparison:
            return None
        earlier = self.comparison.earlier
        finest = max(finest, earlier.finest, key=GRANULARITIES.index)
        if until >= self.comparison.current.end and finest == earlier.finest:
            return self.comparison
        found = replace(earlier, finest=finest).cut_at(min(until, self.comparison.current.end))
        edges = [found.current.end, found.previous.end]
        if mistakes := unsplit(self.calendar, edges, counters):
            raise BadRequest(mistakes)
        return found

    def uncounted(self, found: Comparison) -> bool:
        """Whether a part of the range is over, but nothing of it is counted yet."""
        return bool(self.comparison and _some(self.comparison.current) and not _some(found.current))


def _some(part: Range) -> bool:
    return part.start < part.end


@dataclass(frozen=True)
class TotalsQuery:
    counters: list[Counter]
    keys: list[str]
    span: Span
    layer: Layer
    format: str
    partial: bool = False


@dataclass(frozen=True)
class SeriesQuery:
    """`points` are None for all time: they begin with the first count, which is not known yet.

    facing: what each point is compared with; None for nothing
    many:   keys are answered as a list, else the one key alone
    partial: here and elsewhere: a count that is not whole is given all the same
    """

    counters: list[Counter]
    keys: list[str]
    granularity: str
    span: Span
    points: list[Bucket] | None
    facing: list[Bucket | None]
    cumulative: bool
    fill: str
    layer: Layer
    format: str
    partial: bool = False
    many: bool = False

    def points_since(self, first: datetime, last: datetime, most: int) -> list[Bucket]:
        """The points from the first count to the last, or the last of them where they are too many. Raises BadRequest
        where the zone's edges cannot be cut."""
        calendar, granularity = self.span.calendar, self.granularity
        end = calendar.after(calendar.floor(last, granularity), granularity)
        fitting = max(1, most // (len(self.counters) * len(self.keys))) * LONGEST[granularity]
        start = calendar.ceil(end - fitting, granularity) if end - first > fitting else first
        points = calendar.series(min(start, last), end, granularity)
        mistakes = unsplit(calendar, [points[0].start, *(point.end for point in points)], self.counters)
        if mistakes and first < EPOCH:  # old events that are odd in zones that kept local mean time then
            return self.points_since(EPOCH, last, most)
        if mistakes:
            raise BadRequest(mistakes)
        return points


@dataclass(frozen=True)
class TopQuery:
    counter: Counter
    key: str
    span: Span
    limit: int
    after: Told
    layer: Layer
    format: str
    partial: bool = False


@dataclass(frozen=True)
class ChartQuery:
    """order: by `count`, or by `rising`: by how much more than in the earlier range."""

    counter: Counter
    span: Span
    limit: int
    order: str
    format: str
    partial: bool = False
    layer: Layer = "merged"


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


def alignment(counters: Sequence[Counter]) -> str:
    """The granularity whose edges every one of the counters has."""
    return max((finest_of(counter) for counter in counters), key=GRANULARITIES.index, default="hour")


def unsplit(calendar: Calendar, edges: list[datetime], counters: Sequence[Counter]) -> list[Mistake]:
    """What is wrong where an edge of the zone lies within a bucket of the counters."""
    try:
        calendar.check_splits(edges, alignment(counters))
    except UnsplitError as error:
        names = ", ".join(counter.name for counter in counters if counter.resolution == "1h") or "the counter"
        return [Mistake("tz", f'{error}: resolution = "15m" in the settings of {names} makes it exact')]
    return []
