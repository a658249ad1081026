"""Events that count alike are added up before they are weighed: no count, nor the movement behind it, is another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.frames.combining import combined_batches
from stitch.buckets import micros
from stitch.combining import TIMES, Combining, combining, summed_fields
from stitch.settings import Settings

HOUR = 3600 * 10**6
INSTANT = pa.timestamp("us", "UTC")
FIELDS = {"country": pa.string(), "duration_s": pa.int64(), "paid": pa.int64(), "track_id": pa.string(),
          "volume": pa.float64()}  # fmt: skip


def settings(*counters: dict[str, Any], **sections: Any) -> Settings:
    types = {"duration_s": "int", "paid": "int", "volume": "double"}
    return Settings.model_validate({"events": {"types": types}, "counters": [
        {"name": f"c{n}", "key": "track_id", "weights": {"play": 1}} | one for n, one in enumerate(counters)
    ], **sections})  # fmt: skip


OF_ALL = settings(
    {"member": "country", "weights": {"play": 2, "like": -1}},
    {"key": "country", "weights": {"play": "duration_s"}, "resolution": "15m"},
    {"weights": {"play": "paid", "like": 1}, "where": "volume >= 0.5 and paid > 0"},
)


def plan(settings: Settings) -> Combining:
    return combining(settings, settings.counters)


def test_fields_that_decide_who_counts_must_be_equal_and_those_that_are_only_weights_are_summed() -> None:
    assert plan(OF_ALL) == Combining(
        equal=("country", "paid", "track_id", "volume"),
        summed=("duration_s",),
        own=("type",),
        bucket=900,
        ingest_window=3600,
        most=2**62 // 10**12,
    )
    assert summed_fields(OF_ALL.counters) == {"duration_s"}


def test_what_a_condition_asks_of_the_event_itself_must_be_equal_too() -> None:
    asked = settings({"where": "occurred_at < '2026-01-01'"}, {"member": "event_id"})
    assert plan(asked).own == ("event_id", "type", "occurred_at")


def test_no_more_events_are_added_up_than_their_sum_can_hold() -> None:
    assert plan(settings({}, events={"max_amount": 10**15})).most == 4611
    assert 4611 * 10**15 <= 2**62 < 4612 * 10**15


def test_of_an_hour_of_one_track_a_row_is_left_with_their_number_and_the_newest_timestamp() -> None:
    appended = [3 * HOUR + 5, 3 * HOUR + 9, 3 * HOUR + 7]
    rows = [("play", at, 2 * HOUR + n, {"track_id": "t1"}, None, None) for n, at in enumerate(appended)]
    (found,) = combined(rows, plan(settings({})))
    assert (found["type"], found[TIMES], found["fields"]["track_id"]) == ("play", 3, "t1")
    assert (micros(found["timestamp"]), micros(found["occurred_at"])) == (3 * HOUR + 9, 2 * HOUR)


def test_records_that_are_no_event_or_lack_a_field_are_told_of_one_by_one() -> None:
    rejected = (None, 5, None, {}, None, "not JSON")
    noted = ("play", 5, 6, {"track_id": "t1"}, ["duration_s is not an integer"], None)
    found = combined([rejected, rejected, noted, noted], plan(settings({})))
    assert [(row["reject_reason"], row["notes"], row[TIMES]) for row in found] == [
        ("not JSON", None, 1), ("not JSON", None, 1), (None, noted[4], 1), (None, noted[4], 1)
    ]  # fmt: skip


TEXTS = st.sampled_from([None, "", "a", "b"])
ROWS = st.tuples(
    st.sampled_from(["play", "like", "skip"]),
    st.sampled_from([0, 1, HOUR - 1, HOUR, 5 * HOUR + 7]),
    st.sampled_from([-HOUR, -1, 0, 1, HOUR // 4, HOUR - 1, HOUR]),  # before 1970, too
    st.fixed_dictionaries(
        {"country": TEXTS, "track_id": TEXTS, "volume": st.sampled_from([None, 0.0, 0.5, -1e300])}
        | {name: st.sampled_from([None, -(10**12), -1, 0, 1, 10**12]) for name in ("duration_s", "paid")}
    ),
    st.sampled_from([None, None, None, ["country is too long"]]),
    st.none(),
)
CANCELLED = [("play", 0, 0, {"country": "a", "track_id": "a", "duration_s": sign * 5}, None, None) for sign in (1, -1)]


@given(st.lists(ROWS, max_size=40), st.integers(1, 50), st.integers(1, 50))
@example(CANCELLED, 2, 2)
def test_what_each_counter_counts_and_the_movement_behind_it_are_those_of_the_events(
    rows: list[Any], most: int, size: int
) -> None:
    how = plan(OF_ALL)._replace(most=most)
    assert weighed(combined(rows, how, size), times=True) == weighed(table(rows).to_pylist(), times=False)


def weighed(rows: Iterable[Mapping[str, Any]], times: bool) -> Counter[Any]:
    """(counter, key, member, ingest window, bucket) → count, and the movement behind it, as OF_ALL says."""
    found: Counter[Any] = Counter()
    for row in rows:
        one, of, kind = row["fields"], row[TIMES] if times else 1, row["type"]
        track, country, paid, seconds = one["track_id"], one["country"], one["paid"], one["duration_s"]
        window, quarter = micros(row["timestamp"]) // HOUR, micros(row["occurred_at"]) // (HOUR // 4)
        added: list[tuple[Any, int]] = []
        if track and kind in ("play", "like"):
            amount = {"play": 2, "like": -1}[kind] * of
            added += [
                ((0, track, who, window, quarter // 4), amount) for who in (None, *([country] if country else []))
            ]
        if country and kind == "play" and seconds is not None:
            added.append(((1, country, None, window, quarter), seconds))
        if track and kind in ("play", "like") and (one["volume"] or 0) >= 0.5 and paid is not None and paid > 0:
            added.append(((2, track, None, window, quarter // 4), (paid if kind == "play" else 1) * of))
        for where, amount in added:
            found[(*where, "count")] += amount
            found[(*where, "movement")] += abs(amount)
    return found


def combined(rows: list[Any], how: Combining, size: int = 1000) -> list[dict[str, Any]]:
    batches = iter(table(rows).to_batches(max_chunksize=size))
    return [row for batch in combined_batches(batches, how) for row in batch.to_pylist()]


def table(rows: list[Any]) -> pa.Table:
    """(type, timestamp, occurred_at, fields, notes, reject_reason) → decoded records."""
    kinds, appended, occurred, fields, notes, reasons = zip(*rows, strict=True) if rows else ([],) * 6
    struct = pa.struct(list(FIELDS.items()))
    return pa.table({
        "timestamp": pa.array(appended, pa.int64()).cast(INSTANT),
        "event_id": pa.array([f"e{n}" for n in range(len(rows))], pa.string()),
        "type": pa.array(kinds, pa.string()),
        "occurred_at": pa.array(occurred, pa.int64()).cast(INSTANT),
        "fields": pa.array([{name: one.get(name) for name in FIELDS} for one in fields], struct),
        "notes": pa.array(notes, pa.list_(pa.string())),
        "reject_reason": pa.array(reasons, pa.string()),
    })  # fmt: skip
