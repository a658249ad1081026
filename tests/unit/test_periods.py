"""Periods that end now and what they are compared with: literal clocks in, literal ranges out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitch.buckets import Bucket, Range
from stitch.periods import HOURS, LAST, MONTHS, PERIODS, Comparison, NoEarlierRangeError, comparison, range_of
from stitch.zones import calendar
from tests.clock_changes import ClockChange, kinds

NOW = datetime(2024, 3, 31, 12, 30, tzinfo=UTC)  # in Berlin a Sunday, half past two; the clock was set on this night
BERLIN = calendar("Europe/Berlin")
LATER = datetime(2040, 1, 1, tzinfo=UTC)  # all that is compared is over
HOUR, DAY, INSTANT = timedelta(hours=1), timedelta(days=1), datetime.resolution


def said(found: Range | None, zone: str = "Europe/Berlin") -> str | None:
    walls = [calendar(zone).wall(edge) for edge in (found.start, found.end)] if found else []
    return " ".join(f"{wall:%Y-%m-%dT%H}" for wall in walls) or None


RANGES = {
    "24h": "2024-03-30T14 2024-03-31T15",  # 24 hours, of which one was left out
    "48h": "2024-03-29T14 2024-03-31T15",
    "yesterday": "2024-03-30T00 2024-03-31T00",
    "7d": "2024-03-25T00 2024-04-01T00",
    "28d": "2024-03-04T00 2024-04-01T00",
    "30d": "2024-03-02T00 2024-04-01T00",
    "week": "2024-03-25T00 2024-04-01T00",
    "last_week": "2024-03-18T00 2024-03-25T00",
    "month": "2024-03-01T00 2024-04-01T00",
    "last_month": "2024-02-01T00 2024-03-01T00",
    "quarter": "2024-01-01T00 2024-04-01T00",
    "12mo": "2023-04-01T00 2024-04-01T00",
    "year": "2024-01-01T00 2025-01-01T00",
    "all": None,
}


@pytest.mark.parametrize(("period", "expected"), RANGES.items())
def test_a_period_ends_with_the_present_bucket_of_the_zone_or_ended_last(period: str, expected: str | None) -> None:
    assert set(RANGES) == set(PERIODS)
    assert said(range_of(period, NOW, BERLIN)) == expected


COMPARED = {
    # period, compare, match weekday: current, previous
    ("7d", "previous_period", False): ("2024-03-25T00 2024-03-31T14", "2024-03-18T00 2024-03-24T14"),
    ("month", "previous_period", False): ("2024-03-01T00 2024-03-31T14", "2024-02-01T00 2024-03-01T00"),
    ("month", "previous_period", True): ("2024-03-01T00 2024-03-31T14", "2024-01-26T00 2024-02-25T14"),
    ("last_month", "previous_period", False): ("2024-02-01T00 2024-03-01T00", "2024-01-01T00 2024-02-01T00"),
    ("quarter", "previous_period", False): ("2024-01-01T00 2024-03-31T14", "2023-10-01T00 2023-12-30T14"),
    ("yesterday", "previous_period", False): ("2024-03-30T00 2024-03-31T00", "2024-03-29T00 2024-03-30T00"),
    ("yesterday", "previous_period", True): ("2024-03-30T00 2024-03-31T00", "2024-03-23T00 2024-03-24T00"),
    ("year", "year_over_year", False): ("2024-01-01T00 2024-03-31T14", "2023-01-01T00 2023-04-01T14"),
    ("7d", "year_over_year", False): ("2024-03-25T00 2024-03-31T14", "2023-03-25T00 2023-03-31T14"),
    ("7d", "year_over_year", True): ("2024-03-25T00 2024-03-31T14", "2023-03-27T00 2023-04-02T14"),
    ("12mo", "previous_period", False): ("2023-04-01T00 2024-03-31T14", "2022-04-01T00 2023-04-01T00"),
    ("24h", "previous_period", False): ("2024-03-30T14 2024-03-31T14", "2024-03-29T14 2024-03-30T13"),  # 23 hours each
}


@pytest.mark.parametrize(("asked", "expected"), COMPARED.items(), ids=[" ".join(map(str, asked)) for asked in COMPARED])
def test_an_unfinished_period_is_compared_with_as_much_of_the_earlier_one(
    asked: tuple[str, str, bool], expected: tuple[str, str]
) -> None:
    period, compare, match_weekday = asked
    current = range_of(period, NOW, BERLIN)
    assert current
    found = comparison(current, period, compare, match_weekday, NOW, BERLIN, "hour")  # type: ignore[arg-type]
    assert (said(found.current), said(found.previous)) == expected


def test_a_finished_range_is_compared_with_as_many_days_before_it() -> None:
    february = Range(datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
    utc = calendar("UTC")
    found = comparison(february, None, "previous_period", False, NOW, utc, "hour")
    assert (said(found.current, "UTC"), said(found.previous, "UTC")) == (
        "2024-02-01T00 2024-03-01T00",
        "2024-01-03T00 2024-02-01T00",
    )


def asked(zone: str, start: str, end: str) -> Range:
    return Range(*(calendar(zone).at(datetime.fromisoformat(text)) for text in (start, end)))


def compared(zone: str, start: str, end: str, compare: str, match_weekday: bool = False) -> Comparison:
    """A range that is over, its edges by the zone's clocks."""
    parts = asked(zone, start, end), None, compare, match_weekday, LATER, calendar(zone), "quarter_hour"
    return comparison(*parts)  # type: ignore[arg-type]


Y, P = "year_over_year", "previous_period"
EARLIER = {
    # As many days, whatever February has
    ("UTC", "2024-02-28", "2024-02-29", Y): "2023-02-28T00:00 2023-03-01T00:00",
    ("UTC", "2024-02-22", "2024-02-29", Y): "2023-02-22T00:00 2023-03-01T00:00",
    ("UTC", "2025-02-28", "2025-03-01", Y): "2024-02-28T00:00 2024-02-29T00:00",
    ("UTC", "2024-02-29", "2024-03-01", Y): "2023-02-28T00:00 2023-03-01T00:00",
    ("UTC", "2024-02-29", "2024-03-07", Y): "2023-02-28T00:00 2023-03-07T00:00",
    ("UTC", "2024-02-29T10:00", "2024-02-29T12:00", Y): "2023-02-28T10:00 2023-02-28T12:00",
    ("UTC", "2024-02-28T23:00", "2024-02-29T01:00", Y): "2023-02-28T23:00 2023-03-01T01:00",
    # Whole months face whole months when they go back by months
    ("UTC", "2024-02-01", "2024-03-01", Y): "2023-02-01T00:00 2023-03-01T00:00",
    ("UTC", "2024-01-01", "2025-01-01", Y): "2023-01-01T00:00 2024-01-01T00:00",
    ("UTC", "2024-02-01", "2024-03-01", P): "2024-01-03T00:00 2024-02-01T00:00",
    # As much by the clocks: of four hours one was skipped then, of three hours one comes twice
    ("Europe/Berlin", "2024-03-26T01:00", "2024-03-26T05:00", Y): "2023-03-26T01:00 2023-03-26T05:00",
    ("Europe/Berlin", "2024-03-26T02:00", "2024-03-26T04:00", Y): "2023-03-26T03:00 2023-03-26T04:00",
    ("Europe/Berlin", "2024-03-26T02:30", "2024-03-26T04:00", Y): "2023-03-26T03:00 2023-03-26T04:00",
    ("Europe/Berlin", "2024-10-27T01:00", "2024-10-27T04:00", Y): "2023-10-27T01:00 2023-10-27T04:00",
    ("Europe/Berlin", "2024-03-31", "2024-04-01", Y): "2023-03-31T00:00 2023-04-01T00:00",
    # The hours just before are as many as they are, whatever the clocks did
    ("Europe/Berlin", "2024-03-31T03:00", "2024-03-31T06:00", P): "2024-03-30T23:00 2024-03-31T03:00",
    # Days that the clocks began at one, or half an hour early, or that came to midnight twice
    ("America/Sao_Paulo", "2018-11-04", "2018-11-05", Y): "2017-11-04T00:00 2017-11-05T00:00",
    ("Asia/Pyongyang", "2016-08-14", "2016-08-15", Y): "2015-08-14T00:00 2015-08-15T00:00",
    # Clocks that were set a minute past midnight: what they skipped begins with the quarter of an hour of that
    ("America/St_Johns", "2012-03-13T01:00", "2012-03-13T03:00", Y): "2011-03-13T00:00 2011-03-13T03:00",
    ("America/Sao_Paulo", "2019-11-04", "2019-11-05", Y): "2018-11-04T01:00 2018-11-05T00:00",
    ("Asia/Pyongyang", "2019-05-04", "2019-05-05", Y): "2018-05-04T00:00 2018-05-05T00:00",
    ("America/Havana", "2013-11-03", "2013-11-04", Y): "2012-11-03T00:00 2012-11-04T00:00",
    ("America/Havana", "2013-11-04", "2013-11-05", Y): "2012-11-04T00:00 2012-11-05T00:00",
    # Samoa left 30 December out
    ("Pacific/Apia", "2012-12-29", "2013-01-01", Y): "2011-12-29T00:00 2012-01-01T00:00",
    ("Pacific/Apia", "2012-01-01", "2012-01-04", P): "2011-12-29T00:00 2012-01-01T00:00",
}


@pytest.mark.parametrize(("asked", "expected"), EARLIER.items(), ids=[" ".join(asked) for asked in EARLIER])
def test_an_earlier_range_is_as_many_days_or_hours_by_the_calendar(
    asked: tuple[str, str, str, str], expected: str
) -> None:
    previous, zone = compared(*asked).previous, calendar(asked[0])
    assert " ".join(f"{zone.wall(edge):%Y-%m-%dT%H:%M}" for edge in (previous.start, previous.end)) == expected


NONE = {
    ("Europe/Berlin", "2024-03-26T02:00", "2024-03-26T03:00", Y): "Europe/Berlin skipped what began at 2023-03-26T02",
    ("Pacific/Apia", "2012-12-30", "2012-12-31", Y): "Pacific/Apia skipped what began at 2011-12-30T00:00",
    ("Pacific/Apia", "2011-12-31", "2012-01-01", P): "Pacific/Apia skipped what began at 2011-12-30T00:00",
}


@pytest.mark.parametrize(("asked", "expected"), NONE.items(), ids=[" ".join(asked) for asked in NONE])
def test_what_clocks_never_showed_cannot_be_compared_with(asked: tuple[str, str, str, str], expected: str) -> None:
    with pytest.raises(NoEarlierRangeError, match=expected):
        compared(*asked)


def test_a_range_in_which_clocks_are_set_back_goes_on_to_the_latest_that_they_show() -> None:
    half_past_two, quarter_past_two_again = (datetime(2024, 10, 27, *clock, tzinfo=UTC) for clock in ((0, 30), (1, 15)))
    odd = Range(half_past_two, quarter_past_two_again)
    found = comparison(odd, None, "year_over_year", False, LATER, BERLIN, "quarter_hour").previous
    assert (found.start, found.end - found.start) == (datetime(2023, 10, 27, 0, 30, tzinfo=UTC), HOUR / 2)


FACING = {
    # zone, start, end, granularity, compare: the start of what each point faces
    ("UTC", "2024-02-27", "2024-03-02", "day", Y): ["2023-02-27", "2023-02-28", None, "2023-03-01"],
    ("UTC", "2025-02-27", "2025-03-02", "day", Y): ["2024-02-27", "2024-02-28", "2024-03-01"],
    ("UTC", "2024-02-29", "2024-03-02", "day", Y): ["2023-02-28", "2023-03-01"],
    ("UTC", "2024-02-19", "2024-03-11", "week", Y): ["2023-02-19", "2023-02-26", "2023-03-04"],
    ("UTC", "2016-02-22", "2016-03-07", "week", Y): ["2015-02-22", "2015-03-01"],
    ("UTC", "2024-01-01", "2024-04-01", "month", Y): ["2023-01-01", "2023-02-01", "2023-03-01"],
    ("UTC", "2024-03-04", "2024-03-06", "day", P): ["2024-03-02", "2024-03-03"],
    ("Europe/Berlin", "2024-03-26T01:00", "2024-03-26T04:00", "hour", Y): ["2023-03-26T01", None, "2023-03-26T03"],
    ("Europe/Berlin", "2024-10-27T01:00", "2024-10-27T04:00", "hour", Y): [
        "2023-10-27T01", "2023-10-27T02", None, "2023-10-27T03",
    ],
    ("Europe/Berlin", "2024-10-29T02:00", "2024-10-29T04:00", "hour", Y): ["2023-10-29T02", "2023-10-29T03"],
    ("Pacific/Apia", "2012-12-29", "2013-01-01", "day", Y): ["2011-12-29", None, "2011-12-31"],
}  # fmt: skip


@pytest.mark.parametrize(("asked", "expected"), FACING.items(), ids=[" ".join(asked) for asked in FACING])
def test_a_point_faces_what_the_calendar_says_the_same_of(
    asked: tuple[str, str, str, str, str], expected: list[str | None]
) -> None:
    zone, start, end, granularity, compare = asked
    found = compared(zone, start, end, compare)
    points = calendar(zone).series(found.current.start, found.current.end, granularity)
    said = "%Y-%m-%dT%H" if granularity == "hour" else "%Y-%m-%d"
    facing = [one and f"{calendar(zone).wall(one.start):{said}}" for one in found.facing(points)]
    assert facing == expected


def test_days_of_a_month_that_the_month_before_has_not_face_nothing() -> None:
    now = datetime(2024, 3, 31, 12, tzinfo=UTC)
    march = range_of("month", now, calendar("UTC"))
    assert march
    found = comparison(march, "month", "previous_period", False, now, calendar("UTC"), "hour")
    days = found.facing(calendar("UTC").series(march.start, march.end, "day"))
    assert [day and day.start.day for day in days] == [*range(1, 30), None, None]
    weeks = found.facing([Bucket("week", datetime(2024, 3, 25, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC))])
    assert [one and (one.start.day, one.end.day) for one in weeks] == [(25, 1)]  # the month before ends on the 29th


def test_of_an_hour_that_comes_twice_the_first_faces_the_first_and_the_second_the_second() -> None:
    zone = calendar("America/New_York")  # set back on the first Sunday of November: 364 days apart
    found = compared("America/New_York", "2024-11-03", "2024-11-04", "year_over_year", match_weekday=True)
    hours = zone.series(found.current.start, found.current.end, "hour")
    assert [one and one.start - found.previous.start for one in found.facing(hours)] == [n * HOUR for n in range(25)]
    once = compared("America/New_York", "2024-11-05T01:00", "2024-11-05T02:00", "year_over_year", match_weekday=True)
    assert once.previous.end - once.previous.start == HOUR  # 7 November 2023 has it once
    twice = compared("America/New_York", "2024-11-05", "2024-11-06", "year_over_year")
    (hour,) = twice.facing([Bucket("hour", at := zone.at(datetime(2024, 11, 5, 1)), at + HOUR)])  # noqa: DTZ001
    assert hour and (zone.wall(hour.start).fold, hour.end - hour.start) == (0, HOUR)


@given(
    st.deferred(lambda: st.sampled_from(kinds())),  # found when it is needed: it takes a second
    st.sampled_from(["day", "hour", "quarter_hour"]),
    st.sampled_from([Y, P]),
    st.booleans(),
    st.sampled_from([0, 364, 365, 366]),
    st.integers(-40, 40),
    st.integers(1, 30),
)
def test_however_clocks_were_set_the_earlier_range_is_as_long_and_never_empty(
    change: ClockChange, unit: str, compare: str, match_weekday: bool, days_after: int, hours: int, length: int
) -> None:
    """Near the change itself, or so long after it that the earlier range is near."""
    zone = calendar(change.zone)
    start = end = zone.floor(change.instant + days_after * DAY + hours * HOUR, unit)
    for _ in range(length):
        end = zone.after(end, unit)
    try:
        parts = Range(start, end), None, compare, match_weekday, LATER, zone, "minute"
        found = comparison(*parts)  # type: ignore[arg-type]
    except NoEarlierRangeError:
        middle = zone.wall(start + (end - start) / 2).replace(tzinfo=None)
        if compare == Y:
            skipped = middle - 364 * DAY if match_weekday else middle.replace(year=middle.year - 1)
            assert zone.wall(zone.at(skipped)).replace(tzinfo=None) != skipped
        return
    assert found.previous.start < found.previous.end <= found.current.start
    set_by = abs(change.after - change.before)
    assert abs((found.previous.end - found.previous.start) - (end - start)) <= set_by + 2 * HOUR
    points = zone.series(start, end, unit)
    facing = found.facing(points)
    faced = [one for one in facing if one]
    assert all(one.end <= other.start for one, other in pairwise(faced))
    assert all(one.start < one.end for one in faced)
    if compare == Y:
        for point, one in zip(points, facing, strict=True):
            clock = zone.wall(point.start).time()
            if one and not any(zone.is_set_at(edge) for edge in (point.start, one.start)):
                assert zone.wall(one.start).time() == clock


@given(
    st.sampled_from([period for period in PERIODS if period != "all"]),
    st.sampled_from(["previous_period", "year_over_year"]),
    st.booleans(),
    st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
def test_what_is_compared_never_reaches_into_the_other_nor_beyond_now(
    period: str, compare: str, match_weekday: bool, moment: datetime, zone: str
) -> None:
    now = moment.replace(tzinfo=UTC)
    current = range_of(period, now, calendar(zone))
    assert current and (current.end <= now if period in LAST else current.start <= now < current.end)
    found = comparison(current, period, compare, match_weekday, now, calendar(zone), "hour")  # type: ignore[arg-type]
    assert found.current.start == current.start and found.current.end <= now
    assert found.previous.start <= found.previous.end <= found.current.start
    if match_weekday and period not in HOURS:
        assert calendar(zone).wall(found.previous.start).weekday() == calendar(zone).wall(current.start).weekday()
    lengths = [one.end - one.start for one in (found.current, found.previous)]
    if not (period in MONTHS and not match_weekday):
        assert abs(lengths[0] - lengths[1]) <= timedelta(hours=25)
