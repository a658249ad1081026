"""Lists of the members and keys that counted most, on a real Cassandra: right after whatever a run may do or meet."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from jobs.process.errors import JobError
from stitch.definitions import name_of, stored_names
from stitch.runs import tag
from stitch.tables import CHARTED
from stitch_local.producer import produce
from tests.conftest import Stack
from tests.faults.failpoints import armed
from tests.logs import kept_totals
from tests.steps import event, wait_for_the_window_to_end

Run = Callable[..., Any]
Bucket = tuple[str, str, str, datetime]  # counter, key, granularity, start
Lists = dict[Bucket, tuple[list[str], list[int]]]
MOST = 3
KEY = "counter, key, granularity, bucket"


@pytest.fixture(autouse=True)
def short_lists() -> Iterator[None]:
    with mock.patch("jobs.totals.ranking.RANKED_MEMBERS", MOST), mock.patch("jobs.totals.charts.RANKED_KEYS", MOST):
        yield


def listed(cassandra: Any, keyspace: str) -> Lists:
    """The lists that readers rely on: those of counters that were published with their lists."""
    rows = cassandra.execute(f"SELECT counter, ranked, WRITETIME(cutoff) FROM {keyspace}.cutoffs")
    relied_on = {row.counter for row in rows if row.ranked == row[2]}
    rows = cassandra.execute(f"SELECT {KEY}, members, counts FROM {keyspace}.ranked_members")
    return {tuple(row[:4]): (row.members, row.counts) for row in rows if row.members and row.counter in relied_on}


def right(cassandra: Any, keyspace: str) -> Lists:
    """What the lists should be, of the totals that are stored."""
    counted: dict[Bucket, dict[str, int]] = defaultdict(dict)
    for row in cassandra.execute(f"SELECT {KEY}, member, count FROM {keyspace}.member_totals"):
        if row.count:
            counted[row.counter, row.key, row.granularity, row.bucket][row.member] = row.count
    order = {bucket: sorted(found, key=lambda one: (-found[one], one)) for bucket, found in counted.items()}
    return {bucket: (names[:MOST], [counted[bucket][name] for name in names[:MOST]])
            for bucket, names in order.items() if len(names) > MOST}  # fmt: skip


def charted(cassandra: Any, keyspace: str) -> Lists:
    """The charts that readers rely on, without those that say that no key counts, or nothing since an erasure."""
    rows = cassandra.execute(f"SELECT counter, charted, WRITETIME(cutoff) FROM {keyspace}.cutoffs")
    relied_on = {row.counter for row in rows if row.charted == row[2]}
    assert {name_of(counter) for counter in relied_on} == {"plays"}
    rows = cassandra.execute(f"SELECT counter, granularity, bucket, keys, counts FROM {keyspace}.ranked_keys")
    return {("plays", "", *row[1:3]): (row.keys, row.counts) for row in rows if row.keys and row.counter in relied_on}


def right_charts(cassandra: Any, keyspace: str) -> Lists:
    """What the charts should be, of the totals that are stored."""
    counted: dict[Bucket, dict[str, int]] = defaultdict(dict)
    for row in cassandra.execute(f"SELECT {KEY}, count FROM {keyspace}.totals"):
        if row.count and name_of(row.counter) == "plays" and row.granularity in CHARTED:
            counted["plays", "", row.granularity, row.bucket][row.key] = row.count
    order = {bucket: sorted(found, key=lambda one: (-found[one], one))[:MOST] for bucket, found in counted.items()}
    return {bucket: (names, [counted[bucket][name] for name in names]) for bucket, names in order.items()}


def of_all(charts: Lists) -> dict[str, int]:
    names, counts = next((found for bucket, found in charts.items() if bucket[2] == "all"), ([], []))
    return dict(zip(names, counts, strict=True))


def of_creator(lists: Lists, key: str = "c1", granularity: str = "all") -> tuple[list[str], list[int]] | None:
    return next((found for bucket, found in lists.items()
                 if (name_of(bucket[0]), *bucket[1:3]) == ("creator_plays", key, granularity)), None)  # fmt: skip


def damage(cassandra: Any, stack: Stack) -> None:
    """By hand: a list of a client that counts in ns, one of a bucket that has none, and one that is deleted; of members
    and of keys."""
    creators, table = stored_names(stack.settings)["creator_plays"], f"{stack.settings.batch.keyspace}.ranked_members"
    plays, charts = stored_names(stack.settings)["plays"], f"{stack.settings.batch.keyspace}.ranked_keys"
    of_plays = f"WHERE counter = '{plays}' AND granularity"
    of_c1 = f"WHERE counter = '{creators}' AND key = 'c1' AND granularity"
    for statement in (
        f"UPDATE {table} USING TIMESTAMP {time.time_ns()} SET members = ['nobody'] {of_c1} = 'all' AND bucket = 0",
        f"DELETE FROM {table} {of_c1} = 'day' AND bucket = '2024-02-29'",
        f"INSERT INTO {table} ({KEY}, members, counts, cutoff) "
        f"VALUES ('{creators}', 'ghost', 'all', 0, ['nobody'], [1], '2024-03-01')",
        f"UPDATE {charts} USING TIMESTAMP {time.time_ns()} SET keys = ['nobody'] {of_plays} = 'all' AND bucket = 0",
        f"DELETE FROM {charts} {of_plays} = 'day' AND bucket = '2024-02-29'",
        f"INSERT INTO {charts} (counter, granularity, bucket, keys, counts, cutoff) "
        f"VALUES ('{plays}', 'day', '2023-01-01', ['nobody'], [1], '2024-03-01')",
    ):
        cassandra.execute(statement)


@pytest.mark.slow
def test_lists_are_right_after_nights_damage_a_run_that_died_a_restore_exclusions_and_an_erasure(
    fresh: Stack, run_job: Run, cassandra: Any, tmp_path: Path
) -> None:
    keyspace = fresh.settings.batch.keyspace

    def played(name: str, counts: dict[str, int], creator: str = "c1") -> None:
        produce(fresh.settings.kafka, [event(f"{name}{track}{n}", "play", track_id=track, creator_id=creator)
                                       for track, times in counts.items() for n in range(times)])  # fmt: skip
        run_job("streaming_counts")
        run_job("archive_events")
        wait_for_the_window_to_end(fresh)

    def night(**asked: Any) -> Lists:
        run_job("batch_totals", **asked)
        found = listed(cassandra, keyspace)
        assert found == right(cassandra, keyspace)
        assert charted(cassandra, keyspace) == right_charts(cassandra, keyspace) != {}
        return found

    january = {"creator_id": "old", "occurred_at": "2024-01-15T10:00:00Z"}  # which no later night touches
    produce(fresh.settings.kafka, [event(f"old{n}", "play", track_id=f"t{n}", **january) for n in range(2)])
    played("a", {"t0": 5, "t1": 4, "t2": 4, "t3": 1})
    played("a", {"t7": 1, "t8": 1, "t9": 1}, "few")
    first = night()
    assert of_creator(first) == (["t0", "t1", "t2"], [5, 4, 4]) and of_creator(first, "few") is None
    assert {bucket[2] for bucket in first if bucket[1] == "c1"} == {"hour", "day", "month", "all"}
    assert {bucket[2] for bucket in charted(cassandra, keyspace)} == {"day", "month", "all"}
    assert of_all(charted(cassandra, keyspace)) == {"t0": 6, "t1": 5, "t2": 4}
    played("b", {"t3": 9})
    assert of_creator(night()) == (["t3", "t0", "t1"], [10, 5, 4])
    (_, second) = kept_totals(fresh.settings)

    damage(cassandra, fresh)
    assert listed(cassandra, keyspace) != right(cassandra, keyspace)
    assert of_creator(night(full=True)) == (["t3", "t0", "t1"], [10, 5, 4])

    played("c", {"t4": 20, "t7": 3})
    with armed("before_publish"), pytest.raises(JobError, match="before_publish"):
        run_job("batch_totals")
    assert of_creator(listed(cassandra, keyspace)) == (["t4", "t3", "t0"], [20, 10, 5])
    assert of_all(charted(cassandra, keyspace)) == {"t4": 20, "t3": 10, "t0": 6}
    spam = tmp_path / "spam.jsonl"
    spam.write_text('{"track_id": "t4"}\n{"track_id": "t3"}\n{"track_id": "t7"}\n', "utf-8")
    assert of_creator(night(exclude=str(spam), accept=True)) == (["t3", "t0", "t1"], [10, 5, 4])
    assert of_creator(night(full=True, accept=True)) is None  # no more than three are left

    assert of_creator(night(restore=tag(second))) == (["t3", "t0", "t1"], [10, 5, 4])
    assert of_creator(night(full=True, include=str(spam), accept=True)) == (["t4", "t3", "t0"], [20, 10, 5])

    run_job("erase_key", field="track_id", value="t0")
    assert of_creator(listed(cassandra, keyspace)) is None and charted(cassandra, keyspace) == {}
    of_plays = [*cassandra.execute(f"SELECT granularity, keys, counts, cutoff FROM {keyspace}.ranked_keys")]
    assert {row.granularity for row in of_plays if row.keys is None and row.counts is None and row.cutoff} == {*CHARTED}
    played("d", {"t1": 1})
    assert of_creator(night()) == (["t4", "t3", "t1"], [20, 10, 5])
    run_job("erase_key", field="creator_id", value="c1")
    assert listed(cassandra, keyspace) == {}
    assert [*cassandra.execute(f"SELECT key FROM {keyspace}.ranked_members WHERE key = 'c1' ALLOW FILTERING")] == []


@pytest.mark.thorough
def test_lists_that_an_earlier_version_left_behind_are_not_relied_on_and_charts_made_and_others_emptied_by_the_next_run(
    fresh: Stack, run_job: Run, cassandra: Any
) -> None:
    keyspace, creators = fresh.settings.batch.keyspace, stored_names(fresh.settings)["creator_plays"]
    produce(fresh.settings.kafka, [event(f"{key}{n}", "play", track_id=f"t{n}", creator_id=key)
                                   for key in ("c1", "c2") for n in range(5)])  # fmt: skip
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    assert {bucket[1] for bucket in listed(cassandra, keyspace)} == {"c1", "c2"}
    # As where it publishes, which leaves the column as it was.
    (row,) = cassandra.execute(f"SELECT WRITETIME(cutoff) FROM {keyspace}.cutoffs WHERE counter = '{creators}'")
    cassandra.execute(f"DELETE ranked FROM {keyspace}.cutoffs USING TIMESTAMP {row[0]} WHERE counter = '{creators}'")
    plays = stored_names(fresh.settings)["plays"]
    cassandra.execute(f"DELETE charted FROM {keyspace}.cutoffs USING TIMESTAMP {row[0]} WHERE counter = '{plays}'")
    cassandra.execute(f"TRUNCATE {keyspace}.ranked_keys")
    assert listed(cassandra, keyspace) == {}
    produce(fresh.settings.kafka, [event("later", "play", track_id="t4", creator_id="c1")])
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    found = listed(cassandra, keyspace)
    assert {bucket[1] for bucket in found} == {"c1"}
    assert found == {bucket: names for bucket, names in right(cassandra, keyspace).items() if bucket[1] == "c1"}
    assert charted(cassandra, keyspace) == right_charts(cassandra, keyspace) != {}
