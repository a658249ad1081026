"""Lost state: what a job does without its checkpoint, or with a part of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.conftest import Stack
from tests.faults.oracle import Eyes, Feed
from tests.steps import wait_for_the_window_to_end

Run = Callable[..., Any]


def newest(folder: Path) -> Path:
    return max((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


@pytest.mark.thorough
def test_whatever_is_lost_of_a_checkpoint_counts_stay_the_truth_and_are_never_seen_wrong(
    fresh: Stack, feed: Feed, eyes: Eyes, run_job: Run
) -> None:
    checkpoint = Path(fresh.settings.streaming.checkpoint)
    for part in ("nothing yet", "the newest commit", "the metadata", "all of it, read from the cutoff", "all of it"):
        feed.send(300)
        if part == "the newest commit":  # the last micro-batch is replayed
            for file in (
                newest(checkpoint / "commits"),
                Path(checkpoint, "commits", f".{newest(checkpoint / 'commits').name}.crc"),
            ):
                file.unlink(missing_ok=True)
        if part == "the metadata":  # Spark makes a new query id without a word
            Path(checkpoint, "metadata").unlink()
            Path(checkpoint, ".metadata.crc").unlink(missing_ok=True)
        if part == "all of it":
            shutil.rmtree(checkpoint)
        run_job("streaming_counts", from_cutoff=part.endswith("from the cutoff"))
        eyes.wait_for_the_truth(10)
        if part == "the metadata":
            run_job("archive_events")
            wait_for_the_window_to_end(fresh)
            run_job("batch_totals")
            eyes.wait_for_the_truth(10)


@pytest.mark.slow
def test_a_log_that_was_rolled_back_or_compacted_goes_on_with_nothing_missing_and_nothing_twice(
    fresh: Stack, spark: SparkSession, feed: Feed, eyes: Eyes, run_job: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    lake = fresh.settings.lake
    call, table = f"CALL {lake.catalog}.system", f"{lake.namespace}.events"
    feed.send(100)
    run_job("archive_events")
    first = spark.sql(f"SELECT snapshot_id FROM {lake.events}.refs").collect()[0][0]
    feed.send(100)
    run_job("archive_events")
    spark.sql(f"{call}.rollback_to_snapshot('{table}', {first})")
    run_job("archive_events")  # no checkpoint knows better
    spark.sql(f"{call}.rewrite_data_files(table => '{table}', options => map('rewrite-all', 'true'))")
    now = datetime.now(UTC)
    spark.sql(
        f"{call}.expire_snapshots(table => '{table}', older_than => TIMESTAMP '{now:%F %T.%f}', retain_last => 1)"
    )
    feed.send(100)
    run_job("archive_events")
    run_job("streaming_counts")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    assert "records=300 rejected=0 excluded=0 duplicates=0 events=300" in capfd.readouterr().out
    eyes.wait_for_the_truth(10)
    report = run_job("audit_counts")
    assert report["right"], report
