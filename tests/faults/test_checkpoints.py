"""Lost state: what a job does without its checkpoint, or with a part of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs.sources.segments import segments

from tests.conftest import Stack
from tests.faults.oracle import Eyes, Feed
from tests.steps import wait_for_the_window_to_end

Run = Callable[..., Any]


def newest(folder: Path) -> Path:
    return max((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


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
def test_a_log_that_lost_its_checkpoint_goes_on_in_a_new_segment_with_nothing_missing_and_nothing_twice(
    fresh: Stack, feed: Feed, eyes: Eyes, run_job: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Path(fresh.settings.log.checkpoint, "segment=1")
    feed.send(100)
    run_job("archive_events")
    newest(checkpoint / "commits").unlink()
    feed.send(100)
    run_job("archive_events")  # one replay, and the file sink knows that it has this batch
    shutil.rmtree(checkpoint)
    feed.send(100)
    run_job("archive_events")
    assert [segment.number for segment in segments(fresh.settings.log)] == [1, 2]
    run_job("streaming_counts")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals")
    assert "records=300 rejected=0 excluded=0 duplicates=0 events=300" in capfd.readouterr().out
    eyes.wait_for_the_truth(10)
    report = run_job("audit_counts")
    assert report["right"], report
