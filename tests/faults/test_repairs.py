"""The Restorator at work while the streaming job runs: no lock, and nothing that either writes is lost on the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from jobs.proof.completeness import uncounted_offsets
from tests.conftest import Stack
from tests.faults.conftest import watching
from tests.faults.oracle import Feed
from tests.steps import damage_increments, wait_for_the_window_to_end

Run = Callable[..., Any]


@contextmanager
def flowing(feed: Feed) -> Iterator[None]:
    """Forty events a second, for as long as this is open."""
    over = threading.Event()

    def go_on_sending() -> None:
        while not over.wait(0.5):
            feed.send(20)

    feeder = threading.Thread(target=go_on_sending)
    feeder.start()
    try:
        yield
    finally:
        over.set()
        feeder.join()


def finished_window(stack: Stack, run_job: Run) -> datetime:
    """Wait until log and increments both hold all that was sent so far; returns the end of its last ingest window."""
    edge = wait_for_the_window_to_end(stack)
    run_job("archive_events")
    deadline = time.monotonic() + 30
    while uncounted_offsets(stack.settings, edge):
        assert time.monotonic() < deadline, "the streaming job does not catch up"
        time.sleep(0.2)
    return edge


@pytest.mark.slow
def test_rows_damaged_while_the_streaming_job_runs_are_repaired_beside_it_and_stay_right_as_events_go_on(
    fresh: Stack, feed: Feed, run_job: Run, start_job: Callable[..., Any], cassandra: Any
) -> None:
    job = start_job("streaming_counts")
    feed.send(400)
    with flowing(feed):
        job.wait_for_line("streaming_counts batch=")
        edge = finished_window(fresh, run_job)
        damaged = damage_increments(cassandra, fresh.settings)
        before = len(job.lines("streaming_counts batch="))
        repaired = run_job("restore_counts", until=edge, apply=True)
        found = {row["key"]: (row["stored"], row["expected"]) for row in repaired["differences"]}
        assert found == damaged
        assert (repaired["rows"], repaired["repaired"], repaired["left"]) == (4, 4, 0)
        with watching(fresh.settings, feed) as eyes:
            edge = finished_window(fresh, run_job)
            assert run_job("restore_counts", until=edge, apply=True)["rows"] == 0
            assert len(job.lines("streaming_counts batch=")) > before  # it counted on meanwhile
    assert eyes.wrong == []
    assert job.terminate() == 0
    run_job("streaming_counts", from_cutoff=True)  # all of it once more: what was repaired stays
    with watching(fresh.settings, feed) as eyes:
        eyes.wait_for_the_truth(10)
