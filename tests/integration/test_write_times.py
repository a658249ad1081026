"""Whose write wins on a real Cassandra: runs over damage and foreign rows, publications over clocks, later nights over
all."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from typing import Any

import pytest

from stitch.cutoff import Published
from stitch.definitions import stored_names
from stitch.runs import tag
from stitch.settings import Settings
from stitch_local.producer import produce
from tests.conftest import Reader, Stack
from tests.logs import kept_totals
from tests.steps import count, event, wait_for_the_window_to_end

Run = Callable[..., Any]
PLAY = {"creator_id": "c1", "duration_s": 30}
KEYS = ["t0", "t1", "t2", "t3"]


def nightly(stack: Stack, run_job: Run, **asked: Any) -> None:
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(stack)
    run_job("batch_totals", **asked)


def damage(cassandra: Any, settings: Settings) -> None:
    """By hand, now; at a key that the log never had, with and without a cutoff; and by a client that counts in ns."""
    keyspace = settings.batch.keyspace
    totals, members = f"{keyspace}.totals", f"{keyspace}.member_totals"
    names = stored_names(settings)
    plays, creators = names["plays"], names["creator_plays"]
    nanoseconds = time.time_ns()
    for statement in (
        f"UPDATE {totals} SET count = 99 "
        f"WHERE counter = '{plays}' AND key = 't1' AND granularity = 'all' AND bucket = 0",
        f"DELETE FROM {totals} WHERE counter = '{plays}' AND key = 't3' AND granularity = 'all'",
        f"UPDATE {totals} SET count = 7 "
        f"WHERE counter = '{plays}' AND key = 'ghost' AND granularity = 'all' AND bucket = 0",
        f"INSERT INTO {totals} (counter, key, granularity, bucket, count, cutoff) "
        f"VALUES ('{plays}', 'ghost', 'day', '2024-02-29', 7, '2024-03-01')",
        f"INSERT INTO {members} (counter, key, granularity, bucket, member, count, cutoff) "
        f"VALUES ('{creators}', 'c1', 'all', 0, 't2', 1000, '2024-03-01') USING TIMESTAMP {nanoseconds}",
        f"INSERT INTO {members} (counter, key, granularity, bucket, member, count, cutoff) "
        f"VALUES ('{creators}', 'c1', 'all', 0, 'nobody', 1000, '2024-03-01') USING TIMESTAMP {nanoseconds}",
    ):
        cassandra.execute(statement)


def counted(client: Any) -> tuple[dict[str, int], dict[str, int]]:
    """The plays of the keys, and the creator's by member."""
    top = client.get("/v1/top?counter=creator_plays&key=c1").json
    return {key: count(client, "plays", key) for key in [*KEYS, "ghost"]}, {
        row["member"]: row["count"] for row in top["members"]
    }


@pytest.mark.slow
def test_a_full_run_mends_damaged_and_foreign_rows_whenever_they_were_written_and_later_nights_overwrite_them(
    fresh: Stack, reader: Reader, run_job: Run, cassandra: Any
) -> None:
    client = reader(fresh.settings)
    produce(fresh.settings.kafka, [event(f"e{n}", "play", track_id=f"t{n % 4}", **PLAY) for n in range(40)])
    nightly(fresh, run_job)
    right = dict.fromkeys(KEYS, 10)
    assert counted(client) == (right | {"ghost": 0}, right)

    damage(cassandra, fresh.settings)
    plays, members = counted(client)
    assert (plays["t1"], plays["t3"], members["t2"], members["nobody"]) == (99, 0, 1000, 1000)
    assert not run_job("audit_counts")["right"]

    run_job("batch_totals", full=True)
    assert counted(client) == (right | {"ghost": 0}, right)
    report = run_job("audit_counts")
    assert report["right"], report

    produce(fresh.settings.kafka, [event(f"f{n}", "play", track_id=f"t{n % 4}", **PLAY) for n in range(8)])
    nightly(fresh, run_job)
    right = dict.fromkeys(KEYS, 12)
    assert counted(client) == (right | {"ghost": 0}, right)
    assert [count(client, "plays", key, "batch") for key in KEYS] == [12] * 4  # the night's rows, and not increments
    report = run_job("audit_counts")
    assert report["right"], report


def published(cassandra: Any, keyspace: str) -> list[tuple[Published, set[int]]]:
    """What is published of each counter, and the write timestamps of that."""
    rows = cassandra.execute(f"SELECT cutoff, revision, WRITETIME(cutoff), WRITETIME(revision) FROM {keyspace}.cutoffs")
    return [(Published(at.replace(tzinfo=UTC), revision), {*written}) for at, revision, *written in rows]


@pytest.mark.slow
def test_cutoffs_are_written_with_the_time_of_their_run_and_win_over_a_clock_that_is_ahead_also_when_they_go_back(
    fresh: Stack, reader: Reader, run_job: Run, cassandra: Any
) -> None:
    client, keyspace = reader(fresh.settings), fresh.settings.batch.keyspace

    def all_published() -> Published:
        rows = published(cassandra, keyspace)
        (run,) = {at for at, _ in rows}
        assert [stamps for _, stamps in rows] == [{run.write_time}] * len(fresh.settings.counters)
        return run

    def night(name: str) -> Published:
        produce(fresh.settings.kafka, [event(f"{name}{n}", "play", track_id="t1", **PLAY) for n in range(10)])
        nightly(fresh, run_job)
        assert count(client, "plays", "t1", "batch") == count(client, "plays", "t1")
        return all_published()

    first, second = night("a"), night("b")
    assert first.cutoff < second.cutoff and count(client, "plays", "t1") == 20
    # As by a client whose clock is an hour ahead: the same values, so nothing is wrong yet.
    ahead = int((time.time() + 3600) * 10**6)
    for (stored,) in cassandra.execute(f"SELECT counter FROM {keyspace}.cutoffs"):
        cassandra.execute(
            f"INSERT INTO {keyspace}.cutoffs (counter, cutoff, revision) VALUES (%s, %s, %s) USING TIMESTAMP %s",
            (stored, second.cutoff, second.revision, ahead),
        )
    third = night("c")
    assert third.cutoff > second.cutoff and third.write_time == ahead + 1 and count(client, "plays", "t1") == 30

    run_job("batch_totals", restore=tag(first))
    back = all_published()
    assert back.cutoff == first.cutoff and back.write_time > third.write_time
    assert (count(client, "plays", "t1", "batch"), count(client, "plays", "t1")) == (10, 30)
    assert back in kept_totals(fresh.settings)
    assert night("d").write_time > back.write_time and count(client, "plays", "t1") == 40
