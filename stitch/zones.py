"""The calendar of a time zone: its hours, days, weeks, months and years as half-open ranges of UTC instants.

Counts are kept in UTC. A day of Berlin is 23, 24 or 25 of its hours, so a zone's buckets are only ever sums of finer
UTC ones; `stitch.buckets.slices` finds the fewest. That is exact wherever the zone's edges are edges of the counter's
finest buckets: India, half an hour off, needs quarters of an hour.

A day starts at its first midnight, or where the clock skips midnight, at the instant it goes on; one that a zone left
out (Samoa, 30 December 2011) is not there. When the clock is set by less than an hour, that hour is shorter or longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from stitch.buckets import FIXED, Bucket, floor, utc

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

    def at(self, wall: datetime) -> datetime:
        """The instant at which clocks show this (naive); of two the first; where they skip it, counted on from
        before."""
        return wall.replace(tzinfo=self.zone, fold=0).astimezone(UTC)

    def floor(self, instant: datetime, granularity: str) -> datetime:
        """The start of the bucket that the instant falls into."""
        instant = utc(instant)
        if granularity in WITHIN_A_DAY:
            return self._floor_within_a_day(instant, WITHIN_A_DAY[granularity])
        start = self._start_of(self._first_date(self.wall(instant).date(), granularity))
        while (
            end := self.after(start, granularity)
        ) <= instant:  # a clock set back over midnight shows yesterday again
            start = end
        return start

    def after(self, start: datetime, granularity: str) -> datetime:
        """The end of the bucket that starts at `start`."""
        if granularity in WITHIN_A_DAY:
            return self._after_within_a_day(utc(start), WITHIN_A_DAY[granularity])
        return self._start_of(_next_date(self._first_date(self.wall(start).date(), granularity), granularity))

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

    def _start_of(self, day: date) -> datetime:
        return self.at(datetime.combine(day, time()))

    def _floor_within_a_day(self, instant: datetime, length: timedelta) -> datetime:
        start = instant - _since_midnight(self.wall(instant)) % length
        if self.wall(start).utcoffset() == self.wall(instant).utcoffset():
            return start
        start = self.floor(instant, "day")  # the clock is set in this very bucket: rare, so walk there
        while (end := self._after_within_a_day(start, length)) <= instant:
            start = end
        return start

    def _after_within_a_day(self, start: datetime, length: timedelta) -> datetime:
        end = start + length - _since_midnight(self.wall(start)) % length
        beyond = _since_midnight(self.wall(end)) % length
        set_back = self.wall(end).utcoffset() < self.wall(start).utcoffset()  # type: ignore[operator]
        return end + length - beyond if beyond and set_back else end


UTC_CALENDAR = Calendar("UTC", UTC)


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
