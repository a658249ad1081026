"""Named periods that end now or ended last, and the earlier range that a range is compared with, like for like.

The earlier range is as long as the asked one by the zone's calendar: as many months where whole months go back by
months, else as many days, else as much by the clocks. So 28 February faces one day in every year, a day of 23 hours
faces one of 24, and a range that begins on the 29th faces one from the 28th where there is no 29th. A range of hours
that faces the time just before it is the exception: as many hours, whatever the clocks did. What no clock ever showed,
an hour that was skipped or Samoa's 30 December 2011, faces nothing.

A comparison of an unfinished range with a finished one says nothing, so both are cut at the same time since their
starts, by the clocks of the zone, at the edge of the last finest bucket that is over.

A point of a range faces what the calendar says the same of: 1 March faces 1 March, and the hour from two to three that
hour, of two such hours the first the first. So 29 February, the 31st or a skipped hour may face nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property
from typing import Literal

from stitch.buckets import Bucket, Range, floor
from stitch.zones import Calendar, clock

HOURS = {"24h": 24, "48h": 48}
DAYS = {"7d": 7, "28d": 28, "30d": 30}
MONTHS = {"month": 1, "last_month": 1, "quarter": 3, "12mo": 12, "year": 12}
LAST = {"yesterday": "day", "last_week": "week", "last_month": "month"}  # those that are over
PERIODS = (*HOURS, "yesterday", *DAYS, "week", "last_week", *MONTHS, "all")
GRANULARITY_OF = {
    **dict.fromkeys((*HOURS, "yesterday"), "hour"),
    **dict.fromkeys((*DAYS, "week", "last_week", "month", "last_month", "quarter"), "day"),
    **dict.fromkeys(("12mo", "year", "all"), "month"),
}

Compare = Literal["previous_period", "year_over_year"]
COMPARES = ("previous_period", "year_over_year")
DAY = timedelta(days=1)


class NoEarlierRangeError(ValueError):
    """What the range would be compared with never was."""


@dataclass(frozen=True)
class Shift:
    """How far back the earlier range is: months or days of the zone's calendar, else so much time."""

    months: int = 0
    days: int = 0
    time: timedelta = timedelta(0)

    def back(self, wall: datetime) -> datetime:
        """The same time of day, so far back; on the last day of the month where that has no such day."""
        moved = wall - timedelta(days=self.days)
        month = moved.year * 12 + moved.month - 1 - self.months
        first = moved.replace(year=month // 12, month=month % 12 + 1, day=1)
        last = ((first + 31 * DAY).replace(day=1) - DAY).day
        return first.replace(day=min(moved.day, last))

    def has(self, wall: datetime) -> bool:
        """Whether there is such a day, so far back."""
        return not self.months or self.back(wall).day == wall.day


@dataclass(frozen=True)
class Comparison:
    """Two ranges as long as each other by the zone's calendar, and the uncut earlier one."""

    current: Range
    previous: Range
    earlier: Earlier

    def facing(self, points: Sequence[Bucket]) -> list[Bucket | None]:
        """What each of the asked range's points faces, whole; None for nothing."""
        return [self.earlier.facing(point) for point in points]


def range_of(period: str, now: datetime, calendar: Calendar) -> Range | None:
    """The range of a period, the present hour, day or month included unless it ended last; None of `all`."""
    if period == "all":
        return None
    if period in HOURS:
        end = calendar.after(calendar.floor(now, "hour"), "hour")
        return Range(end - timedelta(hours=HOURS[period]), end)
    if period in DAYS or period == "12mo":
        granularity = "month" if period == "12mo" else "day"
        shift = Shift(months=12) if period == "12mo" else Shift(days=DAYS[period])
        end = calendar.after(calendar.floor(now, granularity), granularity)
        return Range(_back(_midnight_after(end, calendar), shift, calendar), end)
    if period in LAST:
        end = calendar.floor(now, LAST[period])
        return Range(calendar.floor(end - datetime.resolution, LAST[period]), end)
    if period == "quarter":
        first = calendar.wall(calendar.floor(now, "month")).date().replace(day=1)
        start = _back(_midnight(first), Shift(months=(first.month - 1) % 3), calendar)
        return Range(start, _back(_midnight(first), Shift(months=(first.month - 1) % 3 - 3), calendar))
    start = calendar.floor(now, period)  # week, month, year
    return Range(start, calendar.after(start, period))


def changes_at(period: str | None, current: Range, calendar: Calendar) -> datetime:
    """When a period, or the latest buckets (None), has another range than this."""
    return calendar.after(current.end, LAST[period]) if period in LAST else current.end


def _back(midnight: datetime, shift: Shift, calendar: Calendar) -> datetime:
    """The start of the day that is so far before that midnight."""
    return calendar.start_of(shift.back(midnight).date())


def comparison(
    current: Range,
    period: str | None,
    compare: Compare,
    match_weekday: bool,
    now: datetime,
    calendar: Calendar,
    finest: str,
) -> Comparison:
    """What `current` is compared with; both cut where it is not over yet. Raises NoEarlierRangeError."""
    return Earlier(current, calendar, finest, _shift(current, period, compare, match_weekday, calendar)).cut_at(now)


@dataclass(frozen=True)
class Earlier:
    """The range that `asked` is compared with, and which part of it each part of `asked` faces."""

    asked: Range
    calendar: Calendar
    finest: str
    shift: Shift

    @cached_property
    def range(self) -> Range:
        """All of it. Raises NoEarlierRangeError."""
        found = self._facing(self._shown, self._shown.start)
        if found.start >= found.end:
            raise NoEarlierRangeError(
                f"there is no such earlier range: the clocks of {self.calendar.name} skipped what began at "
                f"{self.shift.back(self._shown.start):%Y-%m-%dT%H:%M}"
            )
        return found

    def cut_at(self, now: datetime) -> Comparison:
        """As much of `asked` as is over, and as much of this. Raises NoEarlierRangeError."""
        start, whole = self.asked.start, self.range
        cut = min(self.asked.end, max(start, floor(now, self.finest)))
        if cut == self.asked.end:
            return Comparison(self.asked, whole, self)
        over = _shown(Range(start, cut), self.calendar, self._shown.days)
        end = min(whole.end, self._facing(over, over.start).end) if cut > start else whole.start
        return Comparison(over.part, Range(whole.start, max(whole.start, end)), self)

    def facing(self, point: Bucket) -> Bucket | None:
        """What one of its points faces."""
        shown = _shown(Range(point.start, point.end), self.calendar)
        start = shown.start
        while not self.shift.has(start) and start.date() != self._shown.start.date():
            start = _midnight(start.date() + DAY)
            if start >= shown.end:
                return None
        found = self._facing(shown, start)
        if start.fold and found.start == self.calendar.shown_from(self.shift.back(start)):
            return None  # an hour comes twice now and came once then: it faces the first
        end = min(found.end, self.range.end) if self._shown.months else found.end
        return Bucket(point.granularity, found.start, end) if found.start < end else None

    @cached_property
    def _shown(self) -> Shown:
        return _shown(self.asked, self.calendar)

    def _facing(self, shown: Shown, start: datetime) -> Range:
        """What a part of `asked` faces, from `start` on; it may be empty."""
        if self.shift.time:
            return Range(shown.part.start - self.shift.time, shown.part.end - self.shift.time)
        first, again = self.shift.back(start), bool(start.fold)
        by_months = self.shift.months and shown.months
        last = self.shift.back(shown.end) if by_months else first + (shown.end - shown.start)
        if shown.end_is_midnight:
            end = self.calendar.start_of(last.date())
        else:
            end = self.calendar.shown_from(last, True) if shown.end.fold else self.calendar.shown_until(last)
        return Range(self._on_edge(self.calendar.shown_from(first, again)), self._on_edge(end))

    def _on_edge(self, instant: datetime) -> datetime:
        """Where clocks were set a minute past midnight, the quarter of an hour that it was in."""
        quarter = floor(instant, "quarter_hour")
        if self.finest == "minute" or quarter == instant or not self.calendar.is_set_at(instant):
            return instant
        return quarter


@dataclass(frozen=True)
class Shown:
    """What a zone's clocks show at the start of a range and have come to by its end (naive).

    days: it is whole days, which begin and end at midnight even where clocks skip that
    A fold says that it is the second time that they show it.
    """

    part: Range
    start: datetime
    end: datetime
    days: bool

    @property
    def end_is_midnight(self) -> bool:
        return self.days and self.end.time() == time()

    @property
    def months(self) -> bool:
        """Whether it is whole months."""
        return self.days and self.end_is_midnight and self.start.day == self.end.day == 1


def _shown(part: Range, calendar: Calendar, days: bool | None = None) -> Shown:
    """days: whether it is read as days; None: where it is whole days"""
    first, last = calendar.wall(part.start).replace(tzinfo=None), calendar.wall(part.end - datetime.resolution)
    long = days or part.end - part.start > DAY / 2  # no day is shorter, and of hours there may be thousands
    ends_day = long and calendar.starts_day(part.end)
    if days is None:
        days = ends_day and calendar.starts_day(part.start)
    if days:
        first = _midnight(first.date())
    if days and ends_day:
        return Shown(part, first, _midnight_after(part.end, calendar), days)
    end = (clock(last) + datetime.resolution).replace(fold=last.fold)
    if end <= first or last.fold:
        end = _latest(part, calendar, end)
    return Shown(part, first, end, days)


def _latest(part: Range, calendar: Calendar, end: datetime) -> datetime:
    """The latest time that clocks show in a range at whose end they have come to `end`: they may have been set back."""
    since, until = max(part.start, part.end - DAY), part.end - datetime.resolution
    if calendar.offset(since) <= calendar.offset(until):
        return end
    before = calendar.wall(calendar.set_between(since, until) - datetime.resolution)
    return max(end, clock(before) + datetime.resolution)


def _shift(current: Range, period: str | None, compare: Compare, match_weekday: bool, calendar: Calendar) -> Shift:
    shown = _shown(current, calendar)
    days = -(-(shown.end - shown.start) // DAY)
    weeks = -(-days // 7)
    if compare == "year_over_year":
        return Shift(days=7 * max(52, weeks)) if match_weekday else Shift(months=12)
    if match_weekday:
        return Shift(days=7 * weeks)
    if period in MONTHS:
        return Shift(months=MONTHS[period])
    return Shift(days=days) if shown.days else Shift(time=current.end - current.start)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())


def _midnight_after(end: datetime, calendar: Calendar) -> datetime:
    """At which midnight what ends there ends by the calendar, also where clocks skip that."""
    return _midnight(calendar.wall(end - datetime.resolution).date() + DAY)
