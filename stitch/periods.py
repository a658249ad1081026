"""Named periods that end now or ended last, and the earlier range that a range is compared with, like for like.

A comparison of an unfinished range with a finished one says nothing, so both are cut at the same time since their
starts, by the clocks of the zone, at the edge of the last finest bucket that is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from stitch.buckets import Range, floor
from stitch.zones import Calendar

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


@dataclass(frozen=True)
class Comparison:
    """Two ranges as long as each other by the zone's clocks, and what the earlier one was cut from."""

    current: Range
    previous: Range
    whole: Range


def range_of(period: str, now: datetime, calendar: Calendar) -> Range | None:
    """The range of a period, the present hour, day or month included unless it ended last; None of `all`."""
    if period == "all":
        return None
    if period in HOURS:
        end = calendar.after(calendar.floor(now, "hour"), "hour")
        return Range(end - timedelta(hours=HOURS[period]), end)
    if period in DAYS:
        end = calendar.after(calendar.floor(now, "day"), "day")
        return Range(shifted(end, calendar, days=-DAYS[period]), end)
    if period == "12mo":
        end = calendar.after(calendar.floor(now, "month"), "month")
        return Range(shifted(end, calendar, months=-12), end)
    if period in LAST:
        end = calendar.floor(now, LAST[period])
        return Range(calendar.floor(end - timedelta(microseconds=1), LAST[period]), end)
    if period == "quarter":
        month = calendar.floor(now, "month")
        start = shifted(month, calendar, months=-((calendar.wall(month).month - 1) % 3))
        return Range(start, shifted(start, calendar, months=3))
    start = calendar.floor(now, period)  # week, month, year
    return Range(start, calendar.after(start, period))


def comparison(
    current: Range,
    period: str | None,
    compare: Compare,
    match_weekday: bool,
    now: datetime,
    calendar: Calendar,
    finest: str,
) -> Comparison:
    """What `current` is compared with; both cut where it is not over yet."""
    shift = _shift(current, period, compare, match_weekday, calendar)
    if shift is None:  # by the hour: as long ago as it is long, whatever the clocks did
        length = current.end - current.start
        whole = Range(current.start - length, current.start)
    else:
        whole = Range(shifted(current.start, calendar, **shift), shifted(current.end, calendar, **shift))
    cut = min(current.end, max(current.start, floor(now, finest)))
    if cut == current.end:
        return Comparison(current, whole, whole)
    if shift is None:
        previous_cut = whole.start + (cut - current.start)
    else:
        elapsed = _clock(calendar, cut) - _clock(calendar, current.start)
        previous_cut = calendar.at(_clock(calendar, whole.start) + elapsed)
    return Comparison(Range(current.start, cut), Range(whole.start, min(whole.end, previous_cut)), whole)


def shifted(instant: datetime, calendar: Calendar, days: int = 0, months: int = 0) -> datetime:
    """The instant at which the zone's clocks show the same, so many days and months on; 29 February may become the
    28th."""
    wall = _clock(calendar, instant) + timedelta(days=days)
    month = wall.year * 12 + wall.month - 1 + months
    first = wall.replace(year=month // 12, month=month % 12 + 1, day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    last = (following - timedelta(days=1)).day
    return calendar.at(first.replace(day=min(wall.day, last)))


def _shift(
    current: Range, period: str | None, compare: Compare, match_weekday: bool, calendar: Calendar
) -> dict[str, int] | None:
    """How far back the earlier range is, in days or months of the zone; None: as far as the range is long."""
    days, whole_days = _length(current, calendar)
    weeks = -(-days // 7)
    if compare == "year_over_year":
        return {"days": -7 * max(52, weeks)} if match_weekday else {"months": -12}
    if match_weekday:
        return {"days": -7 * weeks}
    if period in MONTHS:
        return {"months": -MONTHS[period]}
    return {"days": -days} if whole_days else None


def _length(current: Range, calendar: Calendar) -> tuple[int, bool]:
    """The days of the range by the zone's clocks, begun ones counted, and whether all are whole."""
    length = _clock(calendar, current.end) - _clock(calendar, current.start)
    days = -(-length // timedelta(days=1))
    return days, all(calendar.floor(edge, "day") == edge for edge in (current.start, current.end))


def _clock(calendar: Calendar, instant: datetime) -> datetime:
    return calendar.wall(instant).replace(tzinfo=None, fold=0)
