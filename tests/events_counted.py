"""Events of a small world, and what the jobs make of them: what the state machine of tests/unit/test_exactness.py runs
over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

from stitch import write_time
from stitch.amounts import MOST_SUM, saturated
from stitch.buckets import ALL, EPOCH, Bucket

HOUR = timedelta(hours=1)
WINDOW = HOUR  # of ingestion
BEHIND = (timedelta(0), timedelta(minutes=10))  # the clock of each partition's broker
SETTINGS: Any = SimpleNamespace(
    log=SimpleNamespace(grace=timedelta(minutes=10)), streaming=SimpleNamespace(ingest_window=WINDOW)
)
RETENTION = 30 * HOUR
KEEP = 2  # snapshots
BUCKETS = 2
START = EPOCH + 400_000 * HOUR
AMOUNTS = {  # counter → what an event may weigh: a plain one, one of both signs, one whose sums saturate
    "plays@1": st.integers(0, 3),
    "likes@1": st.integers(-2, 3),
    "plays@2": st.integers(0, 5),
    "seconds@1": st.sampled_from([0, 40, 10**15, 2**61, MOST_SUM - 1, MOST_SUM]),
}
BEGUN_WITH, OTHER_PLAYS, ADDED = ["plays@1", "likes@1"], "plays@2", "seconds@1"
AT = {
    bucket.start: bucket
    for bucket in (Bucket("hour", START + n * HOUR, START + (n + 1) * HOUR) for n in range(BUCKETS))
}


@dataclass(frozen=True)
class Event:
    """A record of the topic: where it was appended, and what it weighs in which bucket."""

    event_id: int
    order: tuple[datetime, int, int]  # the broker's timestamp, partition, offset
    window: datetime
    bucket: datetime
    amounts: dict[str, int]


@dataclass
class Writer:
    """A copy of the streaming job: what its state holds since the window edge it started from."""

    positions: list[int]
    seen: list[Event] = field(default_factory=list)
    since: datetime = EPOCH


Increments = tuple[str, datetime, datetime]  # counter, ingest window, bucket
Totals = tuple[str, Bucket]
Sums = dict[Totals, int]


def rows_of(seen: Iterable[Event]) -> dict[Increments, tuple[int, int]]:
    """What the streaming job writes of the events it has seen: (value, write timestamp) by row."""
    values: dict[Increments, list[int]] = defaultdict(list)
    for event in seen:
        for counter, amount in event.amounts.items():
            values[counter, event.window, event.bucket].append(amount)
    return {
        row: (saturated(sum(amounts)), write_time.of_increment(row[1], saturated(sum(map(abs, amounts)))))
        for row, amounts in values.items()
    }


def first_of_each(events: list[Event], is_new: Callable[[Event], bool] = lambda _: False) -> list[Event]:
    """Duplicates removed, as jobs.frames.totals.deduplicated does: one that is not new stays, then the first by its
    broker's timestamp."""
    backwards = sorted(events, key=lambda event: (is_new(event), event.order), reverse=True)
    return list({event.event_id: event for event in backwards}.values())


def summed(events: Iterable[Event], counter: str, base: dict[Totals, int]) -> dict[Totals, int]:
    rows = dict(base)
    for event in events:
        for bucket in (AT[event.bucket], ALL):
            rows[counter, bucket] = saturated(rows.get((counter, bucket), 0) + event.amounts[counter])
    return rows


def sums_of(events: Iterable[Event]) -> Sums:
    """What every counter counts in every bucket, of events that all count."""
    found: Sums = defaultdict(int)
    for event in events:
        for counter, amount in event.amounts.items():
            found[counter, AT[event.bucket]] += amount
            found[counter, ALL] += amount
    return found
