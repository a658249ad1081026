"""`stitch try` over real flights tells of each what their file says."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from stitch.buckets import micros
from stitch.commands.try_events import decided
from stitch.settings import load_settings
from stitch.trying import Record, outcomes
from stitch_local import flights


def nonzero(counts: Counter[str]) -> dict[str, int]:
    return {key: count for key, count in counts.items() if count}


def test_what_is_told_of_real_flights_adds_up_to_the_counts_of_their_csv() -> None:
    settings, every = load_settings("conf/flights.toml"), 100
    now = micros(datetime(2026, 11, 27, tzinfo=UTC))
    records = [Record(f"{n}", "flights", value, now) for n, value in enumerate(flights.events(every))]
    holds, _ = decided(settings, records)
    found: dict[str, Counter[str]] = {counter.name: Counter() for counter in settings.counters}
    for outcome in outcomes(records, settings, holds):
        for one in outcome.added:
            if one.member is None:
                found[one.counter][one.key] += one.amount
    expected = flights.expected(every)
    assert {name: nonzero(counts) for name, counts in found.items()} == {
        name: nonzero(counts) for name, counts in expected.items()
    }
