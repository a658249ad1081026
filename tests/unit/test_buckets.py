"""Buckets: literal tables first, then the laws for any range."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitch.buckets import (
    ALL,
    EPOCH,
    FIXED,
    Range,
    Slice,
    after,
    bucketed,
    ceil,
    covering,
    floor,
    granularities_of,
    series,
    slices,
)
from stitch.counters import Counter


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


PLAYS = {"name": "plays", "key": "track_id", "weights": {"play": 1}}
FLOORS = {
    "minute": "2024-02-29T23:59:00",
    "quarter_hour": "2024-02-29T23:45:00",
    "hour": "2024-02-29T23:00:00",
    "day": "2024-02-29T00:00:00",
    "month": "2024-02-01T00:00:00",
    "all": "1970-01-01T00:00:00",
}


@pytest.mark.parametrize(("granularity", "start"), FLOORS.items())
def test_the_last_second_of_a_leap_day_falls_into_buckets_of_that_day(granularity: str, start: str) -> None:
    assert floor(at("2024-02-29T23:59:59"), granularity) == at(start)


@pytest.mark.parametrize("granularity", ["minute", "quarter_hour", "hour", "day", "month"])
def test_a_bucket_edge_starts_its_own_bucket_and_ends_the_one_before(granularity: str) -> None:
    edge = at("2025-01-01T00:00:00")
    assert floor(edge, granularity) == edge == ceil(edge, granularity)
    assert after(floor(edge - timedelta(seconds=1), granularity), granularity) == edge


def test_an_instant_of_another_zone_is_counted_in_utc() -> None:
    berlin = datetime(2024, 6, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert floor(berlin, "month") == at("2024-05-01")


@pytest.mark.parametrize(
    "call", [lambda t: floor(t, "hour"), lambda t: covering(t, t, HOURLY), lambda t: ceil(t, "day")]
)
def test_an_instant_without_a_zone_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="no zone"):
        call(datetime(2024, 1, 1))  # type: ignore[operator]  # noqa: DTZ001


def test_an_unknown_granularity_is_refused_with_those_known() -> None:
    with pytest.raises(ValueError, match="'week' is no granularity: one of minute, quarter_hour"):
        floor(EPOCH, "week")


def test_all_holds_events_of_before_1970_too() -> None:
    assert ALL.start == EPOCH and ALL.holds(at("1965-01-01"))


HOURLY = ("hour", "day", "month", "all")
COVERS = {
    ("2023-01-01T00", "2024-01-01T00", "1h"): ["month"] * 12,
    ("2024-01-30T22", "2024-03-02T01", "1h"): ["hour", "hour", "day", "month", "day", "hour"],
    ("2024-01-01T05", "2024-01-01T07", "1h"): ["hour", "hour"],
    ("2024-01-01T05:45", "2024-01-01T07:15", "15m"): ["quarter_hour", "hour", "quarter_hour"],
    ("2024-01-01T05:44", "2024-01-01T06:01", "1m"): ["minute"] * 17,  # a counter by the minute keeps no quarters
    ("2024-01-01T00", "2024-01-01T00", "1h"): [],
}


@pytest.mark.parametrize(("asked", "found"), COVERS.items())
def test_a_range_is_covered_by_the_longest_buckets_that_the_counter_keeps(
    asked: tuple[str, str, str], found: list[str]
) -> None:
    start, end, resolution = asked
    kept = granularities_of(Counter.model_validate({**PLAYS, "resolution": resolution}))
    assert [bucket.granularity for bucket in covering(at(start), at(end), kept)] == found


def test_a_range_off_the_finest_edges_is_refused() -> None:
    with pytest.raises(ValueError, match=r"end .* is not the edge of a bucket of 'hour'"):
        covering(at("2024-01-01T00"), at("2024-01-01T00:30"), HOURLY)


def test_a_thousand_years_are_as_few_slices_as_a_day_and_tell_their_buckets() -> None:
    found = slices(at("1900-01-30T23"), at("2999-03-01T01"), HOURLY)
    assert [(part.granularity, part.buckets()) for part in found] == [
        ("hour", 1), ("day", 1), ("month", 13_189), ("hour", 1),
    ]  # fmt: skip
    assert all(len(bucketed(part)) == part.buckets() for part in found)


@pytest.mark.parametrize(
    ("granularity", "start", "end", "within"),
    [
        ("hour", "2024-01-01T00", "2024-01-09T00", ("2024-01-02T10", "2024-01-03T00")),
        ("month", "2023-01-01T00", "2025-01-01T00", ("2024-01-01T00", "2024-02-01T00")),
        ("hour", "2024-02-01T00", "2024-02-02T00", None),
    ],
)
def test_a_slice_is_cut_to_the_buckets_that_touch_the_bounds(
    granularity: str, start: str, end: str, within: tuple[str, str] | None
) -> None:
    bounds = Range(at("2024-01-02T10:30"), at("2024-01-02T23:30"))
    cut = Slice(granularity, at(start), at(end)).within(bounds)
    assert cut == (Slice(granularity, at(within[0]), at(within[1])) if within else None)


hours = st.integers(0, 24 * 366 * 3).map(lambda n: at("2023-01-01") + timedelta(hours=n))


@given(hours, hours)
def test_a_cover_has_no_gap_and_no_overlap_and_is_minimal(one: datetime, other: datetime) -> None:
    start, end = sorted((one, other))
    cover = covering(start, end, HOURLY)
    edges = [start, *(bucket.end for bucket in cover)]
    assert [bucket.start for bucket in cover] == edges[:-1] and edges[-1] == end
    # The fewest: every whole month is one bucket, every other whole day one, every other hour one.
    months = [b for b in series(start, end, "month") if start <= b.start and b.end <= end]
    days = [b for b in series(start, end, "day") if start <= b.start and b.end <= end]
    days = [b for b in days if not any(m.holds(b.start) for m in months)]
    left = (end - start) - sum((b.end - b.start for b in (*months, *days)), timedelta())
    assert len(cover) == len(months) + len(days) + left // FIXED["hour"]


@pytest.mark.parametrize(
    ("resolution", "kept"),
    {
        "1h": ("hour", "day", "month", "all"),
        "15m": ("quarter_hour", "hour", "day", "month", "all"),
        "1m": ("minute", "hour", "day", "month", "all"),
    }.items(),
)
def test_a_counter_keeps_its_finest_buckets_and_the_coarse_ones(resolution: str, kept: tuple[str, ...]) -> None:
    counter = Counter.model_validate({**PLAYS, "resolution": resolution})
    assert granularities_of(counter) == kept
