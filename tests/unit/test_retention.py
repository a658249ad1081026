"""Since when increments are held, by the retention and what it was before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stitch.retention import held_since, raised_from

NOW = datetime(2026, 3, 31, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("days", "raised", "since"),
    [
        (14, {}, NOW - 14 * DAY),
        (30, {14: NOW}, NOW - 14 * DAY),  # just now: what is older has expired
        (30, {14: NOW - 10 * DAY}, NOW - 14 * DAY),  # and what was written before the raise goes on expiring
        (30, {14: NOW - 20 * DAY}, NOW - 20 * DAY),  # all that was written before it is gone
        (30, {14: NOW - 40 * DAY}, NOW - 30 * DAY),
        (60, {7: NOW - 40 * DAY, 14: NOW - 5 * DAY}, NOW - 14 * DAY),
        (7, {14: NOW - 1 * DAY}, NOW - 7 * DAY),  # lowered again meanwhile
    ],
)
def test_what_was_written_before_a_raise_expires_as_it_was_to(
    days: int, raised: dict[int, datetime], since: datetime
) -> None:
    made = {raised_from(before * 86_400): at for before, at in raised.items()}
    assert held_since(NOW, days * DAY, made | {"2026-01-02 something else": NOW}) == since
