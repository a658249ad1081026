"""Ingest windows, and when the log is complete before a cutoff."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from stitch.cutoff import Behind, Missing, Reached, aligned, ingest_dates, missing_before, window_start

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


SOON = NOON + timedelta(seconds=1)
BEFORE = NOON - timedelta(seconds=1)
END = Reached(20, None, at_end=True)
SKIPPING = Reached(15, None)
COMPLETE = {  # what is behind the position 10 of a partition that the broker holds from 5 to 20; why it is not complete
    "nothing readable up to the end": (Behind(10, 5, 20, END, END), None),
    "a record stamped at the bound": (Behind(10, 5, 20, Reached(12, NOON)), None),
    "a record stamped behind the bound": (Behind(10, 5, 20, Reached(12, SOON)), None),
    "a record stamped before the bound": (Behind(10, 5, 20, Reached(12, BEFORE)), Missing(10, 12, "unread", BEFORE)),
    "only producers' stamps so far": (Behind(10, 5, 20, SKIPPING), Missing(10, 15, "unread")),
    "nobody looked": (Behind(10, 5, 20), Missing(10, 10, "unread")),
    "an open transaction from before the bound": (
        Behind(10, 5, 20, END, Reached(20, BEFORE)),
        Missing(10, 20, "open", BEFORE),
    ),
    "an open transaction from behind the bound": (Behind(10, 5, 20, END, Reached(20, SOON)), None),
    "a record behind the bound in front of an open transaction": (
        Behind(10, 5, 20, Reached(12, SOON), Reached(20, BEFORE)),
        None,
    ),
    "removed by the broker": (Behind(4, 5, 20), Missing(4, 4, "removed")),
    "removed up to the position": (Behind(5, 5, 5, END, END), None),
    "the partition ends before the position": (Behind(21, 5, 20), Missing(21, 20, "ahead")),
}


@pytest.mark.parametrize(("behind", "missing"), COMPLETE.values(), ids=COMPLETE.keys())
def test_a_position_is_complete_before_a_bound_where_no_record_behind_it_may_be_stamped_earlier(
    behind: Behind, missing: Missing | None
) -> None:
    places = {("likes", 0): Behind(0, 0, 0, END, END), ("plays", 0): behind, ("plays", 1): Behind(0, 0, 0, END, END)}
    assert missing_before(places, NOON) == ({("plays", 0): missing} if missing else {})


def test_an_instant_without_a_zone_has_no_ingest_window() -> None:
    with pytest.raises(ValueError, match="no zone"):
        window_start(datetime(2024, 1, 1), HOUR)  # noqa: DTZ001
