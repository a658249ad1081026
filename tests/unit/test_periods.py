"""Periods that end now and what they are compared with: literal clocks in, literal ranges out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitch.buckets import Range
from stitch.periods import HOURS, LAST, MONTHS, PERIODS, comparison, range_of
from stitch.zones import calendar

NOW = datetime(2024, 3, 31, 12, 30, tzinfo=UTC)  # in Berlin a Sunday, half past two; the clock was set on this night
BERLIN = calendar("Europe/Berlin")


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


def test_the_29th_of_february_is_compared_with_the_28th() -> None:
    day = Range(datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
    found = comparison(day, None, "year_over_year", False, NOW, calendar("UTC"), "hour")
    assert said(found.previous, "UTC") == "2023-02-28T00 2023-03-01T00"


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
