"""Which ingest windows are counted at once, where a stream is far behind them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.sources.checkpoint import Offsets, Span
from jobs.streaming import windows
from jobs.streaming.windows import far_behind, lots, records
from stitch.cutoff import Reached

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
START = datetime(2024, 2, 29, tzinfo=UTC)


def at(*per_hour: int) -> object:
    """So many records of one partition in each hour from START on."""

    def offsets(instant: datetime) -> Offsets:
        return {"events": {0: sum(per_hour[: (instant - START) // HOUR])}}

    return offsets


def hours(*edges: int) -> list[Span]:
    return [Span(START + a * HOUR, START + b * HOUR) for a, b in pairwise(edges)]


FEW, MANY = 1_000, 1_001  # ten micro-batches of the largest size, and a record more


@pytest.mark.parametrize(
    ("oldest", "unread", "expected"),
    [
        (5 * MINUTE, MANY, None),  # all of the window that is not over
        (61 * MINUTE, FEW, hours(0, 1)[0]),  # partitions may be far apart
        (61 * MINUTE, 1, hours(0, 1)[0]),
        (61 * MINUTE, 0, None),  # of windows that are over it has all
        (60 * MINUTE, FEW, None),
        (60 * MINUTE, MANY, hours(0, 1)[0]),
    ],
)
def test_windows_that_are_over_are_counted_at_once_where_their_records_are_many_or_from_longer_ago_than_a_window(
    oldest: timedelta, unread: int, expected: Span | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = START + HOUR + 20 * MINUTE
    streaming = SimpleNamespace(ingest_window=HOUR, max_offsets_per_trigger=100, watermark=10 * MINUTE)
    settings: Any = SimpleNamespace(
        streaming=streaming,
        log=SimpleNamespace(grace=timedelta(0)),
        topics_read={"events": SimpleNamespace(kafka=None)},
    )
    monkeypatch.setattr(windows, "stable_ends", lambda _: {0: 10_000})
    monkeypatch.setattr(windows, "edges", lambda _: {0: (0, 10_000)})
    monkeypatch.setattr(windows, "offsets_at", lambda *_: {0: 500 + unread})
    monkeypatch.setattr(windows, "first_stamped", lambda _, at, __: {p: Reached(500, now - oldest) for p in at})
    assert far_behind(settings, {"events": {0: 500}}, now) == expected


@pytest.mark.parametrize(
    ("per_hour", "most", "expected"),
    [
        ((10, 10, 10, 10), 40, hours(0, 4)),
        ((10, 10, 10, 10), 39, hours(0, 2, 4)),
        ((10, 10, 10, 10), 10, hours(0, 1, 2, 3, 4)),
        ((10, 10, 10, 10), 1, hours(0, 1, 2, 3, 4)),  # a window is whole, however many it has
        ((0, 0, 0, 100), 50, hours(0, 2, 3, 4)),
        ((5,), 1, hours(0, 1)),
    ],
)
def test_windows_are_counted_in_lots_of_whole_ones(per_hour: tuple[int, ...], most: int, expected: list[Span]) -> None:
    assert list(lots(hours(0, len(per_hour))[0], HOUR, at(*per_hour), most)) == expected  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.integers(1, 60))
def test_lots_follow_each_other_and_hold_no_more_than_they_may(per_hour: list[int], most: int) -> None:
    offsets = at(*per_hour)
    found = list(lots(hours(0, len(per_hour))[0], HOUR, offsets, most))  # type: ignore[arg-type]
    edges = [found[0].since, *[one.until for one in found]]
    assert [one.since for one in found] == edges[:-1] and (edges[0], edges[-1]) == (START, START + len(per_hour) * HOUR)
    for one in found:
        assert one.until - one.since == HOUR or records(offsets(one.since), offsets(one.until)) <= most  # type: ignore


def test_records_are_counted_by_offsets_and_a_partition_that_is_not_named_from_its_beginning() -> None:
    assert records({"a": {0: 3}}, {"a": {0: 10, 1: 5}}) == 12
    assert records({"a": {0: 30}}, {"a": {0: 10}}) == 0
