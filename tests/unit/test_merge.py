"""The merge rule: a literal table with one case per key, then the law that a merged count is the truth."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitch.buckets import ALL, Bucket, Slice, bucket_of, bucketed, slices
from stitch.merge import Count, Increment, Layer, Rows, Total, by_bucket, count, gains, members

DAY = datetime(2024, 1, 31, tzinfo=UTC)
HOUR = timedelta(hours=1)
OLD, PUBLISHED, NEW = DAY + 10 * HOUR, DAY + 12 * HOUR, DAY + 14 * HOUR
EIGHT = bucket_of(DAY + 8 * HOUR, "hour")

# One bucket, five events in each of these ingest windows: 9, 11, 12, 13, 14 o'clock
INCREMENTS = [Increment(EIGHT.start, DAY + h * HOUR, 5) for h in (9, 11, 12, 13, 14)]

CASES = {
    "nothing published, no total": (None, None, INCREMENTS, Count(25, "realtime")),
    "no total: no event before the published cutoff": (None, PUBLISHED, INCREMENTS[2:], Count(15, "realtime")),
    "a total of the published run": (Total(10, PUBLISHED), PUBLISHED, INCREMENTS, Count(25, "mixed")),
    "a total a half-done run wrote": (Total(20, NEW), PUBLISHED, INCREMENTS, Count(25, "mixed")),
    "a total no later run touched": (Total(10, OLD), PUBLISHED, INCREMENTS[2:], Count(25, "mixed")),
    "a total of the first run, half done": (Total(10, PUBLISHED), None, INCREMENTS, Count(25, "mixed")),
    "increments all before the cutoff": (Total(10, PUBLISHED), PUBLISHED, INCREMENTS[:2], Count(10, "batch")),
    "a window that starts at the cutoff is live": (Total(0, PUBLISHED), PUBLISHED, INCREMENTS[2:3], Count(5, "mixed")),
    "decrements outran increments": (Total(-3, PUBLISHED), PUBLISHED, [], Count(-3, "batch")),
    "a key never seen, published": (None, PUBLISHED, [], Count(0, "batch")),
    "a key never seen, nothing published": (None, None, [], Count(0, "realtime")),
}


@pytest.mark.parametrize(("total", "published", "increments", "expected"), CASES.values(), ids=CASES.keys())
def test_a_count_is_its_total_and_the_increments_it_lacks(
    total: Total | None, published: datetime | None, increments: list[Increment], expected: Count
) -> None:
    assert count(EIGHT, total, increments, published) == expected


def test_one_layer_alone_ignores_the_other_and_the_cutoff() -> None:
    total = Total(10, PUBLISHED)
    assert count(EIGHT, total, INCREMENTS, PUBLISHED, "batch") == Count(10, "batch")
    assert count(EIGHT, total, INCREMENTS, PUBLISHED, "realtime") == Count(25, "realtime")


def test_increments_fall_into_the_coarse_bucket_that_holds_them() -> None:
    late = [Increment(DAY + 23 * HOUR, NEW, 1), Increment(DAY + 24 * HOUR, NEW, 2), Increment(DAY - HOUR, NEW, 4)]
    assert count(bucket_of(DAY, "day"), None, late, None).count == 1
    assert count(bucket_of(DAY, "month"), None, late, None).count == 5
    assert count(ALL, None, late, None).count == 7


@pytest.mark.parametrize(
    ("cutoff", "published", "layer", "expected"),
    [
        (OLD, PUBLISHED, "merged", 15),  # of a list that no later run touched
        (PUBLISHED, PUBLISHED, "merged", 15),
        (NEW, PUBLISHED, "merged", 5),  # of a list that a half-done run wrote
        (PUBLISHED, None, "merged", 15),
        (OLD, PUBLISHED, "batch", None),
    ],
)
def test_members_gain_what_totals_of_one_cutoff_lack(
    cutoff: datetime, published: datetime | None, layer: Layer, expected: int | None
) -> None:
    live = [*INCREMENTS, *(replace(one, member="a") for one in INCREMENTS)]
    found = gains(live, cutoff, published, layer)
    assert found == ({"a": expected} if expected else {})
    assert found.get("a", 0) == members(EIGHT, {"a": Total(0, cutoff)}, live, published, layer)["a"]


def test_members_each_keep_the_cutoff_of_their_own_row() -> None:
    totals = {"a": Total(7, NEW), "b": Total(1, PUBLISHED)}
    live = [Increment(EIGHT.start, DAY + 13 * HOUR, 2, member) for member in ("a", "b", "c")]
    assert members(EIGHT, totals, live, PUBLISHED) == {"a": 7, "b": 3, "c": 2}


def test_an_increment_outside_every_bucket_is_in_none() -> None:
    assert by_bucket([EIGHT], [Increment(DAY, NEW, 1), Increment(DAY + 9 * HOUR, NEW, 1)]) == {EIGHT: []}


# An event: (hour of occurrence, from the end of one month into the next; hour of ingest; weight; member)
events = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9), st.integers(-2, 5), st.sampled_from("abc")), max_size=60
)
GRANULARITIES = ("hour", "day", "month", "all")


@given(events, st.integers(0, 9) | st.none(), st.integers(0, 9), st.integers())
def test_a_merged_count_is_the_truth_however_far_the_load_has_come(
    happened: list[tuple[int, int, int, str]], old: int | None, step: int, loaded: int
) -> None:
    """Totals are at the published cutoff or, where the next run's load has come by, at the new one."""
    window = [DAY + n * HOUR for n in range(20)]
    rows = [(DAY + o * HOUR, window[i], weight, member) for o, i, weight, member in happened]
    published = None if old is None else window[old]
    new = window[(old or 0) + step]
    increments = [Increment(o, i, weight, member) for o, i, weight, member in rows]
    merged: dict[str, dict[Bucket, int]] = {}
    for granularity in GRANULARITIES:
        buckets = sorted({bucket_of(o, granularity) for o, *_ in rows})
        totals: dict[datetime, Total] = {}
        member_totals: dict[Bucket, dict[str, Total]] = {bucket: {} for bucket in buckets}
        for bucket in buckets:
            for member in (None, "a", "b", "c"):
                mine = [row for row in rows if bucket.holds(row[0]) and member in (None, row[3])]
                cutoff = new if crc32(f"{loaded} {bucket.start} {granularity} {member}".encode()) % 2 else published
                touched = [row for row in mine if cutoff and row[1] < cutoff]
                if cutoff is None or not touched:  # a run writes only rows that something counts towards
                    continue
                total = Total(sum(row[2] for row in touched), cutoff)
                if member is None:
                    totals[bucket.start] = total
                else:
                    member_totals[bucket][member] = total
        points = [[Slice(granularity, bucket.start, bucket.end)] for bucket in buckets]
        found = Rows({granularity: totals}, increments, published).counts(points)
        merged[granularity] = {b: c.count for b, c in zip(buckets, found, strict=True)}
        for bucket in buckets:
            assert merged[granularity][bucket] == sum(row[2] for row in rows if bucket.holds(row[0]))
            for member, n in members(bucket, member_totals[bucket], increments, published).items():
                assert n == sum(row[2] for row in rows if bucket.holds(row[0]) and row[3] == member)
    for fine, coarse in pairwise(GRANULARITIES):
        for bucket, n in merged[coarse].items():
            assert n == sum(m for b, m in merged[fine].items() if bucket.holds(b.start))


KEPT = ("quarter_hour", "hour", "day", "month", "all")
QUARTER = timedelta(minutes=15)
quarters = st.integers(-100, 6000)  # over two months, the first of them begun
totals_of = st.tuples(quarters, st.sampled_from(KEPT), st.integers(1, 50), st.sampled_from([OLD, PUBLISHED, NEW]))
increments_of = st.tuples(quarters, st.integers(8, 16), st.integers(1, 5))


@given(
    st.lists(totals_of, max_size=60),
    st.lists(increments_of, max_size=60),
    st.lists(quarters, min_size=2, max_size=8, unique=True).map(sorted),
    st.none() | st.sampled_from([OLD, PUBLISHED, NEW]),
    st.sampled_from(["merged", "batch", "realtime"]),
)
def test_points_of_many_buckets_count_as_the_rule_says_of_each_bucket(
    totals_drawn: list[tuple[int, str, int, datetime]],
    increments_drawn: list[tuple[int, int, int]],
    edges: list[int],
    published: datetime | None,
    layer: Layer,
) -> None:
    """Of any rows, those of a load half done and those that contradict each other among them."""
    totals: dict[str, dict[datetime, Total]] = {}
    for at, granularity, n, cutoff in totals_drawn:
        totals.setdefault(granularity, {})[bucket_of(DAY + at * QUARTER, granularity).start] = Total(n, cutoff)
    increments = [Increment(DAY + at * QUARTER, DAY + h * HOUR, n) for at, h, n in increments_drawn]
    points = [slices(DAY + a * QUARTER, DAY + b * QUARTER, KEPT) for a, b in pairwise(edges)]
    found = Rows(totals, increments, published, layer).counts(points)
    for point, merged in zip(points, found, strict=True):
        parts = [
            count(bucket, totals.get(bucket.granularity, {}).get(bucket.start), increments, published, layer)
            for part in point
            for bucket in bucketed(part)
        ]
        assert merged.count == sum(part.count for part in parts)
        sources = {part.source for part in parts if part not in (Count(0, "batch"), Count(0, "realtime"))}
        if sources:  # of buckets without a row nothing is from anywhere
            assert merged.source == (sources.pop() if len(sources) == 1 else "mixed")
    everything = Rows(totals, increments, published, layer).counts([[Slice("all", ALL.start, ALL.end)]])
    assert everything == [count(ALL, totals.get("all", {}).get(ALL.start), increments, published, layer)]
