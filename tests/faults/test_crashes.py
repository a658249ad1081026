"""Jobs that are killed, at every commit point and at random moments; tasks that fail in the middle of their rows."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.process.errors import JobError
from stitch.definitions import name_of
from stitch_local.producer import produce
from tests.conftest import Stack
from tests.faults.failpoints import KILLED, armed
from tests.faults.oracle import Eyes, Feed
from tests.steps import event, wait_for_the_window_to_end

Run = Callable[..., Any]


@pytest.mark.slow
def test_a_batch_that_dies_at_any_point_is_run_again_and_readers_never_notice(
    fresh: Stack, feed: Feed, eyes: Eyes, run_job: Run
) -> None:
    feed.send(300)
    run_job("streaming_counts")
    run_job("archive_events")
    cutoff = wait_for_the_window_to_end(fresh)
    for point in ("before_load", "half_loaded", "before_publish"):
        with armed(point), pytest.raises(JobError, match=point):
            run_job("batch_totals", cutoff=cutoff)
        eyes.wait_for_the_truth(10)
        feed.send(50)  # increments go on in later windows
        run_job("streaming_counts")
        eyes.wait_for_the_truth(10)
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    eyes.wait_for_the_truth(10)
    report = run_job("audit_counts")
    assert report["right"], report


@pytest.mark.slow
@pytest.mark.parametrize("point", ["half_written", "written"])
def test_a_streaming_job_killed_between_its_rows_and_its_commit_counts_once(
    fresh: Stack, feed: Feed, eyes: Eyes, run_job: Run, start_job: Callable[..., Any], point: str
) -> None:
    feed.send(500)
    job = start_job("streaming_counts", "--available-now", dies_at=point)
    assert job.wait() == KILLED
    feed.send(100)
    run_job("streaming_counts")
    eyes.wait_for_the_truth(10)


@pytest.mark.thorough
def test_a_task_that_fails_once_in_the_middle_of_its_rows_is_tried_again_and_its_rows_count_once(
    fresh: Stack, feed: Feed, eyes: Eyes, run_job: Run, spark: Any, cassandra: Any
) -> None:
    keyspace = fresh.settings.realtime.keyspace
    feed.send(500)
    produce(fresh.settings.kafka, [event(f"m{n}", "play", track_id=f"m{n}") for n in range(5000)])  # as many rows
    before = failed_tasks(spark)
    with armed("task_failed"):
        run_job("streaming_counts")
    assert [failed for stage, failed in failed_tasks(spark).items() if failed and stage not in before] == [1]
    rows = list(cassandra.execute(f"SELECT counter, key, count FROM {keyspace}.increments"))
    writes = cassandra.execute("SELECT keyspace_name, table_name, count FROM system_views.local_write_latency")
    written = next(row.count for row in writes if row[:2] == (keyspace, "increments"))
    assert written >= len(rows) + 100  # the failed task had written some of its rows
    counts = [row.count for row in rows if name_of(row.counter) == "plays" and row.key.startswith("m")]
    assert (len(counts), set(counts)) == (5000, {1})
    eyes.wait_for_the_truth(10)


def failed_tasks(spark: Any) -> dict[int, int]:
    """How many tasks of each stage have failed, by Spark's own account."""
    no_quantiles = spark.sparkContext._gateway.new_array(spark._jvm.double, 0)
    stages = spark.sparkContext._jsc.sc().statusStore().stageList(None, False, False, no_quantiles, None)
    return {stages.apply(n).stageId(): stages.apply(n).numFailedTasks() for n in range(stages.size())}


@pytest.mark.slow
def test_kill_9_at_random_moments_of_streaming_and_archive_loses_nothing_and_counts_nothing_twice(
    fresh: Stack, feed: Feed, eyes: Eyes, run_job: Run, start_job: Callable[..., Any]
) -> None:
    kills, events = 20, 200_000
    over = threading.Event()

    def go_on_sending() -> None:
        left = events
        while left and not over.is_set():
            feed.send(1000)
            left -= 1000
            time.sleep(0.2)
        feed.send(left) if left else None

    feeder = threading.Thread(target=go_on_sending)
    feeder.start()
    try:
        for _ in range(kills):
            streaming, archive = start_job("streaming_counts"), start_job("archive_events")
            streaming.wait_for_line("streaming_counts counts")
            time.sleep(random.uniform(0, 12))
            streaming.kill()
            archive.kill()
    finally:
        over.set()
        feeder.join()
    run_job("streaming_counts")
    run_job("archive_events")
    eyes.wait_for_the_truth(20)
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    eyes.wait_for_the_truth(20)
    report = run_job("audit_counts")
    assert report["right"], report


@pytest.mark.slow
def test_kill_9_at_random_moments_of_the_batch_is_never_seen(
    fresh: Stack, feed: Feed, eyes: Eyes, run_job: Run, start_job: Callable[..., Any], cassandra: Any
) -> None:
    feed.send(20_000)
    leases = f"{fresh.settings.batch.keyspace}.leases"
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    for _ in range(5):
        batch = start_job("batch_totals", "--full", "--accept")
        time.sleep(random.uniform(8, 25))
        batch.kill()
        eyes.wait_for_the_truth(10)
        cassandra.execute(f"DELETE FROM {leases} WHERE subject = 'totals' IF EXISTS")  # or the next would wait for it
    run_job("batch_totals")
    eyes.wait_for_the_truth(10)


@pytest.mark.slow
def test_sigterm_in_mid_batch_lets_the_batch_end_and_nothing_is_replayed(
    fresh: Stack, feed: Feed, eyes: Eyes, start_job: Callable[..., Any]
) -> None:
    feed.send(60_000)
    job = start_job("streaming_counts", STITCH_STREAMING__MAX_OFFSETS_PER_TRIGGER="5000")
    job.wait_for_line("streaming_counts batch=2 ")
    assert job.terminate() == 0
    assert len(job.lines("streaming_counts batch=")) <= 8  # of twelve: it stops also while it catches up
    again = start_job("streaming_counts", "--available-now", STITCH_STREAMING__MAX_OFFSETS_PER_TRIGGER="5000")
    assert again.wait() == 0
    lines = [line.split() for one in (job, again) for line in one.lines("streaming_counts batch=")]
    batches = [batch for _, batch, *_ in lines]
    assert len(batches) == len(set(batches))
    assert sum(int(events.partition("=")[2]) for _, _, events, *_ in lines) == 60_000
    eyes.wait_for_the_truth(10)


@pytest.mark.slow
def test_two_copies_of_the_streaming_job_at_once_count_once(
    fresh: Stack, feed: Feed, eyes: Eyes, start_job: Callable[..., Any], tmp_path: Path
) -> None:
    feed.send(5000)
    first = start_job("streaming_counts")
    second = start_job(
        "streaming_counts",
        STITCH_STREAMING__CHECKPOINT=str(tmp_path / "checkpoints/second"),
        STITCH_STREAMING__MAX_OFFSETS_PER_TRIGGER="700",  # it reads the partitions in other steps, and lags behind
    )
    for job in (first, second):
        job.wait_for_line("streaming_counts batch=")
    for _ in range(10):
        feed.send(1000)
        time.sleep(1)
    eyes.wait_for_the_truth(60)
    second.wait_for_line("streaming_counts batch=20 ")
    eyes.wait_for_the_truth(10)
    assert (first.terminate(), second.terminate()) == (0, 0)
