"""A zone's hours, days, weeks and months: literal edges around every way in which clocks are set, and what always
holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitch.buckets import covering, floor
from stitch.buckets import series as utc_series
from stitch.zones import UnsplitError, calendar
from tests.clock_changes import kinds

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe",
    "America/Sao_Paulo", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca", "Antarctica/Troll",
]  # fmt: skip


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


EDGES = {
    # zone, granularity, from, to: the edges in UTC
    ("Europe/Berlin", "day", "2024-03-30T12:00", "2024-04-01T12:00"): [
        "2024-03-29T23:00", "2024-03-30T23:00", "2024-03-31T22:00", "2024-04-01T22:00",
    ],  # the 31st has 23 hours
    ("Europe/Berlin", "week", "2024-10-27T12:00", "2024-10-28T12:00"): [
        "2024-10-20T22:00", "2024-10-27T23:00", "2024-11-03T23:00",
    ],
    # week_start = "sunday"
    ("Europe/Berlin", "week from sunday", "2024-10-27T12:00", "2024-10-28T12:00"): [
        "2024-10-26T22:00", "2024-11-02T23:00",
    ],
    ("America/New_York", "week from sunday", "2024-03-02T12:00", "2024-03-04T12:00"): [
        "2024-02-25T05:00", "2024-03-03T05:00", "2024-03-10T05:00",
    ],
    ("America/New_York", "month", "2024-02-29T00:00", "2024-03-15T00:00"): [
        "2024-02-01T05:00", "2024-03-01T05:00", "2024-04-01T04:00",
    ],
    ("Europe/Berlin", "year", "2024-06-01T00:00", "2024-06-02T00:00"): ["2023-12-31T23:00", "2024-12-31T23:00"],
    ("Asia/Kolkata", "hour", "2024-03-01T00:00", "2024-03-01T01:00"): [
        "2024-02-29T23:30", "2024-03-01T00:30", "2024-03-01T01:30",
    ],
    # Half an hour back at 15:00Z: the hour from one to two has ninety minutes
    ("Australia/Lord_Howe", "hour", "2024-04-06T14:00", "2024-04-06T16:00"): [
        "2024-04-06T14:00", "2024-04-06T15:30", "2024-04-06T16:30",
    ],
    # Half an hour on at 15:30Z: the hour from two to three has thirty
    ("Australia/Lord_Howe", "hour", "2024-10-05T14:45", "2024-10-05T16:15"): [
        "2024-10-05T14:30", "2024-10-05T15:30", "2024-10-05T16:00", "2024-10-05T17:00",
    ],
    # Half an hour on, from half past eleven to midnight: the last hour has thirty minutes, and the day ends with it
    ("Asia/Pyongyang", "hour", "2018-05-04T14:00", "2018-05-04T16:30"): [
        "2018-05-04T13:30", "2018-05-04T14:30", "2018-05-04T15:00", "2018-05-04T16:00", "2018-05-04T17:00",
    ],
    ("Asia/Pyongyang", "day", "2018-05-04T14:00", "2018-05-04T16:30"): [
        "2018-05-03T15:30", "2018-05-04T15:00", "2018-05-05T15:00",
    ],
    # Half an hour back, from midnight to half past eleven: the last hour of the day has ninety
    ("Asia/Pyongyang", "hour", "2015-08-14T14:00", "2015-08-14T16:00"): [
        "2015-08-14T14:00", "2015-08-14T15:30", "2015-08-14T16:30",
    ],
    # Half an hour on, from half past two to three
    ("America/Caracas", "hour", "2016-05-01T06:00", "2016-05-01T07:30"): [
        "2016-05-01T05:30", "2016-05-01T06:30", "2016-05-01T07:00", "2016-05-01T08:00",
    ],
    # Half an hour back, from half past midnight to midnight: the first hour of the day has ninety minutes
    ("Asia/Colombo", "hour", "2006-04-14T17:30", "2006-04-14T20:00"): [
        "2006-04-14T17:00", "2006-04-14T18:00", "2006-04-14T19:30", "2006-04-14T20:30",
    ],
    # A quarter of an hour on at midnight
    ("Asia/Kathmandu", "hour", "1985-12-31T17:30", "1985-12-31T19:00"): [
        "1985-12-31T17:30", "1985-12-31T18:30", "1985-12-31T19:15",
    ],
    # An hour back from one to midnight, which comes twice: two hours, one day
    ("America/Havana", "hour", "2012-11-04T03:30", "2012-11-04T06:30"): [
        "2012-11-04T03:00", "2012-11-04T04:00", "2012-11-04T05:00", "2012-11-04T06:00", "2012-11-04T07:00",
    ],
    ("America/Havana", "day", "2012-11-04T03:30", "2012-11-04T06:30"): [
        "2012-11-03T04:00", "2012-11-04T04:00", "2012-11-05T05:00",
    ],
    # From half past eleven to half past midnight: a day that begins within an hour ends it
    ("America/Toronto", "hour", "1919-03-31T04:00", "1919-03-31T05:00"): [
        "1919-03-31T04:00", "1919-03-31T04:30", "1919-03-31T05:00",
    ],
    ("America/Toronto", "day", "1919-03-31T04:00", "1919-03-31T05:00"): [
        "1919-03-30T05:00", "1919-03-31T04:30", "1919-04-01T04:00",
    ],
    # No midnight: the clock went on from 24:00 to 01:00
    ("America/Sao_Paulo", "day", "2018-11-04T12:00", "2018-11-04T13:00"): ["2018-11-04T03:00", "2018-11-05T02:00"],
    # Set back from 00:01 to 23:01: yesterday is shown again, but today has begun
    ("America/St_Johns", "day", "2010-11-07T02:31", "2010-11-07T02:32"): ["2010-11-07T02:30", "2010-11-08T03:30"],
    # The 30th was left out
    ("Pacific/Apia", "day", "2011-12-29T20:00", "2011-12-30T12:00"): [
        "2011-12-29T10:00", "2011-12-30T10:00", "2011-12-31T10:00",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("asked", "edges"), EDGES.items(), ids=[" ".join(asked) for asked in EDGES])
def test_edges_are_where_the_clocks_of_the_zone_say(asked: tuple[str, str, str, str], edges: list[str]) -> None:
    zone, granularity, start, end = asked
    by, _, sunday = granularity.partition(" from ")
    found = calendar(zone, "sunday" if sunday else "monday").series(at(start), at(end), by)
    assert [f"{edge:%Y-%m-%dT%H:%M}" for edge in (found[0].start, *(bucket.end for bucket in found))] == edges


instants = st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
within = st.sampled_from(["minute", "quarter_hour", "hour", "day", "week", "month", "year"])


@given(st.sampled_from(ZONES), within, instants, st.integers(0, 40))
def test_buckets_follow_each_other_without_a_gap_and_hold_what_falls_into_them(
    zone: str, granularity: str, start: datetime, hours: int
) -> None:
    found = calendar(zone).series(start, start + timedelta(hours=hours, minutes=1), granularity)
    assert found[0].holds(start)
    assert all(one.end == other.start and one.start < one.end for one, other in pairwise(found))
    for bucket in found[:50]:
        middle = bucket.start + (bucket.end - bucket.start) / 2
        for instant in (bucket.start, middle, bucket.end - timedelta(microseconds=1)):
            assert calendar(zone).floor(instant, granularity) == bucket.start
        assert calendar(zone).ceil(bucket.end, granularity) == bucket.end


@given(st.sampled_from(ZONES), instants, st.sampled_from(["day", "week", "month"]))
def test_coarse_buckets_are_whole_finer_ones(zone: str, instant: datetime, coarse: str) -> None:
    whole = calendar(zone).series(instant, instant + timedelta(seconds=1), coarse)[0]
    finer = {"day": "hour", "week": "day", "month": "day"}[coarse]
    parts = calendar(zone).series(whole.start, whole.end, finer)
    assert (parts[0].start, parts[-1].end) == (whole.start, whole.end)


@given(
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]), instants, st.sampled_from(["day", "week", "month"])
)
def test_a_bucket_of_a_zone_is_covered_by_utc_buckets(zone: str, instant: datetime, granularity: str) -> None:
    (bucket,) = calendar(zone).series(instant, instant + timedelta(microseconds=1), granularity)
    parts = covering(bucket.start, bucket.end, ("hour", "day", "month"))
    assert (parts[0].start, parts[-1].end) == (bucket.start, bucket.end)


@given(instants, st.sampled_from(["minute", "quarter_hour", "hour", "day", "month"]))
def test_in_utc_a_calendar_cuts_as_the_layers_do(instant: datetime, granularity: str) -> None:
    end = instant + timedelta(hours=30)
    assert calendar("UTC").series(instant, end, granularity) == utc_series(instant, end, granularity)
    assert calendar("UTC").floor(instant, granularity) == floor(instant, granularity)


def test_an_edge_within_a_finest_bucket_is_refused_with_the_offset_that_is_to_blame() -> None:
    kolkata = calendar("Asia/Kolkata")
    midnight = kolkata.floor(at("2024-03-01T12:00"), "day")
    kolkata.check_splits([midnight], "quarter_hour")
    with pytest.raises(UnsplitError, match=r"Asia/Kolkata is at UTC\+05:30 at 2024-03-01T00:00, within a bucket of"):
        kolkata.check_splits([midnight], "hour")


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "berlin", "CEST", "\x00", "+01:00"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no IANA time zone"):
        calendar(name)


@pytest.mark.parametrize("granularity", ["minute", "quarter_hour", "hour", "day"])
def test_however_clocks_were_set_buckets_follow_each_other_and_are_made_of_whole_finer_ones(granularity: str) -> None:
    near = {"minute": HOUR, "quarter_hour": 4 * HOUR}.get(granularity, 30 * HOUR)
    finer = {"quarter_hour": "minute", "hour": "minute", "day": "hour"}.get(granularity)
    for change in kinds():
        zone = calendar(change.zone)
        found = zone.series(change.instant - near, change.instant + near, granularity)
        assert all(one.end == other.start and one.start < one.end for one, other in pairwise(found)), change
        for bucket in found:
            for instant in (bucket.start, bucket.end - timedelta(microseconds=1)):
                assert zone.floor(instant, granularity) == bucket.start, change
            assert not finer or zone.floor(bucket.end, finer) == bucket.end, change


def test_a_clock_set_by_a_part_of_an_hour_leaves_no_hour_that_shows_two() -> None:
    for change in kinds():
        if (change.after - change.before) % HOUR:
            zone = calendar(change.zone)
            for hour in zone.series(change.instant - 3 * HOUR, change.instant + 3 * HOUR, "hour"):
                minutes = [hour.start + n * MINUTE for n in range((hour.end - hour.start) // MINUTE)]
                assert len({f"{zone.wall(minute):%FT%H}" for minute in minutes}) == 1, change
