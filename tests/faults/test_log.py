"""The log's table while several write it: two archives at once, maintenance, an erasure, all killed now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.lake.log import Log
from jobs.sources.topic import edges
from stitch_local.producer import produce
from tests.conftest import Stack
from tests.faults.oracle import Eyes, Feed
from tests.steps import event, wait_for_the_window_to_end

Run = Callable[..., Any]


@pytest.mark.slow
def test_two_archives_maintenance_and_an_erasure_at_once_lose_nothing_and_add_nothing_twice(
    fresh: Stack, spark: SparkSession, feed: Feed, eyes: Eyes, run_job: Run, start_job: Callable[..., Any]
) -> None:
    produce(fresh.settings.kafka, [event(f"x{n}", "play", track_id="erased") for n in range(100)])
    always = {
        "STITCH_STREAMING__MAX_OFFSETS_PER_TRIGGER": "3000",
        "STITCH_LAKE__HISTORY": "1s",
        "STITCH_LOG__TRIGGER": "1s",
    }
    archives = [start_job("archive_events", **always) for _ in range(2)]
    for job in archives:
        job.wait_for_line("archive_events batch=")
    for turn in range(2):
        maintenance = start_job("maintain_log", **always)
        for _ in range(15):
            feed.send(200)
            time.sleep(1)
        if turn == 0:
            run_job("erase_key", field="track_id", value="erased")
        if turn == 1:  # in the middle of whatever it does
            maintenance.kill()
            archives[0].kill()
            archives[0] = start_job("archive_events", **always)
        elif maintenance.running:
            assert maintenance.wait(120) in (0, 75)
    for job in archives:
        job.wait_for_line("archive_events writes")  # before that, a signal ends `stitch submit` itself
    assert {job.terminate() for job in archives} <= {0, 143}  # 143: before its first micro-batch, after the kill
    overtaken = sum(len(job.lines("stitch: another writer")) for job in archives)
    assert overtaken > 0  # they did write beside each other
    run_job("archive_events")
    run_job("streaming_counts")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals", accept=True)
    log = Log(spark, fresh.settings).rows()
    held = {(row.partition, row.offset) for row in log.select("partition", "offset").collect()}
    there = edges(fresh.settings.kafka).items()
    assert log.count() == len(held) and held == {
        (partition, offset) for partition, (low, high) in there for offset in range(low, high)
    }
    assert log.where("reject_reason = 'erased'").count() == 100
    report = run_job("audit_counts", now=datetime.now(UTC))
    wrong = [one for one in report["findings"] if not one["right"] and one["about"] != "increments: log"]
    assert wrong == [], report
    eyes.wait_for_the_truth(10)
