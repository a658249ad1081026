"""The calendar of a time zone: its hours, days, weeks, months and years as half-open ranges of UTC instants.

Counts are kept in UTC. A day of Berlin is 23, 24 or 25 of its hours, so a zone's buckets are only ever sums of finer
UTC ones; `stitch.buckets.slices` finds the fewest. That is exact wherever the zone's edges are edges of the counter's
finest buckets: India, half an hour off, needs quarters of an hour.

A day starts at its first midnight, or where the clock skips midnight, at the instant it goes on; one that a zone left
out (Samoa, 30 December 2011) is not there.

When the clock is set by whole hours, the hours go on as before, and some come twice or not at all. When it is set by
half an hour, a new hour starts there, and is shorter; only where the clock shows the same hour before and after, it is
one hour, longer or shorter. So it is with quarters of an hour and minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from stitch.buckets import EPOCH, FIXED, Bucket, floor, utc

WITHIN_A_DAY = {name: length for name, length in FIXED.items() if name != "day"}
ZONE_GRANULARITIES = (*FIXED, "week", "month", "year")
WeekStart = Literal["monday", "sunday"]


class UnsplitError(ValueError):
    """An edge of the zone's calendar lies within a finest bucket, so its counts cannot be told apart."""

    def __init__(self, zone: str, edge: datetime, finest: str) -> None:
        offset = edge.utcoffset() or timedelta(0)
        sign, minutes = "-" if offset < timedelta(0) else "+", abs(offset) // timedelta(minutes=1)
        super().__init__(
            f"{zone} is at UTC{sign}{minutes // 60:02}:{minutes % 60:02} at {edge:%Y-%m-%dT%H:%M}, within a bucket of "
            f"granularity {finest!r}, the finest that is kept"
        )


def calendar(name: str, week_start: WeekStart = "monday") -> Calendar:
    """The calendar of an IANA zone (`Europe/Berlin`). Raises ValueError where there is no such zone."""
    if name == "UTC":
        return Calendar(name, UTC, week_start)
    if name not in _names():
        raise ValueError(f"{name[:60]!r} is no IANA time zone such as Europe/Berlin or UTC")
    return Calendar(name, ZoneInfo(name), week_start)


@dataclass(frozen=True)
class Calendar:
    """Every instant that goes in or out is UTC."""

    name: str
    zone: tzinfo
    week_start: WeekStart = "monday"  # as in ISO 8601

    def wall(self, instant: datetime) -> datetime:
        """What the zone's clocks show: the same instant with the zone's offset."""
        return utc(instant).astimezone(self.zone)

    def offset(self, instant: datetime) -> timedelta:
        """What the zone's clocks are ahead of UTC."""
        return self.wall(instant).utcoffset() or timedelta(0)

    def at(self, wall: datetime) -> datetime:
        """The instant at which clocks show this (naive); of two the first; where they skip it, counted on from
        before."""
        return wall.replace(tzinfo=self.zone, fold=0).astimezone(UTC)

    def shown_from(self, wall: datetime, again: bool = False) -> datetime:
        """The first instant at which clocks show this (naive); where they skip it, the instant at which they go on.

        again: the second time, where they show it twice
        """
        first = self.at(wall)
        second = wall.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        if second < first:  # they skip it: zoneinfo counts on from before, and back from after
            return self.set_between(second, first)
        return second if again else first

    def shown_until(self, wall: datetime) -> datetime:
        """The first instant by which clocks have come to this (naive), also where they are set back from it."""
        before = wall - datetime.resolution
        found = self.shown_from(before)
        return found + datetime.resolution if clock(self.wall(found)) == before else found

    def set_between(self, before: datetime, after: datetime) -> datetime:
        """The first instant, to the second, that has another offset than `before`; one that `after` has."""
        old = self.offset(before)
        first, last = (int((instant - EPOCH) // timedelta(seconds=1)) for instant in (before, after))
        while last - first > 1:
            middle = (first + last) // 2
            if self.offset(EPOCH + timedelta(seconds=middle)) == old:
                first = middle
            else:
                last = middle
        return EPOCH + timedelta(seconds=last)

    def is_set_at(self, instant: datetime) -> bool:
        """Whether clocks are set at this very instant."""
        return self.offset(instant) != self.offset(instant - datetime.resolution)

    def starts_day(self, instant: datetime) -> bool:
        """Whether a day starts there."""
        wall = self.wall(instant)
        if wall.time() == time():
            return not wall.fold
        return self.is_set_at(instant) and self.floor(instant, "day") == instant

    def start_of(self, day: date) -> datetime:
        """The start of the day; of one that the zone left out, the start of the next."""
        return self.shown_from(datetime.combine(day, time()))

    def floor(self, instant: datetime, granularity: str) -> datetime:
        """The start of the bucket that the instant falls into."""
        instant = utc(instant)
        if granularity in WITHIN_A_DAY:
            return self._floor_within_a_day(instant, WITHIN_A_DAY[granularity])
        start = self.start_of(self._first_date(self.wall(instant).date(), granularity))
        while (
            end := self.after(start, granularity)
        ) <= instant:  # a clock set back over midnight shows yesterday again
            start = end
        return start

    def after(self, start: datetime, granularity: str) -> datetime:
        """The end of the bucket that starts at `start`."""
        if granularity in WITHIN_A_DAY:
            return self._after_within_a_day(utc(start), WITHIN_A_DAY[granularity])
        return self.start_of(_next_date(self._first_date(self.wall(start).date(), granularity), granularity))

    def ceil(self, instant: datetime, granularity: str) -> datetime:
        """The first edge at or after the instant."""
        start = self.floor(instant, granularity)
        return start if start == utc(instant) else self.after(start, granularity)

    def series(self, start: datetime, end: datetime, granularity: str) -> list[Bucket]:
        """Every bucket that touches `[start, end)`, in order."""
        return list(self._series(start, end, granularity))

    def check_splits(self, edges: list[datetime], finest: str) -> None:
        """Raise UnsplitError where an edge is not one of the finest buckets."""
        for edge in edges:
            if floor(edge, finest) != edge:
                raise UnsplitError(self.name, self.wall(edge), finest)

    def _series(self, start: datetime, end: datetime, granularity: str) -> Iterator[Bucket]:
        at = self.floor(start, granularity)
        while at < utc(end):
            bucket = Bucket(granularity, at, self.after(at, granularity))
            yield bucket
            at = bucket.end

    def _first_date(self, day: date, granularity: str) -> date:
        if granularity == "week" and self.week_start == "sunday":
            return day - timedelta(days=(day.weekday() + 1) % 7)
        return _first_date(day, granularity)

    def _floor_within_a_day(self, instant: datetime, length: timedelta) -> datetime:
        start = instant - _since_midnight(self.wall(instant)) % length
        before = start - datetime.resolution
        if self.offset(before) == self.offset(instant):
            return start
        change = self.set_between(before, instant)  # rare: from the bucket that is shown before it, walk on
        start = self._floor_within_a_day(change - datetime.resolution, length)
        while (end := self._after_within_a_day(start, length)) <= instant:
            start = end
        return start

    def _after_within_a_day(self, start: datetime, length: timedelta) -> datetime:
        end = start + length - _since_midnight(self.wall(start)) % length
        set_by = self.offset(end) - self.offset(start)
        if not set_by:
            return end
        change = self.set_between(start, end)
        before, after = clock(self.wall(change - datetime.resolution)), clock(self.wall(change))
        if set_by % length == timedelta(0):
            return change if self.start_of(after.date()) == change else end
        same = before - _since_midnight(before) % length == after - _since_midnight(after) % length
        return change + length - _since_midnight(after) % length if same else change


UTC_CALENDAR = Calendar("UTC", UTC)


def clock(wall: datetime) -> datetime:
    """What the clocks show, without the zone (naive)."""
    return wall.replace(tzinfo=None, fold=0)


def _since_midnight(wall: datetime) -> timedelta:
    return timedelta(hours=wall.hour, minutes=wall.minute, seconds=wall.second, microseconds=wall.microsecond)


def _first_date(day: date, granularity: str) -> date:
    if granularity == "week":
        return day - timedelta(days=day.weekday())  # from Monday
    if granularity == "month":
        return day.replace(day=1)
    if granularity == "year":
        return day.replace(month=1, day=1)
    if granularity == "day":
        return day
    raise ValueError(f"{granularity!r} is no granularity: one of {', '.join(ZONE_GRANULARITIES)}")


def _next_date(first: date, granularity: str) -> date:
    if granularity == "month":
        return date(first.year + first.month // 12, first.month % 12 + 1, 1)
    if granularity == "year":
        return date(first.year + 1, 1, 1)
    return first + timedelta(days=7 if granularity == "week" else 1)


@cache
def _names() -> set[str]:
    return available_timezones()
