"""The Restorator at work while the streaming job runs; and a task of that job which fails in the middle of its rows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Stack
from tests.faults.oracle import Feed
from tests.steps import wait_for_the_window_to_end

Run = Callable[..., Any]


@pytest.mark.slow
def test_damaged_rows_are_repaired_while_the_streaming_job_runs_and_events_flow(
    fresh: Stack, feed: Feed, run_job: Run, start_job: Callable[..., Any], cassandra: Any, reader: Any
) -> None:
    keyspace, over = fresh.settings.realtime.keyspace, threading.Event()
    job = start_job("streaming_counts")
    feed.send(400)

    def go_on_sending() -> None:
        while not over.wait(0.5):
            feed.send(20)

    feeder = threading.Thread(target=go_on_sending)
    feeder.start()
    try:
        job.wait_for_line("streaming_counts batch=")
        end = wait_for_the_window_to_end(fresh)  # later windows may end, and not be archived, meanwhile
        run_job("archive_events")
        rows = list(cassandra.execute(f"SELECT * FROM {keyspace}.increments WHERE counter = 'plays' ALLOW FILTERING"))
        oldest = min(row.ingest_window for row in rows)
        of = {row.key: row for row in rows if row.ingest_window == oldest}
        put = f"INSERT INTO {keyspace}.increments (counter, key, ingest_date, ingest_window, bucket, count) VALUES (%s, %s, %s, %s, %s, %s)"
        for key, row in of.items():
            too = {"t0": 1000, "t1": 1}.get(key)  # too high, too low
            if too is not None:
                cassandra.execute(put, ("plays", key, row.ingest_date, row.ingest_window, row.bucket, too))
        gone, extra = of["t2"], of["t3"]
        cassandra.execute(
            f"DELETE FROM {keyspace}.increments WHERE counter='plays' AND key='t2' AND ingest_date=%s AND ingest_window=%s",
            (gone.ingest_date, gone.ingest_window),
        )
        cassandra.execute(put, ("plays", "nobody", extra.ingest_date, extra.ingest_window, extra.bucket, 7))
        found = run_job("restore_counts", until=end, apply=True)
        assert {row["key"] for row in found["differences"]} == {"t0", "t1", "t2", "nobody"}
        assert found["left"] == 0
        assert run_job("restore_counts", until=end, apply=True)["rows"] == 0
    finally:
        over.set()
        feeder.join()
    assert job.terminate() == 0
    run_job("streaming_counts", from_cutoff=True)  # all of it once more: what was repaired stays
    client = reader(fresh.settings)
    keys = [*(f"t{n}" for n in range(8)), "nobody"]
    answer = client.post("/v1/totals", json={"counters": ["plays", "likes"], "keys": keys}).get_json()
    counts = {(counter, row["key"]): n for row in answer["data"] for counter, n in row["counts"].items() if n}
    assert counts == {pair: n for pair, n in feed.counts.items() if n}


@pytest.mark.slow
def test_a_task_that_fails_once_in_the_middle_of_its_rows_is_tried_again_and_counts_once(
    fresh: Stack, feed: Feed, eyes: Any, run_job: Run, start_job: Callable[..., Any]
) -> None:
    feed.send(500)
    job = start_job("streaming_counts", "--available-now", STITCH_FAILPOINT="task_failed")
    assert job.wait() == 0
    assert "streaming_counts a task failed and was tried again: True" in job.lines()
    eyes.wait_for_the_truth(10)
    feed.send(100)
    run_job("streaming_counts")
    eyes.wait_for_the_truth(10)
