"""Ingest windows, and when the log is complete before a cutoff."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from stitch.cutoff import aligned, incomplete_partitions, ingest_dates, window_start

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR, TEN_SECONDS = timedelta(hours=1), timedelta(seconds=10)


def test_an_ingest_window_holds_its_start_and_not_its_end() -> None:
    assert window_start(NOON, HOUR) == NOON
    assert window_start(NOON + HOUR - timedelta(microseconds=1), HOUR) == NOON
    assert window_start(NOON + timedelta(seconds=19), TEN_SECONDS) == NOON + TEN_SECONDS


def test_only_the_edge_of_an_ingest_window_can_be_a_cutoff() -> None:
    assert aligned(NOON, HOUR)
    assert not aligned(NOON + TEN_SECONDS, HOUR)
    assert aligned(NOON + TEN_SECONDS, TEN_SECONDS)


def test_the_increments_of_both_days_are_read_around_midnight() -> None:
    assert ingest_dates(NOON, NOON) == [date(2024, 5, 1)]
    assert ingest_dates(NOON - 13 * HOUR, NOON) == [date(2024, 4, 30), date(2024, 5, 1)]
    assert ingest_dates(NOON, NOON - 24 * HOUR) == []


COMPLETE = {
    "an empty topic": ({}, {}, {}),
    "every offset archived": ({0: 10, 1: 5}, {0: 10, 1: 5}, {}),
    "more archived than needed": ({0: 10}, {0: 12}, {}),
    "a partition that never had a record": ({0: 0}, {}, {}),
    "one offset short": ({0: 10, 1: 5}, {0: 9, 1: 5}, {0: (9, 10)}),
    "a partition not archived at all": ({0: 10, 1: 5}, {0: 10}, {1: (0, 5)}),
}


@pytest.mark.parametrize(("need", "have", "missing"), COMPLETE.values(), ids=COMPLETE.keys())
def test_the_log_is_complete_when_it_holds_every_offset_before_the_cutoff(
    need: dict[int, int], have: dict[int, int], missing: dict[int, tuple[int, int]]
) -> None:
    assert incomplete_partitions(need, have) == missing


def test_an_instant_without_a_zone_has_no_ingest_window() -> None:
    with pytest.raises(ValueError, match="no zone"):
        window_start(datetime(2024, 1, 1), HOUR)  # noqa: DTZ001
